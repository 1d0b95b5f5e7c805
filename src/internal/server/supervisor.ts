/**
 * The fibers of a server: what runs for it, and for its sessions. None fails unheard.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Scheduler from "effect/Scheduler"
import { Place, Roster } from "../protocol/roster.ts"
import { see } from "../protocol/see.ts"
import type { Session } from "../session/session.ts"

export class Supervisor {
  /** What the layer was built with: the context of everything that belongs to no request. */
  readonly context: Context.Context<never>
  /** Sessions whose application or `onDisconnect` still runs, the open ones included. */
  readonly alive = new Roster<Session>()
  private readonly runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  private readonly nothingRuns = Latch.makeUnsafe(true)
  private readonly fibers: FiberSet.FiberSet
  constructor(context: Context.Context<never>, fibers: FiberSet.FiberSet) {
    this.fibers = fibers
    // The programs of a session are short, and what happens to it belongs to the step in which it happens: between two
    // steps of theirs nobody else runs.
    this.context = Context.add(context, Scheduler.PreventSchedulerYield, true)
    this.runFork = Effect.runForkWith(this.context)
  }

  /** Runs what belongs to the server, not to a request, until that ends. */
  readonly fork = (effect: Effect.Effect<void>): Fiber.Fiber<void> => {
    const fiber = this.runFork(Effect.tapCause(
      effect,
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          : Effect.logError(`A fiber of the server failed${see("fault-of-the-engine")}`, cause)
    ))
    if (fiber.pollUnsafe() === undefined) FiberSet.addUnsafe(this.fibers, fiber)
    return fiber
  }

  /** Runs what ends by itself, or with the scope of a session. */
  run<A>(effect: Effect.Effect<A>, onExit: (exit: Exit.Exit<A>) => void = this.report): Fiber.Fiber<A> {
    const fiber = this.runFork(effect)
    fiber.addObserver(onExit)
    return fiber
  }

  readonly report = (exit: Exit.Exit<unknown, unknown>): void => {
    if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
      this.runFork(
        Effect.logError(`A fiber of a session failed${see("fault-of-the-engine")}`, exit.cause)
      )
    }
  }

  onBegin(session: Session): void {
    session.place = this.alive.enter(new Place(session))
    this.nothingRuns.closeUnsafe()
  }

  onLeft(session: Session): void {
    if (session.place !== undefined) this.alive.leave(session.place)
    if (this.alive.size === 0) this.nothingRuns.openUnsafe()
  }

  /** Waits until nothing of any session runs any more. */
  get idle(): Effect.Effect<void> {
    return this.nothingRuns.await
  }
}
