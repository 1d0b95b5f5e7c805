/**
 * The end of a session: the one way out, whatever led to it. The first cause wins.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import { type CloseReason, serverShutdown } from "../../CloseReason.ts"
import * as incoming from "./incoming.ts"
import { end as endObservers } from "./observers.ts"
import { get, publish, type Session, set } from "./session.ts"

/** Ends a session now: decides the reason, leaves the registry, and then tells everybody. */
export const end = (session: Session, cause: CloseReason): void => {
  if (get(session.state) === "closed") return
  const { outgoing, queued, server } = session
  // What the connection still holds is lost with it; how much of that the client had, nobody knows.
  const unsent = get(session.transport).unsent > 0 ? session.unsent : 0
  const reason = decide(session.reason, cause, queued.messages + unsent)
  while (Queue.takeUnsafe(outgoing) !== undefined) { /* dropped */ }
  queued.messages = queued.bytes = 0
  // Until its stack is read, or set, an error keeps what was at work: the request, its answer, their connection.
  if (cause._tag === "TransportError" || cause._tag === "ParseError") cause.error.stack = String(cause.error)
  session.reason = reason
  set(session.state, "closed")
  server.onEnd(session, reason)
  server.scheduler.settle(session)
}

const decide = (known: CloseReason | undefined, cause: CloseReason, undelivered: number): CloseReason => {
  // A client that does not even take its close any more has timed out (rule R-H6).
  const reason = known === undefined || (known._tag === "ForcedClose" && cause._tag === "PingTimeout") ? cause : known
  return reason._tag === "ServerShutdown" ? serverShutdown(undelivered) : reason
}

/** Tells everybody of the end. That may end other sessions, so the server settles one at a time. */
export const settle = (session: Session): void => {
  const reason = session.reason!
  try {
    get(session.transport).close(reason._tag === "TransportClose")
  } finally {
    publish(session, { _tag: "Closed", reason })
    if (session.observers !== undefined) endObservers(session.observers)
    session.upgrade?.interruptUnsafe()
    refuseSenders(session)
    Deferred.doneUnsafe(session.closed, Exit.succeed(reason))
    signal(session)
    incoming.endIncoming(session)
    // Then comes what is left to do: see `takeLeave`.
    session.fiber?.interruptUnsafe()
  }
}

/** Nothing more is accepted: whoever waited for room is told. */
export const refuseSenders = (session: Session): void => {
  if (session.line !== undefined) Queue.shutdownUnsafe(session.line)
}

/** Wakes whoever waits for the session's packets to move on. */
export const signal = (session: Session): void => {
  const { progress } = session
  session.progress = undefined
  if (progress !== undefined) Deferred.doneUnsafe(progress, Exit.void)
}
