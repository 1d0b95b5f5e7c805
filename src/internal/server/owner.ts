/**
 * What a member of a cluster does for the others: it serves the requests that they have for its sessions.
 */
import * as Effect from "effect/Effect"
import { UnknownSid } from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import { noop, Session } from "../session/session.ts"
import type { Body, Exchange, ExchangeHolder } from "../transport/requests.ts"
import type { Link, LinkHandler, Owner } from "./cluster.ts"
import type { List, Message, News } from "./clusterMessages.ts"
import type { Engine } from "./engine.ts"
import { answer, takeNext } from "./everywhere.ts"
import { joinWebSocket } from "./upgradeRequest.ts"
import { verifyHere } from "./verify.ts"

export const makeOwner = (engine: Engine): Owner => ({
  platform: engine.platform,
  onLink: (link) => new Asker(engine, link),
  onUpgrade: ({ handler, sid, takesBytes }) => {
    const asked = verifyHere(engine, handler, "GET", sid, "websocket", true)
    // The one that has the request has checked the rest.
    if (asked._tag !== "Upgrade" || !(asked.session instanceof Session)) return new UnknownSid({ context: { sid } })
    const { session } = asked
    return (connection) => joinWebSocket(session, connection, takesBytes)
  }
})

/** Another member, which asks us for the sake of its clients. */
class Asker implements LinkHandler {
  private readonly engine: Engine
  private readonly link: Link
  private readonly exchanges = new Map<number, RemoteExchange>()
  /** What it listens to. */
  private readonly leaves = new Map<number, () => void>()
  /** The lists of sessions that have more, by their numbers. */
  private readonly lists = new Map<number, Iterator<Session>>()
  private wasStuck = false
  constructor(engine: Engine, link: Link) {
    this.engine = engine
    this.link = link
  }

  onMessage(message: Message): void {
    if (!("exchange" in message)) return
    const { exchange: number } = message
    const exchange = this.exchanges.get(number)
    switch (message._tag) {
      case "Get":
        return this.begin("GET", message.exchange, message.sid, message.handler, undefined)
      case "Post":
        return this.begin("POST", message.exchange, message.sid, message.handler, message.contentType)
      case "Body":
        return exchange?.onBody({ body: message.payload })
      case "NoBody":
        return exchange?.onBody(message.why)
      case "Count":
      case "Broadcast":
      case "Close":
        return this.link.send({ _tag: "Answer", exchange: message.exchange, count: answer(this.engine, message) })
      case "Listen": {
        const { topics } = this.engine
        this.leaves.get(number)?.()
        this.leaves.set(number, topics.tell(message.topic, (news) => this.tell(number, news)))
        // It is there, and may have things to say itself.
        return topics.retry()
      }
      case "Unlisten":
        this.leaves.get(number)?.()
        return void this.leaves.delete(number)
      case "List":
        return this.list(message)
      case "Release":
        return exchange === undefined ? undefined : noop(exchange.session)
      case "End":
        this.lists.delete(number)
        return exchange?.onEnd(message.written)
    }
  }

  /** Its clients are gone with it, unless their polls come back by another member. */
  onClose(): void {
    for (const exchange of this.exchanges.values()) {
      if (this.engine.cluster?.isBalanced === true) exchange.release()
      exchange.onEnd(false)
    }
    for (const leave of this.leaves.values()) leave()
  }

  /** Who is there is always told, in a few bytes; what is said is lost for a member that does not read. */
  private tell(exchange: number, news: News): void {
    const isLost = "payload" in news && this.link.isStuck === true
    if (!isLost) this.link.send({ ...news, exchange })
    else if (!this.wasStuck) {
      this.engine.supervisor.fork(
        Effect.logWarning(`A member of the cluster is too slow, and misses what is published${see("slow-member")}`)
      )
    }
    this.wasStuck = isLost
  }

  private list({ exchange, list }: List): void {
    // It goes on where it was, also when sessions have come and gone since.
    const sessions = this.lists.get(list) ?? this.engine.registry.all[Symbol.iterator]()
    const next = takeNext(sessions)
    if (next.isLast) this.lists.delete(list)
    else this.lists.set(list, sessions)
    this.link.send({ _tag: "Listed", exchange, ...next })
  }

  private begin(
    method: "GET" | "POST",
    number: number,
    sid: string,
    handler: string,
    contentType: string | undefined
  ): void {
    const asked = verifyHere(this.engine, handler, method, sid, "polling", false)
    if ((asked._tag === "Get" || asked._tag === "Post") && asked.session instanceof Session) {
      const exchange = new RemoteExchange(
        this.link,
        this.exchanges,
        number,
        asked.session,
        method === "GET",
        contentType
      )
      this.exchanges.set(number, exchange)
      if (method === "GET") asked.requests.onGet(exchange)
      else asked.requests.onPost(exchange)
    } else if (asked._tag === "BadRequest" && "previousTransport" in asked.context) {
      this.link.send({ _tag: "Refuse", exchange: number, transport: asked.context.previousTransport })
    } else this.link.send({ _tag: "Refuse", exchange: number })
  }
}

/** A request that another member has. */
class RemoteExchange implements Exchange {
  holder: ExchangeHolder | undefined
  readonly session: Session
  readonly contentType: string | undefined
  private readonly isGet: boolean
  private readonly link: Link
  private readonly number: number
  private readonly all: Map<number, RemoteExchange>
  private isAnswered = false
  private onRead: ((body: Body) => void) | undefined
  constructor(
    link: Link,
    all: Map<number, RemoteExchange>,
    number: number,
    session: Session,
    isGet: boolean,
    contentType: string | undefined
  ) {
    this.link = link
    this.all = all
    this.number = number
    this.session = session
    this.isGet = isGet
    this.contentType = contentType
  }

  readBody(_limit: number, _binary: boolean, done: (body: Body) => void): void {
    this.onRead = done
  }

  onBody(body: Body): void {
    this.onRead?.(body)
  }

  respond(payload: string | Uint8Array, contentType: string, compress: boolean): void {
    this.isAnswered = true
    this.link.send({ _tag: "Respond", exchange: this.number, payload, contentType, compress })
    this.holder?.onAnswered(this)
  }

  ok(): void {
    this.answer({ _tag: "Ok", exchange: this.number })
  }

  reject(status: number, words = ""): void {
    this.answer({ _tag: "Reject", exchange: this.number, status, words })
  }

  destroy(): void {
    this.answer({ _tag: "Destroy", exchange: this.number })
  }

  refuse(): void {
    this.answer({ _tag: "Refuse", exchange: this.number })
  }

  /** Of an answer without packets nobody waits for the end. */
  private answer(message: Message): void {
    if (this.isAnswered || !this.all.delete(this.number)) return
    this.isAnswered = true
    this.link.send(message)
  }

  /** Nobody waits for the answer to a poll any more, so nothing is to be lost in it. */
  release(): void {
    if (!this.isGet || this.isAnswered) return
    noop(this.session)
    this.onEnd(true)
  }

  onEnd(written: boolean): void {
    if (!this.all.delete(this.number)) return
    const { holder } = this
    this.holder = undefined
    if (written) holder?.onWritten(this)
    else holder?.onAborted(this)
  }
}
