/**
 * The fibers that wait for something of a session: room in its send buffer, a flush, or its end.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { CloseReason } from "../../CloseReason.ts"
import { SocketClosed } from "./model.ts"
import type { Entry } from "../transport/outgoing.ts"
import type { Session } from "./session.ts"

/** Messages that found the buffer full. */
interface Sender {
  readonly entries: ReadonlyArray<readonly [entry: Entry, size: number]>
  position: number
  resume(effect: Effect.Effect<void, SocketClosed>): void
}

/** A fiber that waits until the first `accepted` messages were handed to the network. */
interface Flusher {
  readonly accepted: number
  resume(effect: Effect.Effect<void, SocketClosed>): void
}

export class Sending {
  readonly closed = Deferred.makeUnsafe<CloseReason>()
  private senders: Array<Sender> = []
  private flushers: Array<Flusher> = []
  private isAwaitingRoom = false

  /** Whether somebody is ahead: who sends now has to queue behind. */
  get isWaiting(): boolean {
    return this.senders.length > 0
  }

  /** Enqueues as room appears. Interrupted, it leaves the rest unsent. */
  enqueue(session: Session, entries: Sender["entries"], position: number): Effect.Effect<void, SocketClosed> {
    return Effect.callback((resume) => {
      const sender: Sender = { entries, position, resume }
      this.senders.push(sender)
      this.awaitRoom(session)
      return Effect.sync(() => {
        this.senders = this.senders.filter((other) => other !== sender)
        this.admit(session)
      })
    })
  }

  flushed(session: Session): Effect.Effect<void, SocketClosed> {
    return Effect.callback((resume) => {
      const flusher: Flusher = { accepted: session.outgoing.accepted, resume }
      this.flushers.push(flusher)
      this.onFlushed(session)
      return Effect.sync(() => {
        this.flushers = this.flushers.filter((other) => other !== flusher)
      })
    })
  }

  /**
   * What there is no room for may be all on the connection, which says nothing when that is written: then nobody else
   * would let the senders go on.
   */
  private awaitRoom(session: Session): void {
    const { outgoing, transport } = session
    if (this.isAwaitingRoom || this.senders.length === 0 || outgoing.length > 0 || transport === undefined) return
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
    if (this.flushers.length === 0 || session.transport === undefined) return
    const { taken } = session.outgoing
    const ready = this.flushers.filter((flusher) => flusher.accepted <= taken)
    if (ready.length === 0) return
    this.flushers = this.flushers.filter((flusher) => flusher.accepted > taken)
    session.transport.whenWritten((written) => {
      if (written) { for (const flusher of ready) flusher.resume(Effect.void) }
      // The connection died; the session has ended with it, or will in a moment and then knows why.
      else if (session.state !== "closed") this.flushers.push(...ready)
      else for (const flusher of ready) flusher.resume(Effect.fail(new SocketClosed({ reason: session.reason! })))
    })
  }

  private admit(session: Session): void {
    const admitted: Array<Sender> = []
    while (this.senders.length > 0 && session.state === "open") {
      const sender = this.senders[0]!
      while (sender.position < sender.entries.length) {
        const [entry, size] = sender.entries[sender.position]!
        if (session.isSendFull(size)) break
        session.push(entry, size)
        sender.position++
      }
      if (sender.position < sender.entries.length) break
      this.senders.shift()
      admitted.push(sender)
    }
    for (const sender of admitted) sender.resume(Effect.void)
  }

  /** Nothing more is accepted: whoever waited for room is told. */
  onClosing(reason: CloseReason): void {
    this.failSenders(reason)
  }

  onEnd(reason: CloseReason): void {
    const flushers = this.flushers
    this.flushers = []
    this.failSenders(reason)
    for (const flusher of flushers) flusher.resume(Effect.fail(new SocketClosed({ reason })))
    Deferred.doneUnsafe(this.closed, Effect.succeed(reason))
  }

  private failSenders(reason: CloseReason): void {
    const senders = this.senders
    this.senders = []
    for (const sender of senders) sender.resume(Effect.fail(new SocketClosed({ reason })))
  }
}
