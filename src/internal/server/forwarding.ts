/**
 * The requests of sessions that other members own: each goes to the owner as it comes, and is answered as the owner says.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { BadRequest, type HandshakeError, UnknownSid } from "../../HandshakeError.ts"
import type { SocketId } from "../session/model.ts"
import type { Exchange, ExchangeHolder, Requests } from "../transport/requests.ts"
import type { Cluster, Link, LinkHandler } from "./cluster.ts"
import { memberOf } from "./cluster.ts"
import type { List, Message, News, Question, Reply, SocketInfo } from "./clusterMessages.ts"
import type { Telemetry } from "./telemetry.ts"

/** What it needs of the server. */
export interface ForwardingHost {
  readonly settings: { readonly maxPayload: number }
  readonly telemetry: Pick<Telemetry, "refused">
  readonly stopped: boolean
}

/** A session of another member, as far as a request needs it. */
export class ForeignSession implements Requests {
  readonly id: SocketId
  readonly member: string
  readonly handler: string
  private readonly forwarding: Forwarding
  constructor(id: SocketId, member: string, handler: string, forwarding: Forwarding) {
    this.id = id
    this.member = member
    this.handler = handler
    this.forwarding = forwarding
  }

  onGet(exchange: Exchange): void {
    this.forwarding.to(this.member).get(this.id, this.handler, exchange)
  }

  onPost(exchange: Exchange): void {
    this.forwarding.to(this.member).post(this.id, this.handler, exchange)
  }
}

export class Forwarding {
  private readonly host: ForwardingHost
  private readonly cluster: Cluster
  private readonly forwarders = new Map<string, Forwarder>()
  constructor(cluster: Cluster, host: ForwardingHost) {
    this.cluster = cluster
    this.host = host
  }

  /** The session with an id that is not ours, if another member may have it. */
  find(id: SocketId, handler: string): ForeignSession | undefined {
    const member = memberOf(this.cluster, id)
    return member === undefined ? undefined : new ForeignSession(id, member, handler, this)
  }

  to(member: string): Forwarder {
    let forwarder = this.forwarders.get(member)
    if (forwarder === undefined) {
      forwarder = new Forwarder(this.host, () => this.forwarders.delete(member))
      this.forwarders.set(member, forwarder)
      forwarder.link = this.cluster.connect(member, forwarder)
    }
    return forwarder
  }

  /** Asks another member; 0 where it goes away. */
  ask(member: string, question: Question): Effect.Effect<number> {
    return Effect.callback((resume) =>
      this.to(member).ask(question, (reply) => resume(Effect.succeed(reply?._tag === "Answer" ? reply.count : 0)))
    )
  }

  /** The sessions of another member; no more of them where it goes away. */
  list(member: string): Stream.Stream<SocketInfo> {
    return Stream.suspend(() => this.to(member).list())
  }

  /** Hears what another member has to say on a topic, until it goes away. */
  listen(member: string, topic: string, hear: (news: News) => void): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const unlisten = this.to(member).listen(topic, { hear, onClose: () => resume(Effect.void) })
      return Effect.sync(unlisten)
    })
  }

  /**
   * Lets the owners answer the GETs that wait here, whose clients then come back to another member, and close the sessions
   * whose WebSocket goes through here, after what they have accepted.
   */
  release(): void {
    for (const forwarder of this.forwarders.values()) forwarder.release()
    for (const { member, sid } of this.cluster.pipes) {
      this.to(member).ask({ _tag: "Close", exchange: 0, sid }, () => {})
    }
  }
}

/** A body that does not wait behind larger ones has this size at most, in characters or bytes. */
const smallSize = 16_384

interface Listener {
  hear(news: News): void
  onClose(): void
}

/** All that goes to one member. */
class Forwarder implements LinkHandler {
  link!: Link
  private readonly host: ForwardingHost
  private readonly left: () => void
  private readonly forwarded = new Map<number, Forwarded>()
  /** Bodies that wait for room, as long as their clients do. The small ones go first. */
  private readonly small = new Map<number, string | Uint8Array>()
  private readonly large = new Map<number, string | Uint8Array>()
  private readonly asked = new Map<number, (reply: Reply | undefined) => void>()
  private readonly listeners = new Map<number, Listener>()
  private isClosed = false
  private last = 0
  constructor(host: ForwardingHost, left: () => void) {
    this.host = host
    this.left = left
  }

  get(sid: SocketId, handler: string, exchange: Exchange): void {
    const number = this.begin(sid, exchange, true)
    this.link.send({ _tag: "Get", exchange: number, sid, handler })
    if (this.host.stopped) this.link.send({ _tag: "Release", exchange: number })
  }

  post(sid: SocketId, handler: string, exchange: Exchange): void {
    const number = this.begin(sid, exchange, false)
    const { contentType } = exchange
    const post = { _tag: "Post", exchange: number, sid, handler } as const
    // The owner has to know of it before the body is there (see `PollingTransport.onPost`).
    this.link.send(contentType === undefined ? post : { ...post, contentType })
    exchange.readBody(this.host.settings.maxPayload, contentType === "application/octet-stream", (read) => {
      if (!this.forwarded.has(number)) return
      if (typeof read !== "object") return this.link.send({ _tag: "NoBody", exchange: number, why: read })
      const bodies = read.body.length > smallSize ? this.large : this.small
      bodies.set(number, read.body)
      this.onRoom()
    })
  }

  onRoom(): void {
    for (const bodies of [this.small, this.large]) {
      for (const [exchange, payload] of bodies) {
        if (this.link.isFull === true) return
        bodies.delete(exchange)
        this.link.send({ _tag: "Body", exchange, payload })
      }
    }
  }

  /** Asks the member; nothing comes back where it goes away. */
  ask(question: Question | List, done: (reply: Reply | undefined) => void): void {
    if (this.isClosed) return done(undefined)
    const exchange = ++this.last
    this.asked.set(exchange, done)
    this.link.send({ ...question, exchange })
  }

  listen(topic: string, listener: Listener): () => void {
    const exchange = ++this.last
    this.listeners.set(exchange, listener)
    this.link.send({ _tag: "Listen", exchange, topic })
    return () => {
      if (this.listeners.delete(exchange)) this.link.send({ _tag: "Unlisten", exchange })
    }
  }

  /** Its sessions, asked for as they are wanted. */
  list(): Stream.Stream<SocketInfo> {
    const list = ++this.last
    const next = Effect.callback<readonly [ReadonlyArray<SocketInfo>, Option.Option<void>]>((resume) =>
      this.ask({ _tag: "List", exchange: 0, list }, (reply) => {
        const [sockets, isLast] = reply?._tag === "Listed" ? [reply.sockets, reply.isLast] : [[], true]
        resume(Effect.succeed([sockets, isLast ? Option.none() : Option.some(undefined)]))
      })
    )
    return Stream.ensuring(
      Stream.paginate(undefined, () => next),
      Effect.sync(() => this.link.send({ _tag: "End", exchange: list, written: false }))
    )
  }

  private begin(sid: SocketId, exchange: Exchange, isGet: boolean): number {
    const number = ++this.last
    const forwarded = new Forwarded(this, number, sid, exchange, isGet)
    exchange.holder = forwarded
    this.forwarded.set(number, forwarded)
    return number
  }

  release(): void {
    for (const { isGet, number } of this.forwarded.values()) {
      if (isGet) this.link.send({ _tag: "Release", exchange: number })
    }
  }

  /** The client has its answer, or will not have it. */
  end(number: number, written: boolean): void {
    if (this.forget(number)) this.link.send({ _tag: "End", exchange: number, written })
  }

  private forget(number: number): boolean {
    this.small.delete(number)
    this.large.delete(number)
    return this.forwarded.delete(number)
  }

  onMessage(message: Message): void {
    if (message._tag === "Answer" || message._tag === "Listed") {
      this.asked.get(message.exchange)?.(message)
      this.asked.delete(message.exchange)
    }
    const forwarded = "exchange" in message ? this.forwarded.get(message.exchange) : undefined
    if (forwarded === undefined) return this.tell(message)
    const { exchange, number } = forwarded
    // Only an answer with packets in it has an end that the owner waits for.
    if (message._tag !== "Respond") this.forget(number)
    switch (message._tag) {
      case "Respond":
        return exchange.respond(message.payload, message.contentType, message.compress)
      case "Ok":
        return exchange.ok()
      case "Reject":
        return exchange.reject(message.status, message.words)
      case "Destroy":
        return exchange.destroy()
      case "Refuse":
        return this.refuse(forwarded, message.transport)
    }
  }

  private tell(message: Message): void {
    switch (message._tag) {
      case "Snapshot":
      case "Published":
      case "RoomMessage":
      case "Present":
      case "Left":
        this.listeners.get(message.exchange)?.hear(message)
    }
  }

  /** The member is gone, and its sessions with it. */
  onClose(): void {
    this.isClosed = true
    this.left()
    for (const forwarded of this.forwarded.values()) this.refuse(forwarded, undefined)
    this.forwarded.clear()
    this.small.clear()
    this.large.clear()
    for (const done of this.asked.values()) done(undefined)
    this.asked.clear()
    const listeners = Array.from(this.listeners.values())
    this.listeners.clear()
    for (const listener of listeners) listener.onClose()
  }

  private refuse({ exchange, sid }: Forwarded, previousTransport: string | undefined): void {
    const error: HandshakeError = previousTransport === undefined
      ? new UnknownSid({ context: { sid } })
      : new BadRequest({ context: { name: "TRANSPORT_MISMATCH", transport: "polling", previousTransport } })
    this.host.telemetry.refused(error.code, error.message, error.context)
    exchange.refuse(error)
  }
}

/** One request that the owner answers. */
class Forwarded implements ExchangeHolder {
  readonly number: number
  readonly sid: SocketId
  readonly exchange: Exchange
  readonly isGet: boolean
  private readonly forwarder: Forwarder
  constructor(forwarder: Forwarder, number: number, sid: SocketId, exchange: Exchange, isGet: boolean) {
    this.forwarder = forwarder
    this.number = number
    this.sid = sid
    this.exchange = exchange
    this.isGet = isGet
  }

  onAnswered(): void {}

  onAborted(): void {
    this.forwarder.end(this.number, false)
  }

  onWritten(): void {
    this.forwarder.end(this.number, true)
  }
}
