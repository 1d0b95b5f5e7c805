/**
 * A WebSocket whose two ends are in the same program. What the server writes waits in a queue until the client takes it.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { PayloadTooLarge, transportClose, transportError } from "../../CloseReason.ts"
import type { Message } from "../../Packet.ts"
import { copyOf, sizeOf } from "../protocol/bytes.ts"
import { type FrameListener, ignore } from "../transport/frameTransport.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"

/** How much a network takes of a client that does not read, in bytes. */
const networkBuffer = 64 * 1024

export class MemoryWebSocket implements WebSocketConnection {
  listener: FrameListener = ignore
  open = true
  unsent = 0
  /** What the client reads are messages, as if somebody had taken them out of their frames. */
  readonly frames = undefined
  /** What the client has not taken yet; ends when the connection is closed. */
  readonly outgoing: Queue.Queue<Message, Cause.Done>
  private readonly maxPayload: number
  private readonly defer: (f: () => void) => void
  private isPaused = false
  private unread: Array<Message> = []
  private waiting: Array<(written: boolean) => void> = []
  private constructor(
    outgoing: Queue.Queue<Message, Cause.Done>,
    maxPayload: number,
    defer: (f: () => void) => void
  ) {
    this.outgoing = outgoing
    this.maxPayload = maxPayload
    this.defer = defer
  }

  static make(maxPayload: number, defer: (f: () => void) => void): Effect.Effect<MemoryWebSocket> {
    return Effect.map(
      Queue.unbounded<Message, Cause.Done>(),
      (outgoing) => new MemoryWebSocket(outgoing, maxPayload, defer)
    )
  }

  // --- the server's end ----------------------------------------------------------------------------------------------

  writeMessage(data: Message): boolean {
    if (!this.open) return true
    this.unsent += sizeOf(data)
    Queue.offerUnsafe(this.outgoing, typeof data === "string" ? data : copyOf(data, 0))
    return this.unsent < networkBuffer
  }

  whenWritten(done: (written: boolean) => void): void {
    if (this.unsent === 0) done(true)
    else if (!this.open) done(false)
    else this.waiting.push(done)
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    this.defer(() => this.read())
  }

  close(): void {
    if (!this.open) return
    this.open = false
    this.unread = []
    Queue.endUnsafe(this.outgoing)
    for (const done of this.waiting.splice(0)) done(false)
  }

  private read(): void {
    const { listener } = this
    while (this.unread.length > 0 && !this.isPaused) {
      const data = this.unread.shift()!
      if (sizeOf(data) > this.maxPayload) {
        this.close()
        return listener.onClose(transportError(new PayloadTooLarge({ limit: this.maxPayload })))
      }
      this.listener.onFrame(typeof data === "string" ? data : copyOf(data, 0), sizeOf(data))
    }
    this.listener.onTurn()
  }

  // --- the client's end ----------------------------------------------------------------------------------------------

  /** Sends frames that arrive together. */
  say(frames: ReadonlyArray<Message>): void {
    if (!this.open) return
    this.unread.push(...frames)
    this.read()
  }

  /** A frame was taken from the queue, and read. */
  taken(data: Message): void {
    this.unsent -= sizeOf(data)
    if (this.unsent > 0) return
    for (const done of this.waiting.splice(0)) done(true)
    this.listener.onWritable()
  }

  /** Closes the connection, or loses it: the server cannot tell. */
  leave(): void {
    const { listener } = this
    if (!this.open) return
    this.close()
    listener.onClose(transportClose())
  }
}
