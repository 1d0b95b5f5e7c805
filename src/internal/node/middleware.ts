/**
 * Middlewares in the manner of Express, before an engine that stands on a Node server.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Http from "node:http"
import { BadRequest } from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import { refusal as toAnswer } from "../server/answer.ts"
import { none } from "../server/extraHeaders.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"
import { fail } from "./nodeResponse.ts"
import { addHeaders } from "./upgrades.ts"

/**
 * A middleware in the manner of Express, async or not. It sees every HTTP request and every request to upgrade; the
 * response of the latter takes the headers for the 101.
 *
 * @category models
 * @since 0.1.0
 */
export type Middleware = {
  // A method, so that a middleware may ask for more of a request than Node's type has.
  middleware(request: Http.IncomingMessage, response: Http.ServerResponse, next: (error?: unknown) => void): void
}["middleware"]

/** Told of a request that a middleware refused. */
export type OnRefused = (error: BadRequest, request: Http.IncomingMessage) => void

/**
 * Middlewares that wrap `writeHead` (those that use `on-headers`) lose the headers where the reason before them is
 * `undefined`, as Effect gives it.
 */
export const keepReasons = (response: Http.ServerResponse): void => {
  if (!Object.hasOwn(response, "writeHead")) return
  const writeHead = response.writeHead as (...args: Array<unknown>) => Http.ServerResponse
  response.writeHead = (...args: Array<unknown>) => writeHead.apply(response, args.filter((it) => it !== undefined))
}

/**
 * Runs them one after the other, then `done`. What one fails with, whenever and however it does, refuses the request, or
 * closes its connection where it has gone too far for that.
 */
export const run = (
  middleware: ReadonlyArray<Middleware>,
  onRefused: OnRefused,
  request: Http.IncomingMessage,
  response: Http.ServerResponse,
  done: () => void
): void => {
  let isRefused = false
  let isDone = false
  const refuse = (error: unknown): void => {
    if (isRefused) return
    isRefused = true
    const refusal = new BadRequest({ context: { name: "MIDDLEWARE_FAILURE", error } })
    onRefused(refusal, request)
    if (response.writableEnded) return
    if (isDone || response.headersSent) return void request.socket.destroy()
    const { body, headers, status } = toAnswer(refusal, refusal.message, none)
    try {
      response.writeHead(status, headers).end(body)
    } catch {
      fail(response)
    }
  }
  const runFrom = (index: number): void => {
    if (isRefused || response.writableEnded || request.socket.destroyed) return
    let isPassedOn = false
    const next = (error?: unknown): void => {
      if (error !== undefined && error !== null) return refuse(error)
      if (isPassedOn) return
      isPassedOn = true
      runFrom(index + 1)
    }
    try {
      if (index < middleware.length) {
        const result: unknown = middleware[index]!(request, response, next)
        if (typeof result === "object" && result !== null && "then" in result) Promise.resolve(result).catch(refuse)
      } else if (response.headersSent) {
        refuse(new Error(`A middleware began to answer, and passed the request on${see("middleware-that-answers")}`))
      } else {
        isDone = true
        done()
      }
    } catch (error) {
      refuse(error)
    }
  }
  // Writing to a response that has ended is an error like any other.
  response.on("error", refuse)
  runFrom(0)
}

/** The same for a request to upgrade: the headers of the response go onto the 101. */
export const runOnUpgrade = (
  middleware: ReadonlyArray<Middleware>,
  onRefused: OnRefused,
  request: Http.IncomingMessage,
  done: () => void
): void => {
  const response = new Http.ServerResponse(request)
  // Whatever a middleware answers to an upgrade, the client only sees its connection close.
  response.end = function() {
    request.socket.destroy()
    return this
  }
  run(middleware, onRefused, request, response, () => {
    // Middlewares that add headers at the last moment wait for this call.
    response.writeHead(200)
    addHeaders(request, response.getHeaders())
    done()
  })
}

/** Runs those that there are by then on a request of Effect's server, and then `handler`. */
export const runBefore = <E, R>(
  middleware: ReadonlyArray<Middleware>,
  onRefused: OnRefused,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest> =>
  Effect.withFiber((fiber) => {
    if (middleware.length === 0) return handler
    const request = Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest)
    const source = toNode(request)
    if (!isNode(source)) return handler
    return Effect.callback<HttpServerResponse.HttpServerResponse, E, R>((resume) => {
      const goOn = (): void => resume(handler)
      if (isUpgraded(source)) return runOnUpgrade(middleware, onRefused, source, goOn)
      const response = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
      // One of them has answered; Effect writes nothing behind that.
      response.once("close", () => resume(Effect.succeed(HttpServerResponse.empty())))
      run(middleware, onRefused, source, response, () => {
        keepReasons(response)
        goOn()
      })
    })
  })
