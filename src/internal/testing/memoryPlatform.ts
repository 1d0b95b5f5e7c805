/**
 * A platform without a network: requests come from clients in the same program, and what they bring beside the request
 * stands in a table here.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Headers } from "effect/http/Headers"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { HandshakeError } from "../../HandshakeError.ts"
import { utf8Length } from "../protocol/bytes.ts"
import * as Answers from "../server/answer.ts"
import type { Config } from "../server/config.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import { Platform, type RoutedExchange } from "../server/platform.ts"
import type { Body, ExchangeHolder } from "../transport/requests.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import { MemoryWebSocket } from "./memoryWebSocket.ts"

/** What a client asks for. */
export interface MemoryRequest {
  readonly method: "GET" | "POST"
  readonly url: string
  readonly headers: Headers
  readonly remoteAddress: string | undefined
  /** The body of a POST. */
  readonly body?: string
  /** Takes the client's end of the WebSocket that it asks for. */
  readonly onUpgrade?: (connection: MemoryWebSocket) => void
}

const requests = new WeakMap<object, MemoryRequest>()

const requestOf = ({ source }: HttpServerRequest.HttpServerRequest): MemoryRequest => requests.get(source)!

/** The request as handlers know it. */
export const toServerRequest = (request: MemoryRequest): HttpServerRequest.HttpServerRequest => {
  const { headers, method, remoteAddress, url } = request
  const source = new Request("http://localhost", { method })
  requests.set(source, request)
  return HttpServerRequest.fromWeb(source).modify({
    url,
    headers,
    remoteAddress: Option.fromUndefinedOr(remoteAddress)
  })
}

export class MemoryPlatform implements Platform {
  readonly lingeringClosed = Effect.void
  /** The server's: what serves a client must not end before the client does. */
  readonly scope: Scope.Scope
  /** One for each client, closed while that is silent. */
  private readonly latches = new Set<Latch.Latch>()
  private readonly maxPayload: number
  private readonly context: Context.Context<never>
  constructor({ maxPayload }: Config, context: Context.Context<Scope.Scope>) {
    this.maxPayload = maxPayload
    this.context = context
    this.scope = Context.get(context, Scope.Scope)
  }

  readonly makeLatch: Effect.Effect<Latch.Latch, never, Scope.Scope> = Effect.acquireRelease(
    Effect.map(Latch.make(true), (latch) => {
      this.latches.add(latch)
      return latch
    }),
    (latch) => Effect.sync(() => this.latches.delete(latch))
  )

  wakeAll(): void {
    for (const latch of this.latches) latch.openUnsafe()
  }

  /** By a fiber, so that a test clock waits for what follows before it moves on. */
  readonly defer = (f: () => void): void => {
    Effect.runForkWith(this.context)(Effect.andThen(Effect.yieldNow, Effect.sync(f)))
  }

  header({ headers }: HttpServerRequest.HttpServerRequest, name: string): string | undefined {
    return headers[name]
  }

  isUpgrade({ headers }: HttpServerRequest.HttpServerRequest): boolean {
    return headers["upgrade"] === "websocket"
  }

  receive(): undefined {
    return undefined
  }

  exchange(request: HttpServerRequest.HttpServerRequest, extraHeaders: ExtraHeaders): RoutedExchange {
    return new MemoryExchange(requestOf(request), extraHeaders, this.defer)
  }

  upgrade(
    request: HttpServerRequest.HttpServerRequest,
    _: unknown,
    use: (connection: WebSocketConnection) => void
  ): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.map(MemoryWebSocket.make(this.maxPayload, this.defer), (connection) => {
      use(connection)
      requestOf(request).onUpgrade?.(connection)
      return this.release()
    })
  }

  release(): HttpServerResponse.HttpServerResponse {
    return HttpServerResponse.empty({ status: 101 })
  }

  refuse(_: unknown, answer: Answers.Answer): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(Answers.toResponse(answer))
  }

  destroyLingering(): void {}
}

export const layer = (config: Config): Layer.Layer<Platform> =>
  Layer.effect(Platform, Effect.map(Effect.context<Scope.Scope>(), (context) => new MemoryPlatform(config, context)))

class MemoryExchange implements RoutedExchange {
  holder: ExchangeHolder | undefined
  private answer: HttpServerResponse.HttpServerResponse | undefined
  private isOver = false
  private resume: ((response: Effect.Effect<HttpServerResponse.HttpServerResponse>) => void) | undefined
  private readonly request: MemoryRequest
  private readonly extraHeaders: ExtraHeaders
  private readonly defer: (f: () => void) => void
  constructor(request: MemoryRequest, extraHeaders: ExtraHeaders, defer: (f: () => void) => void) {
    this.request = request
    this.extraHeaders = extraHeaders
    this.defer = defer
  }

  get contentType(): string | undefined {
    return this.request.headers["content-type"]
  }

  readBody(limit: number, _: boolean, done: (body: Body) => void): void {
    const { body = "" } = this.request
    done(utf8Length(body) > limit ? "too large" : { body })
  }

  respond(payload: string | Uint8Array, contentType: string): void {
    this.settle(Answers.payload(payload, contentType, undefined, this.extraHeaders))
    this.holder?.onAnswered(this)
  }

  ok(): void {
    this.settle(Answers.ok(this.extraHeaders))
  }

  reject(status: number, words = ""): void {
    this.settle(Answers.failure(status, this.extraHeaders.always, words))
  }

  refuse(error: HandshakeError): void {
    this.settle(Answers.refusal(error, error.message, this.extraHeaders))
  }

  destroy(): void {
    this.reject(400)
  }

  private settle(answer: Answers.Answer): void {
    if (this.answer !== undefined) return
    this.answer = Answers.toResponse(answer, answer.status === 200 ? this.extraHeaders.cookies : undefined)
    // Whoever answers has finished with it before the client has it, and asks again.
    this.defer(() => this.end(true))
  }

  private end(written: boolean): void {
    if (this.isOver) return
    this.isOver = true
    const { holder } = this
    this.holder = undefined
    if (written) holder?.onWritten(this)
    else holder?.onAborted(this)
    this.resume?.(Effect.succeed(this.answer!))
  }

  /** Interrupted, the client has given the request up. */
  readonly awaitAnswer: Effect.Effect<HttpServerResponse.HttpServerResponse> = Effect.callback((resume) => {
    if (this.isOver) return resume(Effect.succeed(this.answer!))
    this.resume = resume
    return Effect.sync(() => {
      this.resume = undefined
      this.end(false)
    })
  })
}
