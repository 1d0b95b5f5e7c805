/**
 * What a server can be told.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Cookies from "effect/http/Cookies"
import type * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type { Forbidden } from "../../HandshakeError.ts"
import type { SocketId } from "../session/model.ts"
import type { TransportType } from "../../Transport.ts"

export { OptionsError } from "../protocol/optionsError.ts"

/**
 * The limit of a buffer; whichever part is reached first counts.
 *
 * @category options
 * @since 0.1.0
 */
export interface BufferLimit {
  readonly messages?: number | undefined
  /** Bytes; text counts as UTF-8. */
  readonly bytes?: number | undefined
}

/**
 * How many handshakes one client may begin in how much time.
 *
 * @category options
 * @since 0.1.0
 */
export interface HandshakeRate {
  /** The most handshakes of one address in one window, those that are refused later among them. */
  readonly limit: number
  /** How long a window lasts, from the first handshake in it. */
  readonly window: Duration.Input
}

/**
 * The options that are plain values, and can come from the environment (`EngineIO.layerConfig`).
 *
 * @category options
 * @since 0.1.0
 */
export interface ScalarOptions {
  /** How often a client of revision 4 is pinged, counted from its last pong. Default: 25 seconds. */
  readonly pingInterval?: Duration.Input | undefined
  /** How long a client has to answer a ping. Default: 20 seconds. */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long a client has to complete an upgrade, or to say what its WebTransport session is for. Default: 10 seconds. */
  readonly upgradeTimeout?: Duration.Input | undefined
  /**
   * How long the application has to decide on a handshake, by its function and by the hooks that are effects, all together;
   * then the client gets status 503. So long have the hooks for any other request. Default: 10 seconds.
   */
  readonly handshakeTimeout?: Duration.Input | undefined
  /**
   * How long the server waits for a client to take its close, or an answer that is large, and, when a client has left, for
   * the application to take what had arrived. Default: 30 seconds.
   */
  readonly closeTimeout?: Duration.Input | undefined
  /**
   * How long the end of the server may take in all. When nine tenths of it are over, clients that have not taken what was
   * sent are cut and applications interrupted; what still runs at the end is warned of. Default: 10 seconds.
   */
  readonly drainTimeout?: Duration.Input | undefined
  /** The most bytes of one POST, or of one WebSocket or WebTransport message. Default: 1 000 000. */
  readonly maxPayload?: number | undefined
  /**
   * The most packets of one POST; beyond it the session ends with `ParseError`, its reason `TooManyPackets`, and the POST
   * gets status 400. Default: 1 000 000, which a POST of the default `maxPayload` cannot hold: half a million at most.
   */
  readonly maxPacketsPerPayload?: number | undefined
  /**
   * How long the body of a POST may take to arrive; then it gets status 408, and the session ends as if the client had
   * given the POST up (`TransportError` with `Aborted`). Default: 30 seconds.
   */
  readonly bodyTimeout?: Duration.Input | undefined
  /** The most sessions at a time; beyond it, handshakes get status 503. Default: no limit. */
  readonly maxSessions?: number | undefined
  /** Whether a client may move from polling to a better transport. Default: true. */
  readonly allowUpgrades?: boolean | undefined
  /** Whether clients of revision 3 are served. Default: false. */
  readonly allowEIO3?: boolean | undefined
  /** Whether any packet, not only a pong, extends the wait for a pong. Default: false. */
  readonly anyPacketIsAlive?: boolean | undefined
}

/**
 * Cross-origin sharing, with the meaning the `cors` package gives these names.
 *
 * @category options
 * @since 0.1.0
 */
export interface CorsOptions {
  /** Which origins: all (default, or `"*"`), one, or those that match; `false` switches all of it off. */
  readonly origin?:
    | boolean
    | string
    | RegExp
    | ReadonlyArray<string | RegExp>
    | ((origin: string | undefined) => boolean)
    | undefined
  /** Whether pages may send cookies; then `origin` must not be `"*"`. Default: false. */
  readonly credentials?: boolean | undefined
  /** The headers of answers that pages may read, besides the few they always may. Default: none. */
  readonly exposedHeaders?: string | ReadonlyArray<string> | undefined
  /** Default: those the preflight asks for. */
  readonly allowedHeaders?: string | ReadonlyArray<string> | undefined
  /** Default: GET, HEAD, PUT, PATCH, POST, DELETE. */
  readonly methods?: string | ReadonlyArray<string> | undefined
  /** How long a browser may remember the answer, in seconds. */
  readonly maxAge?: number | undefined
  /** Default: 204. */
  readonly optionsSuccessStatus?: number | undefined
  /** Whether a preflight is treated like every other request, which refuses it. Default: false. */
  readonly preflightContinue?: boolean | undefined
}

/**
 * The cookie with the session id.
 *
 * @category options
 * @since 0.1.0
 */
export interface CookieOptions extends Omit<NonNullable<Cookies.Cookie["options"]>, "path"> {
  /** Default: `io`. */
  readonly name?: string | undefined
  /** Default: `/`; `false` leaves it out. */
  readonly path?: string | false | undefined
}

/**
 * Compression of WebSocket messages: options of the `ws` library, and the threshold we honour ourselves.
 *
 * @category options
 * @since 0.1.0
 */
export interface PerMessageDeflateOptions {
  /** The fewest bytes worth compressing. Default: 1024. */
  readonly threshold?: number | undefined
  readonly serverNoContextTakeover?: boolean | undefined
  readonly clientNoContextTakeover?: boolean | undefined
  readonly serverMaxWindowBits?: number | undefined
  readonly clientMaxWindowBits?: number | undefined
  readonly zlibDeflateOptions?: object | undefined
  readonly zlibInflateOptions?: object | undefined
  /** How many messages are compressed at a time. Default: 10. */
  readonly concurrencyLimit?: number | undefined
}

/**
 * The answer to which `responseHeaders` adds.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResponseInfo {
  readonly request: HttpServerRequest
  readonly id: SocketId
  /** Whether it answers the session's handshake. */
  readonly initial: boolean
  readonly transport: TransportType
}

/**
 * The options of a server. All have defaults; a wrong one fails the layer with `OptionsError`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<E = never, R = never> extends ScalarOptions {
  /** The transports clients may use. Default: `["polling", "websocket"]`. */
  readonly transports?: ReadonlyArray<TransportType> | undefined
  /** What may wait for one client. Default: 65 536 messages or 16 MiB. */
  readonly sendBuffer?: BufferLimit | undefined
  /**
   * What may wait for the application before reading from the client stops; a message counts 256 bytes beside its own. Of
   * a POST only so much is read, and its answer comes when all of it was. Default: 1 024 messages or 4 MiB.
   */
  readonly receiveBuffer?: BufferLimit | undefined
  /**
   * The most handshakes of one remote address in a time; beyond it they get status 429. An IPv6 client is its network of
   * 64 bits. Behind a proxy, let a middleware set the address (`HttpMiddleware.xForwardedHeaders`), or all clients are
   * one. Default: no limit.
   */
  readonly handshakeRate?: HandshakeRate | undefined
  /** A message every client gets right after the handshake. Default: none. */
  readonly initialPacket?: string | Uint8Array | undefined
  /** The origins whose pages may connect, over every transport; requests without an Origin pass. Default: all. */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /**
   * Makes the id of a new session. A failure, an id in use, or one that is no non-empty string refuses the handshake
   * with code 3. Default: 20 characters, 96 random bits.
   */
  readonly generateId?: ((request: HttpServerRequest) => Effect.Effect<SocketId, E, R>) | undefined
  /** The headers a browser needs to let pages of other origins in. Default: false. */
  readonly cors?:
    | boolean
    | CorsOptions
    | ((request: HttpServerRequest) => Effect.Effect<CorsOptions, never, R>)
    | undefined
  /**
   * A cookie with the session id on the answer to a polling handshake: `true` for `io=…; Path=/; HttpOnly;
   * SameSite=Lax`, a name, or attributes. Default: false.
   */
  readonly cookie?: boolean | string | CookieOptions | undefined
  /** Compression of the answers to polls of at least `threshold` bytes. Default: `{ threshold: 1024 }`. */
  readonly httpCompression?: boolean | { readonly threshold?: number | undefined } | undefined
  /**
   * Compression of WebSocket messages of at least `threshold` bytes (default 1024); the rest goes to the `ws` library.
   * It costs memory and time, and rules out the cheapest way to write. Default: false.
   */
  readonly perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
  /**
   * Headers to add to the answers of a session: to polls and posts, and to the 101 of a WebSocket. A list of
   * cookies, `{ "set-cookie": ["a=1", "b=2"] }`, has a line for each; of other headers, the values stand in one. A value
   * that no header can carry refuses the request with status 500. Default: none.
   */
  readonly responseHeaders?: ((info: ResponseInfo) => Effect.Effect<Headers.Input, never, R>) | undefined
  /** Decides on every handshake and every upgrade: fail to refuse. Default: all pass. */
  readonly allowRequest?:
    | ((request: HttpServerRequest) => Effect.Effect<void, Forbidden | HttpServerResponse, R>)
    | undefined
}
