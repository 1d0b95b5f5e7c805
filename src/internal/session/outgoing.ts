/**
 * The way out: what is sent goes into the session's queue, and the transport takes from it all it can, once a turn of the
 * event loop. What waits is limited by `sendBuffer`; beyond it senders wait in line.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import { transportError, WriteFailed } from "../../CloseReason.ts"
import type { Packet } from "../../Packet.ts"
import { hasSeparator } from "../protocol/revision4.ts"
import { type Entry, put } from "../transport/entry.ts"
import { contentsOf, firstOffered } from "./effectFields.ts"
import { end, signal } from "./end.ts"
import { closedError } from "./incoming.ts"
import { type Acceptance, InvalidMessage, type SocketClosed, type SocketEvent } from "./model.ts"
import { fork, get, publish, type Session } from "./session.ts"

// ---------------------------------------------------------------------------------------------------------------------
// accepting
// ---------------------------------------------------------------------------------------------------------------------

/** Accepts a message if there is room and nobody waits before it: for `send`, `offer` and `broadcast` alike. */
export const accept = (session: Session, entry: Entry): Acceptance =>
  refusalOf(session, entry) ??
    (session.line !== undefined || isFull(session, entry.size) ? "Full" : push(session, entry))

/** Accepts a message whether there is room or not, for a sender that can neither wait nor do without it. */
export const force = (session: Session, entry: Entry): Acceptance => refusalOf(session, entry) ?? push(session, entry)

const refusalOf = (session: Session, entry: Entry): "Closed" | "Invalid" | undefined => {
  if (!isAccepting(session)) return "Closed"
  return get(session.transport).splitsText && session.protocol === 4 && hasSeparator(entry.data) ? "Invalid" : undefined
}

const isAccepting = ({ reason, state }: Session): boolean =>
  // A session that its function closes while it opens has a reason already.
  get(state) === "open" || (get(state) === "opening" && reason === undefined)

/** Whether a message of `size` bytes has to wait. An empty buffer takes one of any size. */
export const isFull = ({ queued, server: { settings: { sendBuffer } }, transport }: Session, size: number): boolean => {
  const { unsent } = get(transport)
  return (queued.messages > 0 || unsent > 0) &&
    (queued.messages >= sendBuffer.messages || queued.bytes + unsent + size > sendBuffer.bytes)
}

/** Sends messages one behind the other; waits until all are accepted. */
export const send = (
  session: Session,
  entries: ReadonlyArray<Entry>
): Effect.Effect<void, SocketClosed | InvalidMessage> =>
  Effect.suspend(() => {
    for (const entry of entries) {
      const refusal = refusalOf(session, entry)
      if (refusal === "Closed") return Effect.fail(closedError(session))
      if (refusal === "Invalid") return Effect.fail(new InvalidMessage({ id: session.id }))
    }
    let sent = 0
    while (sent < entries.length && accept(session, entries[sent]!) === "Accepted") sent++
    return sent === entries.length ? Effect.void : waitInLine(session, entries.slice(sent))
  })

// ---------------------------------------------------------------------------------------------------------------------
// waiting
// ---------------------------------------------------------------------------------------------------------------------

/** Interrupted, it leaves unsent what was not accepted yet. */
const waitInLine = Effect.fnUntraced(function*(
  session: Session,
  entries: ReadonlyArray<Entry>
): Effect.fn.Return<void, SocketClosed | InvalidMessage> {
  // The sender's fiber may have let others run before it came here.
  if (!isAccepting(session)) return yield* Effect.fail(closedError(session))
  if (session.line === undefined) fork(session, serveLine(session))
  const left = yield* Queue.offerAll(session.line!, entries)
  // The line was closed: with the session, or because nobody stood in it.
  if (left.length > 0) yield* send(session, left)
})

/** Opens a line, and lets those in it in as room appears, until nobody waits. */
const serveLine = Effect.fnUntraced(function*(session: Session) {
  // A queue without capacity is a line: who offers waits until somebody takes.
  const line = session.line = yield* Queue.bounded<Entry>(0)
  // The first joins it a moment later.
  yield* Effect.yieldNow
  for (let next = firstOffered(line); next !== undefined; next = firstOffered(line)) {
    if (!isFull(session, next.size)) {
      // First, since its sender then goes on, and may wait for the flush or close the session.
      push(session, next)
      Queue.takeUnsafe(line)
    } else if (Queue.sizeUnsafe(session.outgoing) > 0 || !(yield* written(session))) {
      yield* progress(session)
    }
  }
  session.line = undefined
  Queue.shutdownUnsafe(line)
})

/**
 * Waits until all that a transport was given has left for the network; false if its connection died first. A transport
 * takes no question back, so those who ask before it is given more share one.
 */
const written = (session: Session): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { departure, writes } = session
    if (departure?.writes === writes) return Deferred.await(departure.written)
    const written = Deferred.makeUnsafe<boolean>()
    session.departure = { writes, written }
    get(session.transport).whenWritten((isWritten) => {
      // What is unsent later may be no message, and then there is a new answer although nothing new was written.
      if (session.departure?.written === written) session.departure = undefined
      Deferred.doneUnsafe(written, Exit.succeed(isWritten))
    })
    return Deferred.await(written)
  })

/** Waits for the next flush, or the end. */
export const progress = (session: Session): Effect.Effect<void> =>
  Effect.suspend(() => Deferred.await(session.progress ??= Deferred.makeUnsafe()))

/** Waits until everything accepted so far was handed to the network. */
export const flushed = (session: Session): Effect.Effect<void, SocketClosed> =>
  Effect.suspend(() => {
    const { accepted } = session.queued
    // We may be waiting for the very packet that tells the client of the end: that counts as flushed.
    const closed = Effect.andThen(
      Effect.andThen(Deferred.await(session.closed), Effect.yieldNow),
      Effect.suspend(() => Effect.fail(closedError(session)))
    )
    const done = Effect.gen(function*() {
      while (session.queued.taken < accepted || get(session.state) === "opening" || !(yield* written(session))) {
        yield* progress(session)
      }
    })
    return Effect.raceFirst(closed, done)
  })

// ---------------------------------------------------------------------------------------------------------------------
// moving on
// ---------------------------------------------------------------------------------------------------------------------

/** Puts a packet into the queue, and has it flushed at the end of this turn. */
export const push = (session: Session, entry: Entry): "Accepted" => {
  if (session.observers !== undefined) publish(session, { _tag: "PacketCreated", packet: toPacket(entry) })
  put(session.outgoing, session.queued, entry)
  if (!session.scheduled && get(session.state) !== "opening") {
    session.scheduled = true
    session.server.scheduler.schedule(session)
  }
  return "Accepted"
}

/** Gives the transport all it can take. */
export const flush = (session: Session): void => {
  session.scheduled = false
  if (get(session.state) === "closed") return
  const { outgoing, queued, server } = session
  const transport = get(session.transport)
  if (Queue.sizeUnsafe(outgoing) > 0 && transport.writable) {
    const { bytes, messages } = queued
    const waiting = session.observers === undefined ? undefined : contentsOf(outgoing)
    if (transport.unsent === 0) session.unsent = 0
    try {
      transport.write(outgoing, queued)
    } catch (cause) {
      return end(session, transportError(new WriteFailed({ cause })))
    }
    session.unsent += messages - queued.messages
    session.writes++
    server.metrics.sent(transport.name, messages - queued.messages, bytes - queued.bytes)
    if (waiting !== undefined) {
      const taken = waiting.slice(0, waiting.length - Queue.sizeUnsafe(outgoing))
      publish(session, { _tag: "Flushed", packets: taken.map(toPacket) })
    }
    if (Queue.sizeUnsafe(outgoing) === 0) publish(session, drained)
  }
  signal(session)
}

const drained: SocketEvent = { _tag: "Drained" }

const toPacket = ({ data, type }: Entry): Packet => data === undefined ? { type } : { type, data }
