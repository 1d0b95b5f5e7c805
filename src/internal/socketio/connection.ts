/**
 * A session as Socket.IO knows one: the socket of an `engine.io` server (rule R93). What the session does reaches it by
 * calls, not through a fiber.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { EventEmitter } from "node:events"
import type * as Http from "node:http"
import * as CloseReason from "../../CloseReason.ts"
import type { Message, Packet, Revision } from "../../Packet.ts"
import type { Sendable } from "../../Socket.ts"
import type { TransportType } from "../../Transport.ts"
import { toMessage } from "../protocol/bytes.ts"
import { parseQuery } from "../protocol/query.ts"
import { close } from "../session/close.ts"
import { end } from "../session/end.ts"
import { awaitMessage } from "../session/incoming.ts"
import type { Loop, SocketEvent } from "../session/model.ts"
import { watch } from "../session/observers.ts"
import { flushed, force, isFull } from "../session/outgoing.ts"
import { isWritable, type Session, transportOf } from "../session/session.ts"
import { type Entry, make } from "../transport/entry.ts"

/** The request that opened a session, with its parsed query, where Socket.IO looks for it. */
export type EngineRequest = Http.IncomingMessage & { _query?: Readonly<Record<string, string | undefined>> }

export const withQuery = (request: EngineRequest): EngineRequest => {
  request._query ??= parseQuery(request.url ?? "")
  return request
}

/** How Socket.IO has a message sent. One object serves all sockets of a broadcast. */
export interface WriteOptions {
  readonly compress?: boolean | undefined
  /** The message is a part of a broadcast. */
  readonly preEncoded?: boolean | undefined
  /** A text message as a complete frame (rule R54). */
  readonly wsPreEncodedFrame?: ReadonlyArray<Uint8Array> | undefined
  [entriesKey]?: Map<unknown, Entry>
}

const entriesKey = Symbol("effect-engine.io/entries")

/** What Socket.IO asks of the transport of the moment. */
export interface TransportView {
  readonly name: TransportType
  /** Whether a volatile message would leave now (rule R92). */
  readonly writable: boolean
}

/** Events of the session that are only looked for when somebody listens. */
const watched: ReadonlySet<string | symbol> = new Set([
  "packet",
  "packetCreate",
  "heartbeat",
  "upgrading",
  "upgrade",
  "flush",
  "drain"
])

/** The server it belongs to. */
export interface ConnectionHost extends EventEmitter {
  readonly connections: Map<string, Connection>
}

export class Connection extends EventEmitter implements Loop {
  readonly id: string
  readonly protocol: Revision
  readonly remoteAddress: string | undefined
  readonly server: ConnectionHost
  /** An application may let go of it, to save the memory. */
  request: EngineRequest | null
  readyState: "open" | "closing" | "closed" = "open"
  private readonly session: Session
  private onEnd: () => void = () => {}
  private view: TransportView | undefined
  private isWatching = false
  constructor(server: ConnectionHost, session: Session, request: EngineRequest) {
    super()
    this.id = session.id
    this.protocol = session.protocol
    this.remoteAddress = session.handshake.remoteAddress
    this.server = server
    this.request = request
    this.session = session
  }

  get transport(): TransportView {
    return this.view ??= new View(this.session)
  }

  get upgraded(): boolean {
    return this.session.upgraded
  }

  /** Begins to hand over what arrives, and tells the server of the connection; `onEnd` is called at the end of it. */
  open(onEnd: () => void): void {
    this.onEnd = onEnd
    this.server.connections.set(this.id, this)
    // Socket.IO's client keeps events that come together with the end until it has connected again.
    this.session.tellsEndApart = true
    awaitMessage(this.session, this)
    this.server.emit("connection", this)
  }

  // --- messages ----------------------------------------------------------------------------------------------------

  ready(): boolean {
    return true
  }

  /** What a listener throws is for the process, as with every emitter, and harms no session. */
  private tell(event: string, ...args: ReadonlyArray<unknown>): void {
    try {
      this.emit(event, ...args)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /** Something has arrived, or nothing more will. */
  resume(): void {
    const { incoming } = this.session
    for (let next = Queue.takeUnsafe(incoming); next !== undefined; next = Queue.takeUnsafe(incoming)) {
      if (next._tag === "Failure") return this.ended()
      if (this.readyState !== "open") continue
      const data = toNodeData(next.value)
      this.tell("data", data)
      this.tell("message", data)
    }
    awaitMessage(this.session, this)
  }

  /** Socket.IO cannot wait for room, and its protocol can miss no message: what is written is always accepted. */
  write(data: Sendable, options: WriteOptions = {}, callback?: (transport: TransportView) => void): this {
    if (this.readyState !== "open") return this
    if (this.isWatching) this.tell("packetCreate", created({ type: "message", data }, options.compress))
    const isShared = options.preEncoded === true || options.wsPreEncodedFrame !== undefined
    force(this.session, isShared ? sharedEntry(data, options) : toEntry(data, options))
    if (callback !== undefined) {
      Effect.runFork(Effect.ignore(Effect.map(flushed(this.session), () => callback(this.transport))))
    }
    return this
  }

  send(data: Sendable, options?: WriteOptions, callback?: (transport: TransportView) => void): this {
    return this.write(data, options, callback)
  }

  /** Waits while more waits for the client than `sendBuffer` allows, or until the end. */
  get room(): Effect.Effect<void> {
    return Effect.suspend(() => isFull(this.session, 0) ? Effect.ignore(flushed(this.session)) : Effect.void)
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  close(discard = false): void {
    if (this.readyState === "closed" || (this.readyState === "closing" && !discard)) return
    this.readyState = "closing"
    if (discard) end(this.session, CloseReason.forcedClose)
    else close(this.session, CloseReason.forcedClose)
  }

  private ended(): void {
    const reason = this.session.reason!
    this.readyState = "closed"
    // Socket.IO deals with a message some ticks after it was told of it, and with none after the end.
    if (CloseReason.isForced(reason)) this.tellOfEnd(reason)
    else setImmediate(tellOfEnd, this, reason)
    this.onEnd()
  }

  tellOfEnd(reason: CloseReason.CloseReason): void {
    this.server.connections.delete(this.id)
    if (reason._tag === "ServerShutdown") this.tell("close", "server shutting down")
    else this.tell("close", CloseReason.message(reason), "error" in reason ? toTransportError(reason.error) : undefined)
  }

  // --- what else there is to listen to -----------------------------------------------------------------------------

  override on(event: string | symbol, listener: (...args: Array<never>) => void): this {
    if (!this.isWatching && watched.has(event)) {
      this.isWatching = true
      watch(this.session, (event) => this.relay(event))
    }
    return super.on(event, listener as (...args: Array<unknown>) => void)
  }

  override addListener(event: string | symbol, listener: (...args: Array<never>) => void): this {
    return this.on(event, listener)
  }

  private relay(event: SocketEvent): void {
    switch (event._tag) {
      case "PacketReceived":
        return this.tell("packet", toNodePacket(event.packet))
      case "PacketCreated":
        // Of messages we have told already.
        return event.packet.type === "message" ? undefined : this.tell("packetCreate", created(event.packet))
      case "Heartbeat":
        return this.tell("heartbeat")
      case "Upgrading":
        return this.tell("upgrading", { name: event.transport })
      case "Upgraded":
        return this.tell("upgrade", this.transport)
      case "Flushed":
        return this.tell("flush", event.packets.map(toNodePacket))
      case "Drained":
        return this.tell("drain")
    }
  }
}

const tellOfEnd = (connection: Connection, reason: CloseReason.CloseReason): void => connection.tellOfEnd(reason)

class View implements TransportView {
  private readonly session: Session
  constructor(session: Session) {
    this.session = session
  }

  get name(): TransportType {
    return transportOf(this.session)
  }

  get writable(): boolean {
    return isWritable(this.session)
  }
}

const toEntry = (data: Sendable, { compress }: WriteOptions, shared?: Entry["shared"]): Entry =>
  make("message", toMessage(data), compress !== false, shared)

/** The entry that all sockets of a broadcast share; one of an event with bytes has several. */
const sharedEntry = (data: Sendable, options: WriteOptions): Entry => {
  const entries = options[entriesKey] ??= new Map()
  let entry = entries.get(data)
  if (entry === undefined) {
    const frame = typeof data === "string" ? options.wsPreEncodedFrame : undefined
    const whole = frame && Buffer.concat(frame)
    // A frame of text is the same in both revisions.
    entries.set(data, entry = toEntry(data, options, whole === undefined ? {} : { frame3: whole, frame4: whole }))
  }
  return entry
}

/** Bytes as Node's programs expect them, without a copy. */
const toNodeData = (data: Message): string | Buffer =>
  typeof data === "string" ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)

const toNodePacket = ({ data, type }: Packet): { type: string; data?: string | Buffer } =>
  data === undefined ? { type } : { type, data: toNodeData(data) }

const created = ({ data, type }: { readonly type: string; readonly data?: unknown }, compress?: boolean) => ({
  type,
  ...(data === undefined ? undefined : { data }),
  options: { compress: compress !== false }
})

/** What a transport failed with, in the form of `engine.io`. */
const toTransportError = (description: Error): Error =>
  Object.assign(new Error(description.message), { type: "TransportError", description })
