/**
 * The only place that builds responses.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { HandshakeError } from "../../HandshakeError.ts"

/** The answer to a refused request over plain HTTP (rule R20). */
export const refusal = (error: HandshakeError, message: string, headers: Readonly<Record<string, string>>) =>
  HttpServerResponse.text(JSON.stringify({ code: error.code, message }), {
    status: error.status,
    headers,
    contentType: "application/json"
  })

/** An answer that is its status. */
export const bare = (status: number, headers: Readonly<Record<string, string>>) =>
  HttpServerResponse.empty({ status, headers: { ...headers, "content-length": "0" } })

/** The answer to a POST whose packets were taken (rule R41). */
export const ok = (headers: Readonly<Record<string, string>>) =>
  headers === none
    ? plainOk
    : HttpServerResponse.text("ok", { headers: { ...noStore, ...headers }, contentType: "text/html" })

/** The answer to a poll (rule R38). */
export const payload = (
  body: string | Uint8Array,
  contentType: string,
  headers: Readonly<Record<string, string>>
) => {
  const options = { headers: headers === none ? noStore : { ...noStore, ...headers }, contentType }
  return typeof body === "string"
    ? HttpServerResponse.text(body, options)
    : HttpServerResponse.uint8Array(body, options)
}

/** No headers beyond those the protocol asks for. */
export const none: Readonly<Record<string, string>> = {}

const noStore = { "cache-control": "no-store" }
const plainOk = HttpServerResponse.text("ok", { headers: noStore, contentType: "text/html" })
