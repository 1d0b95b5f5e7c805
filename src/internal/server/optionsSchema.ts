/**
 * The checks of options, and the error that names those that are wrong.
 */
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Expectation, isDuration, isFlag, isText } from "../protocol/expectation.ts"
import { see } from "../protocol/see.ts"
import type { SocketId } from "../session/model.ts"
import { isHeaderValue } from "./headerFields.ts"
import { type CookieOptions, type HandshakeRate, OptionsError } from "./options.ts"

const optionOf = ({ check, expects }: Expectation) =>
  Schema.optional(Schema.Unknown.check(Schema.makeFilter((value) => value === undefined || check(value) || expects)))

const neededOf = ({ check, expects }: Expectation) =>
  Schema.Unknown.check(Schema.makeFilter((value) => check(value) || expects)).annotateKey({
    messageMissingKey: expects
  })

const fields = <A>(table: Readonly<Record<string, Expectation>>, fieldOf: (expectation: Expectation) => A) =>
  Object.fromEntries(Object.entries(table).map(([name, expectation]) => [name, fieldOf(expectation)]))

/** The options of a table, each of which may be left out, and those that may not. */
export const structOf = <K extends string>(
  table: Readonly<Record<K, Expectation>>,
  needed: Readonly<Record<string, Expectation>> = {}
) =>
  Schema.Struct(
    { ...fields(needed, neededOf), ...fields(table, optionOf) } as Record<K, ReturnType<typeof optionOf>>
  )

export const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isOr = (...values: ReadonlyArray<unknown>) => (value: unknown): boolean => values.includes(value)
export const isWhole = (value: unknown): boolean => value === 0 || isCount(value)
const isHeaderText = (value: unknown): boolean => typeof value === "string" && isHeaderValue(value)
const isHeaderTexts = (value: unknown): boolean =>
  isHeaderText(value) || (Array.isArray(value) && value.every(isHeaderText))

/** Whether a value is an object of these members and no others; each may be undefined. */
export const hasOnly = (members: Readonly<Record<string, (value: unknown) => boolean>>) => (value: unknown): boolean =>
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

export const isCookie = (value: unknown): boolean =>
  (isText(value) || (isCookieOptions(value) && isKept(value as CookieOptions))) &&
  Result.isSuccess(makeCookie(value as string | CookieOptions, "id"))

export const isHandshakeRate = (value: unknown): boolean =>
  hasOnly({ limit: isCount, window: isDuration })(value) &&
  isCount((value as HandshakeRate).limit) && (value as HandshakeRate).window !== undefined

const isWindowBits = (value: unknown): boolean => isCount(value) && (value as number) >= 8 && (value as number) <= 15

export const isHttpCompression = hasOnly({ threshold: isWhole })

export const isPerMessageDeflate = hasOnly({
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

/** Makes the check of options: an error names each that is wrong, and says what it may be. */
export const checker = (
  title: string,
  place: string,
  schema: Schema.Decoder<unknown>,
  elsewhere: Readonly<Record<string, string>>
) =>
(options: unknown): Effect.Effect<unknown, OptionsError> => {
  const fail = (message: string) =>
    Effect.fail(new OptionsError({ message: `${title} options: ${message}${see("options")}` }))
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
