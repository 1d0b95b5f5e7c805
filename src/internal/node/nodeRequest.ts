/**
 * The requests of Node behind those of Effect.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as Http from "node:http"

export const toNode = (request: HttpServerRequest): Http.IncomingMessage =>
  NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage

/** Requests of a web handler have no Node object behind them: they can poll, and no more. */
export const isNode = (source: Http.IncomingMessage): boolean => typeof source.on === "function"

export const isUpgraded = (source: Http.IncomingMessage & { readonly upgrade?: boolean | null }): boolean =>
  source.upgrade === true
