/**
 * Who is there: a browser shows the cookie of its session, a program a token that was signed for it. The handshake of a
 * client with neither is answered with 401, of one whose cookie or token is none of ours with 403.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Context, Effect, Layer, Option, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { EngineIO, HandshakeError, Socket } from "effect-engine.io"
import { createHmac, randomBytes, randomUUID, timingSafeEqual } from "node:crypto"
import { createServer } from "node:http"

const passwords: ReadonlyMap<string, string> = new Map([["ada", "lovelace"], ["alan", "turing"]])
const hour = 3600_000

class Identity extends Context.Service<Identity>()("examples/Identity", {
  make: Effect.sync(() => {
    const sessions = new Map<string, string>()
    const secret = randomBytes(32)
    const sign = (claims: string) => createHmac("sha256", secret).update(claims).digest()
    return {
      sessions,
      /** `name.expiry.signature` */
      issue: (name: string) => {
        const claims = `${name}.${Date.now() + hour}`
        return `${claims}.${sign(claims).toString("base64url")}`
      },
      verify: (token: string): string | undefined => {
        const [name = "", expiry = "", signature = ""] = token.split(".")
        const expected = sign(`${name}.${expiry}`)
        const given = Buffer.from(signature, "base64url")
        const isOurs = given.length === expected.length && timingSafeEqual(given, expected)
        return isOurs && Number(expiry) > Date.now() ? name : undefined
      }
    }
  })
}) {
  static readonly layer = Layer.effect(this, this.make)
}

// --- signing in ------------------------------------------------------------------------------------------------------

const unauthorized = HttpServerResponse.text("Sign in first", {
  status: 401,
  headers: { "www-authenticate": "Bearer" }
})

/** The name in the body, if the password is right. */
const credentials = Effect.gen(function*() {
  const { name, password } = yield* HttpServerRequest.schemaBodyJson(
    Schema.Struct({ name: Schema.String, password: Schema.String })
  )
  return passwords.get(name) === password ? name : yield* Effect.fail(unauthorized)
})

const cookie = { httpOnly: true, sameSite: "strict", path: "/", maxAge: hour } as const

const signIn = HttpRouter.add(
  "POST",
  "/session",
  Effect.gen(function*() {
    const { sessions } = yield* Identity
    const id = randomUUID()
    sessions.set(id, yield* credentials)
    return HttpServerResponse.setCookieUnsafe(HttpServerResponse.empty(), "session", id, cookie)
  })
)

/** Also closes what the session has open, because a handshake is checked only once. */
const signOut = HttpRouter.add(
  "DELETE",
  "/session",
  Effect.gen(function*() {
    const { session } = (yield* HttpServerRequest.HttpServerRequest).cookies
    const { sessions } = yield* Identity
    if (session === undefined || !sessions.delete(session)) return unauthorized
    for (const socket of (yield* EngineIO.sockets).values()) {
      if (socket.handshake.cookies["session"] === session) yield* Socket.close(socket)
    }
    return HttpServerResponse.expireCookieUnsafe(HttpServerResponse.empty(), "session", cookie)
  })
)

const token = HttpRouter.add(
  "POST",
  "/token",
  Effect.gen(function*() {
    const { issue } = yield* Identity
    return HttpServerResponse.jsonUnsafe({ token: issue(yield* credentials) })
  })
)

// --- the handshake ---------------------------------------------------------------------------------------------------

const members = EngineIO.route("/engine.io/", (socket) =>
  Effect.gen(function*() {
    const { sessions, verify } = yield* Identity
    const { cookies, headers } = socket.handshake
    const [, bearer] = /^Bearer (.+)$/.exec(headers["authorization"] ?? "") ?? []
    const session = cookies["session"]
    if (bearer === undefined && session === undefined) return yield* Effect.fail(unauthorized)
    const name = bearer === undefined ? sessions.get(session!) : verify(bearer)
    if (name === undefined) return yield* new HandshakeError.Forbidden({ message: "Sign in again" })
    return { app: Socket.forEach(socket, (message) => Socket.send(socket, `${name}: ${message}`)) }
  }))

const settings = Config.all({
  port: Config.Int("PORT").pipe(Config.withDefault(3000)),
  // Cookies come by themselves, whichever page connects: so pages of others are kept out.
  origin: Config.option(Config.String("ORIGIN"))
})

const server = Layer.unwrap(Effect.map(settings, ({ origin, port }) =>
  Layer.merge(
    NodeHttpServer.layer(createServer, { port }),
    EngineIO.layer({ allowedOrigins: [Option.getOrElse(origin, () => `http://localhost:${port}`)] })
  )))

HttpRouter.serve(Layer.mergeAll(signIn, signOut, token, members), { disableLogger: true }).pipe(
  Layer.provide(Identity.layer),
  Layer.provide(server),
  Layer.launch,
  NodeRuntime.runMain
)
