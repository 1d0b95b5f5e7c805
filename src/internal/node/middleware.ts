/**
 * Middlewares in the manner of Express, before an engine that stands on a Node server.
 */
import type * as Http from "node:http"
import { BadRequest } from "../../HandshakeError.ts"

/**
 * A middleware in the manner of Express, async or not. It sees every HTTP request and every request to upgrade; the
 * response of the latter takes the headers for the 101 (rule R51).
 *
 * @category models
 * @since 0.1.0
 */
export type Middleware = {
  // A method, so that a middleware may ask for more of a request than Node's type has.
  middleware(request: Http.IncomingMessage, response: Http.ServerResponse, next: (error?: unknown) => void): void
}["middleware"]

/**
 * Runs them one after the other, then `done`. What one fails with, whenever and however it does, refuses the request, or
 * closes its connection where it has gone too far for that.
 */
export const run = (
  middleware: ReadonlyArray<Middleware>,
  onRefused: (error: BadRequest) => void,
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
    onRefused(refusal)
    if (response.writableEnded) return
    if (isDone || response.headersSent) return void request.socket.destroy()
    response.statusCode = refusal.status
    response.setHeader("Content-Type", "application/json")
    response.end(JSON.stringify({ code: refusal.code, message: refusal.message }))
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
      } else if (response.headersSent) refuse(new Error("A middleware began to answer, and passed the request on"))
      else {
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
