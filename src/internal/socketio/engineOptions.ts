/**
 * The options of `new Server({ … })` that are the engine's, in our words.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { ServerOptions } from "socket.io"
import { Forbidden } from "../../HandshakeError.ts"
import type { CookieOptions, CorsOptions, Options, PerMessageDeflateOptions } from "../server/options.ts"
import { type EngineRequest, withQuery } from "./connection.ts"

type Given = Partial<ServerOptions>

export const engineOptions = (given: Given): Options => ({
  pingInterval: given.pingInterval,
  pingTimeout: given.pingTimeout,
  upgradeTimeout: given.upgradeTimeout,
  maxPayload: given.maxHttpBufferSize,
  transports: given.transports,
  allowUpgrades: given.allowUpgrades,
  allowEIO3: given.allowEIO3,
  initialPacket: given.initialPacket as Options["initialPacket"],
  perMessageDeflate: given.perMessageDeflate as boolean | PerMessageDeflateOptions | undefined,
  httpCompression: typeof given.httpCompression === "object"
    ? { threshold: (given.httpCompression as { readonly threshold?: number }).threshold }
    : given.httpCompression,
  cookie: typeof given.cookie === "object" ? toCookie(given.cookie) : given.cookie,
  cors: given.cors && toCors(given.cors),
  allowRequest: given.allowRequest && toAllowRequest(given.allowRequest)
})

const toCookie = (given: Exclude<NonNullable<Given["cookie"]>, boolean>): CookieOptions => {
  const { domain, expires, httpOnly, maxAge, name, partitioned, path, priority, sameSite, secure } = given
  return defined({
    domain,
    expires,
    httpOnly,
    // Seconds, as in the header itself.
    maxAge: maxAge === undefined ? undefined : Duration.seconds(maxAge),
    name,
    partitioned,
    path,
    priority,
    sameSite: sameSite === true ? "strict" : sameSite || undefined,
    secure
  })
}

/** Without the members that are `undefined`. */
const defined = <A extends object>(members: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never

type Cors = NonNullable<Given["cors"]>
type Static = Exclude<Cors, (...args: never) => unknown>
type Answer<A> = (error: Error | null, value?: A) => void

/** Asks a function of Node's kind. What it fails with lets no page in. */
const ask = <A>(f: (answer: Answer<A>) => void): Effect.Effect<A | undefined> =>
  Effect.callback((resume) => f((error, value) => resume(Effect.succeed(error ? undefined : value))))

const toCors = (cors: Cors): Options["cors"] => {
  if (typeof cors !== "function" && typeof cors.origin !== "function") return cors as CorsOptions
  return Effect.fnUntraced(function*(request: HttpServerRequest) {
    const given = typeof cors === "function"
      ? yield* ask<Static>((answer) => cors(request.source as EngineRequest, answer))
      : cors
    if (given === undefined) return { origin: false }
    const { origin } = given
    if (typeof origin !== "function") return given as CorsOptions
    const allowed = yield* ask<unknown>((answer) => origin(request.headers["origin"], answer))
    return { ...given, origin: allowed || false } as CorsOptions
  })
}

const toAllowRequest = (allowRequest: NonNullable<Given["allowRequest"]>): Options["allowRequest"] => (request) =>
  Effect.callback((resume) =>
    allowRequest(
      withQuery(request.source as EngineRequest),
      (message, success) => resume(success ? Effect.void : Effect.fail(new Forbidden({ message: message ?? "" })))
    )
  )
