/**
 * The orderly end of a session: what was accepted is delivered, the client is told, and then it ends (rules R-C3 to R-C6).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { CloseReason } from "../../CloseReason.ts"
import { end, refuseSenders } from "./end.ts"
import * as incoming from "./incoming.ts"
import { flush, progress } from "./outgoing.ts"
import { fork, get, type Session, set } from "./session.ts"

/** Ends a session after what it accepted is delivered, or after `closeTimeout`. */
export const close = (session: Session, reason: CloseReason): void => {
  const state = get(session.state)
  if (state === "closing" || state === "closed") return
  session.reason ??= reason
  // Closed by the factory: what it sent is delivered once there is a transport.
  if (state === "opening") return
  set(session.state, "closing")
  refuseSenders(session)
  // What arrives from now on is dropped (rule R63), so nobody has to wait for the application.
  incoming.proceed(session)
  fork(session, deliver(session))
}

const deliver = Effect.fnUntraced(function*(session: Session) {
  flush(session)
  while (get(session.state) === "closing") {
    const transport = get(session.transport)
    if (Queue.sizeUnsafe(session.outgoing) > 0) {
      yield* progress(session)
    } else {
      yield* transport.finish
      // The client may have moved to another transport before it was told.
      if (transport === get(session.transport)) return
    }
  }
}, (delivered, session) =>
  Effect.map(
    Effect.timeoutOption(delivered, session.server.settings.closeTimeout),
    () => end(session, session.reason!)
  ))
