/**
 * The end of a server: new handshakes are refused, every session is closed after what it had accepted is delivered, and
 * what is left when the time is over is cut.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { serverShutdown } from "../../CloseReason.ts"
import { see } from "../protocol/see.ts"
import { close } from "../session/close.ts"
import { end } from "../session/end.ts"
import { flush } from "../session/outgoing.ts"
import { labelOf } from "../session/model.ts"
import { get, isReachable, type Session } from "../session/session.ts"
import type { Engine } from "./engine.ts"

// How many are undelivered is known when a session has ended.
const shutdown = serverShutdown()

/** Drains for at most `timeout`; then every session has ended, but its programs may still run. */
export const drain = (engine: Engine, timeout?: Duration.Input): Effect.Effect<void> =>
  Effect.suspend(() => {
    const duration = timeout === undefined ? engine.settings.drainTimeout : Duration.fromInputUnsafe(timeout)
    engine.draining = true
    interruptLate(engine)
    engine.scheduler.each((session) => close(session, shutdown))
    return Effect.timeoutOrElse(engine.scheduler.empty, {
      duration,
      orElse: () => Effect.sync(() => cut(engine))
    })
  })

/** What is still running of sessions that ended gets no more time than the end of the server has. */
const interruptLate = (engine: Engine): void => {
  const interrupt = Effect.sync(() => {
    for (const { application, state } of engine.supervisor.alive) {
      if (get(state) === "closed") application?.interruptUnsafe()
    }
  })
  engine.supervisor.fork(
    Effect.timeoutOrElse(engine.supervisor.idle, { duration: engine.settings.drainTimeout, orElse: () => interrupt })
  )
}

const cut = (engine: Engine): void => engine.scheduler.each((session) => end(session, shutdown))

const closeOrEnd = (engine: Engine, session: Session): void => {
  // It could not come back to be told.
  if (session.tellsEndApart) flush(session)
  // A client between two polls comes back to another member, if there is one.
  if (isReachable(session) || (engine.cluster?.others.size ?? 0) > 0) close(session, shutdown)
  else end(session, shutdown)
}

/** The part of `drainTimeout` that is left for the ends of those who were cut. */
const lastPart = 0.1

/**
 * The server has stopped listening: clients with a parked poll or a WebSocket get everything; one between two polls
 * cannot come back, so its session ends now and reports what it did not get. Returns the fiber that waits until nothing
 * is left of them, and cuts what is left when the time is nearly over; when it is over, the fiber waits no longer.
 */
const shutDown = (engine: Engine): Fiber.Fiber<void> => {
  const { drainTimeout } = engine.settings
  engine.stopped = true
  engine.draining = true
  engine.scheduler.each((session) => closeOrEnd(engine, session))
  engine.forwarding?.release()
  engine.stopping.openUnsafe()
  // The server is closed when its last connection is: a client that never answers its close must not hold it up.
  const over = engine.scheduler.empty.pipe(
    Effect.andThen(engine.supervisor.idle),
    Effect.andThen(engine.platform.lingeringClosed)
  )
  return engine.supervisor.fork(Effect.timeoutOrElse(over, {
    duration: drainTimeout * (1 - lastPart),
    orElse: () => {
      cut(engine)
      engine.platform.destroyLingering()
      for (const { application } of engine.supervisor.alive) application?.interruptUnsafe()
      return Effect.timeoutOrElse(over, {
        duration: drainTimeout * lastPart,
        orElse: () => Effect.forEach(engine.supervisor.alive, warn, { discard: true })
      })
    }
  }))
}

const warn = (session: Session): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWarning(
      "The server ends before a session: its app, a finalizer or onDisconnect cannot be interrupted" +
        see("session-that-cannot-be-interrupted")
    ),
    "session",
    labelOf(session)
  )

/** Nothing listens for the server any more; or something does again (rule R-C9). */
export const onStop = (engine: Engine, isStopped: boolean): void => {
  if (isStopped === engine.stopped) return
  if (isStopped) {
    engine.shutdown = shutDown(engine)
  } else {
    engine.stopped = engine.draining = false
    engine.stopping.closeUnsafe()
    // What it would cut now are others.
    engine.shutdown?.interruptUnsafe()
  }
}

/** Stops the server; waits until that is over, which takes no longer than `drainTimeout`. */
export const stop = (engine: Engine): Effect.Effect<void> =>
  Effect.suspend(() => {
    onStop(engine, true)
    return engine.shutdown === undefined ? Effect.void : Effect.asVoid(Fiber.await(engine.shutdown))
  })

/** A handler is gone, so nobody reaches its sessions any more: they end as on a shutdown. */
export const leave = (engine: Engine, handler: string): void =>
  engine.scheduler.each((session) => {
    if (session.handler.name === handler) closeOrEnd(engine, session)
  })
