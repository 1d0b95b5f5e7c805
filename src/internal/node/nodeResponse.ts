/**
 * The responses of Node: whether one has left for the network, and how they get what Effect would write otherwise.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import type * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Http from "node:http"
import * as Http2 from "node:http2"
import { isNode, toNode } from "./nodeRequest.ts"
import { isRead } from "./unfinished.ts"

/** From this size on, an answer may be more than the buffers of a connection hold. */
export const large = 16 * 1024

type Response = Http.ServerResponse | Http2.Http2ServerResponse

export const isHttp2 = (response: Response): response is Http2.Http2ServerResponse => "stream" in response

/** Whether an answer has left for the network as it was given: something else may have made a failure of it. */
export const isWritten = (response: Response): boolean =>
  response.statusCode < 400 && (
    isHttp2(response)
      ? response.stream.writableFinished && response.stream.rstCode === Http2.constants.NGHTTP2_NO_ERROR
      : response.writableFinished
  )

/**
 * Writes the body of a response, and ends it. A connection whose answer has ended is idle for Node, which cuts it when its
 * server closes; so one that may take its time ends only when it has left.
 */
export const endWith = (response: Http.ServerResponse, body: string | Uint8Array | undefined): void => {
  if (body === undefined || body.length < large || isHttp2(response)) response.end(body)
  // After a write that failed, some runtimes would call the response finished.
  else response.write(body, (error) => void (error instanceof Error ? response.destroy() : response.end()))
}

/**
 * Answers with 500 where the head cannot be written: a middleware of the application gave what no header can carry, or its
 * hook threw. A response that has begun is cut.
 */
export const fail = (response: Http.ServerResponse): void => {
  try {
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    response.writeHead(500, { "Content-Length": 0 }).end()
  } catch {
    response.destroy()
  }
}

/**
 * Adds cookies to a response, in the words they were given in: Effect's responses hold one of a name, and words of their
 * own. Node's response has them all, as lines, also those that were set there before.
 */
export const addCookies = (lines: ReadonlyArray<string>): HttpEffect.PreResponseHandler => (request, response) => {
  if (response.status !== 200) return Effect.succeed(response)
  if (!isNode(toNode(request))) {
    return Effect.succeed(HttpServerResponse.mergeCookies(response, Cookies.fromSetCookie(lines)))
  }
  const nodeResponse = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
  if (nodeResponse.headersSent) return Effect.succeed(response)
  const { cookies, headers } = response
  const before = [nodeResponse.getHeader("set-cookie"), headers["set-cookie"]].flat().filter((it) => it !== undefined)
  nodeResponse.setHeader("Set-Cookie", [...before.map(String), ...Cookies.toSetCookieHeaders(cookies), ...lines])
  const others = HttpServerResponse.removeHeader(response, "set-cookie")
  return Effect.succeed(HttpServerResponse.replaceCookies(others, Cookies.empty))
}

/**
 * Writes the final response of a poll or a post as one string. Effect asks Node to check the length of every body against
 * its header, and then Node writes head and body in two pieces. It runs last, so that it writes what the application's
 * middlewares made of the response; what it leaves alone Effect writes.
 */
export const writeWhole: HttpEffect.PreResponseHandler = (request, response) => {
  const { body, cookies, headers, status } = response
  if (body._tag !== "Uint8Array") return Effect.succeed(response)
  const content = body.text ?? body.body
  const isLarge = content.length >= large
  if ((body.text !== undefined || isLarge) && Cookies.isEmpty(cookies)) {
    const nodeResponse = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
    const isOpen = !nodeResponse.headersSent && !nodeResponse.destroyed
    // Some middlewares of others end the response later than they are told to: Effect would end it again.
    if (isOpen && isRead(nodeResponse.req) && !Object.hasOwn(nodeResponse, "end")) {
      try {
        nodeResponse.writeHead(status, headers)
      } catch (cause) {
        fail(nodeResponse)
        return Effect.die(cause)
      }
      endWith(nodeResponse, content)
      // Effect writes what has not ended.
      if (isLarge) {
        return Effect.callback((resume) => {
          nodeResponse.once("close", () => resume(Effect.succeed(response)))
        })
      }
    }
  }
  return Effect.succeed(response)
}
