import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Context, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { EngineIO, EngineIOLive } from "../../src/index.ts"

class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}

/** Options as a program without types could give them. */
const build = (options: object) =>
  Effect.asVoid(Effect.scoped(Layer.build(EngineIO.layer(options as EngineIO.Options))))

/** The message with which a layer fails for its options. */
const complaint = (options: object) =>
  Effect.map(Effect.flip(build(options)), (error) => {
    assert.instanceOf(error, EngineIO.OptionsError)
    assert.strictEqual(error._tag, "OptionsError")
    return error.message
  })

interface Case {
  readonly good: ReadonlyArray<unknown>
  readonly bad: ReadonlyArray<unknown>
  /** What the message says the option may be. */
  readonly allowed: string
}

const duration: Case = {
  good: [1, 0.5, 25_000, "25 seconds", "100 millis", { seconds: 5 }],
  bad: [0, -1, "0 seconds", "-1 seconds", Number.NaN, "soon", "", "25", null, true, {}, [], new Date()],
  allowed: "a duration above zero"
}

const beat: Case = {
  ...duration,
  bad: [...duration.bad, Infinity, "Infinity", "24 days", 2 ** 31],
  allowed: "a duration above zero and below 24 days"
}

const timeout: Case = { ...duration, good: [...duration.good, "60 days", Infinity] }

const count: Case = {
  good: [1, 1_000_000, Number.MAX_SAFE_INTEGER],
  bad: [0, -1, 1.5, Number.NaN, Infinity, 2 ** 53, "1", null, true, {}],
  allowed: "a whole number above zero"
}

const flag: Case = { good: [true, false], bad: ["true", 0, 1, null, {}], allowed: "true or false" }

const hook: Case = {
  good: [() => Effect.void],
  bad: ["x", true, null, {}, Effect.void],
  allowed: "a function that returns an Effect"
}

const buffer: Case = {
  good: [{}, { messages: 1 }, { bytes: 1 }, { messages: 1, bytes: undefined }],
  bad: [5, null, { messages: 0 }, { bytes: 1.5 }, { mesages: 10 }, { messages: "1" }],
  allowed: "{ messages?: number, bytes?: number }"
}

/** Names of other servers and other places. */
const misplaced = ["maxHttpBufferSize", "wsEngine", "path", "addTrailingSlash", "destroyUpgrade", "middleware"]

const cases: Record<keyof EngineIO.Options, Case> = {
  pingInterval: beat,
  pingTimeout: beat,
  upgradeTimeout: timeout,
  handshakeTimeout: timeout,
  closeTimeout: timeout,
  drainTimeout: timeout,
  maxPayload: count,
  maxPacketsPerPayload: count,
  bodyTimeout: timeout,
  maxSessions: count,
  allowUpgrades: flag,
  allowEIO3: flag,
  anyPacketIsAlive: flag,
  transports: {
    good: [["polling"], ["websocket", "polling"], ["polling", "websocket", "webtransport"]],
    bad: [[], "polling", ["pigeon"], ["polling", 1], ["Polling"], null, {}],
    allowed: "a non-empty list of \"polling\", \"websocket\" and \"webtransport\""
  },
  sendBuffer: buffer,
  receiveBuffer: buffer,
  handshakeRate: {
    good: [{ limit: 1, window: "1 minute" }, { limit: 100, window: 500 }],
    bad: [
      5,
      null,
      true,
      "10/s",
      [],
      {},
      { limit: 1 },
      { window: 1 },
      { limit: 0, window: 1 },
      { limit: 1, window: 0 },
      {
        limit: 1,
        window: undefined
      },
      { limit: "1", window: 1 },
      { limit: 1, window: 1, by: "address" }
    ],
    allowed: "{ limit: whole number above zero, window: duration above zero }"
  },
  initialPacket: {
    good: ["", "hello", Uint8Array.of(1), Buffer.from("hello")],
    bad: [5, null, true, [1, 2], {}],
    allowed: "text without the character U+001E, or a Uint8Array"
  },
  allowedOrigins: {
    good: [[], ["https://example.com"], ["http://localhost:3000", "null", "capacitor://localhost"]],
    bad: ["https://example.com", null, [5], ["example.com"], ["https://example.com/"], ["https://a.b/c"], ["*"], [""]],
    allowed: "a list of origins as browsers send them: \"https://example.com\", without a path"
  },
  generateId: hook,
  allowRequest: hook,
  responseHeaders: hook,
  cors: {
    good: [
      true,
      false,
      {},
      { origin: true },
      { origin: "*" },
      { origin: /example/ },
      { origin: ["https://a.b", /c/] },
      { origin: () => true },
      { credentials: true, exposedHeaders: "A,B", allowedHeaders: ["A", "B"], methods: ["GET"], maxAge: 0 },
      { optionsSuccessStatus: 200, preflightContinue: true, origin: undefined },
      () => Effect.succeed({})
    ],
    bad: [
      "*",
      5,
      null,
      [],
      { origin: 5 },
      { origin: "" },
      { origin: ["https://a.b", 5] },
      { orgin: "https://a.b" },
      { credentials: "true" },
      { exposedHeaders: 5 },
      { allowedHeaders: [5] },
      { methods: {} },
      { origin: "https://a.b\r\nSet-Cookie: c=d" },
      { origin: ["https://€.example"] },
      { exposedHeaders: "A\r\nB" },
      { allowedHeaders: ["A", "€"] },
      { methods: "GET\n" },
      { maxAge: "600" },
      { maxAge: -1 },
      { optionsSuccessStatus: 404 },
      { preflightContinue: 1 }
    ],
    allowed: "true, false, a function that returns an Effect, or { origin?, credentials?, exposedHeaders?, " +
      "allowedHeaders?, methods?, maxAge?, optionsSuccessStatus?, preflightContinue? }, of texts that a header can carry"
  },
  cookie: {
    good: [
      true,
      false,
      "sid",
      {},
      { name: "sid", path: "/chat", domain: "example.com", maxAge: "1 hour", expires: new Date(0) },
      { sameSite: "none", secure: true },
      { path: false, httpOnly: false, secure: true, partitioned: true, sameSite: "none", priority: "high" },
      { maxAge: 0, name: undefined, path: undefined, httpOnly: undefined, sameSite: undefined }
    ],
    bad: [
      5,
      null,
      "",
      "a b",
      "a=b",
      "a;b",
      "a\r\nb",
      { name: "a b" },
      { name: 5 },
      { path: "/; Secure" },
      { path: true },
      { domain: "a;b" },
      { domain: "a\r\nSet-Cookie: b" },
      { expires: "never" },
      { expires: new Date(Number.NaN) },
      { maxAge: "x" },
      { maxAge: -1 },
      { priority: "highest" },
      { sameSite: true },
      { sameSite: "x" },
      // Browsers drop these.
      { sameSite: "none" },
      { sameSite: "none", secure: false },
      { partitioned: true },
      { httpOnly: "yes" },
      { htpOnly: false }
    ],
    allowed: "true, false, a cookie name, or { name?, path?, domain?, expires?, maxAge?, priority?, sameSite?, " +
      "httpOnly?, secure?, partitioned? }, all valid in a cookie; sameSite \"none\" and partitioned need secure"
  },
  httpCompression: {
    good: [true, false, {}, { threshold: 0 }, { threshold: 2_000 }, { threshold: undefined }],
    bad: [5, null, "gzip", [], { threshold: -1 }, { threshold: "1" }, { treshold: 5 }],
    allowed: "true, false, or { threshold?: bytes }"
  },
  perMessageDeflate: {
    good: [
      true,
      false,
      {},
      { threshold: 0 },
      {
        threshold: 1,
        serverNoContextTakeover: true,
        clientNoContextTakeover: false,
        serverMaxWindowBits: 8,
        clientMaxWindowBits: 15,
        zlibDeflateOptions: { level: 1 },
        zlibInflateOptions: {},
        concurrencyLimit: 1
      }
    ],
    bad: [
      5,
      null,
      "yes",
      { threshold: -1 },
      { threshold: "1" },
      { serverMaxWindowBits: 99 },
      { clientMaxWindowBits: 7 },
      { concurrencyLimit: 0 },
      { serverNoContextTakeover: 1 },
      { zlibDeflateOptions: 5 },
      { maxPayload: 5 }
    ],
    allowed: "true, false, or { threshold?: bytes, serverNoContextTakeover?, clientNoContextTakeover?, " +
      "serverMaxWindowBits?: 8 to 15, clientMaxWindowBits?: 8 to 15, zlibDeflateOptions?, zlibInflateOptions?, " +
      "concurrencyLimit? }"
  }
}

const show = (value: unknown): string => typeof value === "object" ? JSON.stringify(value) : String(value)

describe("options", () => {
  for (const [option, { allowed, bad, good }] of Object.entries(cases)) {
    it.effect(`${option}: what it may be is accepted`, () =>
      Effect.forEach(
        [...good, undefined],
        (value) =>
          build({ [option]: value }).pipe(
            Effect.catch((error) => Effect.die(new Error(`${show(value)}: ${error.message}`)))
          )
      ))

    it.effect(`${option}: anything else fails the layer with an error that names it and what it may be`, () =>
      Effect.forEach(bad, (value) =>
        Effect.map(complaint({ [option]: value }), (message) => {
          assert.include(message, `["${option}"]`, show(value))
          assert.include(message, allowed, show(value))
        })))
  }

  it.effect("a name that is no option is refused, and named", () =>
    Effect.forEach(
      ["pingIntervall", "toString", "__proto__x"],
      (name) => Effect.map(complaint({ [name]: 5 }), (message) => assert.include(message, `["${name}"]`))
    ))

  it.effect("an option of other servers, or of another place, is refused with where to find it", () =>
    Effect.forEach(misplaced, (name) =>
      Effect.map(complaint({ [name]: 5 }), (message) => {
        assert.match(message, new RegExp(`${name} is no option of the engine: .*(maxPayload|attach|ws library)`))
      })))

  it.effect("heartbeats that a client could not wait for with one timer are refused", () =>
    Effect.map(
      complaint({ pingInterval: "20 days", pingTimeout: "20 days" }),
      (message) => assert.include(message, "pingInterval and pingTimeout together below 24 days")
    ))

  it.effect("all wrong options are named at once", () =>
    Effect.map(complaint({ maxPayload: -1, cookie: 5, pingIntervall: 5, allowEIO3: true }), (message) => {
      for (const name of ["maxPayload", "cookie", "pingIntervall"]) assert.include(message, `["${name}"]`)
      assert.notInclude(message, "allowEIO3")
    }))

  it.effect("options that are no object are refused", () =>
    Effect.forEach(
      [null, 5, "polling", true, [], () => ({})],
      (options) => Effect.map(complaint(options as object), (message) => assert.include(message, "an object"))
    ))

  it.effect("no options are needed", () => Effect.scoped(Layer.build(EngineIOLive)))

  it.effect("a hook may need services, which the layer asks for", () => {
    const layer: Layer.Layer<EngineIO.EngineIO, EngineIO.OptionsError, Greeting> = EngineIO.layer({
      responseHeaders: () => Effect.map(Greeting, (greeting) => ({ "x-greeting": greeting }))
    })
    return Effect.scoped(Layer.build(Layer.provide(layer, Layer.succeed(Greeting, "hello"))))
  })
})

describe("attach and toNodeHandlers", () => {
  const app = () => Effect.succeed({ app: Effect.never })
  /** What they die of. */
  const complaints = (options: unknown) =>
    Effect.scoped(Effect.forEach(
      [
        EngineIO.attach(createServer(), app, options as EngineIO.AttachOptions),
        EngineIO.toNodeHandlers(app, options as EngineIO.AttachOptions)
      ],
      (mounting) =>
        Effect.matchCause(mounting, {
          onFailure: (cause) => {
            const error = Cause.squash(cause)
            assert.instanceOf(error, EngineIO.OptionsError)
            return error.message
          },
          onSuccess: () => "accepted"
        })
    )).pipe(Effect.provide(EngineIOLive))

  const options: Record<keyof EngineIO.AttachOptions, Case> = {
    path: {
      good: ["/", "/chat", "/chat/"],
      bad: [5, null, "", "chat", "/chat?x", "/chat#x", true],
      allowed: "a path that begins with a slash"
    },
    addTrailingSlash: flag,
    destroyUpgrade: flag,
    destroyUpgradeTimeout: {
      good: [0, 1, 60_000],
      bad: [-1, 1.5, Number.NaN, Infinity, "1 second", null],
      allowed: "milliseconds"
    },
    middleware: {
      good: [[], [() => {}]],
      bad: [() => {}, [5], [null], {}, null],
      allowed: "a list of functions (request, response, next)"
    }
  }

  for (const [option, { allowed, bad, good }] of Object.entries(options)) {
    it.effect(`${option}: what it may be is accepted`, () =>
      Effect.forEach(
        [...good, undefined],
        (value) =>
          Effect.map(complaints({ [option]: value }), ([attach]) => assert.strictEqual(attach, "accepted", show(value)))
      ))

    it.effect(`${option}: anything else is a defect that names it and what it may be`, () =>
      Effect.forEach(bad, (value) =>
        Effect.map(complaints({ [option]: value }), ([attach]) => {
          assert.include(attach, `["${option}"]`, show(value))
          assert.include(attach, allowed, show(value))
        })))
  }

  it.effect("toNodeHandlers has the middleware, and nothing of the rest", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* complaints({ middleware: [] }))[1], "accepted")
      assert.strictEqual((yield* complaints(undefined))[1], "accepted")
      assert.include((yield* complaints({ middleware: [5] }))[1], "[\"middleware\"]")
      assert.include((yield* complaints({ path: "/chat" }))[1], "path is no option of toNodeHandlers")
    }))

  it.effect("a name that is no option is refused, and an option of the engine with where to find it", () =>
    Effect.gen(function*() {
      for (const message of yield* complaints({ pth: "/chat" })) assert.include(message, "[\"pth\"]")
      for (const message of yield* complaints({ pingInterval: 5 })) {
        assert.match(message, /pingInterval is no option of \w+: .*EngineIO\.layer/)
      }
      for (const message of yield* complaints(null)) assert.include(message, "an object")
    }))
})

describe("layerConfig", () => {
  const layer = EngineIO.layerConfig({
    pingInterval: Config.Duration("PING_INTERVAL").pipe(Config.withDefault("25 seconds")),
    maxPayload: Config.Int("MAX_PAYLOAD").pipe(Config.withDefault(1_000_000)),
    allowEIO3: Config.Boolean("ALLOW_EIO3").pipe(Config.withDefault(false))
  })

  const from = (environment: Record<string, string>) =>
    Effect.scoped(Layer.build(layer)).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: environment }))
    )

  it.effect("a value that cannot be read fails the layer, naming it", () =>
    Effect.map(Effect.flip(from({ MAX_PAYLOAD: "many" })), (error) => {
      assert.include(String(error.message), "MAX_PAYLOAD")
    }))

  it.effect("a value that can be read is checked like any other", () =>
    Effect.map(Effect.flip(from({ MAX_PAYLOAD: "-5" })), (error) => {
      assert.instanceOf(error, EngineIO.OptionsError)
      assert.include(error.message, "[\"maxPayload\"]")
    }))

  it.effect("nothing needs to be set", () => from({}))
})
