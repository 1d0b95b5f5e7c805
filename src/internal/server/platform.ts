/**
 * What the server needs of the machine below the HTTP API. It is a service: `EngineIO.layer` provides Node's
 * (`node/nodePlatform.ts`), and another machine's goes in its place.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type { Answer } from "./answer.ts"
import type { ExtraHeaders } from "./extraHeaders.ts"
import type { Exchange } from "../transport/requests.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"

/** The client of an upgrade is gone, or broke the WebSocket handshake and was told so: there is nobody to answer. */
export class UpgradeFailed extends Data.TaggedError("UpgradeFailed") {}

/** An exchange whose answer a route handler returns. */
export interface RoutedExchange extends Exchange {
  /** Waits for the answer. */
  readonly awaitAnswer: Effect.Effect<HttpServerResponse>
}

export interface Platform {
  /** Runs `f` when the current callback of the event loop is done, before any other I/O. */
  defer(f: () => void): void
  /** A request header, without making an object of all of them. */
  header(request: HttpServerRequest, name: string): string | undefined
  /** Whether the request asks to be a WebSocket (rule R26). */
  isUpgrade(request: HttpServerRequest): boolean
  /**
   * To be called with each request, before anything else. Watches the server that took it: calls `onStop` with true when
   * the last of those watched stops listening, with false when one listens again. A request that asks for an upgrade has
   * something to wait for: the answers to earlier requests on its connection.
   */
  receive(
    request: HttpServerRequest,
    onStop: (isStopped: boolean) => void
  ): Effect.Effect<void, UpgradeFailed> | undefined
  /** Lets a polling request be answered, now or later. To be called by the request's fiber, with its context. */
  exchange(
    request: HttpServerRequest,
    extraHeaders: ExtraHeaders,
    context: Context.Context<never>
  ): RoutedExchange
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
  /** Refuses an upgrade with this answer; then the connection is closed (rule R21). */
  refuse(request: HttpServerRequest, answer: Answer): Effect.Effect<HttpServerResponse>
  /** Waits until no connection is left that was closed, but whose peer has not answered. */
  readonly lingeringClosed: Effect.Effect<void>
  /** Waits for no such peer any longer. */
  destroyLingering(): void
}

export const Platform: Context.Service<Platform, Platform> = Context.Service("effect-engine.io/Platform")
