/**
 * The life of a session: `open` starts its application, and the fiber that keeps the heartbeat. When that fiber has ended,
 * as it does with the session, `takeLeave` ends the application, runs `onDisconnect` once, and closes the scope.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as CloseReason from "../../CloseReason.ts"
import { defuse } from "../protocol/defuse.ts"
import { see } from "../protocol/see.ts"
import type { Transport } from "../transport/contract.ts"
import { type Entry, put } from "../transport/entry.ts"
import { close } from "./close.ts"
import { takeContents } from "./effectFields.ts"
import { heartbeat } from "./heartbeat.ts"
import { wake } from "./incoming.ts"
import { labelOf } from "./model.ts"
import { flush } from "./outgoing.ts"
import { hear } from "./pulse.ts"
import { get, type Session, set } from "./session.ts"

/** The user's program for one session: the parts of a `SocketApp`. */
export interface Program {
  readonly app: Effect.Effect<unknown, unknown, never>
  readonly onDisconnect?: ((reason: CloseReason.CloseReason) => Effect.Effect<void>) | undefined
}

/** How long `onDisconnect` may take, in milliseconds. */
const onDisconnectTimeout = 10_000

/**
 * Opens a session that is registered, on its first transport: writes the packets of the handshake, ahead of what the
 * factory sent (rule R31), starts the application, and then the fiber that keeps the heartbeat.
 */
export const open = (
  session: Session,
  transport: Transport,
  opening: ReadonlyArray<Entry>,
  { app, onDisconnect }: Program,
  context: Context.Context<never>
): void => {
  const { outgoing, queued, server } = session
  hear(session)
  set(session.state, "open")
  set(session.transport, transport)
  // What the factory sent steps aside; it is booked already.
  const sent = takeContents(outgoing)
  for (const entry of opening) put(outgoing, queued, entry)
  transport.write(outgoing, queued)
  Queue.offerAllUnsafe(outgoing, sent)
  flush(session)
  if (get(session.state) === "closed") return
  if (session.reason !== undefined) close(session, session.reason)
  session.application = Effect.runForkWith(context)(app)
  session.application.addObserver((exit) => onApplicationExit(session, context, exit))
  wake(session)
  // The application may have ended its session in its first steps.
  const life = get(session.state) === "closed" ? Effect.void : heartbeat(session)
  server.supervisor.onBegin(session)
  // One observer: with a second, the list of them would be 150 bytes longer.
  session.fiber = server.supervisor.run(life, (exit) => {
    session.server.supervisor.report(exit)
    takeLeave(session, onDisconnect, context)
  })
}

/** The application has ended, and with it the session. */
const onApplicationExit = (
  session: Session,
  context: Context.Context<never>,
  exit: Exit.Exit<unknown, unknown>
): void => {
  const state = get(session.state)
  const isEnding = state === "closing" || state === "closed"
  // At the end of its session it may fail, as `Socket.receive` does; a defect is logged at any time.
  if (Exit.isFailure(exit) && (!isEnding || Cause.hasDies(exit.cause))) {
    runFor(
      session,
      context,
      Effect.logError(`The application of a session failed${see("application-failed")}`, exit.cause)
    )
  }
  close(session, Exit.isSuccess(exit) ? CloseReason.forcedClose : CloseReason.appFailed(exit.cause))
}

/** Runs what we do around the user's program, in its context. */
const runFor = (session: Session, context: Context.Context<never>, effect: Effect.Effect<void>): Fiber.Fiber<void> =>
  Effect.runForkWith(context)(Effect.annotateLogs(effect, "session", labelOf(session)))

/** The session is closed. Most sessions leave nothing to wait for. */
const takeLeave = (
  session: Session,
  onDisconnect: Program["onDisconnect"],
  context: Context.Context<never>
): void => {
  const { supervisor } = session.server
  const isDone = session.application?.pollUnsafe() !== undefined
  const left = isDone && onDisconnect === undefined
    ? Scope.closeUnsafe(session.scope, Exit.void)
    : Effect.gen(function*() {
      if (!isDone) yield* endApplication(session)
      if (onDisconnect !== undefined) yield* bounded(Effect.suspend(() => defuse(onDisconnect(session.reason!))))
      yield* Scope.close(session.scope, Exit.void)
    })
  if (left === undefined) return supervisor.onLeft(session)
  const report = (cause: Cause.Cause<never>) =>
    Effect.logError(`A finalizer of a session failed${see("finalizer-failed")}`, cause)
  runFor(session, context, Effect.catchCause(left, report)).addObserver(() => supervisor.onLeft(session))
}

/**
 * Whoever has taken a message finishes with it, and gets what else had arrived: the application goes on until it asks for
 * more than will ever come, for `closeTimeout` at most (`drainTimeout` when the server ends).
 */
const endApplication = Effect.fnUntraced(function*(session: Session) {
  const application = session.application!
  const { closeTimeout, drainTimeout } = session.server.settings
  if (isOwed(session)) {
    yield* Effect.timeoutOption(
      Fiber.await(application),
      session.reason!._tag === "ServerShutdown" ? drainTimeout : closeTimeout
    )
  }
  yield* Fiber.interrupt(application)
})

/** Whether the application may be dealing with a message, or still come for one. */
const isOwed = (session: Session): boolean => {
  const waiting = Queue.sizeUnsafe(session.incoming)
  if (session.steps > 0 || (session.hasTaken && !session.exhausted)) return true
  // It has never asked for any. Where the server ends the session, it is not waited for.
  return waiting > 0 && !CloseReason.isForced(session.reason!)
}

/** Somebody asked for a message that can never come: the application ends when it has dealt with those it has. */
export const exhaust = (session: Session): void => {
  session.exhausted = true
  if (session.steps === 0) session.application?.interruptUnsafe()
}

/** Somebody took a message: the application or, while the session opens, its function in its place, or a stranger. */
export const noteTaken = (session: Session): void => {
  session.hasTaken ||= get(session.state) === "opening" || session.server.isRunning(session)
}

/** Somebody called `Socket.close`. An application that closes its own session has nothing to finish but its steps. */
export const noteClose = (session: Session): void => {
  if (session.server.isRunning(session)) session.hasTaken = false
}

/** A message is in the hands of the application, or of a stream, until `endStep`. */
export const beginStep = (session: Session): void => {
  session.steps++
  noteTaken(session)
}

export const endStep = (session: Session): void => {
  session.steps--
  if (session.exhausted && session.steps === 0) session.application?.interruptUnsafe()
}

/** Runs `onDisconnect`, ten seconds at most. The warning comes before the interruption, which may not succeed. */
const bounded = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.raceFirst(
    effect,
    Effect.andThen(
      Effect.sleep(onDisconnectTimeout),
      Effect.logWarning(`onDisconnect is interrupted: it takes more than 10 seconds${see("ondisconnect-interrupted")}`)
    )
  ).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError(`onDisconnect failed${see("ondisconnect-failed")}`, cause)
    )
  )
