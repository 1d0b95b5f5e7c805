/**
 * Why a session ended.
 *
 * `CloseReason` is a closed union: `TransportClose`, `TransportError`, `PingTimeout`, `ParseError`, `ForcedClose`,
 * `AppFailed` and `ServerShutdown`. A close is a value, not an error: it reaches `onDisconnect`, `Socket.closed`, the
 * events, and stands inside the `SocketClosed` error of what was attempted after the end.
 *
 * @module
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import { tooLarge } from "./internal/protocol/limits.ts"
import type { PacketError } from "./Packet.ts"
import type { PayloadError } from "./Payload.ts"

/**
 * A second GET came while one was pending, or a second POST while one was being received.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class Overlap extends Data.TaggedError("Overlap")<{ readonly method: "GET" | "POST" }> {
  override readonly message = this.method === "GET" ? "overlap from client" : "data request overlap from client"
}

/**
 * The client gave up a GET before it had the whole answer, or a POST before its end. A POST whose body
 * something else in the program has read ends so, too; then the log has a warning.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class Aborted extends Data.TaggedError("Aborted")<{ readonly method: "GET" | "POST" }> {
  override readonly message = this.method === "GET"
    ? "poll connection closed prematurely"
    : "data request connection closed prematurely"
}

/**
 * A POST of revision 4 came as `application/octet-stream`, which that revision does not have.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class InvalidContent extends Data.TaggedError("InvalidContent")<{ readonly contentType: string }> {
  override readonly message = "invalid content"
}

/**
 * A WebSocket or WebTransport message was larger than `limit` bytes, the server's `maxPayload`. An oversized
 * POST ends no session: it is answered with status 413.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class PayloadTooLarge extends Data.TaggedError("PayloadTooLarge")<{ readonly limit: number }> {
  override readonly message = tooLarge
}

/**
 * What was sent could not be written to the connection.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class WriteFailed extends Data.TaggedError("WriteFailed")<{ readonly cause: unknown }> {
  override readonly message = "write error"
}

/**
 * The client sent the half of the heartbeat that is the server's: a ping in revision 4, a pong in revision 3.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class InvalidHeartbeat extends Data.TaggedError("InvalidHeartbeat")<{}> {
  override readonly message = "invalid heartbeat direction"
}

/**
 * The client broke the WebSocket protocol; `code` is the close code it was told: 1002, 1007 or 1008.
 *
 * @category transport errors
 * @since 0.1.0
 */
export class WebSocketProtocol extends Data.TaggedError("WebSocketProtocol")<{
  readonly code: number
  readonly message: string
}> {}

/**
 * Everything that can go wrong between one client's connection and its session.
 *
 * @category transport errors
 * @since 0.1.0
 */
export type TransportFailure =
  | Overlap
  | Aborted
  | InvalidContent
  | PayloadTooLarge
  | WriteFailed
  | InvalidHeartbeat
  | WebSocketProtocol

/**
 * The peer closed its transport: a close packet, a WebSocket close frame, the end of a WebTransport session, or the loss
 * of the connection. `code` and `reason` are those of the close frame or of the WebTransport session, where there are.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransportClose {
  readonly _tag: "TransportClose"
  readonly code?: number | undefined
  readonly reason?: string | undefined
}

/**
 * The transport failed; `error` says how.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransportError {
  readonly _tag: "TransportError"
  readonly error: TransportFailure
}

/**
 * The client did not answer the heartbeat in time.
 *
 * @category models
 * @since 0.1.0
 */
export interface PingTimeout {
  readonly _tag: "PingTimeout"
}

/**
 * The client sent what is no packet.
 *
 * @category models
 * @since 0.1.0
 */
export interface ParseError {
  readonly _tag: "ParseError"
  readonly error: PacketError | PayloadError
}

/**
 * The application closed the session, or its `app` came to an end.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForcedClose {
  readonly _tag: "ForcedClose"
}

/**
 * The application's `app` failed or died with `cause`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppFailed {
  readonly _tag: "AppFailed"
  readonly cause: Cause.Cause<unknown>
}

/**
 * The server shut down or was drained; `undelivered` is the number of accepted messages that the client did not
 * take, or of which the server cannot know it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerShutdown {
  readonly _tag: "ServerShutdown"
  readonly undelivered: number
}

/**
 * Why a session ended.
 *
 * @category models
 * @since 0.1.0
 */
export type CloseReason =
  | TransportClose
  | TransportError
  | PingTimeout
  | ParseError
  | ForcedClose
  | AppFailed
  | ServerShutdown

/**
 * The reason of a session whose client closed its transport or lost its connection.
 *
 * **Example** (The end of a tab)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.transportClose({ code: 1001 }) // => { _tag: "TransportClose", code: 1001 }
 * CloseReason.transportClose() // => { _tag: "TransportClose" }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const transportClose = ({ code, reason }: Omit<TransportClose, "_tag"> = {}): CloseReason => ({
  _tag: "TransportClose",
  ...(code === undefined ? {} : { code }),
  ...(reason === undefined ? {} : { reason })
})

/**
 * The reason of a session whose transport failed with `error`.
 *
 * **Example** (A message that is too large)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * const error = new CloseReason.PayloadTooLarge({ limit: 1_000_000 })
 * CloseReason.transportError(error) // => { _tag: "TransportError", error }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const transportError = (error: TransportFailure): CloseReason => ({ _tag: "TransportError", error })

/**
 * The reason of a session whose client did not answer the heartbeat in time.
 *
 * **Example** (A client that fell silent)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.message(CloseReason.pingTimeout) // => "ping timeout"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const pingTimeout: CloseReason = { _tag: "PingTimeout" }

/**
 * The reason of a session whose client sent what is no packet.
 *
 * **Example** (A packet of no known type)
 *
 * ```ts import.meta.vitest
 * import { CloseReason, Packet } from "effect-engine.io"
 *
 * const error = new Packet.PacketError({ reason: "UnknownType" })
 * CloseReason.parseError(error) // => { _tag: "ParseError", error }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const parseError = (error: PacketError | PayloadError): CloseReason => ({ _tag: "ParseError", error })

/**
 * The reason of a session that the application closed, or whose `app` came to an end.
 *
 * **Example** (A session that was closed here)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.message(CloseReason.forcedClose) // => "forced close"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const forcedClose: CloseReason = { _tag: "ForcedClose" }

/**
 * The reason of a session whose `app` failed or died with `cause`.
 *
 * **Example** (An app that failed)
 *
 * ```ts import.meta.vitest
 * import { Cause } from "effect"
 * import { CloseReason } from "effect-engine.io"
 *
 * const cause = Cause.fail("no database")
 * CloseReason.appFailed(cause) // => { _tag: "AppFailed", cause }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const appFailed = (cause: Cause.Cause<unknown>): CloseReason => ({ _tag: "AppFailed", cause })

/**
 * The reason of a session that ended with the server, while `undelivered` messages were on their way.
 *
 * **Example** (A client between two polls)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.serverShutdown(3) // => { _tag: "ServerShutdown", undelivered: 3 }
 * CloseReason.serverShutdown() // => { _tag: "ServerShutdown", undelivered: 0 }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const serverShutdown = (undelivered = 0): CloseReason => ({ _tag: "ServerShutdown", undelivered })

/**
 * Whether the server's side ended the session: the application, or the end of the server.
 *
 * **Example** (Clients that left by themselves)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.isForced(CloseReason.forcedClose) // => true
 * CloseReason.isForced(CloseReason.pingTimeout) // => false
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isForced = (reason: CloseReason): reason is ForcedClose | AppFailed | ServerShutdown => {
  switch (reason._tag) {
    case "TransportClose":
    case "TransportError":
    case "PingTimeout":
    case "ParseError":
      return false
    case "ForcedClose":
    case "AppFailed":
    case "ServerShutdown":
      return true
  }
}

/**
 * The protocol's text for every reason, by its tag: what the metrics count by.
 *
 * **Example** (The texts there are)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * new Set(Object.values(CloseReason.messages)).size // => 5
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const messages = {
  TransportClose: "transport close",
  TransportError: "transport error",
  PingTimeout: "ping timeout",
  ParseError: "parse error",
  ForcedClose: "forced close",
  AppFailed: "forced close",
  ServerShutdown: "forced close"
} as const satisfies Record<CloseReason["_tag"], string>

/**
 * The protocol's text for a reason, as `engine.io` hands it to its `close` listeners.
 *
 * **Example** (Naming a reason)
 *
 * ```ts import.meta.vitest
 * import { CloseReason } from "effect-engine.io"
 *
 * CloseReason.message(CloseReason.pingTimeout) // => "ping timeout"
 * CloseReason.message(CloseReason.serverShutdown()) // => "forced close"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const message = (reason: CloseReason): (typeof messages)[CloseReason["_tag"]] => messages[reason._tag]
