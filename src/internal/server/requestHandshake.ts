/**
 * What the application is told of the request that opened a session.
 */
import * as Cookies from "effect/http/Cookies"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import type { TransportType } from "../../Transport.ts"
import type { Handshake } from "../session/model.ts"

const noCookies: Handshake["cookies"] = Object.freeze({})

export const makeHandshake = (
  { headers, remoteAddress, url }: HttpServerRequest,
  query: Handshake["query"],
  transport: TransportType,
  time: number
): Handshake => ({
  headers,
  url,
  query,
  cookies: headers["cookie"] === undefined ? noCookies : Cookies.parseHeader(headers["cookie"]),
  remoteAddress: Option.getOrUndefined(remoteAddress),
  transport,
  time
})
