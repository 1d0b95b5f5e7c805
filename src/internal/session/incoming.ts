/**
 * The way in: what arrives goes into the session's queue, and the application takes it from there, by whatever function
 * of `Queue` it likes. What it has not taken is limited by `receiveBuffer`; beyond it the transport stops reading, until
 * the message that found no room is in.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Message } from "../../Packet.ts"
import { sizeOf } from "../protocol/bytes.ts"
import { addTaker, capacityOf, contentsOf, isDone, letWait, removeTaker, setCapacity } from "./effectFields.ts"
import { type Loop, SocketClosed } from "./model.ts"
import { extend } from "./pulse.ts"
import { fork, get, type Session } from "./session.ts"

/** What a message costs beside its bytes: the object, and its place in the queue. */
const overhead = 256

/** Puts a message of `length` bytes into the queue, or has it wait for room. */
export const receive = (session: Session, message: Message, length: number): void => {
  const size = length + overhead
  if (session.held !== undefined) return holdInstead(session, message, size)
  const { incoming, server: { settings: { receiveBuffer } } } = session
  const waiting = Queue.sizeUnsafe(incoming)
  session.receivedBytes = waiting === 0 ? size : session.receivedBytes + size
  if (waiting >= receiveBuffer.messages || (waiting > 0 && session.receivedBytes > receiveBuffer.bytes)) {
    const capacity = roomFor(session, size)
    if (capacity <= waiting) return hold(session, message, capacity)
  }
  Queue.offerUnsafe(incoming, message)
}

/**
 * The queue, for whoever may wait in it. In most sessions only one loop waits, and beside the queue: so the queue gets
 * sets of waiters of its own when it is first asked for (see `effectFields.ts`).
 */
export const incomingOf = (session: Session): Queue.Queue<Message, SocketClosed> => letWait(session.incoming)

/** Has a loop wait for messages. */
export const awaitMessage = (session: Session, loop: Loop): void => {
  const { incoming } = session
  // Its fiber may have let others run since it looked.
  if (isDone(incoming) || Queue.sizeUnsafe(incoming) > 0) loop.resume(Effect.void)
  else if (session.loop === undefined) session.loop = loop
  else addTaker(incoming, loop)
}

export const stopAwaiting = (session: Session, loop: Loop): void => {
  if (session.loop === loop) session.loop = undefined
  else removeTaker(session.incoming, loop)
}

/** Wakes whoever waits for a message: once for all that arrived together, in the same turn of the event loop. */
export const wake = (session: Session): void => {
  const { loop } = session
  session.loop = undefined
  loop?.resume(Effect.void)
  Queue.flushUnsafe(session.incoming)
}

/**
 * The capacity at which the queue takes a message of `size` bytes when there is room for it, and not before: when at most
 * three quarters of `receiveBuffer` are in use. Takers do not say what they took, so the sizes of what waits are added up
 * here, once for every quarter of `receiveBuffer` that came in.
 */
const roomFor = (session: Session, size: number): number => {
  const { incoming, server: { settings: { receiveBuffer } } } = session
  const sizes = contentsOf(incoming).map(spaceOf)
  let bytes = sizes.reduce((sum, size) => sum + size, size)
  session.receivedBytes = bytes
  const most = { messages: Math.ceil(receiveBuffer.messages * 0.75), bytes: receiveBuffer.bytes * 0.75 }
  let taken = Math.max(0, sizes.length + 1 - most.messages)
  for (let index = 0; index < sizes.length && (index < taken || bytes > most.bytes); index++) {
    bytes -= sizes[index]!
    taken = Math.max(taken, index + 1)
  }
  // An empty queue takes one message of any size.
  return sizes.length - Math.min(taken, sizes.length) + 1
}

const spaceOf = (message: Message): number => overhead + sizeOf(message)

const hold = (session: Session, message: Message, capacity: number): void => {
  get(session.transport).pause()
  setCapacity(session.incoming, capacity)
  const offer = fork(session, Effect.map(Queue.offer(incomingOf(session), message), () => readOn(session)))
  session.held = { message, offer }
}

/**
 * The transport gives a message although the one before still waits: that one goes in, and this one waits in its place,
 * at the same capacity, so that the queue is not looked through for every message that a connection left behind.
 */
const holdInstead = (session: Session, message: Message, size: number): void => {
  const capacity = capacityOf(session.incoming)
  letIn(session)
  session.receivedBytes += size
  hold(session, message, capacity)
}

/** There was room: the transport reads on. */
const readOn = (session: Session): void => {
  session.held = undefined
  setCapacity(session.incoming, Infinity)
  if (get(session.state) === "closed") return
  session.pulse.resumedAt = Math.floor(session.server.now())
  get(session.transport).resume()
}

/** Reads on, whether there is room or not. */
export const proceed = (session: Session): void => {
  if (session.held === undefined) return
  letIn(session)
  extend(session)
  get(session.transport).resume()
}

/** Lets the message in that waits for room. */
const letIn = (session: Session): void => {
  const { message, offer } = session.held!
  session.held = undefined
  offer.interruptUnsafe()
  setCapacity(session.incoming, Infinity)
  Queue.offerUnsafe(session.incoming, message)
}

/** Nothing more will come: whoever takes gets what is there, and then fails. */
export const endIncoming = (session: Session): void => {
  if (session.held !== undefined) letIn(session)
  Queue.failCauseUnsafe(session.incoming, Cause.fail(closedError(session)))
  wake(session)
}

/** What senders and receivers fail with after the end. Without a stack, which says nothing and takes ten times as long. */
export const closedError = (session: Session): SocketClosed => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const error = new SocketClosed({ reason: session.reason! })
  Error.stackTraceLimit = stackTraceLimit
  return error
}
