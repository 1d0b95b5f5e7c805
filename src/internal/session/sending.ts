/**
 * The fibers that wait for something of a session: room in its send buffer, a flush, or its end.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { CloseReason } from "../../CloseReason.ts"
import { SocketClosed } from "./model.ts"
import type { Entry } from "../transport/outgoing.ts"
import type { Session } from "./session.ts"

/** A fiber that waits. */
interface Waiter {
  resume(effect: Effect.Effect<void, SocketClosed>): void
}

/** Messages that found the buffer full. They stand in a linked list, which any of them leaves without a search. */
interface Sender extends Waiter {
  readonly entries: ReadonlyArray<readonly [entry: Entry, size: number]>
  position: number
  previous: Sender | undefined
  next: Sender | undefined
  isWaiting: boolean
}

/** A fiber that waits until the first `accepted` messages were handed to the network. */
interface Flusher extends Waiter {
  readonly accepted: number
}

export class Sending {
  readonly closed = Deferred.makeUnsafe<CloseReason>()
  private first: Sender | undefined
  private last: Sender | undefined
  /** Whose messages the transport has not taken yet, in order. */
  private readonly flushers = new Set<Flusher>()
  /** Whose messages the transport has, but not the network. */
  private readonly writing = new Set<Flusher>()
  private isAwaitingRoom = false

  /** Whether somebody is ahead: who sends now has to queue behind. */
  get isWaiting(): boolean {
    return this.first !== undefined
  }

  /** Enqueues as room appears. Interrupted, it leaves the rest unsent. */
  enqueue(session: Session, entries: Sender["entries"], position: number): Effect.Effect<void, SocketClosed> {
    return Effect.callback((resume) => {
      const sender: Sender = { entries, position, resume, previous: this.last, next: undefined, isWaiting: true }
      if (this.last === undefined) this.first = sender
      else this.last.next = sender
      this.last = sender
      this.awaitRoom(session)
      return Effect.sync(() => {
        this.remove(sender)
        this.admit(session)
      })
    })
  }

  private remove(sender: Sender): void {
    if (!sender.isWaiting) return
    sender.isWaiting = false
    if (sender.previous === undefined) this.first = sender.next
    else sender.previous.next = sender.next
    if (sender.next === undefined) this.last = sender.previous
    else sender.next.previous = sender.previous
  }

  flushed(session: Session): Effect.Effect<void, SocketClosed> {
    return Effect.callback((resume) => {
      const flusher: Flusher = { accepted: session.outgoing.accepted, resume }
      this.flushers.add(flusher)
      this.onFlushed(session)
      return Effect.sync(() => {
        this.flushers.delete(flusher)
        this.writing.delete(flusher)
      })
    })
  }

  /**
   * What there is no room for may be all on the connection, which says nothing when that is written: then nobody else
   * would let the senders go on.
   */
  private awaitRoom(session: Session): void {
    const { outgoing, transport } = session
    if (this.isAwaitingRoom || !this.isWaiting || outgoing.length > 0 || transport === undefined) return
    this.isAwaitingRoom = true
    transport.whenWritten((written) => {
      this.isAwaitingRoom = false
      // Otherwise the connection died, and the session ends with it.
      if (written) this.onFlushed(session)
    })
  }

  onFlushed(session: Session): void {
    this.admit(session)
    this.awaitRoom(session)
    if (this.flushers.size === 0 || session.transport === undefined) return
    const { taken } = session.outgoing
    const ready: Array<Flusher> = []
    for (const flusher of this.flushers) {
      if (flusher.accepted > taken) break
      ready.push(flusher)
      this.flushers.delete(flusher)
      this.writing.add(flusher)
    }
    if (ready.length === 0) return
    session.transport.whenWritten((written) => {
      // Otherwise the connection died: the session ends with it, in a moment, and then knows why.
      if (written) { for (const flusher of ready) if (this.writing.delete(flusher)) flusher.resume(Effect.void) }
    })
  }

  private admit(session: Session): void {
    const admitted: Array<Sender> = []
    while (this.first !== undefined && session.state === "open") {
      const sender = this.first
      while (sender.position < sender.entries.length) {
        const [entry, size] = sender.entries[sender.position]!
        if (session.isSendFull(size)) break
        session.push(entry, size)
        sender.position++
      }
      if (sender.position < sender.entries.length) break
      this.remove(sender)
      admitted.push(sender)
    }
    for (const sender of admitted) sender.resume(Effect.void)
  }

  /** Nothing more is accepted: whoever waited for room is told. */
  onClosing(reason: CloseReason): void {
    const senders: Array<Sender> = []
    while (this.first !== undefined) {
      senders.push(this.first)
      this.remove(this.first)
    }
    fail(senders, reason)
  }

  onEnd(reason: CloseReason): void {
    const flushers = [...this.writing, ...this.flushers]
    this.writing.clear()
    this.flushers.clear()
    this.onClosing(reason)
    fail(flushers, reason)
    Deferred.doneUnsafe(this.closed, Effect.succeed(reason))
  }
}

/** One error for all: its stack trace is most of what it costs. */
const fail = (waiters: ReadonlyArray<Waiter>, reason: CloseReason): void => {
  if (waiters.length === 0) return
  const closed = Effect.fail(new SocketClosed({ reason }))
  for (const waiter of waiters) waiter.resume(closed)
}
