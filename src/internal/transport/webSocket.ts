/**
 * Packets over one WebSocket: a packet a frame, both ways (rules R59, R70–R75).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type CloseReason, parseError, transportClose } from "../../CloseReason.ts"
import { type Message, type Packet, PacketError, type Revision } from "../../Packet.ts"
import * as revision3 from "../protocol/revision3.ts"
import * as revision4 from "../protocol/revision4.ts"
import type { Candidate, Doors, Transport } from "./contract.ts"
import { type FrameListener, ignore, probing } from "./frameListener.ts"
import { type Account, type Entry, take } from "./entry.ts"
import { encodeEntry, type FrameWriter, takeBatch } from "./webSocketBatch.ts"

/** A WebSocket that is open, as the edge provides it. */
export interface WebSocketConnection {
  /** Whoever reads the connection: the candidate of an upgrade first, then the transport. */
  listener: FrameListener
  /** Bytes written that the network has not taken. */
  readonly unsent: number
  /** How frames are written; a connection that compresses makes its frames itself, and has only `writeMessage`. */
  readonly frames: FrameWriter | undefined
  /** Writes one message; `false` means: wait for `onWritable`. */
  writeMessage(data: string | Uint8Array, compress: boolean): boolean
  whenWritten(done: (written: boolean) => void): void
  pause(): void
  resume(): void
  /** Starts the closing handshake, paused or not; the connection bounds the wait for the peer's half. */
  close(code?: number, reason?: string): void
  /** Whether frames may still be written: neither side has begun to close. */
  readonly open: boolean
}

export class WebSocketTransport implements Transport, FrameListener {
  readonly name = "websocket"
  readonly isReachable = true
  readonly isUpgradable = false
  readonly splitsText = false
  readonly requests = undefined
  private readonly connection: WebSocketConnection
  private readonly doors: Doors
  private readonly binary: boolean
  private full = false
  constructor(connection: WebSocketConnection, doors: Doors, binary: boolean) {
    this.connection = connection
    this.doors = doors
    this.binary = binary
    connection.listener = this
  }

  get writable(): boolean {
    return !this.full && this.connection.open
  }

  get unsent(): number {
    return this.connection.unsent
  }

  write(out: Queue.Dequeue<Entry>, account: Account): void {
    const { connection } = this
    const { frames } = connection
    const revision = this.doors.revision
    while (Queue.sizeUnsafe(out) > 0) {
      let more: boolean
      if (frames !== undefined) {
        more = frames.write(takeBatch(out, account, revision, this.binary, frames))
      } else {
        const entry = take(out, account)!
        more = connection.writeMessage(
          encodeEntry(entry, revision, this.binary),
          entry.compress
        )
      }
      if (!more) {
        this.full = true
        return
      }
    }
  }

  whenWritten(done: (written: boolean) => void): void {
    this.connection.whenWritten(done)
  }

  pause(): void {
    this.connection.pause()
  }

  resume(): void {
    this.connection.resume()
  }

  noop(): void {}

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

  onFrame(data: Message, size: number): void {
    const { doors } = this
    if (!doors.observed) {
      if (typeof data === "object") {
        if (doors.revision === 4) return doors.onMessage(data, size)
      } else if (data.charCodeAt(0) === 0x34) {
        return doors.onMessage(data.slice(1), size - 1)
      }
    }
    const packet = parseFrame(data, doors.revision)
    if (packet === undefined) return
    if (packet instanceof PacketError) return doors.onClose(parseError(packet))
    doors.onPacket(packet)
    if (packet.type === "close") doors.onClose(transportClose())
  }

  onTurn(): void {
    this.doors.onTurn()
  }

  onWritable(): void {
    this.full = false
    this.doors.onWritable()
  }

  onClose(reason: CloseReason): void {
    this.doors.onClose(reason)
  }
}

/** A WebSocket on which a client probes, before it is its session's transport. */
export const webSocketCandidate = (connection: WebSocketConnection, binary: boolean): Candidate => ({
  name: "websocket",
  start: (host) => {
    connection.listener = probing(host, parseFrame)
  },
  send: ({ data, type }) => void connection.writeMessage(revision4.encodeText(type, data), false),
  close: () => {
    connection.listener = ignore
    connection.close()
  },
  adopt: (doors) => new WebSocketTransport(connection, doors, binary)
})

/** One frame as a packet; `undefined` for what revision 3 ignores: bytes of an unknown type (rule R64). */
export const parseFrame = (data: Message, revision: Revision): Packet | PacketError | undefined => {
  if (typeof data === "string") return (revision === 4 ? revision4 : revision3).parseText(data)
  if (revision === 4) return { type: "message", data }
  const packet = revision3.parseOwnBinary(data)
  return packet instanceof PacketError ? undefined : packet
}
