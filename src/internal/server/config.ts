/**
 * The check of the options, done once when a server's layer is built, and what comes of it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import type * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Forbidden } from "../../HandshakeError.ts"
import { TransportType } from "../../Transport.ts"
import type { SocketId } from "../session/model.ts"
import type { Settings } from "../session/settings.ts"
import {
  type CookieOptions,
  type CorsOptions,
  type HandshakeRate,
  type Options,
  OptionsError,
  type PerMessageDeflateOptions,
  type ResponseInfo
} from "./options.ts"

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

// --- schema ----------------------------------------------------------------------------------------------------------

const such = (what: string, isSuch: (value: unknown) => boolean) =>
  Schema.optional(Schema.Unknown.check(Schema.makeFilter((value) => value === undefined || isSuch(value) || what)))

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0

const isDuration = (value: unknown): boolean => {
  try {
    return Option.exists(Duration.fromInput(value as Duration.Input), (it) => Duration.toMillis(it) > 0)
  } catch {
    return false
  }
}

const duration = such("a duration above zero, such as \"25 seconds\" or a number of milliseconds", isDuration)
// Clients count these with timers, which hold no more.
const beat = such(
  "a duration above zero and below 24 days, such as \"25 seconds\" or a number of milliseconds",
  (value) => isDuration(value) && Duration.toMillis(Duration.fromInputUnsafe(value as Duration.Input)) < 24 * 86_400_000
)
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

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isOr = (...values: ReadonlyArray<unknown>) => (value: unknown): boolean => values.includes(value)
const isFlag = isOr(true, false)
const isText = (value: unknown): boolean => typeof value === "string"
const isWhole = (value: unknown): boolean => value === 0 || isCount(value)
const isTexts = (value: unknown): boolean => isText(value) || (Array.isArray(value) && value.every(isText))

/** Whether a value is an object of these members and no others; each may be undefined. */
const hasOnly = (members: Readonly<Record<string, (value: unknown) => boolean>>) => (value: unknown): boolean =>
  isObject(value) &&
  Object.entries(value).every(([name, member]) =>
    Object.hasOwn(members, name) && (member === undefined || members[name]!(member))
  )

const isOrigin = (value: unknown): boolean => (isText(value) && value !== "") || value instanceof RegExp

const isCors = hasOnly({
  origin: (value) =>
    isFlag(value) || typeof value === "function" || isOrigin(value) || (Array.isArray(value) && value.every(isOrigin)),
  credentials: isFlag,
  exposedHeaders: isTexts,
  allowedHeaders: isTexts,
  methods: isTexts,
  maxAge: isWhole,
  optionsSuccessStatus: (value) => isCount(value) && (value as number) >= 200 && (value as number) < 300,
  preflightContinue: isFlag
})

const isCookieOptions = hasOnly({
  name: isText,
  path: (value) => value === false || isText(value),
  domain: isText,
  expires: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
  maxAge: (value) => value === 0 || isDuration(value),
  priority: isOr("low", "medium", "high"),
  sameSite: isOr("lax", "strict", "none"),
  httpOnly: isFlag,
  secure: isFlag,
  partitioned: isFlag,
  hostOnly: isFlag
})

const isCookie = (value: unknown): boolean =>
  (isText(value) || isCookieOptions(value)) && Result.isSuccess(makeCookie(value as string | CookieOptions, "id"))

const isHandshakeRate = (value: unknown): boolean =>
  hasOnly({ limit: isCount, window: isDuration })(value) &&
  isCount((value as HandshakeRate).limit) && (value as HandshakeRate).window !== undefined

const isWindowBits = (value: unknown): boolean => isCount(value) && (value as number) >= 8 && (value as number) <= 15

const isHttpCompression = hasOnly({ threshold: isWhole })

const isPerMessageDeflate = hasOnly({
  threshold: isWhole,
  serverNoContextTakeover: isFlag,
  clientNoContextTakeover: isFlag,
  serverMaxWindowBits: isWindowBits,
  clientMaxWindowBits: isWindowBits,
  zlibDeflateOptions: isObject,
  zlibInflateOptions: isObject,
  concurrencyLimit: isCount
})

const makeCookie = (options: string | CookieOptions, id: SocketId) => {
  const { httpOnly = true, name = "io", path = "/", sameSite = "lax", ...attributes } = typeof options === "string"
    ? { name: options }
    : options
  return Cookies.makeCookie(name, id, {
    ...attributes,
    httpOnly,
    sameSite,
    ...(path === false ? {} : { path })
  })
}

const OptionsSchema = Schema.Struct({
  pingInterval: beat,
  pingTimeout: beat,
  upgradeTimeout: duration,
  handshakeTimeout: duration,
  closeTimeout: duration,
  drainTimeout: duration,
  maxPayload: count,
  maxPacketsPerPayload: count,
  bodyTimeout: duration,
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
  handshakeRate: such("{ limit: whole number above zero, window: duration above zero }", isHandshakeRate),
  initialPacket: such(
    "text without the character U+001E, or a Uint8Array",
    (value) => typeof value === "string" ? !value.includes("\x1e") : value instanceof Uint8Array
  ),
  allowedOrigins: such(
    "a list of origins as browsers send them: \"https://example.com\", without a path, or \"null\"",
    (value) =>
      Array.isArray(value) &&
      value.every((origin) => typeof origin === "string" && /^(null|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+)$/.test(origin))
  ),
  generateId: hook,
  allowRequest: hook,
  responseHeaders: hook,
  cors: such(
    "true, false, a function that returns an Effect, or { origin?, credentials?, exposedHeaders?, allowedHeaders?, " +
      "methods?, maxAge?, optionsSuccessStatus?, preflightContinue? }",
    (value) => typeof value === "boolean" || typeof value === "function" || isCors(value)
  ),
  cookie: such(
    "true, false, a cookie name, or { name?, path?, domain?, expires?, maxAge?, priority?, sameSite?, httpOnly?, " +
      "secure?, partitioned? }, all valid in a cookie",
    (value) => typeof value === "boolean" || isCookie(value)
  ),
  httpCompression: such(
    "true, false, or { threshold?: bytes }",
    (value) => typeof value === "boolean" || isHttpCompression(value)
  ),
  perMessageDeflate: such(
    "true, false, or { threshold?: bytes, serverNoContextTakeover?, clientNoContextTakeover?, serverMaxWindowBits?: " +
      "8 to 15, clientMaxWindowBits?: 8 to 15, zlibDeflateOptions?, zlibInflateOptions?, concurrencyLimit? }",
    (value) => typeof value === "boolean" || isPerMessageDeflate(value)
  )
})

/** Checks the options and completes them. */
export const resolve = Effect.fnUntraced(function*<E, R>(
  options: Options<E, R>
): Effect.fn.Return<Config, OptionsError, R> {
  yield* Schema.decodeUnknownEffect(OptionsSchema)(options, { errors: "all", onExcessProperty: "error" }).pipe(
    Effect.mapError((error) => new OptionsError({ message: `EngineIO options: ${String(error.message)}` }))
  )
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
      ? (request) => Effect.provideContext(Effect.suspend(() => cors(request)), context)
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

const millis = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(input))

const thresholdOf = (options: boolean | PerMessageDeflateOptions): number =>
  (typeof options === "boolean" ? undefined : options.threshold) ?? 1024
