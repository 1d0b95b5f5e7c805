/**
 * What a client can be told, and the check of it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SocketOptions } from "engine.io-client"
import { TransportType } from "../../Transport.ts"
import { type Expectation, isDuration, isFlag, isText } from "../protocol/expectation.ts"
import { OptionsError } from "../protocol/optionsError.ts"
import { see } from "../protocol/see.ts"

/**
 * How a client connects. The names are those of `engine.io-client`; what it takes from the URL is no option here.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The transports to use: it connects by the first, and upgrades to the others. Default: `["polling", "websocket"]`. */
  readonly transports?: readonly [TransportType, ...Array<TransportType>] | undefined
  /** Whether it moves to a better transport than the first. Default: true. */
  readonly upgrade?: boolean | undefined
  /** Whether it begins with WebSocket where the last connection could use it. Default: false. */
  readonly rememberUpgrade?: boolean | undefined
  /** Whether it connects by the next transport where it cannot by the first. Default: false. */
  readonly tryAllTransports?: boolean | undefined
  /** How long it may take to connect. Default: 10 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** How long a request of polling may take. Default: no limit. */
  readonly requestTimeout?: Duration.Input | undefined
  /** Parameters of every request, beside those of the URL. */
  readonly query?: Readonly<Record<string, string>> | undefined
  /** Headers of every request. Browsers send none with a WebSocket. */
  readonly extraHeaders?: Readonly<Record<string, string>> | undefined
  /** Whether requests to another origin carry cookies; outside of browsers, whether cookies are kept. Default: false. */
  readonly withCredentials?: boolean | undefined
  /** Subprotocols of the WebSocket. */
  readonly protocols?: string | ReadonlyArray<string> | undefined
  /** Whether bytes go as base64 everywhere. Default: false. */
  readonly forceBase64?: boolean | undefined
  /** Whether every request has a parameter that makes it unique. Default: for polling only. */
  readonly timestampRequests?: boolean | undefined
  /** The name of that parameter. Default: `"t"`. */
  readonly timestampParam?: string | undefined
  /** Whether the connection is closed when the page begins to unload. Default: false. */
  readonly closeOnBeforeunload?: boolean | undefined
  /** Whether the timers of the platform are used even where a test has replaced them. Default: false. */
  readonly useNativeTimers?: boolean | undefined
  /** Node: whether a process may end although the connection is open. Default: false. */
  readonly autoUnref?: boolean | undefined
  /** Node: the `http.Agent` or `https.Agent` of all requests. */
  readonly agent?: object | undefined
  /** Node: how WebSocket messages are compressed. */
  readonly perMessageDeflate?: { readonly threshold: number } | undefined
  /** Node: the authorities to trust. */
  readonly ca?: Credential | ReadonlyArray<Credential> | undefined
  /** Node: the client's certificate. */
  readonly cert?: Credential | undefined
  /** Node: the key of that certificate. */
  readonly key?: Credential | undefined
  /** Node: the client's certificate and key in one. */
  readonly pfx?: Credential | undefined
  /** Node: what opens `key` or `pfx`. */
  readonly passphrase?: string | undefined
  /** Node: the ciphers of TLS. */
  readonly ciphers?: string | undefined
  /** Node: whether a server whose certificate nobody vouches for is refused. Default: true. */
  readonly rejectUnauthorized?: boolean | undefined
  /** Options of one transport, such as `serverCertificateHashes` of WebTransport. */
  readonly transportOptions?: { readonly [K in TransportType]?: object | undefined } | undefined
}

/**
 * A certificate or a key: PEM, or its bytes.
 *
 * @category options
 * @since 0.2.0
 */
export type Credential = string | Uint8Array

// ---------------------------------------------------------------------------------------------------------------------
// checking
// ---------------------------------------------------------------------------------------------------------------------

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null
const isArrayOf = (check: (value: unknown) => boolean) => (value: unknown): boolean =>
  Array.isArray(value) && value.every(check)
const isRecordOf = (check: (value: unknown) => boolean) => (value: unknown): boolean =>
  isObject(value) && Object.values(value).every(check)
const isCredential = (value: unknown): boolean => isText(value) || value instanceof Uint8Array
const isTransport = (value: unknown): boolean => TransportType.all.includes(value as TransportType)

const flag: Expectation = { expects: "true or false", check: isFlag }
const text: Expectation = { expects: "text", check: isText }
const texts: Expectation = { expects: "an object of texts", check: isRecordOf(isText) }
const duration: Expectation = { expects: "a duration above zero", check: isDuration }
const credential: Expectation = { expects: "text or bytes", check: isCredential }

const table: Readonly<Record<keyof Options, Expectation>> = {
  transports: {
    expects: `one or more of ${TransportType.all.join(", ")}`,
    check: (value) => isArrayOf(isTransport)(value) && (value as ReadonlyArray<unknown>).length > 0
  },
  upgrade: flag,
  rememberUpgrade: flag,
  tryAllTransports: flag,
  openTimeout: duration,
  requestTimeout: duration,
  query: texts,
  extraHeaders: texts,
  withCredentials: flag,
  protocols: { expects: "text, or several", check: (value) => isText(value) || isArrayOf(isText)(value) },
  forceBase64: flag,
  timestampRequests: flag,
  timestampParam: text,
  closeOnBeforeunload: flag,
  useNativeTimers: flag,
  autoUnref: flag,
  agent: { expects: "an agent", check: isObject },
  perMessageDeflate: {
    expects: "an object with a threshold",
    check: (value) => isObject(value) && Number.isFinite((value as { readonly threshold?: unknown }).threshold)
  },
  ca: {
    expects: "text or bytes, or several of them",
    check: (value) => isCredential(value) || isArrayOf(isCredential)(value)
  },
  cert: credential,
  key: credential,
  pfx: credential,
  passphrase: text,
  ciphers: text,
  rejectUnauthorized: flag,
  transportOptions: {
    expects: "an object with options by transport",
    check: (value) =>
      isRecordOf((it) => it === undefined || isObject(it))(value) && Object.keys(value as object).every(isTransport)
  }
}

const problems = (options: Options): Array<string> =>
  Object.entries(options).flatMap(([name, value]) => {
    if (!Object.hasOwn(table, name)) return [`${name} is no option`]
    const { check, expects } = table[name as keyof Options]
    return value === undefined || check(value) ? [] : [`${name} has to be ${expects}`]
  })

/** What a connection is made of. */
export interface Config {
  /** Makes the options of the stock client, which changes those it is given. */
  readonly toStock: () => SocketOptions
  readonly openTimeout: Duration.Input
}

/** Checks a URL and options. The path is that of the URL, or `/engine.io/` where it has none. */
export const check = Effect.fnUntraced(function*(url: string | URL, options: Options) {
  const error = (message: string) => new OptionsError({ message: `${message}${see("options")}` })
  const wrong = problems(options)
  if (wrong.length > 0) return yield* error(`EngineIOClient options: ${wrong.join("; ")}`)
  const noUrl = error(`EngineIOClient: an http, https, ws or wss URL, not ${url}`)
  const { hostname, pathname, port, protocol, searchParams } = yield* Effect.try({
    try: () => new URL(url, page()?.href),
    catch: () => noUrl
  })
  if (!/^(?:http|ws)s?:$/.test(protocol)) return yield* noUrl
  const { openTimeout = "10 seconds", query, requestTimeout, transports = ["polling", "websocket"], ...others } =
    options
  const path = pathname === "/" ? "/engine.io/" : pathname
  const given = Object.entries(others).filter(([, value]) => value !== undefined)
  const toStock = () =>
    ({
      ...Object.fromEntries(given),
      ...(requestTimeout === undefined ? {} : { requestTimeout: Duration.toMillis(requestTimeout) }),
      // The stock client puts the brackets of an IPv6 address back.
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port,
      secure: protocol === "https:" || protocol === "wss:",
      path,
      addTrailingSlash: path.endsWith("/"),
      query: { ...Object.fromEntries(searchParams), ...query },
      transports: [...transports]
    }) as SocketOptions
  return { toStock, openTimeout } satisfies Config
})

/** The page this runs in, where there is one: a URL may be relative to it. */
const page = () => (globalThis as { readonly location?: { readonly href: string } }).location
