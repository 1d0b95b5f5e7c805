/**
 * What the functions of `Socket` do with a session of this process.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import { forcedClose } from "../../CloseReason.ts"
import { close } from "./close.ts"
import { isDone } from "./effectFields.ts"
import { end } from "./end.ts"
import { awaitMessage, endIncoming, incomingOf, stopAwaiting } from "./incoming.ts"
import { beginStep, endStep, exhaust, noteClose, noteTaken } from "./life.ts"
import type { Operations, SocketEvent } from "./model.ts"
import { observe } from "./observers.ts"
import { accept, flushed, send } from "./outgoing.ts"
import { bytesWaiting, get, type Session, transportOf } from "./session.ts"

/** One table for all sessions. */
export const operations: Operations = {
  incoming: incomingOf,
  endIncoming,
  take: ({ incoming }: Session) => Queue.takeUnsafe(incoming),
  awaitMessage,
  stopAwaiting: (session: Session, loop) => {
    if (isDone(session.incoming)) exhaust(session)
    else stopAwaiting(session, loop)
  },
  noteTaken,
  beginStep,
  endStep,
  exhaust,
  accept,
  send,
  flushed,
  close: (session: Session, discard) =>
    Effect.sync(() => {
      noteClose(session)
      if (discard) end(session, forcedClose)
      else close(session, forcedClose)
    }),
  closed: ({ closed }: Session) => Deferred.await(closed),
  transport: (session: Session) => Effect.sync(() => transportOf(session)),
  upgraded: (session: Session) => Effect.sync(() => session.upgraded),
  state: ({ state }: Session) => Ref.get(state),
  buffered: (session: Session) =>
    Effect.sync(() => ({ messages: session.queued.messages, bytes: bytesWaiting(session) })),
  rtt: ({ pulse }: Session) => Effect.sync(() => Option.map(Option.fromUndefinedOr(pulse.rtt), Duration.millis)),
  events: (session: Session) => observe<SocketEvent>(session, () => get(session.state) === "closed")
}
