/**
 * The heartbeat, as the protocol has it (rules R-H1 to R-H7). In revision 4 the server pings and the client answers; in
 * revision 3 it is the client who pings. Both run in the session's fiber, whatever the transport (R82), and every time is
 * counted from when something arrived, or was due, not from when we came to it, so that lateness does not add up.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { pingTimeout as timedOut } from "../../CloseReason.ts"
import { noop, ping } from "../transport/entry.ts"
import { end } from "./end.ts"
import { push } from "./outgoing.ts"
import { get, isPaused, type Session } from "./session.ts"

/** Ends the session when its client falls silent. */
export const heartbeat = (session: Session): Effect.Effect<void> =>
  session.protocol === 4 ? pingClient(session) : awaitPings(session)

/** Revision 4: a ping so long after the client was last heard, and its pong within `pingTimeout`. */
const pingClient = Effect.fnUntraced(function*(session: Session) {
  const { pulse, server } = session
  const { pingInterval } = server.settings
  while (true) {
    const due = pulse.heardAt + pingInterval
    for (let left = timeTo(session, due); left > 0; left = timeTo(session, due)) yield* server.sleep(left)
    // A pong that nobody asked for begins the interval anew.
    if (pulse.heardAt + pingInterval > due) continue
    const pong = Deferred.makeUnsafe<void>()
    const now = server.now()
    pulse.ping = { sentAt: now, pong }
    // We are so late that the client's time was over before we asked: it has its time from now.
    if (now >= pulse.deadline) pulse.deadline = Math.floor(now) + server.settings.pingTimeout
    if (get(session.state) === "open") sendPing(session)
    if (!(yield* pongInTime(session, pong))) return end(session, timedOut)
  }
})

const sendPing = (session: Session): void => {
  session.pulse.pings++
  push(session, ping)
}

const pongInTime = Effect.fnUntraced(function*(session: Session, pong: Deferred.Deferred<void>) {
  const { pulse } = session
  do {
    const left = timeTo(session, pulse.deadline)
    if (left > 0 && Option.isSome(yield* Effect.timeoutOption(Deferred.await(pong), left))) return true
  } while (mayBeThere(session))
  return false
})

/** Revision 3: a ping of the client every `pingInterval + pingTimeout` at the latest. */
const awaitPings = Effect.fnUntraced(function*(session: Session) {
  const { pulse } = session
  do {
    const left = timeTo(session, pulse.deadline)
    if (left > 0) yield* Effect.sleep(left)
  } while (mayBeThere(session))
  end(session, timedOut)
})

/** In whole milliseconds, since a fraction that the fiber keeps while it sleeps is an object. */
const timeTo = ({ server }: Session, time: number): number => Math.ceil(time - server.now())

/** Whether the client has been silent for too long, although its session does not know yet. */
export const isOverdue = (session: Session): boolean => isLate(session) && !mayBeThere(session)

const isLate = ({ pulse, server }: Session): boolean => server.now() >= pulse.deadline

/**
 * While we do not read from the client, its silence is our doing, and it gets more time: what shows that it lives may wait
 * behind what we did not read. But a client that also takes nothing of what waits for it is gone, although packets of it
 * that came before may still be read.
 */
const mayBeThere = (session: Session): boolean => {
  const { pulse, server } = session
  const { pingInterval, pingTimeout } = server.settings
  const now = Math.floor(server.now())
  if (!isPaused(session) && now - pulse.resumedAt >= pingTimeout) {
    pulse.seenWrites = -1
    return !isLate(session)
  }
  if (Queue.sizeUnsafe(session.outgoing) === 0 || session.writes !== pulse.seenWrites) {
    pulse.seenWrites = session.writes
    pulse.seenAt = now
  } else if (now - pulse.seenAt >= pingInterval + pingTimeout) return false
  if (isLate(session)) pulse.deadline = (isPaused(session) ? now : pulse.resumedAt) + pingTimeout
  // Only by writing do we learn whether anybody is there: a connection whose other end is gone answers with an error.
  if (Queue.sizeUnsafe(session.outgoing) > 0) return true
  if (session.protocol === 4) sendPing(session)
  else push(session, noop)
  return true
}
