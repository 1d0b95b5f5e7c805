/**
 * What the server needs of the machine below the HTTP API. The façade fills it in with `internal/node`.
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type { ExtraHeaders } from "./extraHeaders.ts"
import type { Exchange } from "../transport/requests.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"

/** The client of an upgrade is gone, or broke the WebSocket handshake and was told so: there is nobody to answer. */
export class UpgradeFailed extends Data.TaggedError("UpgradeFailed") {}

export interface Platform {
  /** Runs `f` when the current callback of the event loop is done, before any other I/O. */
  defer(f: () => void): void
  /** A request header, without making an object of all of them. */
  header(request: HttpServerRequest, name: string): string | undefined
  /** Whether the request asks to be a WebSocket (rule R26). */
  isUpgrade(request: HttpServerRequest): boolean
  /** Waits for the answers to earlier requests on the connection of an upgrade, where there are any to come. */
  turn(request: HttpServerRequest): Effect.Effect<void, UpgradeFailed> | undefined
  /** Prepares for a request; to be called with each, before it is answered. */
  prepare(request: HttpServerRequest): void
  /**
   * Watches the server that took this request. Calls `onStop` with true when the last of those watched stops listening,
   * with false when one listens again.
   */
  watch(request: HttpServerRequest, onStop: (isStopped: boolean) => void): void
  /**
   * Answers a polling request: `start` gets the exchange, and gives its answer then or later. To be called by the
   * request's fiber, which then waits for it.
   */
  exchange(
    request: HttpServerRequest,
    extraHeaders: ExtraHeaders,
    start: (exchange: Exchange) => void
  ): Effect.Effect<HttpServerResponse>
  /**
   * Answers 101 and hands the connection to `use`, before anything can arrive on it; fails when the client is gone, or
   * broke the WebSocket handshake and was told so.
   */
  upgrade(
    request: HttpServerRequest,
    headers: Readonly<Record<string, string | ReadonlyArray<string>>>,
    use: (connection: WebSocketConnection) => void
  ): Effect.Effect<HttpServerResponse, UpgradeFailed>
  /** The response of a request whose connection was taken over: nothing more is written for it. */
  release(request: HttpServerRequest): HttpServerResponse
  /** Refuses an upgrade: raw, then the connection is closed (rule R21). */
  refuse(request: HttpServerRequest, status: number, message: string): Effect.Effect<HttpServerResponse>
  /** Waits until no connection is left that was closed, but whose peer has not answered. */
  readonly lingeringClosed: Effect.Effect<void>
  /** Waits for no such peer any longer. */
  destroyLingering(): void
}
