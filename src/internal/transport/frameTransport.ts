/**
 * Packets over a connection that carries frames: a packet a frame, both ways (rules R59, R85).
 */
import type * as Effect from "effect/Effect"
import type * as Queue from "effect/Queue"
import { type CloseReason, parseError, transportClose } from "../../CloseReason.ts"
import { type Message, type Packet, PacketError, type Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import * as revision3 from "../protocol/revision3.ts"
import * as revision4 from "../protocol/revision4.ts"
import type { CandidateHost, Doors, Transport } from "./contract.ts"
import type { Account, Entry } from "./entry.ts"

/** What a connection reports to whoever reads it: the candidate of an upgrade first, then the transport. */
export interface FrameListener {
  /** A frame, and its size in bytes; its bytes are the listener's. */
  onFrame(data: Message, size: number): void
  /** All frames that arrived together were reported. */
  onTurn(): void
  onWritable(): void
  onClose(reason: CloseReason): void
}

/** A connection that carries frames, as far as both kinds are alike. */
export interface FrameConnection {
  /** Bytes written that the network has not taken. */
  readonly unsent: number
  whenWritten(done: (written: boolean) => void): void
  pause(): void
  resume(): void
}

/** What WebSocket and WebTransport have in common. */
export abstract class FrameTransport<Connection extends FrameConnection> implements Transport, FrameListener {
  abstract readonly name: TransportType
  readonly isReachable = true
  readonly isUpgradable = false
  readonly splitsText = false
  readonly requests = undefined
  protected readonly connection: Connection
  protected readonly doors: Doors
  constructor(connection: Connection, doors: Doors) {
    this.connection = connection
    this.doors = doors
  }

  abstract get writable(): boolean
  abstract get finish(): Effect.Effect<void>
  abstract write(out: Queue.Dequeue<Entry>, account: Account): void
  abstract close(peer: boolean): void

  get unsent(): number {
    return this.connection.unsent
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
    this.onPacket(packet)
  }

  protected onPacket(packet: Packet): void {
    this.doors.onPacket(packet)
    if (packet.type === "close") this.doors.onClose(transportClose())
  }

  onTurn(): void {
    this.doors.onTurn()
  }

  onWritable(): void {
    this.doors.onWritable()
  }

  onClose(reason: CloseReason): void {
    this.doors.onClose(reason)
  }
}

/** For a connection nobody listens to any more: what still arrives from a discarded transport is dropped (rule R84). */
export const ignore: FrameListener = {
  onFrame: () => {},
  onTurn: () => {},
  onWritable: () => {},
  onClose: () => {}
}

/** For a connection on which a client probes. */
export const probing = (host: CandidateHost): FrameListener => ({
  ...ignore,
  // What a session's transport would ignore is no packet of an upgrade either (rule R79).
  onFrame: (data) => host.onPacket(parseFrame(data, host.revision) ?? new PacketError({ reason: "UnknownType" })),
  onClose: () => host.onClose()
})

/** One frame as a packet; `undefined` for what revision 3 ignores: bytes of an unknown type (rule R64). */
export const parseFrame = (data: Message, revision: Revision): Packet | PacketError | undefined => {
  if (typeof data === "string") return (revision === 4 ? revision4 : revision3).parseText(data)
  if (revision === 4) return { type: "message", data }
  const packet = revision3.parseOwnBinary(data)
  return packet instanceof PacketError ? undefined : packet
}
