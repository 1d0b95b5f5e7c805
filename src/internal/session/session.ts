/**
 * The state of one client, across its transports: the queue out, the queue in, and the doors through which packets
 * pass. There is one door in (`onPacket`), one out (`flush`) and one way to end (`end`).
 *
 * Waking a fiber runs it on the caller's stack, so every method finishes its own changes before it wakes anyone.
 */
import { NodeInspectSymbol } from "effect/Inspectable"
import * as CloseReason from "../../CloseReason.ts"
import type { Message, Packet, Revision } from "../../Packet.ts"
import { type Handshake, type SocketEvent, type SocketState, TypeId } from "./model.ts"
import type { TransportType } from "../../Transport.ts"
import { utf8Length } from "../protocol/bytes.ts"
import type { Candidate, Transport, TransportHost } from "../transport/contract.ts"
import { type Entry, noop, Outbound, Outgoing, ping, pong } from "../transport/outgoing.ts"
import type { Application } from "./application.ts"
import { Deadline, type Deadlines } from "./deadlines.ts"
import { Heartbeat } from "./heartbeat.ts"
import { Incoming } from "./incoming.ts"
import { Observers } from "./observers.ts"
import type { Sending } from "./sending.ts"
import type { Settings } from "./settings.ts"
import { Upgrade } from "./upgrade.ts"

/** How many pongs may wait for a client of revision 3. */
const mostPongs = 1_000

/** What a session needs of the server it lives in. */
export interface SessionHost {
  readonly settings: Settings
  readonly deadlines: Deadlines
  /** Calls `session.flush` at the end of the current turn of the event loop. */
  schedule(session: Session): void
  /** The session is no longer reachable. */
  onEnd(session: Session, reason: CloseReason.CloseReason): void
  /** Calls `session.settle`, at once or when the settling of another session that led here is done. */
  settle(session: Session): void
  /** Whether the application of a session, or a fiber of its own, runs at this moment. */
  isRunning(session: Session): boolean
  onPostRefused(session: Session, limit: number): void
  /** Warns whoever runs the server. */
  warn(session: Session, words: string): void
  onUpgraded(session: Session, from: TransportType, millis: number): void
  onReceived(transport: TransportType, bytes: number): void
  onSent(transport: TransportType, messages: number, bytes: number): void
  onRoundTrip(millis: number): void
}

export class Session implements TransportHost {
  readonly id: string
  readonly revision: Revision
  readonly handshake: Handshake
  readonly host: SessionHost
  /** The handler that opened it; through another the session is unknown. */
  readonly owner: object
  state: SocketState = "opening"
  transport: Transport | undefined
  upgraded = false
  upgrade: Upgrade | undefined
  readonly outgoing = new Outgoing()
  readonly incoming = new Incoming()
  readonly heartbeat = new Heartbeat(this)
  /** Fibers that wait for room in `outgoing`, for a flush, or for the end; made for the first of them. */
  sending: Sending | undefined
  observers: Observers<SocketEvent> | undefined
  application: Application | undefined
  /** Why the session ends: set when closing begins, final when it is closed. */
  reason: CloseReason.CloseReason | undefined
  /** Whether reading from the client is stopped until the application catches up. */
  paused = false
  /** Batches given to a transport so far. */
  writes = 0
  /** Messages given to the transport since the network had last taken all. */
  private unsentMessages = 0
  private scheduled = false
  private finishing = false
  private closeDeadline: Deadline | undefined
  constructor(id: string, revision: Revision, handshake: Handshake, host: SessionHost, owner: object) {
    this.id = id
    this.revision = revision
    this.handshake = handshake
    this.host = host
    this.owner = owner
  }

  get [TypeId](): typeof TypeId {
    return TypeId
  }

  get protocol(): Revision {
    return this.revision
  }

  toJSON(): unknown {
    return { _id: "Socket", id: this.label, protocol: this.revision, transport: this.transportName, state: this.state }
  }

  [NodeInspectSymbol](): unknown {
    return this.toJSON()
  }

  get transportName(): TransportType {
    return this.transport === undefined ? this.handshake.transport : this.transport.name
  }

  /** Whether the client has a way to get what waits for it without a new connection. */
  get isReachable(): boolean {
    return this.transport !== undefined && (this.transport.name !== "polling" || this.transport.writable)
  }

  /** Whether it may move to another transport: it polls, and is not moving already (rule R76). */
  get isUpgradable(): boolean {
    return this.state !== "closed" && this.upgrade === undefined && !this.upgraded && this.transportName === "polling"
  }

  get closing(): boolean {
    return this.state === "closing"
  }

  /** What a line of the log may say of the session: its id is a credential, so only the beginning. */
  get label(): string {
    return `${this.id.slice(0, 6)}…`
  }

  get observed(): boolean {
    return this.observers !== undefined
  }

  // --- opening ---------------------------------------------------------------------------------------------------

  /** The session is registered and its first transport is there. */
  open(transport: Transport): void {
    this.state = "open"
    this.transport = transport
    this.heartbeat.start()
  }

  /** Writes the packets of the handshake: they go out by themselves, ahead of what the factory sent (rule R31). */
  greet(opening: Outgoing): void {
    this.transport!.write(opening)
    this.flush()
  }

  /** Its first packets were written: the application begins, and from here on an idle session holds no buffers. */
  start(): void {
    if (this.state === "closed") return
    if (this.outgoing.length === 0) this.outgoing.trim()
    if (this.reason !== undefined) this.close(this.reason)
    this.application!.start()
    this.onTurn()
  }

  // --- in --------------------------------------------------------------------------------------------------------

  onPacket(packet: Packet): void {
    // Before the session is open, and while it closes, what arrives is dropped (rule R63), but shows that the client lives.
    if (this.state !== "open") {
      if (packet.type === (this.revision === 4 ? "pong" : "ping")) this.heartbeat.beat()
      return
    }
    this.observers?.publish({ _tag: "PacketReceived", packet })
    switch (packet.type) {
      case "message": {
        const data = packet.data ?? ""
        return this.onMessage(data, typeof data === "string" ? utf8Length(data) : data.byteLength)
      }
      case "ping":
        if (this.revision === 4) return this.end(CloseReason.transportError(new CloseReason.InvalidHeartbeat()))
        this.heartbeat.beat()
        this.observers?.publish({ _tag: "Heartbeat" })
        // A client that pings and never takes a pong must not fill our memory with them.
        return this.outgoing.length - this.outgoing.messages < mostPongs ? this.push(pong, 0) : undefined
      case "pong":
        if (this.revision === 3) return this.end(CloseReason.transportError(new CloseReason.InvalidHeartbeat()))
        this.heartbeat.beat()
        this.observers?.publish({ _tag: "Heartbeat" })
        return
      default:
        if (this.host.settings.anyPacketIsAlive) this.heartbeat.extend()
    }
  }

  onMessage(message: Message, size: number): void {
    if (this.state !== "open") return
    this.host.onReceived(this.transport!.name, size)
    if (this.host.settings.anyPacketIsAlive) this.heartbeat.extend()
    this.incoming.push(message, size)
    if (!this.paused && this.isReceiveFull) {
      this.paused = true
      this.transport!.pause()
    }
  }

  private get isReceiveFull(): boolean {
    const { receiveBuffer } = this.host.settings
    return this.incoming.length > receiveBuffer.messages || this.incoming.bytes > receiveBuffer.bytes
  }

  onPostRefused(limit: number): void {
    this.observers?.publish({ _tag: "PostRefused", limit })
    this.host.onPostRefused(this, limit)
  }

  onBodyTaken(words: string): void {
    this.host.warn(this, words)
  }

  onTurn(): void {
    // What the application sends in answer is flushed here, so that it need not be scheduled.
    const wasScheduled = this.scheduled
    this.scheduled = true
    this.incoming.wake()
    if (this.outgoing.length > 0) this.flush()
    else this.scheduled = wasScheduled
  }

  /** The next message for the application, or `undefined`. */
  take(): Message | undefined {
    const message = this.incoming.shift()
    if (this.paused && !this.isReceiveFull) this.proceed()
    return message
  }

  /** Reads on. */
  private proceed(): void {
    if (!this.paused) return
    this.paused = false
    if (this.state === "closed") return
    // The client's pong may have waited behind what we did not read.
    this.heartbeat.extend()
    this.transport!.resume()
  }

  awaitBody(waiter: { onBodyLate(): void }): Deadline {
    const deadline = new BodyDeadline(waiter)
    this.host.deadlines.after(this.host.settings.bodyTimeout).add(deadline)
    return deadline
  }

  // --- out -------------------------------------------------------------------------------------------------------

  /** Whether a message of `size` bytes has to wait. An empty buffer takes one of any size. */
  isSendFull(size: number): boolean {
    const { sendBuffer } = this.host.settings
    const unsent = this.transport === undefined ? 0 : this.transport.unsent
    const bytes = this.outgoing.bytes + unsent
    return (this.outgoing.messages > 0 || unsent > 0) &&
      (this.outgoing.messages >= sendBuffer.messages || bytes + size > sendBuffer.bytes)
  }

  /** Whether a message of `size` bytes, sent now, would not be accepted at once. */
  mustWait(size: number): boolean {
    return this.sending?.isWaiting === true || this.isSendFull(size)
  }

  /** Whether text with the separator would be several packets for the client: a payload of revision 4 has no escape. */
  get splitsText(): boolean {
    return this.revision === 4 && this.transportName === "polling"
  }

  push(entry: Entry, size: number): void {
    this.observers?.publish({ _tag: "PacketCreated", packet: toPacket(entry) })
    this.outgoing.push(entry, size)
    if (!this.scheduled && this.transport !== undefined) {
      this.scheduled = true
      this.host.schedule(this)
    }
  }

  sendPing(): void {
    if (this.state === "open") this.push(ping, 0)
  }

  /** Writes something that asks for nothing: a connection whose other end is gone answers with an error. */
  touch(): void {
    if (this.outgoing.length === 0) this.push(this.revision === 4 ? ping : noop, 0)
  }

  onWritable(): void {
    this.flush()
  }

  /** Gives the transport all it can take. */
  flush(): void {
    this.scheduled = false
    const transport = this.transport
    if (transport === undefined || this.state === "closed") return
    const { outgoing } = this
    if (outgoing.length > 0 && transport.writable) {
      const { messages, bytes } = outgoing
      this.observers?.publish({ _tag: "Flushed", packets: outgoing.snapshot().map(toPacket) })
      if (transport.unsent === 0) this.unsentMessages = 0
      try {
        transport.write(outgoing)
      } catch (cause) {
        return this.end(CloseReason.transportError(new CloseReason.WriteFailed({ cause })))
      }
      this.unsentMessages += messages - outgoing.messages
      this.writes++
      this.host.onSent(transport.name, messages - outgoing.messages, bytes - outgoing.bytes)
      if (outgoing.length === 0) this.observers?.publish({ _tag: "Drained" })
    }
    this.sending?.onFlushed(this)
    if (this.state === "closing") this.advanceClose()
  }

  // --- upgrade ---------------------------------------------------------------------------------------------------

  startUpgrade(candidate: Candidate): void {
    new Upgrade(this, candidate).start()
  }

  /** The queues stay, the transport changes: nothing is lost or reordered (rule R78). */
  swap(candidate: Candidate, millis: number): void {
    const old = this.transport!
    old.close(false)
    const transport = candidate.adopt(this)
    this.transport = transport
    this.upgraded = true
    this.finishing = false
    this.host.onUpgraded(this, old.name, millis)
    this.observers?.publish({ _tag: "Upgraded", transport: transport.name })
    if (this.paused) transport.pause()
    this.flush()
  }

  // --- end -------------------------------------------------------------------------------------------------------

  /** Ends the session after what was accepted is delivered. */
  close(reason: CloseReason.CloseReason): void {
    if (this.state === "closing" || this.state === "closed") return
    this.reason ??= reason
    // Closed by the factory: what it sent is delivered once there is a transport.
    if (this.state === "opening") return
    this.state = "closing"
    this.closeDeadline = new CloseDeadline(this)
    this.host.deadlines.after(this.host.settings.closeTimeout).add(this.closeDeadline)
    this.sending?.onClosing(reason)
    // What arrives from now on is dropped (rule R63), so nobody has to wait for the application.
    this.proceed()
    this.flush()
  }

  private advanceClose(): void {
    if (this.outgoing.length > 0 || this.finishing) return
    this.finishing = true
    const transport = this.transport!
    transport.finish(() => {
      if (this.transport === transport) this.end(this.reason!)
    })
  }

  onClose(reason: CloseReason.CloseReason): void {
    this.end(reason)
  }

  /** The one way out: decides the reason, tells the transport, leaves the registry, then lets the application end. */
  end(reason: CloseReason.CloseReason): void {
    if (this.state === "closed") return
    // First cause wins, but a client that does not even take its close any more has timed out (rule R-H6).
    if (this.reason !== undefined && !(this.reason._tag === "ForcedClose" && reason._tag === "PingTimeout")) {
      reason = this.reason
    }
    // What the connection still holds is lost with it; how much of that the client had, nobody knows.
    const held = this.transport !== undefined && this.transport.unsent > 0 ? this.unsentMessages : 0
    const undelivered = this.outgoing.clear() + held
    if (reason._tag === "ServerShutdown") reason = { _tag: "ServerShutdown", undelivered }
    this.reason = reason
    this.state = "closed"
    this.heartbeat.cancel()
    this.closeDeadline?.cancel()
    this.upgrade?.abandon()
    this.host.onEnd(this, reason)
    this.host.settle(this)
  }

  /** Tells everybody of the end. What that sets off may end other sessions, so the host does it for one after the other. */
  settle(): void {
    const reason = this.reason!
    try {
      this.transport?.close(reason._tag === "TransportClose")
    } finally {
      this.observers?.publish({ _tag: "Closed", reason })
      this.observers?.end()
      this.sending?.onEnd(reason)
      this.incoming.wake()
      this.application?.onSessionEnd()
    }
  }

  observe(): Observers<SocketEvent> {
    return this.observers ??= new Observers(sizeOf)
  }

  stopObserving(): void {
    if (this.observers?.isEmpty === true) this.observers = undefined
  }
}

class BodyDeadline extends Deadline {
  private readonly waiter: { onBodyLate(): void }
  constructor(waiter: { onBodyLate(): void }) {
    super()
    this.waiter = waiter
  }

  expire(): void {
    this.waiter.onBodyLate()
  }
}

class CloseDeadline extends Deadline {
  private readonly session: Session
  constructor(session: Session) {
    super()
    this.session = session
  }

  expire(): void {
    this.session.end(this.session.reason!)
  }
}

const toPacket = (entry: Entry): Packet =>
  entry instanceof Outbound
    ? entry.data === undefined ? { type: entry.type } : { type: entry.type, data: entry.data }
    : { type: "message", data: entry }

const dataSize = ({ data }: Packet): number => data === undefined ? 0 : data.length

/** The size of the data in an event, near enough. */
const sizeOf = (event: SocketEvent): number => {
  switch (event._tag) {
    case "PacketReceived":
    case "PacketCreated":
      return dataSize(event.packet)
    case "Flushed":
      return event.packets.reduce((sum, packet) => sum + dataSize(packet), 0)
    default:
      return 0
  }
}
