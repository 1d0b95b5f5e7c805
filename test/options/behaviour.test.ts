import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Deferred, Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { NodeHttpServer } from "@effect/platform-node"
import { createServer } from "node:http"
import { EngineIO, Socket } from "../../src/index.ts"
import { pause, pending } from "../kit/events.ts"
import { Connection, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { echo, idle, portOf, sink, type TestServer, unwatched, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

describe("initialPacket", () => {
  it(
    "R30: by default there is none",
    withServer({ application: idle }, async (server) => {
      assert.lengthOf((await PollingClient.connect(server)).handshake.packets, 1)
      const webSocket = await WebSocketClient.connect(server)
      await server.run(Socket.send(await server.socket(webSocket.sid), "first"))
      assert.strictEqual(await webSocket.next(), "4first")
    })
  )

  it(
    "R30: text follows the open packet, in the same payload or as a second frame, before what the application sends",
    withServer({
      initialPacket: "faster!",
      application: (socket) => Effect.as(Socket.send(socket, "application"), { app: Effect.never })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual(client.handshake.packets.length, 2)
      assert.strictEqual(client.handshake.packets[1], "4faster!")
      assert.deepStrictEqual(await client.poll(), ["4application"])
      const webSocket = await WebSocketClient.connect(server)
      assert.deepStrictEqual(await webSocket.frames.take(2), ["4faster!", "4application"])
    })
  )

  it(
    "R30: it follows the open packet whatever maxPayload is",
    withServer({ initialPacket: "faster!", maxPayload: 10, allowEIO3: true }, async (server) => {
      assert.strictEqual((await PollingClient.connect(server)).handshake.packets[1], "4faster!")
      const revision3 = await fetchRaw(server, "GET", engineTarget({ EIO: "3", transport: "polling", b64: "1" }))
      assert.isTrue(revision3.text.endsWith("8:4faster!"))
    })
  )

  it(
    "R30: bytes are base64 in a payload, and a binary frame",
    withServer({ initialPacket: Uint8Array.of(1, 2, 3, 4) }, async (server) => {
      assert.strictEqual((await PollingClient.connect(server)).handshake.packets[1], "bAQIDBA==")
      assert.deepStrictEqual(await (await WebSocketClient.connect(server)).next(), Buffer.from([1, 2, 3, 4]))
    })
  )
})

describe("allowRequest", () => {
  const asked: Array<string> = []
  const onlyTom = (
    request: { readonly url: string; readonly headers: Readonly<Record<string, string | undefined>> }
  ) => {
    asked.push(new URL(request.url, "http://localhost").searchParams.get("sid") === null ? "handshake" : "upgrade")
    return request.headers["x-user"] === "tom"
      ? Effect.void
      : Effect.fail(new EngineIO.Forbidden({ message: "only tom" }))
  }
  const tom = { "X-User": "tom" }

  it(
    "R12: decides on handshakes over polling and WebSocket, and is not asked for polls and posts",
    withServer({ allowRequest: onlyTom }, async (server) => {
      asked.length = 0
      const refused = await fetchRaw(server, "GET", polling)
      assert.strictEqual(refused.status, 403)
      assert.strictEqual(refused.text, "{\"code\":4,\"message\":\"only tom\"}")
      const { response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.status, 403)
      assert.strictEqual(response.text, "only tom")
      assert.strictEqual(await server.count(), 0)

      const client = await PollingClient.connect(server, { headers: tom })
      await WebSocketClient.connect(server, {}, { headers: tom })
      assert.deepStrictEqual(asked, ["handshake", "handshake", "handshake", "handshake"])
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      assert.strictEqual(asked.length, 4)
    })
  )

  it(
    "R12: decides on upgrades as well, before they are accepted; the session stays where it is",
    withServer({ allowRequest: onlyTom }, async (server) => {
      asked.length = 0
      const client = await PollingClient.connect(server, { headers: tom })
      const { response } = await refusedUpgrade(server, { sid: client.sid })
      assert.strictEqual(response.status, 403)
      assert.strictEqual(response.text, "only tom")
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      const candidate = await WebSocketClient.open(server, { sid: client.sid }, { headers: tom })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      assert.deepStrictEqual(asked, ["handshake", "upgrade", "upgrade"])
    })
  )

  it(
    "R12: an answer of its own goes out as it is, on an upgrade with its status and text",
    withServer({
      allowRequest: () =>
        Effect.fail(HttpServerResponse.text("slow down", { status: 429, headers: { "Retry-After": "7" } }))
    }, async (server) => {
      const refused = await fetchRaw(server, "GET", polling)
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(refused.text, "slow down")
      assert.strictEqual(refused.header("retry-after"), "7")
      const { response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.status, 429)
      assert.strictEqual(response.text, "slow down")
    })
  )

  it(
    "R12: an empty message says Forbidden",
    withServer({ allowRequest: () => Effect.fail(new EngineIO.Forbidden({ message: "" })) }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).text, "{\"code\":4,\"message\":\"Forbidden\"}")
      assert.strictEqual((await refusedUpgrade(server, {})).response.text, "Forbidden")
    })
  )

  it(
    "R12: one that dies is the router's 500, and the server goes on",
    withServer({ allowRequest: () => Effect.die(new Error("broken")) }, async (server) => {
      for (let round = 0; round < 2; round++) {
        assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 500)
        assert.strictEqual((await refusedUpgrade(server, {})).response.status, 500)
      }
    })
  )

  it(
    "R16: one that hangs is cut off after handshakeTimeout with 503, on an upgrade too",
    withServer({
      handshakeTimeout: 50,
      allowRequest: (request) => request.headers["x-user"] === "tom" ? Effect.void : Effect.never
    }, async (server) => {
      const refused = await fetchRaw(server, "GET", polling)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.text, "{\"code\":3,\"message\":\"Handshake timeout\"}")
      assert.strictEqual((await refusedUpgrade(server, {})).response.status, 503)
      const client = await PollingClient.connect(server, { headers: tom })
      assert.strictEqual((await refusedUpgrade(server, { sid: client.sid })).response.status, 503)
      assert.strictEqual(await server.count(), 1)
    })
  )

  it("R16: a client that leaves while it is asked interrupts it", async () => {
    const started = Deferred.makeUnsafe<void>()
    const interrupted = Deferred.makeUnsafe<void>()
    await withServer({
      allowRequest: () =>
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
    }, async (server) => {
      const connection = await Connection.open(server)
      connection.send("GET", polling)
      await Effect.runPromise(Deferred.await(started))
      await connection.reset()
      await Effect.runPromise(Deferred.await(interrupted))
      assert.strictEqual(await server.count(), 0)
    })()
  })
})

describe("a promise where an Effect belongs", () => {
  const reject = (() => Promise.reject(new Error("no effect"))) as never
  for (const hook of ["allowRequest", "generateId", "responseHeaders", "cors"] as const) {
    it(
      `from ${hook} gets status 500, and what it rejects with ends no process`,
      withServer({ [hook]: reject }, async (server) => {
        assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 500)
      })
    )
  }

  it(
    "from the function of cors.origin allows nobody",
    withServer({ cors: { origin: reject } }, async (server) => {
      const response = await fetchRaw(server, "GET", polling, { headers: { Origin: "http://evil.example" } })
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.header("access-control-allow-origin"), undefined)
    })
  )

  const factories: ReadonlyArray<readonly [what: string, status: number, factory: () => unknown]> = [
    ["from the function of a handler gets status 500", 500, reject],
    ["for an app gets status 500", 500, () => Effect.sync(() => ({ app: Promise.reject(new Error("no effect")) }))],
    ["from onDisconnect ends no process", 200, () => Effect.succeed({ app: Effect.void, onDisconnect: reject })]
  ]
  for (const [what, status, factory] of factories) {
    it(what, async () => {
      const server = createServer()
      const mounted = await Mounted.make()
      await mounted.run(EngineIO.attach(server, factory as () => Effect.Effect<EngineIO.SocketApp<never>>))
      await listening(server, async (target) => {
        assert.strictEqual((await fetchRaw(target, "GET", polling)).status, status)
        await mounted.release()
      })
    })
  }
})

describe("handshakeTimeout", () => {
  it(
    "R16: a generateId that hangs is cut off with 503, and keeps no id",
    withServer({ handshakeTimeout: 50, maxSessions: 1, generateId: () => Effect.never }, async (server) => {
      for (let round = 0; round < 2; round++) {
        const refused = await fetchRaw(server, "GET", polling)
        assert.strictEqual(refused.text, "{\"code\":3,\"message\":\"Handshake timeout\"}")
      }
      assert.strictEqual((await refusedUpgrade(server, {})).response.status, 503)
    })
  )

  it(
    "R16: all that the application decides on a handshake has this time together",
    withServer({
      handshakeTimeout: 1000,
      generateId: () => Effect.as(Effect.sleep(600), "chosen"),
      responseHeaders: () => Effect.as(Effect.sleep(600), {})
    }, async (server) => {
      assert.strictEqual(
        (await fetchRaw(server, "GET", polling)).text,
        "{\"code\":3,\"message\":\"Handshake timeout\"}"
      )
    })
  )

  it(
    "R16: by default the application has more time than this test",
    withServer({ application: () => Effect.never }, async (server) => {
      const connection = await Connection.open(server)
      connection.send("GET", polling)
      const response = connection.response()
      await pause(300)
      assert.isTrue(await pending(response))
    })
  )
})

describe("maxSessions", () => {
  const full = "{\"code\":3,\"message\":\"Too many sessions\"}"

  it(
    "beyond it handshakes get 503, over polling and WebSocket, and those there are go on",
    withServer({ maxSessions: 2 }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const client = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      const refused = await fetchRaw(server, "GET", polling)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.text, full)
      assert.strictEqual(refused.header("content-type"), "application/json")
      const { response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.status, 503)
      assert.strictEqual(response.text, "Too many sessions")
      // An upgrade is no new session.
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await webSocket.close()
      await server.reason(webSocket.sid)
      await PollingClient.connect(server)
      assert.strictEqual(await server.count(), 2)
      await events.reached(6)
      assert.strictEqual(events.all.filter((it) => it._tag === "ConnectionError" && it.code === 3).length, 2)
    })
  )

  it("counts handshakes that are still being decided, wherever they wait", async () => {
    const places: ReadonlyArray<(waits: Effect.Effect<void>) => Parameters<typeof withServer>[0]> = [
      (waits) => ({ allowRequest: () => waits }),
      (waits) => ({ generateId: () => Effect.map(waits, () => String(Math.random())) }),
      (waits) => ({ application: () => Effect.as(waits, { app: Effect.never }) })
    ]
    const outcomes = await Promise.all(places.map(async (place) => {
      const statuses: Array<number> = []
      const gate = Deferred.makeUnsafe<void>()
      await withServer({ maxSessions: 2, ...place(Deferred.await(gate)) }, async (server) => {
        const responses = Array.from({ length: 5 }, () => fetchRaw(server, "GET", polling))
        await server.requests.reached(5)
        await server.barrier()
        Deferred.doneUnsafe(gate, Effect.void)
        for (const response of responses) statuses.push((await response).status)
        assert.strictEqual(await server.count(), 2)
      })()
      return statuses.sort()
    }))
    for (const statuses of outcomes) assert.deepStrictEqual(statuses, [200, 200, 503, 503, 503])
  })

  it(
    "by default there is no limit",
    withServer({ application: idle }, async (server) => {
      await Promise.all(Array.from({ length: 300 }, () => fetchRaw(server, "GET", polling)))
      assert.strictEqual(await server.count(), 300)
    })
  )
})

describe("anyPacketIsAlive", () => {
  const heartbeat = { pingInterval: 200, pingTimeout: 400, application: sink }

  /** Sends messages, and no pong, until the session ends or a second has passed since the ping. */
  const talk = async (server: TestServer): Promise<{ client: WebSocketClient & { sid: string }; ended: boolean }> => {
    const client = await WebSocketClient.connect(server)
    assert.strictEqual(await client.next(), "2")
    for (let time = 0; time < 1_000; time += 50) {
      client.send("4still talking")
      await pause(50)
    }
    return { client, ended: server.ended.all.some((it) => it.sid === client.sid) }
  }

  it(
    "R-H2: by default messages are no sign of life: pongs are",
    withServer(heartbeat, async (server) => {
      const { client, ended } = await talk(server)
      assert.isTrue(ended)
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
    })
  )

  it(
    "R-H2: when set they extend the wait for the pong, and silence still ends it",
    withServer({ ...heartbeat, anyPacketIsAlive: true }, async (server) => {
      const { client, ended } = await talk(server)
      assert.isFalse(ended)
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
    })
  )
})

describe("layerConfig", () => {
  class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}

  it("what the environment says is what the server does, and hooks stay code with services of their own", async () => {
    const http = createServer()
    const environment = { PING_INTERVAL: "7 seconds", MAX_PAYLOAD: "4321", UPGRADES: "false", EIO3: "true", MOST: "2" }
    const server = HttpRouter.serve(
      HttpRouter.add("*", "/engine.io/", EngineIO.handler(() => Effect.succeed({ app: Effect.never }))),
      { disableLogger: true, disableListenLog: true }
    ).pipe(
      Layer.provide(EngineIO.layerConfig({
        pingInterval: Config.Duration("PING_INTERVAL"),
        pingTimeout: Config.Duration("PING_TIMEOUT").pipe(Config.withDefault("3 seconds")),
        maxPayload: Config.Int("MAX_PAYLOAD"),
        allowUpgrades: Config.Boolean("UPGRADES"),
        allowEIO3: Config.Boolean("EIO3"),
        maxSessions: Config.Int("MOST")
      }, {
        cookie: "sid",
        responseHeaders: () => Effect.map(Greeting, (greeting) => ({ "X-Greeting": greeting }))
      })),
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })),
      Layer.provide(Layer.succeed(Greeting, "hello")),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: environment })))
    )
    const program = Effect.gen(function*() {
      yield* Layer.build(server)
      const target = unwatched(portOf(http))
      const client = yield* Effect.promise(() => PollingClient.connect(target))
      assert.deepStrictEqual({ ...client.open, sid: "" }, {
        sid: "",
        upgrades: [],
        pingInterval: 7_000,
        pingTimeout: 3_000,
        maxPayload: 4_321
      })
      assert.strictEqual(client.handshake.header("x-greeting"), "hello")
      assert.include(client.handshake.header("set-cookie"), "sid=")
      const older = yield* Effect.promise(() => fetchRaw(target, "GET", polling.replace("EIO=4", "EIO=3")))
      assert.strictEqual(older.status, 200)
      const third = yield* Effect.promise(() => fetchRaw(target, "GET", polling))
      assert.strictEqual(third.status, 503)
      for (const connection of target.connections) connection.socket.destroy()
    })
    await Effect.runPromise(Effect.scoped(program))
  })
})

describe("transports", () => {
  it(
    "R6: a server of WebSocket alone refuses polling, one of polling alone takes no WebSocket",
    async () => {
      await withServer({ transports: ["websocket"], application: echo }, async (server) => {
        assert.strictEqual(
          (await fetchRaw(server, "GET", polling)).text,
          "{\"code\":0,\"message\":\"Transport unknown\"}"
        )
        const raw = await RawWebSocket.open(server)
        await raw.next()
        raw.write(Opcode.text, "4hello")
        assert.strictEqual((await raw.next()).payload.toString(), "4hello")
      })()
      await withServer({ transports: ["polling"], application: echo }, async (server) => {
        const client = await PollingClient.connect(server)
        assert.strictEqual((await refusedUpgrade(server, { sid: client.sid })).response.text, "Transport unknown")
        await client.post("4hello")
        assert.deepStrictEqual(await client.poll(), ["4hello"])
      })()
    }
  )
})
