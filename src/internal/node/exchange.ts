/**
 * The answers to polling requests on Node: through the response a route handler returns, or straight to Node's.
 */
import { NodeHttpServerRequest } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Http from "node:http"
import type { Config } from "../server/config.ts"
import type { Dressing } from "../server/dressing.ts"
import * as respond from "../server/respond.ts"
import type { Exchange } from "../transport/polling.ts"
import { readNodeBody, readStreamBody } from "./body.ts"
import { compress, negotiate } from "./compression.ts"

export const toNode = (request: HttpServerRequest): Http.IncomingMessage =>
  NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage

/** Requests of a web handler have no Node object behind them: they can poll, and no more. */
export const isNode = (source: Http.IncomingMessage): boolean => typeof source.on === "function"

export const isUpgraded = (source: Http.IncomingMessage & { readonly upgrade?: boolean | null }): boolean =>
  source.upgrade === true

type Compression = Config["httpCompression"]

abstract class NodeExchange implements Exchange {
  onAbort: (() => void) | undefined
  protected readonly source: Http.IncomingMessage
  protected readonly dressing: Dressing
  private readonly compression: Compression
  constructor(source: Http.IncomingMessage, dressing: Dressing, compression: Compression) {
    this.source = source
    this.dressing = dressing
    this.compression = compression
  }

  get contentType(): string | undefined {
    return this.source.headers["content-type"]
  }

  respond(payload: string | Uint8Array, contentType: string, compressible: boolean): void {
    // A character has at most three bytes, so most payloads need not be measured.
    if (compressible && this.compression !== undefined && payload.length * 3 >= this.compression.threshold) {
      const encoding = Buffer.byteLength(payload) < this.compression.threshold
        ? undefined
        : negotiate(this.source.headers["accept-encoding"] as string | undefined)
      if (encoding !== undefined) {
        return compress(
          encoding,
          payload,
          (bytes) => bytes === undefined ? this.reject(500) : this.answer(bytes, contentType, encoding)
        )
      }
    }
    this.answer(payload, contentType, undefined)
  }

  protected abstract answer(payload: string | Uint8Array, contentType: string, encoding: string | undefined): void
  abstract ok(): void
  abstract reject(status: number): void

  destroy(): void {
    this.source.destroy()
    this.reject(400)
  }

  readBody(limit: number, binary: boolean, done: (body: string | Uint8Array | undefined) => void): void {
    readNodeBody(this.source, limit, binary, done)
  }
}

/** Answers by what the route handler returns, so that the application's middlewares see it. */
export class RouterExchange extends NodeExchange {
  private readonly request: HttpServerRequest
  private readonly resume: (response: Effect.Effect<HttpServerResponse.HttpServerResponse>) => void
  constructor(
    request: HttpServerRequest,
    dressing: Dressing,
    compression: Compression,
    resume: (response: Effect.Effect<HttpServerResponse.HttpServerResponse>) => void
  ) {
    super(toNode(request), dressing, compression)
    this.request = request
    this.resume = resume
  }

  override get contentType(): string | undefined {
    return isNode(this.source) ? super.contentType : this.request.headers["content-type"]
  }

  protected answer(payload: string | Uint8Array, contentType: string, encoding: string | undefined): void {
    this.resume(Effect.succeed(respond.payload(payload, contentType, encoding, this.dressing)))
  }

  ok(): void {
    this.resume(Effect.succeed(respond.ok(this.dressing)))
  }

  reject(status: number): void {
    this.resume(Effect.succeed(respond.bare(status, this.dressing.always)))
  }

  override readBody(limit: number, binary: boolean, done: (body: string | Uint8Array | undefined) => void): void {
    if (isNode(this.source) && !isUpgraded(this.source)) super.readBody(limit, binary, done)
    else readStreamBody(this.request, limit, binary, done)
  }
}

/** Answers on Node's response: no fiber, and no response object but Node's. */
export class DirectExchange extends NodeExchange {
  private readonly response: Http.ServerResponse
  constructor(
    source: Http.IncomingMessage,
    response: Http.ServerResponse,
    dressing: Dressing,
    compression: Compression
  ) {
    super(source, dressing, compression)
    this.response = response
    response.on("close", () => {
      if (!response.writableEnded) this.onAbort?.()
    })
  }

  protected answer(payload: string | Uint8Array, contentType: string, encoding: string | undefined): void {
    this.end(200, {
      "Content-Type": contentType,
      "Content-Length": Buffer.byteLength(payload),
      "cache-control": "no-store",
      ...(encoding === undefined ? undefined : { "Content-Encoding": encoding }),
      ...this.dressing.success
    }, payload)
  }

  ok(): void {
    this.end(200, {
      "Content-Type": "text/html",
      "Content-Length": 2,
      "cache-control": "no-store",
      ...this.dressing.success
    }, "ok")
  }

  reject(status: number): void {
    this.end(status, { "Content-Length": 0, ...this.dressing.always }, undefined)
  }

  private end(status: number, headers: Http.OutgoingHttpHeaders, body: string | Uint8Array | undefined): void {
    const { response } = this
    if (response.writableEnded || response.destroyed) return
    response.writeHead(status, headers)
    response.end(body)
    // What is left of a body that was too large is read to its end, or the client could not read the answer.
    if (!this.source.complete) this.source.resume()
  }
}
