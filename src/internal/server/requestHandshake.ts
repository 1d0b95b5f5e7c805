/**
 * What the application is told of the request that opened a session.
 */
import * as Cookies from "effect/http/Cookies"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import type { TransportType } from "../../Transport.ts"
import { parseQuery } from "../protocol/query.ts"
import type { Handshake } from "../session/model.ts"

/** Query and cookies are read when they are first asked for: most sessions never do, and all would pay for them. */
export class RequestHandshake implements Handshake {
  readonly headers: Handshake["headers"]
  readonly url: string
  readonly remoteAddress: string | undefined
  readonly transport: TransportType
  readonly time: number
  constructor({ headers, remoteAddress, url }: HttpServerRequest, transport: TransportType, time: number) {
    this.headers = headers
    this.url = url
    this.remoteAddress = Option.getOrUndefined(remoteAddress)
    this.transport = transport
    this.time = time
  }

  get query(): Handshake["query"] {
    return read(this, "query", parseQuery(this.url))
  }

  get cookies(): Handshake["cookies"] {
    return read(this, "cookies", Cookies.parseHeader(this.headers["cookie"] ?? ""))
  }

  toJSON(): Handshake {
    return { ...this, query: this.query, cookies: this.cookies }
  }
}

/** Keeps what was read in the place of what reads it. */
const read = <A>(handshake: object, name: string, value: A): A => {
  Object.defineProperty(handshake, name, { value, enumerable: true })
  return value
}
