/**
 * Packets over one WebSocket: a packet a frame, both ways (rules R59, R70–R75).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as revision4 from "../protocol/revision4.ts"
import type { Candidate, Doors } from "./contract.ts"
import { type Account, type Entry, take } from "./entry.ts"
import { type FrameConnection, type FrameListener, FrameTransport, ignore, probing } from "./frameTransport.ts"
import { encodeEntry, type FrameWriter, takeBatch } from "./webSocketBatch.ts"

/** A WebSocket that is open, as the edge provides it. */
export interface WebSocketConnection extends FrameConnection {
  /** Whoever reads the connection: the candidate of an upgrade first, then the transport. */
  listener: FrameListener
  /** How frames are written; a connection that compresses makes its frames itself, and has only `writeMessage`. */
  readonly frames: FrameWriter | undefined
  /** Writes one message; `false` means: wait for `onWritable`. */
  writeMessage(data: string | Uint8Array, compress: boolean): boolean
  /** Starts the closing handshake, paused or not; the connection bounds the wait for the peer's half. */
  close(code?: number, reason?: string): void
  /** Whether frames may still be written: neither side has begun to close. */
  readonly open: boolean
}

export class WebSocketTransport extends FrameTransport<WebSocketConnection> {
  readonly name = "websocket"
  private readonly binary: boolean
  private full = false
  constructor(connection: WebSocketConnection, doors: Doors, binary: boolean) {
    super(connection, doors)
    this.binary = binary
    connection.listener = this
  }

  get writable(): boolean {
    return !this.full && this.connection.open
  }

  write(out: Queue.Dequeue<Entry>, account: Account): void {
    const { binary, connection, doors: { revision } } = this
    const { frames } = connection
    while (Queue.sizeUnsafe(out) > 0 && !this.full) {
      if (frames !== undefined) {
        this.full = !frames.write(takeBatch(out, account, revision, binary, frames))
      } else {
        const entry = take(out, account)!
        this.full = !connection.writeMessage(encodeEntry(entry, revision, binary), entry.compress)
      }
    }
  }

  get finish(): Effect.Effect<void> {
    return Effect.callback((resume) =>
      this.connection.whenWritten(() => {
        this.connection.close()
        resume(Effect.void)
      })
    )
  }

  close(_peer: boolean): void {
    this.connection.listener = ignore
    this.connection.close()
  }

  override onWritable(): void {
    this.full = false
    super.onWritable()
  }
}

/** A WebSocket on which a client probes, before it is its session's transport. */
export const webSocketCandidate = (connection: WebSocketConnection, binary: boolean): Candidate => ({
  name: "websocket",
  start: (host) => {
    connection.listener = probing(host)
  },
  send: ({ data, type }) => void connection.writeMessage(revision4.encodeText(type, data), false),
  close: () => {
    connection.listener = ignore
    connection.close()
  },
  adopt: (doors) => new WebSocketTransport(connection, doors, binary)
})
