/**
 * The headers of cross-origin sharing (rule R50), as the `cors` package would set them; a pure function, because they
 * are needed on the 101 of a WebSocket too.
 */
import { defuse } from "../protocol/defuse.ts"
import { isHeaderValue } from "./headerFields.ts"
import type { CorsOptions } from "./options.ts"

type RequestHeaders = Readonly<Record<string, string | undefined>>

const list = (value: string | ReadonlyArray<string>): string => typeof value === "string" ? value : value.join(",")

const isAllowed = (options: CorsOptions["origin"], origin: string | undefined): boolean => {
  // Without types it may return a promise, which is no yes.
  if (typeof options === "function") return defuse(options(origin)) === true
  if (typeof options === "string") return options === origin
  // Unlike `test`, this is the same for every request, whatever the flags of the expression.
  if (options instanceof RegExp) return origin !== undefined && origin.search(options) >= 0
  if (typeof options === "object") return options.some((one) => isAllowed(one, origin))
  return options === true
}

/** The headers of every answer. */
export const corsHeaders = (options: CorsOptions, request: RequestHeaders): Record<string, string> => {
  const headers: Record<string, string> = {}
  const { origin } = options
  if (origin === undefined || origin === "*") {
    headers["access-control-allow-origin"] = "*"
  } else if (typeof origin === "string") {
    headers["access-control-allow-origin"] = origin
    headers["vary"] = "Origin"
  } else {
    const asked = request["origin"]
    // An origin that is not allowed gets no header, not one that says no.
    if (asked !== undefined && isHeaderValue(asked) && isAllowed(origin, asked)) {
      headers["access-control-allow-origin"] = asked
    }
    headers["vary"] = "Origin"
  }
  if (options.credentials === true) headers["access-control-allow-credentials"] = "true"
  if (options.exposedHeaders !== undefined && options.exposedHeaders.length > 0) {
    headers["access-control-expose-headers"] = list(options.exposedHeaders)
  }
  return headers
}

/** The headers that answer a preflight. */
export const preflightHeaders = (options: CorsOptions, request: RequestHeaders): Record<string, string> => {
  const headers = corsHeaders(options, request)
  const methods = list(options.methods ?? "GET,HEAD,PUT,PATCH,POST,DELETE")
  if (methods !== "") headers["access-control-allow-methods"] = methods
  const asked = request["access-control-request-headers"]
  if (options.allowedHeaders !== undefined) {
    if (options.allowedHeaders.length > 0) headers["access-control-allow-headers"] = list(options.allowedHeaders)
  } else {
    headers["vary"] = headers["vary"] === undefined
      ? "Access-Control-Request-Headers"
      : `${headers["vary"]}, Access-Control-Request-Headers`
    if (asked !== undefined && asked !== "" && isHeaderValue(asked)) headers["access-control-allow-headers"] = asked
  }
  if (options.maxAge !== undefined) headers["access-control-max-age"] = String(options.maxAge)
  return headers
}
