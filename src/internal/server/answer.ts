/**
 * The answers to requests. The router's exchange makes a response of one, the direct exchange writes it as it is.
 */
import type * as Cookies from "effect/http/Cookies"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Refusal } from "../protocol/webSocketHandshake.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { ExtraHeaders } from "./extraHeaders.ts"

export interface Answer {
  readonly status: number
  /** With names in lower case, but where rule R21 spells them, and without the length, which is that of the body. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** To a poll (rule R38). */
export const payload = (
  body: string | Uint8Array,
  contentType: string,
  encoding: string | undefined,
  { success }: ExtraHeaders
): Answer => {
  const headers = encoding === undefined ? noStore : { ...noStore, "content-encoding": encoding }
  return { status: 200, headers: { ...headers, ...success, "content-type": contentType }, body }
}

/** To a POST whose packets were taken (rule R41). */
export const ok = (extraHeaders: ExtraHeaders): Answer => payload("ok", "text/html", undefined, extraHeaders)

/** To a request that is refused, over plain HTTP (rule R20). */
export const refusal = (error: HandshakeError, message: string, { always }: ExtraHeaders): Answer => ({
  status: error.status,
  headers: { ...always, "content-type": "application/json" },
  body: JSON.stringify({ code: error.code, message })
})

/** To a request to upgrade that is refused: its connection ends (rule R21). */
export const upgradeRefusal = ({ headers, message, status }: Refusal): Answer => ({
  status,
  headers: { Connection: "close", "Content-type": "text/html", ...headers },
  body: message
})

/** To a preflight that is answered by us. */
export const preflight = (status: number, headers: Readonly<Record<string, string>>): Answer => ({
  status,
  headers,
  body: ""
})

/** To a method that no session has. */
export const otherMethod = ({ always }: ExtraHeaders): Answer => ({
  status: 405,
  headers: { ...always, allow: "GET, POST" },
  body: ""
})

/** To a poll or a post that went wrong, with words for whoever runs the server where it needs some. */
export const failure = (status: number, headers: Readonly<Record<string, string>>, words: string): Answer => ({
  status,
  headers: words === "" ? headers : { ...headers, "content-type": "text/plain" },
  body: words
})

const noStore = { "cache-control": "no-store" }

/** The answer as a route handler returns it. */
export const toResponse = (
  { body, headers, status }: Answer,
  cookies?: Cookies.Cookies
): HttpServerResponse.HttpServerResponse => {
  if (body === "") return HttpServerResponse.empty({ status, headers: { ...headers, "content-length": "0" } })
  const options = { status, cookies, contentType: headers["content-type"] }
  let response = typeof body === "string"
    ? HttpServerResponse.text(body, options)
    : HttpServerResponse.uint8Array(body, options)
  // A header that is added costs a fifth of one that is given.
  for (const name of Object.keys(headers)) {
    if (name !== "content-type") response = HttpServerResponse.setHeader(response, name, headers[name]!)
  }
  return response
}
