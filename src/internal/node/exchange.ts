/**
 * The answers to polling requests on Node: through the response a route handler returns, or straight to Node's.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import { WriteFailed } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import { longestTimer } from "../protocol/limits.ts"
import type { Config } from "../server/config.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import * as Answers from "../server/answer.ts"
import type { Body, Exchange, ExchangeHolder } from "../transport/requests.ts"
import { isTaken, readBody, readNodeBody, readStreamBody, readTakenBody } from "./body.ts"
import { compress, negotiate } from "./compression.ts"
import { writeContinue } from "./effectServer.ts"
import type { Lingering } from "./lingering.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"
import { endWith, fail, isHttp2, isWritten, large } from "./nodeResponse.ts"
import { isFirst, tellOfClose } from "./pipeline.ts"
import { isClosed } from "./serverClose.ts"
import { isForNobody, lookForRest } from "./unfinished.ts"

/** What exchanges need of the server. */
export interface ExchangeHost {
  readonly config: Pick<Config, "httpCompression" | "closeTimeout">
  /** Where connections are that the end of the server waits for, but not for ever. */
  readonly lingering: Lingering
}

/** Whether a payload has so many bytes. A character has one to three, so most need not be measured. */
const isAtLeast = (payload: string | Uint8Array, bytes: number): boolean =>
  payload.length >= bytes || (payload.length * 3 >= bytes && Buffer.byteLength(payload) >= bytes)

const exchangeKey = Symbol("effect-engine.io/exchange")

type Exchanged = Http.ServerResponse & { [exchangeKey]?: NodeExchange }

// Shared by all responses: a parked poll costs no closure.
function onClose(this: Http.ServerResponse): void {
  const exchange = (this as Exchanged)[exchangeKey]!
  exchange.onClose(isWritten(this))
}

abstract class NodeExchange implements Exchange {
  holder: ExchangeHolder | undefined
  /** Whether its answer has packets in it, which must arrive. */
  private carries = false
  private stopCompressing: (() => void) | undefined
  /** Why its answer could not be written. */
  protected failure: WriteFailed | undefined
  protected readonly source: Http.IncomingMessage
  protected readonly extraHeaders: ExtraHeaders
  private readonly host: ExchangeHost
  constructor(source: Http.IncomingMessage, extraHeaders: ExtraHeaders, host: ExchangeHost) {
    this.source = source
    this.extraHeaders = extraHeaders
    this.host = host
  }

  get contentType(): string | undefined {
    return this.source.headers["content-type"]
  }

  /** Has the end of the response told. */
  protected watch(): void {
    const { response } = this
    ;(response as Exchanged)[exchangeKey] = this
    response.on("close", onClose)
  }

  /** The response is over: it was written, or nobody is left to take it. */
  onClose(written: boolean): void {
    const { holder } = this
    this.holder = undefined
    this.stopCompressing?.()
    const isDone = this.isAnswered && this.failure === undefined && (written || !this.carries)
    if (isDone) holder?.onWritten(this)
    else holder?.onAborted(this, this.failure)
  }

  respond(payload: string | Uint8Array, contentType: string, compressible: boolean): void {
    this.carries = true
    const { httpCompression } = this.host.config
    if (payload.length >= large && isNode(this.source)) limitReading(this.source, this.response, this.host)
    const encoding = compressible && httpCompression !== undefined && isAtLeast(payload, httpCompression.threshold)
      ? negotiate(this.source.headers["accept-encoding"] as string | undefined)
      : undefined
    const answer = (body: string | Uint8Array, encoding: string | undefined): void => {
      this.write(Answers.payload(body, contentType, encoding, this.extraHeaders))
      this.onAnswered()
    }
    if (encoding === undefined) return answer(payload, undefined)
    this.stopCompressing = compress(
      encoding,
      payload,
      // What cannot be compressed is sent as it is: its packets are in no queue any more.
      (bytes) => bytes === undefined ? answer(payload, undefined) : answer(bytes, encoding)
    )
  }

  protected onAnswered(): void {
    this.holder?.onAnswered(this)
  }

  /** The rest of a body is not waited for where it comes too late: its connection, or its stream, ends with the answer. */
  private refusalHeaders(status: number): Readonly<Record<string, string>> {
    const { always } = this.extraHeaders
    const { source } = this
    if (!isNode(source)) return always
    const { response } = this
    if (!isHttp2(response)) return status === 408 || isForNobody(source) ? { ...always, connection: "close" } : always
    if (!source.complete) closeBehind(response)
    return always
  }

  protected abstract write(answer: Answers.Answer): void
  protected abstract readonly response: Http.ServerResponse
  abstract readonly isAnswered: boolean

  ok(): void {
    this.write(Answers.ok(this.extraHeaders))
  }

  reject(status: number, words = ""): void {
    this.write(Answers.failure(status, this.refusalHeaders(status), words))
  }

  refuse(error: HandshakeError): void {
    this.write(Answers.refusal(error, error.message, this.extraHeaders))
  }

  /** Ends it as the end of its fiber would: what its client was to get is lost. */
  interrupt(): void {
    if (this.isAnswered) return
    this.carries = true
    this.reject(503)
  }

  destroy(): void {
    // Not the request itself, which Bun would answer with 200.
    if (isNode(this.source)) this.source.socket.destroy()
    this.reject(400)
  }

  readBody(limit: number, binary: boolean, done: (body: Body) => void): void {
    const read = isTaken(this.source) ? readTakenBody : readNodeBody
    read(this.source, limit, binary, done)
  }
}

/** Ends a stream of HTTP/2 with its answer, whatever its client may still send. */
const closeBehind = ({ stream }: Http2.Http2ServerResponse): void => {
  stream.once("finish", () => stream.close(Http2.constants.NGHTTP2_NO_ERROR))
}

/** Answers by what the route handler returns, so that the application's middlewares see it. */
export class RouterExchange extends NodeExchange {
  private readonly request: HttpServerRequest
  private answered: HttpServerResponse.HttpServerResponse | undefined
  private resume: ((response: Effect.Effect<HttpServerResponse.HttpServerResponse>) => void) | undefined
  constructor(request: HttpServerRequest, extraHeaders: ExtraHeaders, host: ExchangeHost) {
    super(toNode(request), extraHeaders, host)
    this.request = request
    if (isNode(this.source)) this.watch()
  }

  /** What the handler returns: at once where the answer is there already. */
  get awaitAnswer(): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return this.answered === undefined
      ? Effect.callback((resume) => {
        // The handler's fiber may have let others run meanwhile.
        if (this.answered !== undefined) return resume(Effect.succeed(this.answered))
        this.resume = resume
        // Interrupted, because the client gives up or a middleware does: nobody would get an answer.
        return Effect.sync(() => this.onClose(false))
      })
      : Effect.succeed(this.answered)
  }

  protected write(answer: Answers.Answer): void {
    if (this.answered !== undefined) return
    this.answered = Answers.toResponse(answer, answer.status === 200 ? this.extraHeaders.cookies : undefined)
    this.resume?.(Effect.succeed(this.answered))
  }

  get isAnswered(): boolean {
    return this.answered !== undefined
  }

  // A web handler does not say what becomes of its response: with its answer it is over.

  protected override onAnswered(): void {
    super.onAnswered()
    if (!isNode(this.source)) this.onClose(true)
  }

  protected get response(): Http.ServerResponse {
    return NodeHttpServerRequest.toServerResponse(this.request) as Http.ServerResponse
  }

  override get contentType(): string | undefined {
    return isNode(this.source) ? super.contentType : this.request.headers["content-type"]
  }

  override readBody(limit: number, binary: boolean, done: (body: Body) => void): void {
    if (this.source.readableEnded && !("body" in this.source)) {
      readBody(this.request, limit, binary, done, () => this.onFailedBody())
    } else if (isNode(this.source) && !isUpgraded(this.source)) {
      super.readBody(limit, binary, done)
      if (!this.isAnswered) writeContinue(this.request)
    } else readStreamBody(this.request, limit, binary, done, () => this.onFailedBody())
  }

  private onFailedBody(): void {
    this.holder?.onAborted(this)
    this.reject(400)
  }
}

/** Answers on Node's response: no fiber, and no response object but Node's. */
export class DirectExchange extends NodeExchange {
  protected readonly response: Http.ServerResponse
  constructor(
    source: Http.IncomingMessage,
    response: Http.ServerResponse,
    extraHeaders: ExtraHeaders,
    host: ExchangeHost
  ) {
    super(source, extraHeaders, host)
    this.response = response
    this.watch()
    tellOfClose(source, response)
    lookForRest(source, response)
  }

  get isAnswered(): boolean {
    return this.hasEnded || this.response.writableEnded
  }
  private hasEnded = false

  protected write({ body, headers, status }: Answers.Answer): void {
    const { response } = this
    if (this.isAnswered || response.destroyed) return
    // Somebody else has begun an answer: nothing of ours can follow it.
    if (response.headersSent) return void response.destroy()
    this.hasEnded = true
    try {
      response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) })
      endWith(response, body)
    } catch (cause) {
      this.failure = new WriteFailed({ cause })
      fail(response)
    }
    if (this.source.complete) return
    if (isHttp2(response)) closeBehind(response)
    // What is left of a body that was too large is read to its end, or the client could not read the answer.
    else this.source.resume()
  }
}

/** How many answers on a connection have a limited time. */
const limited = new WeakMap<Net.Socket, number>()

/**
 * Ends the connection of a client that asked for much and takes nothing of it for `closeTimeout`, or that is still not done
 * when its server has to end.
 */
const limitReading = (
  request: Http.IncomingMessage,
  response: Http.ServerResponse,
  { config: { closeTimeout }, lingering }: ExchangeHost
): void => {
  if (request.httpVersionMajor !== 1 || !(request.socket instanceof Net.Socket)) return
  const socket = request.socket as Net.Socket & { readonly server?: Http.Server }
  socket.setTimeout(Math.min(closeTimeout, longestTimer))
  // Node has let go of it.
  if (isUpgraded(request)) socket.once("timeout", () => socket.destroy())
  lingering.watch(socket, response)
  const { server } = socket
  if (server === undefined) return
  limited.set(socket, (limited.get(socket) ?? 0) + 1)
  response.once("close", () => {
    const left = limited.get(socket)! - 1
    limited.set(socket, left)
    // The next large answer of a pipeline has begun its time already.
    if (left > 0) return
    if (isClosed(server) && isFirst(socket)) socket.destroySoon()
    // Node sets the time of a connection anew when the answer is written, but not where another is to follow, or where the
    // connection may idle for ever.
    else if (server.keepAliveTimeout === 0 || !isFirst(socket)) socket.setTimeout(server.timeout)
  })
}
