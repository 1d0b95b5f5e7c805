/**
 * The table of options, and the options as the server works with them: complete, in plain numbers, and with their context
 * provided.
 */
import type * as Context from "effect/Context"
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
import { defuse } from "../protocol/defuse.ts"
import { type Expectation, isDuration, isFlag } from "../protocol/expectation.ts"
import { hasSeparator } from "../protocol/revision4.ts"
import { see } from "../protocol/see.ts"
import type { SocketId } from "../session/model.ts"
import type { Settings } from "../session/settings.ts"
import type {
  BufferLimit,
  CorsOptions,
  Options,
  OptionsError,
  PerMessageDeflateOptions,
  ResponseInfo
} from "./options.ts"
import {
  checker,
  hasOnly,
  isCookie,
  isCors,
  isCount,
  isHandshakeRate,
  isHttpCompression,
  isPerMessageDeflate,
  makeCookie,
  structOf
} from "./optionsSchema.ts"

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

/** All that there is to know of an option, but its meaning. `test/docs.test.ts` compares the documents with it. */
interface Row<In, Out> extends Expectation {
  /** What it is where an application does not give it; without a default, the server works with `undefined`. */
  readonly default: In | (undefined extends Out ? undefined : never)
  /** What the server works with. */
  readonly resolve: (value: In, context: Context.Context<unknown>) => Out
}

type Given = Options<unknown, unknown>

const same = <A>(value: A): A => value

const toMillis = (value: unknown): number => Duration.toMillis(Duration.fromInputUnsafe(value as Duration.Input))

const duration = (otherwise: Duration.Input): Row<Duration.Input, number> => ({
  default: otherwise,
  expects: "a duration above zero, such as \"25 seconds\" or a number of milliseconds",
  check: isDuration,
  resolve: toMillis
})

// Clients time these with one timer, which can run no longer.
const longestBeat = 24 * 86_400_000
const beat = (otherwise: Duration.Input): Row<Duration.Input, number> => ({
  default: otherwise,
  expects: "a duration above zero and below 24 days, such as \"25 seconds\" or a number of milliseconds",
  check: (value) => isDuration(value) && toMillis(value) < longestBeat,
  resolve: toMillis
})

const count = (otherwise: number): Row<number, number> => ({
  default: otherwise,
  expects: "a whole number above zero",
  check: isCount,
  resolve: same
})

const flag = (otherwise: boolean): Row<boolean, boolean> => ({
  default: otherwise,
  expects: "true or false",
  check: isFlag,
  resolve: same
})

const buffer = (
  messages: number,
  bytes: number
): Row<BufferLimit, { readonly messages: number; readonly bytes: number }> => ({
  default: { messages, bytes },
  expects: "{ messages?: number, bytes?: number }, both whole numbers above zero",
  check: hasOnly({ messages: isCount, bytes: isCount }),
  resolve: (limit) => ({ messages: limit.messages ?? messages, bytes: limit.bytes ?? bytes })
})

/** A function of the application runs with the context of its layer. */
const hook = <I, A, E>(): Row<
  (input: I) => Effect.Effect<A, E, unknown>,
  ((input: I) => Effect.Effect<A, E>) | undefined
> => ({
  default: undefined,
  expects: "a function that returns an Effect",
  check: (value) => typeof value === "function",
  resolve: (f, context) => (input) => Effect.provideContext(Effect.suspend(() => defuse(f(input))), context)
})

/** The options, in the order in which errors name them. */
export const table: { readonly [K in keyof Config]: Row<NonNullable<Given[K]>, Config[K]> } = {
  pingInterval: beat("25 seconds"),
  pingTimeout: beat("20 seconds"),
  upgradeTimeout: duration("10 seconds"),
  handshakeTimeout: duration("10 seconds"),
  closeTimeout: duration("30 seconds"),
  drainTimeout: duration("10 seconds"),
  maxPayload: count(1_000_000),
  maxPacketsPerPayload: count(1_000_000),
  bodyTimeout: duration("30 seconds"),
  maxSessions: count(Infinity),
  allowUpgrades: flag(true),
  allowEIO3: flag(false),
  anyPacketIsAlive: flag(false),
  transports: {
    default: ["polling", "websocket"],
    expects: "a non-empty list of \"polling\", \"websocket\" and \"webtransport\"",
    check: (value) =>
      Array.isArray(value) && value.length > 0 && value.every((name) => Option.isSome(TransportType.parse(name))),
    resolve: (names) => new Set(names)
  },
  sendBuffer: buffer(65_536, 16 * 1024 * 1024),
  receiveBuffer: buffer(1024, 4 * 1024 * 1024),
  handshakeRate: {
    default: undefined,
    expects: "{ limit: whole number above zero, window: duration above zero }",
    check: isHandshakeRate,
    resolve: ({ limit, window }) => ({ limit, window: toMillis(window) })
  },
  initialPacket: {
    default: undefined,
    expects: "text without the character U+001E, or a Uint8Array",
    check: (value) => typeof value === "string" ? !hasSeparator(value) : value instanceof Uint8Array,
    resolve: same
  },
  allowedOrigins: {
    default: undefined,
    expects: "a list of origins as browsers send them: \"https://example.com\", without a path, or \"null\"",
    check: (value) =>
      Array.isArray(value) &&
      value.every((origin) => typeof origin === "string" && /^(null|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+)$/.test(origin)),
    resolve: (origins) => new Set(origins)
  },
  generateId: hook(),
  allowRequest: hook(),
  responseHeaders: hook(),
  cors: {
    default: false,
    expects:
      "true, false, a function that returns an Effect, or { origin?, credentials?, exposedHeaders?, allowedHeaders?, " +
      "methods?, maxAge?, optionsSuccessStatus?, preflightContinue? }, of texts that a header can carry",
    check: (value) => isFlag(value) || typeof value === "function" || isCors(value),
    resolve: (cors, context) => {
      if (cors === false) return undefined
      return typeof cors === "function"
        ? (request) =>
          Effect.provideContext(Effect.map(Effect.suspend(() => defuse(cors(request))), checkedCors), context)
        : () => cors === true ? {} : cors
    }
  },
  cookie: {
    default: false,
    expects:
      "true, false, a cookie name, or { name?, path?, domain?, expires?, maxAge?, priority?, sameSite?, httpOnly?, " +
      "secure?, partitioned? }, all valid in a cookie; sameSite \"none\" and partitioned need secure",
    check: (value) => isFlag(value) || isCookie(value),
    resolve: (cookie) =>
      cookie === false ? undefined : (id) => {
        const made = makeCookie(cookie === true ? {} : cookie, id)
        return Result.isSuccess(made) ? Cookies.setCookie(Cookies.empty, made.success) : Cookies.empty
      }
  },
  httpCompression: {
    default: { threshold: 1024 },
    expects: "true, false, or { threshold?: bytes }",
    check: (value) => isFlag(value) || isHttpCompression(value),
    resolve: (it) => it === false ? undefined : withThreshold(it === true ? {} : it)
  },
  perMessageDeflate: {
    default: false,
    expects:
      "true, false, or { threshold?: bytes, serverNoContextTakeover?, clientNoContextTakeover?, serverMaxWindowBits?: " +
      "8 to 15, clientMaxWindowBits?: 8 to 15, zlibDeflateOptions?, zlibInflateOptions?, concurrencyLimit? }",
    check: (value) => isFlag(value) || isPerMessageDeflate(value),
    resolve: (it) => it === false ? undefined : withThreshold(it === true ? {} : it)
  }
}

/** What a function gives is checked each time. */
const checkedCors = (options: CorsOptions): CorsOptions => {
  if (isCors(options)) return options
  throw new TypeError(
    `cors: the function gave options that are none, or have a text that no header can carry${see("failed-decision")}`
  )
}

const withThreshold = <A extends { readonly threshold?: number | undefined }>(options: A) => ({
  ...options,
  threshold: options.threshold ?? 1024
})

/** Names people look for, and where they find what they mean. */
const elsewhere: Readonly<Record<string, string>> = {
  maxHttpBufferSize: "it is called maxPayload here",
  allowEIO4: "revision 4 is always on",
  wsEngine: "frames of WebSockets are read and written here; of the ws library there is perMessageDeflate",
  path: "mount the handler on a route with that path, or give the path to attach",
  addTrailingSlash: "it is an option of attach",
  destroyUpgrade: "it is an option of attach",
  destroyUpgradeTimeout: "it is an option of attach",
  middleware: "it is an option of attach, and of toNodeHandlers"
}

/** The names of the engine's options, for those who look for one where it is not. */
export const namedElsewhere: Readonly<Record<string, string>> = Object.fromEntries(
  Object.keys(table).map((name) => [name, "it is one of the engine, so give it to EngineIO.layer"])
)

const check = checker(
  "EngineIO",
  "the engine",
  structOf(table).check(
    Schema.makeFilter(({ pingInterval, pingTimeout }) =>
      toMillis(pingInterval ?? 0) + toMillis(pingTimeout ?? 0) < longestBeat ||
      "pingInterval and pingTimeout together below 24 days"
    )
  ),
  elsewhere
)

/** Checks the options and completes them. */
export const resolve = Effect.fnUntraced(function*<E, R>(
  options: Options<E, R>
): Effect.fn.Return<Config, OptionsError, R> {
  yield* check(options)
  // The hooks of these options need no more than what is in it.
  const context = (yield* Effect.context<R>()) as Context.Context<unknown>
  const resolved = <K extends keyof Config>(name: K): Config[K] | undefined => {
    const row: Row<NonNullable<Given[K]>, Config[K]> = table[name]
    const value = (options as Given)[name] ?? row.default
    return value === undefined ? undefined : row.resolve(value, context)
  }
  return Object.fromEntries(
    Object.keys(table).map((name) => [name, resolved(name as keyof Config)])
  ) as unknown as Config
})
