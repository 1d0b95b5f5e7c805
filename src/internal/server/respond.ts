/**
 * The responses that a route handler returns.
 */
import * as Headers from "effect/http/Headers"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { HandshakeError } from "../../HandshakeError.ts"
import { type Dressing, plain } from "./dressing.ts"

/** The answer to a refused request over plain HTTP (rule R20). */
export const refusal = (error: HandshakeError, message: string, { always }: Dressing) =>
  HttpServerResponse.text(JSON.stringify({ code: error.code, message }), {
    status: error.status,
    headers: always,
    contentType: "application/json"
  })

/** For what is no request of HTTP: nothing is answered. */
export const nothing = HttpServerResponse.empty()

/** An answer that is its status, with words where it needs some. */
export const bare = (status: number, headers: Readonly<Record<string, string>>, words = "") =>
  words === ""
    ? HttpServerResponse.empty({ status, headers: { ...headers, "content-length": "0" } })
    : HttpServerResponse.text(words, { status, headers })

/** The answer to a POST whose packets were taken (rule R41). */
export const ok = (dressing: Dressing) =>
  dressing === plain
    ? plainOk
    : HttpServerResponse.text("ok", { headers: { ...noStore, ...dressing.success }, contentType: "text/html" })

/** The answer to a poll (rule R38). */
export const payload = (
  body: string | Uint8Array,
  contentType: string,
  encoding: string | undefined,
  dressing: Dressing
) => {
  // A header that is added costs a fifth of one that is given.
  if (dressing === plain && encoding === undefined) {
    return HttpServerResponse.setHeader(of(body, { contentType }), "cache-control", "no-store")
  }
  const { cookies, success } = dressing
  const compressed = encoding === undefined ? undefined : { "content-encoding": encoding }
  return of(body, { headers: { ...noStore, ...compressed, ...success }, contentType, cookies })
}

const of = (body: string | Uint8Array, options: HttpServerResponse.Options.WithContentType) =>
  typeof body === "string" ? HttpServerResponse.text(body, options) : HttpServerResponse.uint8Array(body, options)

const noStore = Headers.fromRecordUnsafe({ "cache-control": "no-store" })
const plainOk = HttpServerResponse.text("ok", { headers: noStore, contentType: "text/html" })
