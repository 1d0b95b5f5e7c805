/**
 * The user's program for one session: started when the session opens, ended when it ends, `onDisconnect` once after.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as CloseReason from "../../CloseReason.ts"
import { Deadline } from "./deadlines.ts"
import type { Session } from "./session.ts"

/** The parts of the user's `SocketApp`. */
export interface Program {
  readonly app: Effect.Effect<unknown, unknown, never>
  readonly onDisconnect?: ((reason: CloseReason.CloseReason) => Effect.Effect<void>) | undefined
}

/** How long `onDisconnect` may take, in milliseconds. */
const onDisconnectTimeout = 10_000

export class Application {
  private readonly session: Session
  private app: Program["app"] | undefined
  private readonly onDisconnect: Program["onDisconnect"]
  private readonly context: Context.Context<never>
  readonly scope: Scope.Closeable
  private readonly owner: { onFinished(session: Session): void }
  private fiber: Fiber.Fiber<unknown, unknown> | undefined
  private started = false
  private exited = false
  private finishing = false
  /** Steps of `Socket.forEach` in progress, and runs of `Socket.messages`: they hold messages not dealt with yet. */
  private steps = 0
  /** Whether it has taken a message, and not closed its session since. */
  private hasTaken = false
  /** Whether it has asked for a message that can never come. */
  private exhausted = false
  private deadline: Deadline | undefined
  constructor(
    session: Session,
    program: Program,
    context: Context.Context<never>,
    scope: Scope.Closeable,
    owner: { onFinished(session: Session): void }
  ) {
    this.session = session
    this.app = program.app
    this.onDisconnect = program.onDisconnect
    this.context = context
    this.scope = scope
    this.owner = owner
  }

  start(): void {
    this.started = true
    const app = this.app!
    this.app = undefined
    const fiber = Effect.runForkWith(this.context)(app)
    this.fiber = fiber
    fiber.addObserver((exit) => this.onExit(exit))
    // The session may have ended while the application ran its first steps.
    if (this.session.state === "closed") this.onSessionEnd()
  }

  private onExit(exit: Exit.Exit<unknown, unknown>): void {
    this.exited = true
    const { session } = this
    const isEnding = session.state === "closing" || session.state === "closed"
    // At the end of its session it may well fail, as `Socket.receive` does; a defect is one at any time.
    if (Exit.isFailure(exit) && (!isEnding || Cause.hasDies(exit.cause))) {
      this.run(Effect.logError("The application of a session failed", exit.cause))
    }
    if (session.state === "closed") this.finish()
    else if (Exit.isSuccess(exit)) session.close(CloseReason.forcedClose)
    else session.close({ _tag: "AppFailed", cause: exit.cause })
  }

  /**
   * The session is closed, and whoever waited for a message was told. An application that takes messages gets what had
   * arrived, finishes what it does with it, and ends when it asks for more; any other ends now.
   */
  onSessionEnd(): void {
    if (!this.started || this.exited) return this.finish()
    // Its first steps ended the session: `start` comes back to it.
    if (this.fiber === undefined) return
    const { host, incoming, reason } = this.session
    // Where the server ends the session, an application that never listens is not waited for.
    const mayTake = incoming.length > 0 && (incoming.isUsed || CloseReason.message(reason!) !== "forced close")
    const isAtWork = this.steps > 0 || (!this.exhausted && (this.hasTaken || mayTake))
    if (!isAtWork) return this.interrupt()
    this.deadline ??= new InterruptDeadline(this)
    const { closeTimeout, drainTimeout } = host.settings
    host.deadlines.after(reason!._tag === "ServerShutdown" ? drainTimeout : closeTimeout).add(this.deadline)
  }

  /** The server ends: what its session left to be dealt with has no longer than everything else. */
  hurry(): void {
    const { deadlines, settings } = this.session.host
    if (this.deadline?.list !== undefined && this.deadline.at > deadlines.now() + settings.drainTimeout) {
      deadlines.after(settings.drainTimeout).add(this.deadline)
    }
  }

  /** A message was taken, perhaps by somebody else. */
  onTaken(): void {
    this.hasTaken ||= this.session.host.isRunning(this.session)
  }

  /** `Socket.close` was called, perhaps by somebody else. Who closes its own session has nothing to finish but steps. */
  onClose(): void {
    if (this.session.host.isRunning(this.session)) this.hasTaken = false
  }

  beginStep(): void {
    this.steps++
    this.onTaken()
  }

  endStep(): void {
    this.steps--
    if (this.exhausted && this.steps === 0) this.interrupt()
  }

  /** It asked for a message that can never come: it ends, once it has dealt with those it has. */
  onExhausted(): void {
    this.exhausted = true
    if (this.steps === 0) this.interrupt()
  }

  interrupt(): void {
    if (!this.exited) this.fiber?.interruptUnsafe()
  }

  private finish(): void {
    if (this.finishing) return
    this.finishing = true
    this.deadline?.cancel()
    const reason = this.session.reason!
    const { onDisconnect } = this
    const closed = onDisconnect === undefined
      ? Scope.closeUnsafe(this.scope, Exit.void)
      : Effect.andThen(bounded(Effect.suspend(() => onDisconnect(reason))), Scope.close(this.scope, Exit.void))
    // Most sessions leave nothing to wait for.
    if (closed === undefined) return this.owner.onFinished(this.session)
    const done = closed.pipe(
      Effect.catchCause((cause) => Effect.logError("A finalizer of a session failed", cause)),
      Effect.ensuring(Effect.sync(() => this.owner.onFinished(this.session)))
    )
    this.run(done)
  }

  /** Runs what is not the user's program, but belongs to it. */
  private run(effect: Effect.Effect<void>): void {
    Effect.runForkWith(this.context)(Effect.annotateLogs(effect, "session", this.session.label))
  }
}

/** `onDisconnect`, which may fail or hang and still ends. It is warned of before it is interrupted, which may not succeed. */
const bounded = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.raceFirst(
    effect,
    Effect.andThen(
      Effect.sleep(onDisconnectTimeout),
      Effect.logWarning("onDisconnect is interrupted: it takes more than 10 seconds")
    )
  ).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("onDisconnect failed", cause)
    )
  )

class InterruptDeadline extends Deadline {
  private readonly application: Application
  constructor(application: Application) {
    super()
    this.application = application
  }

  expire(): void {
    this.application.interrupt()
  }
}
