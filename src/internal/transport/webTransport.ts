/**
 * Packets over one WebTransport session: a packet a frame, both ways, on the stream the client opened (rules R85–R88).
 * Revision 4 only.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type CloseReason, parseError, transportClose } from "../../CloseReason.ts"
import { type Message, type Packet, PacketError } from "../../Packet.ts"
import * as revision4 from "../protocol/revision4.ts"
import type { Candidate, Doors, Transport } from "./contract.ts"
import type { Account, Entry } from "./entry.ts"
import { type FrameListener, probing } from "./frameListener.ts"
import type { WebTransportConnection } from "./webTransportConnection.ts"
import { takeFrames, textFrame } from "./webTransportBatch.ts"

/**
 * How long a client that the server takes leave of has for its last pong, in milliseconds, once the stream says that
 * everything has left.
 */
const farewellTimeout = 2_000

export class WebTransportTransport implements Transport, FrameListener {
  readonly name = "webtransport"
  readonly isReachable = true
  readonly isUpgradable = false
  readonly splitsText = false
  readonly requests = undefined
  private readonly connection: WebTransportConnection
  private readonly doors: Doors
  /** Pings written whose pongs have not come. */
  private pings = 0
  private onFarewell: (() => void) | undefined
  private cancelFarewell: (() => void) | undefined
  constructor(connection: WebTransportConnection, doors: Doors) {
    this.connection = connection
    this.doors = doors
    connection.listen(this)
    connection.resume()
  }

  get writable(): boolean {
    return this.connection.writable
  }

  get unsent(): number {
    return this.connection.unsent
  }

  write(out: Queue.Dequeue<Entry>, account: Account): void {
    const { connection } = this
    while (Queue.sizeUnsafe(out) > 0 && connection.writable) {
      const { buffers, pings } = takeFrames(out, account)
      this.pings += pings
      connection.write(buffers)
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

  /**
   * A session that is closed takes with it what its client has not read yet, acknowledged or not. So the last packet is a
   * ping: its pong, on a stream that keeps the order, says that the client has everything.
   */
  get finish(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const { connection } = this
      connection.resume()
      connection.write([textFrame("ping")])
      this.pings++
      this.onFarewell = () => {
        this.close(false)
        resume(Effect.void)
      }
      connection.finish(() => {
        if (this.onFarewell !== undefined) {
          this.cancelFarewell = connection.host.after(farewellTimeout, () => this.onFarewell?.())
        }
      })
    })
  }

  noop(): void {}

  close(_peer: boolean): void {
    this.onFarewell = undefined
    this.cancelFarewell?.()
    this.connection.close()
  }

  onFrame(data: Message, size: number): void {
    const { doors } = this
    if (!doors.observed) {
      if (typeof data === "object") return doors.onMessage(data, size)
      if (data.charCodeAt(0) === 0x34) return doors.onMessage(data.slice(1), size - 1)
    }
    const packet = parseFrame(data)
    if (packet instanceof PacketError) return doors.onClose(parseError(packet))
    if (packet.type === "pong" && this.pings > 0) this.pings--
    doors.onPacket(packet)
    if (packet.type === "close") doors.onClose(transportClose())
    if (this.pings === 0) this.onFarewell?.()
  }

  onTurn(): void {
    this.doors.onTurn()
  }

  onWritable(): void {
    this.doors.onWritable()
  }

  onClose(reason: CloseReason): void {
    this.cancelFarewell?.()
    this.doors.onClose(reason)
  }
}

/** A WebTransport session on which a client probes, before it is its session's transport. */
export const webTransportCandidate = (connection: WebTransportConnection): Candidate => ({
  name: "webtransport",
  start: (host) => {
    connection.listen(probing(host, parseFrame))
    connection.resume()
  },
  send: ({ data, type }) => typeof data === "object" ? undefined : connection.write([textFrame(type, data)]),
  close: () => connection.close(),
  adopt: (doors) => new WebTransportTransport(connection, doors)
})

/** One frame as a packet: bytes are a message, text is any. */
export const parseFrame = (data: Message): Packet | PacketError =>
  typeof data === "object" ? { type: "message", data } : revision4.parseText(data)
