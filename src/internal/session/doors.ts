/**
 * The doors of a session: what its transport reports to it, and what follows from that (rules R62, R63, R91).
 */
import * as Queue from "effect/Queue"
import { type CloseReason, InvalidHeartbeat, transportError, type WriteFailed } from "../../CloseReason.ts"
import type { Message, Packet, Revision } from "../../Packet.ts"
import { sizeOf } from "../protocol/bytes.ts"
import type { BodyWaiter, Deadline, PollingDoors } from "../transport/contract.ts"
import { pong } from "../transport/entry.ts"
import { end } from "./end.ts"
import * as incoming from "./incoming.ts"
import { flush, push } from "./outgoing.ts"
import { extend, hear } from "./pulse.ts"
import { get, publish, type Session, transportOf } from "./session.ts"

/** How many pongs may wait for a client of revision 3: one that never takes them must not fill our memory. */
const mostPongs = 1_000

/** What a transport of a session reports to. */
export class SessionDoors implements PollingDoors {
  private readonly session: Session
  constructor(session: Session) {
    this.session = session
  }

  get revision(): Revision {
    return this.session.protocol
  }

  get closing(): boolean {
    return get(this.session.state) === "closing" && !this.session.tellsEndApart
  }

  get pingsOut(): number {
    const { outgoing, pulse, queued } = this.session
    return pulse.pings - (Queue.sizeUnsafe(outgoing) - queued.messages)
  }

  get observed(): boolean {
    return this.session.observers !== undefined
  }

  onMessage(message: Message, size: number): void {
    const { session } = this
    const { server } = session
    if (get(session.state) !== "open") return
    server.metrics.received(transportOf(session), size)
    if (server.settings.anyPacketIsAlive) extend(session)
    incoming.receive(session, message, size)
  }

  onPacket(packet: Packet): void {
    const { session } = this
    const isHeartbeat = packet.type === (session.protocol === 4 ? "pong" : "ping")
    // Before the session is open, and while it closes, what arrives is dropped (rule R63), but shows that the client lives.
    if (get(session.state) !== "open") return isHeartbeat ? hear(session) : undefined
    if (session.observers !== undefined) publish(session, { _tag: "PacketReceived", packet })
    if (isHeartbeat) {
      hear(session)
      publish(session, { _tag: "Heartbeat" })
      const waiting = Queue.sizeUnsafe(session.outgoing) - session.queued.messages
      if (session.protocol === 3 && waiting < mostPongs) push(session, pong)
    } else if (packet.type === "message") {
      const { data = "" } = packet
      this.onMessage(data, sizeOf(data))
    } else if (packet.type === "ping" || packet.type === "pong") {
      end(session, transportError(new InvalidHeartbeat()))
    } else if (session.server.settings.anyPacketIsAlive) extend(session)
  }

  onTurn(): void {
    const { session } = this
    // What the application sends in answer is flushed here, so that it need not be scheduled.
    const wasScheduled = session.scheduled
    session.scheduled = true
    incoming.wake(session)
    if (Queue.sizeUnsafe(session.outgoing) > 0) flush(session)
    else session.scheduled = wasScheduled
  }

  awaitBody(waiter: BodyWaiter): Deadline {
    return this.session.server.bodies.add(waiter)
  }

  onPostRefused(limit: number): void {
    publish(this.session, { _tag: "PostRefused", limit })
    this.session.server.telemetry.postRefused(this.session, limit)
  }

  onUnwritable(failure: WriteFailed): void {
    this.session.server.telemetry.unwritable(this.session, failure)
  }

  onBodyTaken(words: string): void {
    this.session.server.telemetry.warn(this.session, words)
  }

  onWritable(): void {
    flush(this.session)
  }

  onClose(reason: CloseReason): void {
    end(this.session, reason)
  }
}
