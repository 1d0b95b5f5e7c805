/**
 * What a server can be told, and the check of it, done once when its layer is built.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Forbidden } from "../../HandshakeError.ts"
import type { SocketId } from "../session/model.ts"
import type { Settings } from "../session/settings.ts"
import { TransportType } from "../../Transport.ts"

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
  /** How long a client has to complete an upgrade. Default: 10 seconds. */
  readonly upgradeTimeout?: Duration.Input | undefined
  /** How long the application has to decide on a handshake; then the client gets status 503. Default: 10 seconds. */
  readonly handshakeTimeout?: Duration.Input | undefined
  /** How long the server waits for a client to take its close. Default: 30 seconds. */
  readonly closeTimeout?: Duration.Input | undefined
  /** How long a drain may take when the server shuts down. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
  /** The most bytes of one POST, or of one WebSocket or WebTransport message. Default: 1 000 000. */
  readonly maxPayload?: number | undefined
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
  /** What may wait for the application before reading from the client stops. Default: 1 024 messages or 4 MiB. */
  readonly receiveBuffer?: BufferLimit | undefined
  /** A message every client gets right after the handshake (rule R30). */
  readonly initialPacket?: string | Uint8Array | undefined
  /** The origins whose pages may connect, over every transport; requests without an Origin pass. Default: all. */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /**
   * Makes the id of a new session. A failure, an id in use, or one that is no non-empty string refuses the handshake
   * with code 3 (rules R14, R15). Default: 20 characters, 96 random bits.
   */
  readonly generateId?: ((request: HttpServerRequest) => Effect.Effect<SocketId, E, R>) | undefined
  /** Decides on every handshake and every upgrade (rule R12): fail to refuse. */
  readonly allowRequest?:
    | ((request: HttpServerRequest) => Effect.Effect<void, Forbidden | HttpServerResponse, R>)
    | undefined
}

/**
 * An option has a value it cannot have. `message` names the option and what it may be.
 *
 * @category errors
 * @since 0.1.0
 */
export class OptionsError extends Data.TaggedError("OptionsError")<{ readonly message: string }> {}

/** The options, complete and in plain numbers. */
export interface Config extends Settings {
  readonly handshakeTimeout: number
  readonly maxSessions: number
  readonly allowUpgrades: boolean
  readonly allowEIO3: boolean
  readonly transports: ReadonlySet<string>
  readonly initialPacket: string | Uint8Array | undefined
  readonly allowedOrigins: ReadonlySet<string> | undefined
  readonly generateId: ((request: HttpServerRequest) => Effect.Effect<SocketId, unknown>) | undefined
  readonly allowRequest:
    | ((request: HttpServerRequest) => Effect.Effect<void, Forbidden | HttpServerResponse>)
    | undefined
}

// --- schema ----------------------------------------------------------------------------------------------------------

const such = (what: string, isSuch: (value: unknown) => boolean) =>
  Schema.optional(Schema.Unknown.check(Schema.makeFilter((value) => value === undefined || isSuch(value) || what)))

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0

const isDuration = (value: unknown): boolean =>
  Option.match(Duration.fromInput(value as Duration.Input), {
    onNone: () => false,
    onSome: (duration) => Duration.toMillis(duration) > 0
  })

const duration = such("a duration above zero, such as \"25 seconds\" or a number of milliseconds", (value) => {
  try {
    return isDuration(value)
  } catch {
    return false
  }
})
const count = such("a whole number above zero", isCount)
const flag = such("true or false", (value) => typeof value === "boolean")
const hook = such("a function that returns an Effect", (value) => typeof value === "function")
const buffer = such(
  "{ messages?: number, bytes?: number }, both whole numbers above zero",
  (value) =>
    typeof value === "object" && value !== null &&
    Object.entries(value).every(([key, limit]) =>
      (key === "messages" || key === "bytes") && (limit === undefined || isCount(limit))
    )
)

const OptionsSchema = Schema.Struct({
  pingInterval: duration,
  pingTimeout: duration,
  upgradeTimeout: duration,
  handshakeTimeout: duration,
  closeTimeout: duration,
  drainTimeout: duration,
  maxPayload: count,
  maxSessions: count,
  allowUpgrades: flag,
  allowEIO3: flag,
  anyPacketIsAlive: flag,
  transports: such(
    "a non-empty list of \"polling\", \"websocket\" and \"webtransport\"",
    (value) =>
      Array.isArray(value) && value.length > 0 && value.every((name) => Option.isSome(TransportType.parse(name)))
  ),
  sendBuffer: buffer,
  receiveBuffer: buffer,
  initialPacket: such(
    "text or a Uint8Array",
    (value) => typeof value === "string" || value instanceof Uint8Array
  ),
  allowedOrigins: such(
    "a list of origins, such as \"https://example.com\"",
    (value) => Array.isArray(value) && value.every((origin) => typeof origin === "string")
  ),
  generateId: hook,
  allowRequest: hook
})

/** Checks the options and completes them. */
export const resolve = Effect.fnUntraced(function*<E, R>(
  options: Options<E, R>
): Effect.fn.Return<Config, OptionsError, R> {
  yield* Schema.decodeUnknownEffect(OptionsSchema)(options, { errors: "all", onExcessProperty: "error" }).pipe(
    Effect.mapError((error) => new OptionsError({ message: `EngineIO options: ${String(error.message)}` }))
  )
  const context = yield* Effect.context<R>()
  const { allowRequest, generateId } = options
  return {
    pingInterval: millis(options.pingInterval, 25_000),
    pingTimeout: millis(options.pingTimeout, 20_000),
    upgradeTimeout: millis(options.upgradeTimeout, 10_000),
    handshakeTimeout: millis(options.handshakeTimeout, 10_000),
    closeTimeout: millis(options.closeTimeout, 30_000),
    drainTimeout: millis(options.drainTimeout, 10_000),
    maxPayload: options.maxPayload ?? 1_000_000,
    maxSessions: options.maxSessions ?? Infinity,
    allowUpgrades: options.allowUpgrades ?? true,
    allowEIO3: options.allowEIO3 ?? false,
    anyPacketIsAlive: options.anyPacketIsAlive ?? false,
    transports: new Set<string>(options.transports ?? ["polling", "websocket"]),
    sendBuffer: {
      messages: options.sendBuffer?.messages ?? 65_536,
      bytes: options.sendBuffer?.bytes ?? 16 * 1024 * 1024
    },
    receiveBuffer: {
      messages: options.receiveBuffer?.messages ?? 1024,
      bytes: options.receiveBuffer?.bytes ?? 4 * 1024 * 1024
    },
    initialPacket: options.initialPacket,
    allowedOrigins: options.allowedOrigins === undefined ? undefined : new Set(options.allowedOrigins),
    generateId: generateId && ((request) => Effect.provideContext(Effect.suspend(() => generateId(request)), context)),
    allowRequest: allowRequest &&
      ((request) => Effect.provideContext(Effect.suspend(() => allowRequest(request)), context))
  }
})

const millis = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))
