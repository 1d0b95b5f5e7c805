/**
 * The options as the server works with them: complete, in plain numbers, and with their context provided.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import type * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Result from "effect/Result"
import type { Forbidden } from "../../HandshakeError.ts"
import type { SocketId } from "../session/model.ts"
import type { Settings } from "../session/settings.ts"
import type { CorsOptions, Options, OptionsError, PerMessageDeflateOptions, ResponseInfo } from "./options.ts"
import { check, isCors, makeCookie } from "./optionsSchema.ts"

/** The options, complete and in plain numbers. */
export interface Config extends Settings {
  readonly handshakeTimeout: number
  readonly maxSessions: number
  readonly maxPacketsPerPayload: number
  readonly handshakeRate: { readonly limit: number; readonly window: number } | undefined
  readonly allowUpgrades: boolean
  readonly allowEIO3: boolean
  readonly transports: ReadonlySet<string>
  readonly initialPacket: string | Uint8Array | undefined
  readonly allowedOrigins: ReadonlySet<string> | undefined
  readonly generateId: ((request: HttpServerRequest) => Effect.Effect<SocketId, unknown>) | undefined
  readonly allowRequest:
    | ((request: HttpServerRequest) => Effect.Effect<void, Forbidden | HttpServerResponse>)
    | undefined
  readonly cors: ((request: HttpServerRequest) => CorsOptions | Effect.Effect<CorsOptions>) | undefined
  readonly cookie: ((id: SocketId) => Cookies.Cookies) | undefined
  readonly httpCompression: { readonly threshold: number } | undefined
  readonly perMessageDeflate: PerMessageDeflateOptions & { readonly threshold: number } | undefined
  readonly responseHeaders: ((info: ResponseInfo) => Effect.Effect<Headers.Input>) | undefined
}

/** Checks the options and completes them. */
export const resolve = Effect.fnUntraced(function*<E, R>(
  options: Options<E, R>
): Effect.fn.Return<Config, OptionsError, R> {
  yield* check(options)
  const context = yield* Effect.context<R>()
  const { allowRequest, cookie, cors, generateId, httpCompression, perMessageDeflate, responseHeaders } = options
  return {
    pingInterval: millis(options.pingInterval, 25_000),
    pingTimeout: millis(options.pingTimeout, 20_000),
    upgradeTimeout: millis(options.upgradeTimeout, 10_000),
    handshakeTimeout: millis(options.handshakeTimeout, 10_000),
    closeTimeout: millis(options.closeTimeout, 30_000),
    drainTimeout: millis(options.drainTimeout, 10_000),
    maxPayload: options.maxPayload ?? 1_000_000,
    maxPacketsPerPayload: options.maxPacketsPerPayload ?? 1_000_000,
    bodyTimeout: millis(options.bodyTimeout, 30_000),
    maxSessions: options.maxSessions ?? Infinity,
    handshakeRate: options.handshakeRate && {
      limit: options.handshakeRate.limit,
      window: millis(options.handshakeRate.window, 0)
    },
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
      ((request) => Effect.provideContext(Effect.suspend(() => allowRequest(request)), context)),
    cors: cors === undefined || cors === false
      ? undefined
      : typeof cors === "function"
      ? (request) => Effect.provideContext(Effect.map(Effect.suspend(() => cors(request)), checkedCors), context)
      : () => cors === true ? {} : cors,
    cookie: cookie === undefined || cookie === false ? undefined : (id) => {
      const made = makeCookie(cookie === true ? {} : cookie, id)
      return Result.isSuccess(made) ? Cookies.setCookie(Cookies.empty, made.success) : Cookies.empty
    },
    httpCompression: httpCompression === false
      ? undefined
      : { threshold: (httpCompression === true ? undefined : httpCompression?.threshold) ?? 1024 },
    perMessageDeflate: perMessageDeflate === undefined || perMessageDeflate === false
      ? undefined
      : { ...(perMessageDeflate === true ? {} : perMessageDeflate), threshold: thresholdOf(perMessageDeflate) },
    responseHeaders: responseHeaders &&
      ((info) => Effect.provideContext(Effect.suspend(() => responseHeaders(info)), context))
  }
})

/** What a function gave is checked when it gives it. */
const checkedCors = (options: CorsOptions): CorsOptions => {
  if (isCors(options)) return options
  throw new TypeError("cors: the function gave options that are none, or have a text that no header can carry")
}

const millis = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))

const thresholdOf = (options: boolean | PerMessageDeflateOptions): number =>
  (typeof options === "boolean" ? undefined : options.threshold) ?? 1024
