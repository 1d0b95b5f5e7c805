/**
 * The errors of the protocol: why a request was refused. One table of tag, code, message and status.
 *
 * Over plain HTTP they are answered as JSON, `{"code":…,"message":"…"}`; a request to upgrade gets the message as text
 * before its connection is closed.
 *
 * @module
 * @since 0.1.0
 */
import * as Data from "effect/Data"

/**
 * The `transport` parameter names no transport the server has.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownTransport extends Data.TaggedError("UnknownTransport")<{
  readonly context: { readonly transport: string | undefined }
}> {
  readonly code = 0
  readonly status = 400
  override readonly message = "Transport unknown"
}

/**
 * The request names a session the server does not hold, or one that another handler opened. Clients start
 * anew. Behind a load balancer without sticky sessions this is what they get.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownSid extends Data.TaggedError("UnknownSid")<{ readonly context: { readonly sid: string } }> {
  readonly code = 1
  readonly status = 400
  override readonly message = "Session ID unknown"
}

/**
 * A handshake is a GET, and this was none.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadHandshakeMethod extends Data.TaggedError("BadHandshakeMethod")<{
  readonly context: { readonly method: string }
}> {
  readonly code = 2
  readonly status = 400
  override readonly message = "Bad handshake method"
}

/**
 * What else can be wrong with a request; `context` says what.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadRequest extends Data.TaggedError("BadRequest")<{
  readonly context:
    | { readonly name: "INVALID_ORIGIN"; readonly origin: string }
    | { readonly name: "TRANSPORT_MISMATCH"; readonly transport: string; readonly previousTransport: string }
    | { readonly name: "TRANSPORT_HANDSHAKE_ERROR"; readonly error?: unknown }
    | { readonly name: "ID_GENERATION_ERROR"; readonly error: unknown }
    | { readonly name: "MIDDLEWARE_FAILURE"; readonly error: unknown }
    | { readonly name: "UPGRADES_DISABLED"; readonly transport: string }
}> {
  readonly code = 3
  readonly status = 400
  override readonly message = "Bad request"
}

/**
 * The application refused the request. Fail with it in the function given to `EngineIO.handler`, or in `allowRequest`;
 * `message` is told to the client.
 *
 * **Example** (Letting in who has a token)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EngineIO, HandshakeError, Socket } from "effect-engine.io"
 *
 * const handler = EngineIO.handler((socket) =>
 *   socket.handshake.query["token"] === "secret"
 *     ? Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 *     : Effect.fail(new HandshakeError.Forbidden({ message: "token missing" }))
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends Data.TaggedError("Forbidden")<{ readonly message: string }> {
  readonly code = 4
  readonly status = 403
}

/**
 * The client speaks revision 3, and `allowEIO3` is off.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedProtocolVersion extends Data.TaggedError("UnsupportedProtocolVersion")<{
  readonly context: { readonly protocol: number }
}> {
  readonly code = 5
  readonly status = 400
  override readonly message = "Unsupported protocol version"
}

/**
 * The server takes no new sessions now: it is shutting down, holds `maxSessions`, or its application took longer than
 * `handshakeTimeout` to decide.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly message: "Server shutting down" | "Too many sessions" | "Handshake timeout"
}> {
  readonly code = 3
  readonly status = 503
}

/**
 * The client's address has begun more handshakes than `handshakeRate` allows.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Data.TaggedError("TooManyRequests")<{}> {
  readonly code = 3
  readonly status = 429
  override readonly message = "Too many requests"
}

/**
 * Why a request was refused.
 *
 * @category models
 * @since 0.1.0
 */
export type HandshakeError =
  | UnknownTransport
  | UnknownSid
  | BadHandshakeMethod
  | BadRequest
  | Forbidden
  | UnsupportedProtocolVersion
  | Unavailable
  | TooManyRequests
