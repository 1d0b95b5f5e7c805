/**
 * Packets over one WebTransport session: a packet a frame, both ways, on the stream the client opened (rules R85–R88).
 * Revision 4 only.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { CloseReason } from "../../CloseReason.ts"
import type { Packet } from "../../Packet.ts"
import type { Candidate, Doors } from "./contract.ts"
import type { Account, Entry } from "./entry.ts"
import { FrameTransport, probing } from "./frameTransport.ts"
import { takeFrames, textFrame } from "./webTransportBatch.ts"
import type { WebTransportConnection } from "./webTransportConnection.ts"

/**
 * How long a client that the server takes leave of has for its last pong, in milliseconds, once the stream says that
 * everything has left.
 */
const farewellTimeout = 2_000

export class WebTransportTransport extends FrameTransport<WebTransportConnection> {
  readonly name = "webtransport"
  /** The pongs that are still to come once the server takes its leave. */
  private pongs = 0
  private onFarewell: (() => void) | undefined
  private cancelFarewell: (() => void) | undefined
  constructor(connection: WebTransportConnection, doors: Doors) {
    super(connection, doors)
    connection.listen(this)
    connection.resume()
  }

  get writable(): boolean {
    return this.connection.writable
  }

  write(out: Queue.Dequeue<Entry>, account: Account): void {
    const { connection } = this
    while (Queue.sizeUnsafe(out) > 0 && connection.writable) connection.write(takeFrames(out, account))
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
      this.pongs = this.doors.pingsOut + 1
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

  close(_peer: boolean): void {
    this.onFarewell = undefined
    this.cancelFarewell?.()
    this.connection.close()
  }

  protected override onPacket(packet: Packet): void {
    super.onPacket(packet)
    if (packet.type === "pong" && --this.pongs === 0) this.onFarewell?.()
  }

  override onClose(reason: CloseReason): void {
    this.cancelFarewell?.()
    super.onClose(reason)
  }
}

/** A WebTransport session on which a client probes, before it is its session's transport. */
export const webTransportCandidate = (connection: WebTransportConnection): Candidate => ({
  name: "webtransport",
  start: (host) => {
    connection.listen(probing(host))
    connection.resume()
  },
  send: ({ data, type }) => typeof data === "object" ? undefined : connection.write([textFrame(type, data)]),
  close: () => connection.close(),
  adopt: (doors) => new WebTransportTransport(connection, doors)
})
