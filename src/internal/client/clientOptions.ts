/**
 * What a client can be told, and the check of it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import type { SocketOptions } from "engine.io-client"
import { TransportType } from "../../Transport.ts"
import { OptionsError } from "../protocol/optionsError.ts"

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

const isDuration = (value: unknown): boolean => {
  try {
    return Option.exists(Duration.fromInput(value as Duration.Input), (it) => Duration.toMillis(it) > 0)
  } catch {
    return false
  }
}

const such = (expects: string, check: (value: unknown) => boolean) =>
  Schema.Unknown.check(Schema.makeFilter((value) => check(value) || expects))

const duration = such("a duration above zero", isDuration)
const object = such("an object", (value) => typeof value === "object" && value !== null)
const texts = Schema.Record(Schema.String, Schema.String)
const credential = Schema.Union([Schema.String, Schema.Uint8Array])

const optional = <A extends Record<string, Schema.Top>>(members: A) =>
  Schema.Struct(Struct.map(members, Schema.optional))

const OptionsSchema = optional(
  {
    transports: Schema.NonEmptyArray(Schema.Literals(TransportType.all)),
    upgrade: Schema.Boolean,
    rememberUpgrade: Schema.Boolean,
    tryAllTransports: Schema.Boolean,
    openTimeout: duration,
    requestTimeout: duration,
    query: texts,
    extraHeaders: texts,
    withCredentials: Schema.Boolean,
    protocols: Schema.Union([Schema.String, Schema.Array(Schema.String)]),
    forceBase64: Schema.Boolean,
    timestampRequests: Schema.Boolean,
    timestampParam: Schema.String,
    closeOnBeforeunload: Schema.Boolean,
    useNativeTimers: Schema.Boolean,
    autoUnref: Schema.Boolean,
    agent: object,
    perMessageDeflate: Schema.Struct({ threshold: Schema.Finite }),
    ca: Schema.Union([credential, Schema.Array(credential)]),
    cert: credential,
    key: credential,
    pfx: credential,
    passphrase: Schema.String,
    ciphers: Schema.String,
    rejectUnauthorized: Schema.Boolean,
    transportOptions: optional({ polling: object, websocket: object, webtransport: object })
  } satisfies Record<keyof Options, Schema.Top>
)

/** What a connection is made of. */
export interface Config {
  /** Makes the options of the stock client, which changes those it is given. */
  readonly toStock: () => SocketOptions
  readonly openTimeout: Duration.Input
}

/** Checks a URL and options. The path is that of the URL, or `/engine.io/` where it has none. */
export const check = Effect.fnUntraced(function*(url: string | URL, options: Options) {
  yield* Effect.mapError(
    Schema.decodeUnknownEffect(OptionsSchema)(options, { errors: "all", onExcessProperty: "error" }),
    ({ message }) => new OptionsError({ message: `EngineIOClient options: ${message}` })
  )
  const noUrl = new OptionsError({ message: `EngineIOClient: an http, https, ws or wss URL, not ${url}` })
  const { hostname, pathname, port, protocol, searchParams } = yield* Effect.try({
    try: () => new URL(url, page()?.href),
    catch: () => noUrl
  })
  if (!/^(?:http|ws)s?:$/.test(protocol)) return yield* Effect.fail(noUrl)
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
