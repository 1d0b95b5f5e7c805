/**
 * The end of a server: new handshakes are refused, every session is closed after what it had accepted is delivered, and
 * what is left when the time is over is cut.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { CloseReason } from "../../CloseReason.ts"
import type { Session } from "../session/session.ts"
import type { Engine } from "./engine.ts"

const shutdown: CloseReason = { _tag: "ServerShutdown", undelivered: 0 }

/** Drains for at most `timeout` milliseconds; then nothing of any session is left but, perhaps, its `onDisconnect`. */
export const drain = (engine: Engine, timeout: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    engine.draining = true
    engine.hurry()
    for (const session of engine.all.values()) session.close(shutdown)
    return Effect.timeoutOrElse(engine.empty, {
      duration: timeout,
      orElse: () => Effect.sync(() => cut(engine))
    })
  })

const cut = (engine: Engine): void => {
  for (const session of engine.all.values()) session.end(shutdown)
}

const release = (session: Session): void => {
  if (session.isReachable) session.close(shutdown)
  else session.end(shutdown)
}

/**
 * The server has stopped listening: clients with a parked poll or a WebSocket get everything; one between two polls
 * cannot come back, so its session ends now and reports what it did not get. Returns the fiber that cuts what is left.
 */
export const shutDown = (engine: Engine): Fiber.Fiber<void> => {
  engine.stopped = true
  engine.draining = true
  engine.hurry()
  for (const session of engine.all.values()) release(session)
  // The server is closed when its last connection is: a client that never answers its close must not hold it up.
  return engine.fork(Effect.timeoutOrElse(Effect.andThen(engine.empty, engine.platform.quiet), {
    duration: engine.settings.drainTimeout,
    orElse: () =>
      Effect.sync(() => {
        cut(engine)
        engine.platform.cut()
      })
  }))
}

/** What a handler has opened can be reached no more: its sessions end as on a shutdown. */
export const leave = (engine: Engine, owner: object): void => {
  for (const session of engine.all.values()) if (session.owner === owner) release(session)
}
