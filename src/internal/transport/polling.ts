/**
 * Packets over HTTP long-polling: a parked GET carries them out, a POST brings them in (rules R35–R49). JSONP is the
 * same in another form (R55–R57).
 */
import * as CloseReason from "../../CloseReason.ts"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Packet } from "../../Packet.ts"
import * as jsonp from "../protocol/jsonp.ts"
import { mostPerTurn } from "../protocol/limits.ts"
import * as revision3 from "../protocol/revision3.ts"
import * as revision4 from "../protocol/revision4.ts"
import { see } from "../protocol/see.ts"
import type { PollingDoors, Transport } from "./contract.ts"
import { type Account, close, type Entry, noop, take } from "./entry.ts"
import { type End, Get, Held, letGo, Reading } from "./pollingStates.ts"
import type { Exchange, ExchangeHolder, Requests } from "./requests.ts"

export interface PollingLimits {
  /** The largest POST body, in bytes. */
  readonly maxPayload: number
  /** The most packets a POST may carry. */
  readonly maxPacketsPerPayload: number
}

const taken = "The body of a POST was read before it came to the engine, and request.body is neither text nor bytes: " +
  `mount the engine before what parses bodies, such as express.json()${see("body-read-before")}`

type Waiter = (written: boolean) => void

const nobody: ReadonlyArray<Waiter> = []

export class PollingTransport implements Transport, Requests, ExchangeHolder {
  readonly name = "polling"
  readonly unsent = 0
  readonly isUpgradable = true
  readonly splitsText = true
  private readonly doors: PollingDoors
  private readonly limits: PollingLimits
  /** Whether the client takes binary payloads: revision 3 without `b64`. */
  private readonly isBinary: boolean
  /** The `j` of a JSONP client, digits only; `undefined` for all others. */
  private readonly callback: string | undefined
  private get: Get | undefined
  /** An answer to a GET, until it has left for the network. The next GET waits for that, or one client takes all memory. */
  private leaving: Exchange | undefined
  /** Told when that has left, or is lost. */
  private waiting: Array<Waiter> | undefined
  private post: Reading | Held | undefined
  private turn: NodeJS.Immediate | undefined
  private paused = false
  private end: End = "Open"
  /** Whether the packets that open the session are still to come; they belong together. */
  private isNew = true
  constructor(doors: PollingDoors, limits: PollingLimits, isBinary: boolean, callback: string | undefined) {
    this.doors = doors
    this.limits = limits
    this.isBinary = isBinary
    this.callback = callback
  }

  get requests(): Requests {
    return this
  }

  get writable(): boolean {
    return this.isReachable && this.leaving === undefined
  }

  get isReachable(): boolean {
    return this.get?._tag === "Parked"
  }

  /** Parks the GET of the handshake, for the packets that open the session. */
  onFirstGet(exchange: Exchange): void {
    this.get = new Get(exchange)
    exchange.holder = this
  }

  onGet(exchange: Exchange): void {
    if (this.get !== undefined) return this.fail(exchange, new CloseReason.Overlap({ method: "GET" }))
    this.get = new Get(exchange)
    exchange.holder = this
    this.doors.onWritable()
    const { end } = this
    if (typeof end === "object" && this.isReachable) {
      this.end = "Told"
      this.answer([noop, close])
      end.onTold()
    }
  }

  onPost(exchange: Exchange): void {
    if (this.post !== undefined) {
      const first = this.post
      this.post = undefined
      this.fail(exchange, new CloseReason.Overlap({ method: "POST" }))
      if (first._tag === "Held") return letGo(first)
      first.deadline.cancel()
      return first.exchange.destroy()
    }
    const binary = exchange.contentType === "application/octet-stream"
    if (binary && this.doors.revision === 4) {
      return this.fail(exchange, new CloseReason.InvalidContent({ contentType: exchange.contentType! }))
    }
    const reading = new Reading(exchange, this.doors.awaitBody(this))
    this.post = reading
    exchange.holder = this
    exchange.readBody(this.limits.maxPayload, binary, (read) => {
      reading.deadline.cancel()
      if (this.post !== reading) return
      if (typeof read === "object") return this.receive(exchange, read.body)
      this.post = undefined
      if (read === "too large") {
        this.doors.onPostRefused(this.limits.maxPayload)
        return exchange.reject(413)
      }
      this.doors.onBodyTaken(taken)
      this.fail(exchange, new CloseReason.Aborted({ method: "POST" }), 500, taken)
    })
  }

  onAborted(exchange: Exchange, failure?: CloseReason.WriteFailed): void {
    if (failure !== undefined) this.doors.onUnwritable(failure)
    if (this.post?.exchange !== exchange) {
      if (this.get?.exchange === exchange) this.get = undefined
      const waiting = this.takeWaiting(exchange)
      // What was in the answer is in no queue any more.
      this.doors.onClose(CloseReason.transportError(failure ?? new CloseReason.Aborted({ method: "GET" })))
      for (const done of waiting) done(false)
    } else if (this.post._tag === "Reading") {
      this.post.deadline.cancel()
      this.post = undefined
      this.doors.onClose(CloseReason.transportError(new CloseReason.Aborted({ method: "POST" })))
    }
  }

  onAnswered(exchange: Exchange): void {
    if (this.get?.exchange === exchange) this.get = undefined
  }

  onWritten(exchange: Exchange): void {
    if (this.leaving !== exchange) return
    const waiting = this.takeWaiting(exchange)
    if (this.isReachable) this.doors.onWritable()
    for (const done of waiting) done(true)
  }

  /** An answer has left, or is lost: returns those who waited for that. */
  private takeWaiting(exchange: Exchange): ReadonlyArray<Waiter> {
    if (this.leaving !== exchange) return nobody
    const { waiting = nobody } = this
    this.leaving = this.waiting = undefined
    return waiting
  }

  /** The client has begun a POST and does not end it. */
  onBodyLate(): void {
    const { exchange } = this.post!
    this.post = undefined
    this.fail(exchange, new CloseReason.Aborted({ method: "POST" }), 408)
  }

  /** Ends the session over a request, and answers that. */
  private fail(exchange: Exchange, error: CloseReason.TransportFailure, status = 400, words?: string): void {
    this.doors.onClose(CloseReason.transportError(error))
    exchange.reject(status, words)
  }

  private receive(exchange: Exchange, body: string | Uint8Array): void {
    const payload = this.callback !== undefined && typeof body === "string" ? jsonp.unwrapForm(body) : body
    if (payload === undefined) {
      this.post = undefined
      return exchange.ok()
    }
    this.post = new Held(exchange, payload)
    this.read()
  }

  /** Takes packets of the POST while there is room for them, and no more than a turn's worth. */
  read(): void {
    const { doors, post } = this
    this.turn = undefined
    if (post?._tag !== "Held" || post.isTaken || this.paused) return
    let count = 0
    let closePacket = false
    const onPacket = (packet: Packet): boolean => {
      if (post.isAscii && packet.type === "message" && typeof packet.data === "string" && !doors.observed) {
        doors.onMessage(packet.data, packet.data.length)
      } else {
        doors.onPacket(packet)
        closePacket = packet.type === "close"
      }
      return !closePacket && !this.paused && this.end !== "Done" && ++count < mostPerTurn
    }
    const { cursor, payload } = post
    const { maxPacketsPerPayload: maxPackets } = this.limits
    const error = doors.revision === 3
      ? revision3.parsePayload(payload, maxPackets, onPacket, cursor)
      : revision4.parsePayload(payload as string, maxPackets, onPacket, cursor)
    // A packet ended the session; the request that brought it is answered.
    if (this.end === "Done") return
    if (error !== undefined) {
      this.post = undefined
      doors.onClose(CloseReason.parseError(error))
      return post.exchange.reject(400)
    }
    if (closePacket || cursor.isDone) post.isTaken = true
    if (closePacket) doors.onClose(CloseReason.transportClose())
    else doors.onTurn()
    if (this.post === post && !this.paused) this.goOn()
  }

  private goOn(): void {
    const { post } = this
    if (post?._tag !== "Held") return
    if (!post.isTaken) {
      this.turn ??= setImmediate(read, this)
      return
    }
    this.post = undefined
    post.exchange.ok()
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.goOn()
  }

  write(out: Queue.Dequeue<Entry>, account: Account): void {
    const packets: Array<Entry> = []
    let bytes = 0
    let compress = false
    // A payload may end at any packet (rule R40): what one answer holds in memory stays bounded.
    while (Queue.sizeUnsafe(out) > 0 && (bytes < this.limits.maxPayload || this.isNew)) {
      const entry = take(out, account)!
      bytes += 1 + entry.size
      packets.push(entry)
      compress ||= entry.compress
    }
    if (this.doors.closing && Queue.sizeUnsafe(out) === 0) {
      packets.push(close)
      this.end = "Told"
    }
    this.answer(packets, compress)
  }

  /** Answers a parked GET with a noop, so that a client on its way to another transport stops polling (rule R77). */
  noop(): void {
    if (this.isReachable) this.answer([noop])
  }

  whenWritten(done: Waiter): void {
    if (this.leaving === undefined) done(this.end !== "Done")
    else (this.waiting ??= []).push(done)
  }

  get finish(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const done = () => resume(Effect.void)
      if (this.end === "Done") return done()
      if (this.end === "Told") return this.whenWritten(done)
      if (!this.isReachable) {
        this.end = { onTold: done }
        return
      }
      this.answer([close])
      done()
    })
  }

  close(peer: boolean): void {
    const { end } = this
    if (end === "Done") return
    this.end = "Done"
    if (typeof end === "object") end.onTold()
    if (this.isReachable) this.answer([peer ? noop : close])
    const { post } = this
    this.post = undefined
    if (post?._tag === "Reading") {
      post.deadline.cancel()
      post.exchange.reject(400)
    } else if (post !== undefined) letGo(post)
  }

  private answer(packets: ReadonlyArray<Entry>, compress = false): void {
    const { callback } = this
    const payload = this.doors.revision === 3
      ? revision3.encodePayload(packets, this.isBinary)
      : encodePayload4(packets)
    const { exchange } = this.get!
    this.get!._tag = "Answering"
    this.leaving ??= exchange
    this.isNew = false
    if (callback === undefined) {
      const contentType = typeof payload === "string" ? "text/plain; charset=UTF-8" : "application/octet-stream"
      exchange.respond(payload, contentType, compress)
    } else exchange.respond(jsonp.wrap(callback, payload as string), "text/javascript; charset=UTF-8", compress)
  }
}

const read = (transport: PollingTransport): void => transport.read()

const encodePayload4 = (packets: ReadonlyArray<Entry>): string => {
  let payload = ""
  for (const entry of packets) payload += payload === "" ? encode4(entry) : revision4.separator + encode4(entry)
  return payload
}

const encode4 = ({ data, shared, type }: Entry): string =>
  shared === undefined ? revision4.encodeText(type, data) : shared.text4 ??= revision4.encodeText(type, data)
