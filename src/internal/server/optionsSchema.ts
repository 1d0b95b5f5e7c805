/**
 * What the options of a server may be.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { TransportType } from "../../Transport.ts"
import { hasSeparator } from "../protocol/revision4.ts"
import type { SocketId } from "../session/model.ts"
import { isHeaderValue } from "./headerFields.ts"
import { type CookieOptions, type HandshakeRate, type Options, OptionsError } from "./options.ts"

export const optionOf = (what: string, isSuch: (value: unknown) => boolean) =>
  Schema.optional(Schema.Unknown.check(Schema.makeFilter((value) => value === undefined || isSuch(value) || what)))

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0

const isDuration = (value: unknown): boolean => {
  try {
    return Option.exists(Duration.fromInput(value as Duration.Input), (it) => Duration.toMillis(it) > 0)
  } catch {
    return false
  }
}

const toMillis = (value: unknown, otherwise: number): number =>
  value === undefined ? otherwise : Duration.toMillis(Duration.fromInputUnsafe(value as Duration.Input))

const duration = optionOf("a duration above zero, such as \"25 seconds\" or a number of milliseconds", isDuration)
// Clients time these with one timer, which can run no longer.
const longestTimer = 24 * 86_400_000
const beat = optionOf(
  "a duration above zero and below 24 days, such as \"25 seconds\" or a number of milliseconds",
  (value) => isDuration(value) && toMillis(value, 0) < longestTimer
)
const count = optionOf("a whole number above zero", isCount)
export const flag = optionOf("true or false", (value) => typeof value === "boolean")
const hook = optionOf("a function that returns an Effect", (value) => typeof value === "function")
const buffer = optionOf(
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
export const isText = (value: unknown): boolean => typeof value === "string"
export const isWhole = (value: unknown): boolean => value === 0 || isCount(value)
const isHeaderText = (value: unknown): boolean => typeof value === "string" && isHeaderValue(value)
const isHeaderTexts = (value: unknown): boolean =>
  isHeaderText(value) || (Array.isArray(value) && value.every(isHeaderText))

/** Whether a value is an object of these members and no others; each may be undefined. */
const hasOnly = (members: Readonly<Record<string, (value: unknown) => boolean>>) => (value: unknown): boolean =>
  isObject(value) &&
  Object.entries(value).every(([name, member]) =>
    Object.hasOwn(members, name) && (member === undefined || members[name]!(member))
  )

const isOrigin = (value: unknown): boolean => (isHeaderText(value) && value !== "") || value instanceof RegExp

export const isCors = hasOnly({
  origin: (value) =>
    isFlag(value) || typeof value === "function" || isOrigin(value) || (Array.isArray(value) && value.every(isOrigin)),
  credentials: isFlag,
  exposedHeaders: isHeaderTexts,
  allowedHeaders: isHeaderTexts,
  methods: isHeaderTexts,
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

/** Whether browsers keep such a cookie, or drop it without a word. */
const isKept = ({ partitioned, sameSite, secure }: CookieOptions): boolean =>
  secure === true || (sameSite !== "none" && partitioned !== true)

const isCookie = (value: unknown): boolean =>
  (isText(value) || (isCookieOptions(value) && isKept(value as CookieOptions))) &&
  Result.isSuccess(makeCookie(value as string | CookieOptions, "id"))

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

/** The cookie of a session; a failure where the attributes make none. */
export const makeCookie = (options: string | CookieOptions, id: SocketId) => {
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

const schema = Schema.Struct(
  {
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
    transports: optionOf(
      "a non-empty list of \"polling\", \"websocket\" and \"webtransport\"",
      (value) =>
        Array.isArray(value) && value.length > 0 && value.every((name) => Option.isSome(TransportType.parse(name)))
    ),
    sendBuffer: buffer,
    receiveBuffer: buffer,
    handshakeRate: optionOf("{ limit: whole number above zero, window: duration above zero }", isHandshakeRate),
    initialPacket: optionOf(
      "text without the character U+001E, or a Uint8Array",
      (value) => typeof value === "string" ? !hasSeparator(value) : value instanceof Uint8Array
    ),
    allowedOrigins: optionOf(
      "a list of origins as browsers send them: \"https://example.com\", without a path, or \"null\"",
      (value) =>
        Array.isArray(value) &&
        value.every((origin) => typeof origin === "string" && /^(null|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+)$/.test(origin))
    ),
    generateId: hook,
    allowRequest: hook,
    responseHeaders: hook,
    cors: optionOf(
      "true, false, a function that returns an Effect, or { origin?, credentials?, exposedHeaders?, allowedHeaders?, " +
        "methods?, maxAge?, optionsSuccessStatus?, preflightContinue? }, of texts that a header can carry",
      (value) => typeof value === "boolean" || typeof value === "function" || isCors(value)
    ),
    cookie: optionOf(
      "true, false, a cookie name, or { name?, path?, domain?, expires?, maxAge?, priority?, sameSite?, httpOnly?, " +
        "secure?, partitioned? }, all valid in a cookie; sameSite \"none\" and partitioned need secure",
      (value) => typeof value === "boolean" || isCookie(value)
    ),
    httpCompression: optionOf(
      "true, false, or { threshold?: bytes }",
      (value) => typeof value === "boolean" || isHttpCompression(value)
    ),
    perMessageDeflate: optionOf(
      "true, false, or { threshold?: bytes, serverNoContextTakeover?, clientNoContextTakeover?, serverMaxWindowBits?: " +
        "8 to 15, clientMaxWindowBits?: 8 to 15, zlibDeflateOptions?, zlibInflateOptions?, concurrencyLimit? }",
      (value) => typeof value === "boolean" || isPerMessageDeflate(value)
    )
  } satisfies Record<keyof Options, unknown>
).check(
  Schema.makeFilter(({ pingInterval, pingTimeout }) =>
    toMillis(pingInterval, 0) + toMillis(pingTimeout, 0) < longestTimer ||
    "pingInterval and pingTimeout together below 24 days"
  )
)

/** Names people look for, and where they find what they mean. */
const elsewhere: Readonly<Record<string, string>> = {
  maxHttpBufferSize: "it is called maxPayload here",
  allowEIO4: "revision 4 is always on",
  wsEngine: "WebSockets are those of the ws library",
  path: "mount the handler on a route with that path, or give the path to attach",
  addTrailingSlash: "it is an option of attach",
  destroyUpgrade: "it is an option of attach",
  destroyUpgradeTimeout: "it is an option of attach",
  middleware: "it is an option of attach, and of toNodeHandlers"
}

/** Makes the check of options: an error names each that is wrong, and says what it may be. */
export const checker = (
  title: string,
  place: string,
  schema: Schema.Decoder<unknown>,
  elsewhere: Readonly<Record<string, string>>
) =>
(options: unknown): Effect.Effect<unknown, OptionsError> => {
  const fail = (message: string) => Effect.fail(new OptionsError({ message: `${title} options: ${message}` }))
  if (!isObject(options)) return fail(`an object, not ${options === null ? "null" : typeof options}`)
  const misplaced = Object.keys(options).filter((name) => Object.hasOwn(elsewhere, name))
  if (misplaced.length > 0) {
    return fail(misplaced.map((name) => `${name} is no option of ${place}: ${elsewhere[name]}`).join("; "))
  }
  return Effect.catch(
    Schema.decodeUnknownEffect(schema)(options, { errors: "all", onExcessProperty: "error" }),
    (error) => fail(String(error.message))
  )
}

/** Checks the options of the engine. */
export const check = checker("EngineIO", "the engine", schema, elsewhere)

/** The names of the engine's options, for those who look for one where it is not. */
export const namedElsewhere: Readonly<Record<string, string>> = Object.fromEntries(
  Object.keys(schema.fields).map((name) => [name, "it is one of the engine, so give it to EngineIO.layer"])
)
