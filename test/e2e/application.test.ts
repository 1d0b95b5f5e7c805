import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Layer, Logger, Scheduler } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer, type Server } from "node:http"
import { EngineIO, EngineIOLive, HandshakeError, Socket } from "../../src/index.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { eventually, pending, within } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import {
  echo,
  idle,
  type LogLine,
  portOf,
  recorded,
  type Target,
  type TestServer,
  unwatched,
  withServer
} from "../kit/server.ts"
import { inOrder } from "../kit/takers.ts"
import { refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const logged = (server: TestServer, level: string, text: string) =>
  eventually(
    "a line in the log",
    () => server.logs,
    (logs) => logs.some((line) => line.level === level && line.text.includes(text))
  )

describe("fibers that let others run after every few steps", () => {
  const numbers = Array.from({ length: 30 }, (_, n) => `4${n}`)

  for (const [how, take] of Object.entries(inOrder)) {
    for (const messages of [1, 2, 100]) {
      it(`take and send everything once, and in order: ${how}, with room for ${messages}`, async () => {
        await withServer({
          references: Layer.succeed(Scheduler.MaxOpsBeforeYield, 3),
          receiveBuffer: { messages },
          sendBuffer: { messages },
          application: (socket) =>
            Effect.succeed({ app: take(socket, (message) => Effect.ignore(Socket.send(socket, message))) })
        }, async (server) => {
          const webSocket = await WebSocketClient.connect(server)
          for (const number of numbers) webSocket.send(number)
          assert.deepStrictEqual(await webSocket.messages(numbers.length), numbers)
          const polling = await PollingClient.connect(server)
          const polled: Array<string> = []
          const polls = async () => {
            while (polled.length < numbers.length) polled.push(...await polling.poll())
          }
          const posts = async () => {
            for (let n = 0; n < numbers.length; n += 5) await polling.post(numbers.slice(n, n + 5).join("\x1e"))
          }
          await within(Promise.all([polls(), posts()]), "all messages")
          assert.deepStrictEqual(polled, numbers)
        })()
      })
    }
  }
})

describe("app", () => {
  for (
    const [how, failure] of [
      ["fails", Effect.fail("out of ideas")],
      ["dies", Effect.die(new Error("out of ideas"))]
    ] as const
  ) {
    it(
      `that ${how} closes its session after what it sent, is logged, and the server goes on`,
      withServer({
        application: (socket) =>
          Effect.succeed({
            app: Effect.andThen(Socket.receive(socket), Effect.andThen(Socket.send(socket, "bye"), failure))
          })
      }, async (server) => {
        for (const mode of modes) {
          const client = await EngineClient.connect(server, mode)
          const { sid } = client
          assert.strictEqual(await client.exchange("go"), "bye")
          assert.strictEqual((await client.closed).reason, "transport close")
          const reason = await server.reason(sid)
          assert.strictEqual(reason._tag, "AppFailed")
          if (reason._tag === "AppFailed") assert.include(Cause.pretty(reason.cause), "out of ideas")
          assert.strictEqual(await server.reasonText(sid), "forced close")
        }
        await logged(server, "Error", "out of ideas")
        assert.strictEqual(await server.count(), 0)
        await PollingClient.connect(server)
      })
    )
  }

  for (const perMessageDeflate of [false, true]) {
    it(
      `whose message loses its memory before it is written loses its session, and nobody else theirs, with ${
        perMessageDeflate ? "" : "no "
      }permessage-deflate`,
      withServer({
        perMessageDeflate,
        application: (socket) =>
          Effect.succeed({
            app: Socket.forEach(socket, (message) =>
              Effect.gen(function*() {
                const bytes = new Uint8Array(message === "small" ? 100 : 100_000)
                yield* Socket.send(socket, message === "ok" ? message : bytes)
                if (message !== "ok") structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
              }))
          })
      }, async (server) => {
        const bystander = await EngineClient.connect(server, "websocket")
        for (const mode of modes) {
          for (const size of ["small", "large"]) {
            const client = await EngineClient.connect(server, mode)
            const { sid } = client
            client.send(size)
            const reason = await server.reason(sid)
            assert.strictEqual(reason._tag, "TransportError")
            if (reason._tag === "TransportError") assert.strictEqual(reason.error._tag, "WriteFailed")
            await client.closed
          }
        }
        assert.strictEqual(await bystander.exchange("ok"), "ok")
      })
    )
  }

  it(
    "that dies while its session closes is logged, with the beginning of the session's id",
    withServer({
      application: (socket) =>
        Effect.succeed({
          app: Effect.andThen(Socket.close(socket), Effect.die(new Error("a late mistake")))
        })
    }, async (server) => {
      const { sid } = await PollingClient.connect(server)
      await logged(server, "Error", "a late mistake")
      const line = server.logs.find(({ level }) => level === "Error")!
      assert.strictEqual(line.annotations?.["session"], `${sid.slice(0, 6)}…`)
    })
  )

  it(
    "that fails because its session ends is not",
    withServer({
      application: (socket) => Effect.succeed({ app: Effect.andThen(Socket.close(socket), Socket.receive(socket)) })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["6", "1"])
      await server.reason(client.sid)
      assert.isFalse(server.logs.some(({ level }) => level === "Error"))
    })
  )

  it("finishes the step it is in, and takes what had come, when its client leaves", async () => {
    const steps: Array<string> = []
    await withServer({
      application: (socket) =>
        Effect.succeed({
          app: Socket.forEach(socket, (message) =>
            Effect.andThen(Effect.sleep(30), Effect.sync(() => steps.push(String(message))))),
          onDisconnect: () =>
            Effect.sync(() => steps.push("onDisconnect"))
        })
    }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      for (const n of [1, 2, 3]) webSocket.send(`4${n}`)
      await webSocket.close()
      const { sid } = webSocket
      await server.reason(sid)
      assert.strictEqual(await server.count(), 0)
      await eventually("onDisconnect", () => steps.length, (length) => length === 4)
      assert.deepStrictEqual(steps, ["1", "2", "3", "onDisconnect"])
    })()
  })

  it(
    "may await the end of its own session",
    withServer({
      application: (socket, server) =>
        Effect.succeed({
          app: Effect.andThen(Socket.send(socket, "hello"), Effect.never),
          onDisconnect: () =>
            Effect.map(Socket.closed(socket), (reason) => {
              server.logs.push({ level: "test", text: reason._tag })
            })
        })
    }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      await webSocket.close()
      await logged(server, "test", "TransportClose")
    })
  )

  it(
    "that is slow in one session holds up no other",
    withServer({
      application: (socket, server) =>
        Effect.flatMap(
          echo(socket, server),
          (it) => Effect.succeed(socket.handshake.query["slow"] === undefined ? it : { app: Effect.never })
        )
    }, async (server) => {
      const slow = await WebSocketClient.connect(server, { slow: "1" })
      for (let i = 0; i < 100; i++) slow.send(`4${i}`)
      const quick = await WebSocketClient.connect(server)
      quick.send("4hello")
      assert.strictEqual(await quick.next(), "4hello")
    })
  )
})

describe("onDisconnect", () => {
  it(
    "that dies is logged and holds up nothing",
    withServer({
      application: () =>
        Effect.succeed({ app: Effect.never, onDisconnect: () => Effect.die(new Error("no time to say goodbye")) })
    }, async (server) => {
      for (let i = 0; i < 3; i++) {
        const client = await PollingClient.connect(server)
        await client.post("1")
        await server.reason(client.sid)
      }
      await logged(server, "Error", "no time to say goodbye")
      assert.strictEqual(await server.count(), 0)
    })
  )
})

describe("handlers", () => {
  for (
    const [what, failure] of [
      ["looks like a refusal", { code: "42P01", status: 200, message: "no table", context: "secret" }],
      ["is a word we use", "UpgradeFailed"]
    ] as const
  ) {
    it(
      `an error of the application that ${what} is not told to the client`,
      withServer({ application: () => Effect.fail(failure) }, async (server) => {
        const refused = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling" }))
        assert.deepStrictEqual([refused.status, refused.text], [500, ""])
        const { response } = await refusedUpgrade(server, {})
        assert.deepStrictEqual([response.status, response.text], [500, "Internal Server Error"])
      })
    )
  }

  const polling = engineTarget({ EIO: "4", transport: "polling" })

  for (const attached of [false, true]) {
    it(
      `an error of the application is logged once, with its cause, ${attached ? "attached" : "on a router"}`,
      withServer({ attached, application: () => Effect.fail("the database is gone") }, async (server) => {
        assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 500)
        const isOurs = ({ level, text }: LogLine) => level === "Error" && text.includes("the database is gone")
        await logged(server, "Error", "failed to decide on a handshake")
        await refusedUpgrade(server, {})
        const lines = await eventually("both lines", () => server.logs, (logs) => logs.length >= 2)
        assert.deepStrictEqual(lines.map(isOurs), [true, true])
      })
    )

    it(
      `a refusal is no error, and not logged, ${attached ? "attached" : "on a router"}`,
      withServer({
        attached,
        application: (socket) =>
          socket.handshake.query["quietly"] === undefined
            ? Effect.fail(new HandshakeError.Forbidden({ message: "not you" }))
            : Effect.fail(HttpServerResponse.text("later", { status: 429 }))
      }, async (server) => {
        assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 403)
        assert.strictEqual((await fetchRaw(server, "GET", `${polling}&quietly=1`)).status, 429)
        assert.strictEqual((await refusedUpgrade(server, {})).response.status, 403)
        assert.deepStrictEqual(server.logs, [])
      })
    )
  }

  const returned: ReadonlyArray<readonly [what: string, value: unknown]> = [
    ["undefined", undefined],
    ["an Effect of undefined", Effect.void],
    ["no app", Effect.succeed({})],
    ["an app that is no Effect", Effect.succeed({ app: () => Effect.never })],
    ["an onDisconnect that is no function", Effect.succeed({ app: Effect.never, onDisconnect: Effect.void })],
    ["undefined, later", Effect.delay(Effect.void, 1)]
  ]
  for (const [what, value] of returned) {
    it(
      `a function without types that returns ${what} is told so, and its client before anything is accepted`,
      withServer({
        routes: () => HttpRouter.add("*", "/wrong/", EngineIO.handler((() => value) as never)) as never
      }, async (server) => {
        for (const [transport, headers] of [["polling", {}], ["websocket", upgradeHeaders()]] as const) {
          const target = engineTarget({ EIO: "4", transport }, "/wrong/")
          assert.strictEqual((await fetchRaw(server, "GET", target, { headers })).status, 500)
        }
        const lines = await eventually("both lines", () => server.logs, (logs) => logs.length >= 2)
        assert.isTrue(
          lines.every(({ level, text }) => level === "Error" && text.includes("must return an Effect of { app: … }"))
        )
        assert.strictEqual(await server.count(), 0)
      })
    )
  }

  it(
    "a generateId that fails is logged with its cause, for the client hears nothing of it",
    withServer({ generateId: () => Effect.fail("no entropy") }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 400)
      await logged(server, "Error", "no entropy")
      assert.strictEqual(server.logs.length, 1)
    })
  )

  it(
    "a function that never decides is warned of, with what to return",
    withServer({ handshakeTimeout: 50, application: () => Effect.never }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 503)
      await logged(server, "Warn", "within handshakeTimeout: return { app: … }")
    })
  )

  const handlerOf = (server: TestServer) => EngineIO.handler((socket) => recorded(server, echo, socket))
  const admin = (server: TestServer) => HttpRouter.add("*", "/admin/", handlerOf(server))
  const unknown = "{\"code\":1,\"message\":\"Session ID unknown\"}"

  it(
    "R8: a session belongs to the handler that opened it",
    withServer({ routes: admin as never }, async (server) => {
      const visitor = await PollingClient.connect(server)
      const administrator = await PollingClient.connect(server, { path: "/admin/" })
      for (const [client, path] of [[visitor, "/admin/"], [administrator, "/engine.io/"]] as const) {
        const elsewhere = client.url().replace(client.path, path)
        assert.strictEqual((await client.request("GET", {}, elsewhere)).text, unknown)
        assert.strictEqual((await client.request("POST", { body: "4stolen" }, elsewhere)).text, unknown)
      }
      const { response } = await refusedUpgrade(server, { sid: administrator.sid })
      assert.strictEqual(response.text, "Session ID unknown")
      for (const client of [visitor, administrator]) {
        await client.post("4mine")
        assert.deepStrictEqual(await client.poll(), ["4mine"])
      }
      assert.strictEqual(await server.count(), 2)
    })
  )

  const anew = (server: TestServer) =>
    Layer.merge(
      HttpRouter.add("*", "/suspended/", Effect.suspend(() => handlerOf(server))),
      HttpRouter.add(
        "*",
        "/generated/",
        Effect.gen(function*() {
          yield* EngineIO.count
          return yield* handlerOf(server)
        })
      )
    )

  it(
    "R8: a session whose handler is built anew for every request belongs to the route",
    withServer({ routes: anew as never }, async (server) => {
      const suspended = await PollingClient.connect(server, { path: "/suspended/" })
      const generated = await PollingClient.connect(server, { path: "/generated/" })
      for (const client of [suspended, generated]) {
        await client.post("4mine")
        assert.deepStrictEqual(await client.poll(), ["4mine"])
        const candidate = await WebSocketClient.open(server, { sid: client.sid }, { path: client.path })
        candidate.send("2probe")
        assert.strictEqual(await candidate.next(), "3probe")
        candidate.send("5")
        candidate.send("4moved")
        assert.strictEqual(await candidate.next(), "4moved")
      }
      for (const path of ["/engine.io/", "/suspended/"]) {
        const elsewhere = generated.url().replace(generated.path, path)
        assert.strictEqual((await generated.request("GET", {}, elsewhere)).text, unknown)
      }
    })
  )

  it("R8: so does one on a route of the same path in another router", async () => {
    const [first, second] = [createServer(), createServer()]
    const handler = Effect.suspend(() => EngineIO.handler(() => Effect.succeed({ app: Effect.never })))
    const listen = (http: Server) =>
      Layer.build(Layer.fresh(
        HttpRouter.serve(HttpRouter.add("*", "/engine.io/", handler), { disableLogger: true, disableListenLog: true })
          .pipe(Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })))
      ))
    const program = Effect.gen(function*() {
      yield* listen(first)
      yield* listen(second)
      yield* Effect.promise(async () => {
        const client = await PollingClient.connect(unwatched(portOf(first)))
        assert.strictEqual((await client.post("4mine")).text, "ok")
        const elsewhere = await fetchRaw(unwatched(portOf(second)), "POST", client.url(), { body: "4stolen" })
        assert.strictEqual(elsewhere.text, unknown)
      })
    })
    await Effect.runPromise(Effect.scoped(Effect.provide(program, EngineIOLive)))
  })

  it(
    "R8: handlers built once are told apart on one route too",
    withServer({
      routes: ((server: TestServer) => {
        const [members, guests] = [handlerOf(server), handlerOf(server)]
        return HttpRouter.add(
          "*",
          "/both/",
          (request) => request.headers["x-member"] === "yes" ? members : guests
        )
      }) as never
    }, async (server) => {
      const headers = { "x-member": "yes" }
      const member = await PollingClient.connect(server, { path: "/both/", headers })
      assert.strictEqual((await member.get()).text, unknown)
      await member.request("POST", { headers, body: "4mine" })
      assert.strictEqual((await member.get({ headers })).text, "4mine")
    })
  )

  /** Runs a program on a server of its own, with what it warns of. */
  const warned = async (
    serve: Layer.Layer<never, unknown, Layer.Success<ReturnType<typeof NodeHttpServer.layer>>>,
    body: (target: Target, warnings: () => Array<string>) => Promise<void>
  ) => {
    const http = createServer()
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => void lines.push(`${logLevel} ${message}`))
    const live = serve.pipe(
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })),
      Layer.provide(Logger.layer([logger]))
    )
    await Effect.runPromise(Effect.scoped(Effect.andThen(
      Layer.build(live),
      Effect.promise(() => body(unwatched(portOf(http)), () => lines.filter((line) => line.startsWith("Warn"))))
    )))
  }
  const silent = EngineIO.handler(() => Effect.succeed({ app: Effect.never }))

  it("a handler that is built anew where there is no route is warned of once, with what to do", () =>
    warned(
      HttpServer.serve(Effect.suspend(() => EngineIO.handler(() => Effect.succeed({ app: Effect.never })))).pipe(
        Layer.provide(EngineIOLive)
      ),
      async (target, warnings) => {
        const client = await PollingClient.connect(target)
        for (let i = 0; i < 3; i++) assert.strictEqual((await client.get()).text, unknown)
        assert.strictEqual(warnings().length, 1)
        assert.include(warnings()[0], "build a handler once")
      }
    ))

  for (
    const [where, serve] of [
      ["route", HttpRouter.serve(HttpRouter.add("*", "/engine.io/", Effect.provide(silent, EngineIOLive)))],
      ["server without routes", HttpServer.serve(Effect.provide(silent, EngineIOLive))]
    ] as const
  ) {
    it(`an engine that is built anew for every request of a ${where} is warned of, with where it goes`, () =>
      warned(serve, async (target, warnings) => {
        const client = await PollingClient.connect(target)
        assert.strictEqual((await client.get()).text, unknown)
        assert.include(warnings()[0], "provide its layer to the server")
      }))
  }

  it("serve answers 501 to everything else, and its path with and without trailing slash", async () => {
    const http = createServer()
    const live = EngineIO.serve("/socket", () => Effect.succeed({ app: Effect.never })).pipe(
      Layer.provide(EngineIOLive),
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
    )
    await Effect.runPromise(Effect.scoped(Effect.andThen(
      Layer.build(live),
      Effect.promise(async () => {
        const target = unwatched(portOf(http))
        for (const path of ["/socket", "/socket/"]) await PollingClient.connect(target, { path })
        for (const path of ["/", "/other", "/engine.io/?EIO=4&transport=polling"]) {
          const response = await fetchRaw(target, "GET", path)
          assert.strictEqual(response.status, 501)
          assert.strictEqual(response.text, "Not Implemented")
        }
      })
    )))
  })
})

describe("broadcast", () => {
  it(
    "reaches every open session once, over whatever transport",
    withServer({ application: idle }, async (server) => {
      const clients = await Promise.all(modes.map((mode) => EngineClient.connect(server, mode)))
      assert.strictEqual(await server.run(EngineIO.broadcast("héllo 😀")), 3)
      assert.strictEqual(await server.run(EngineIO.broadcast(Uint8Array.from([1, 2, 3]))), 3)
      for (const client of clients) {
        assert.deepStrictEqual(await client.messages.take(2), ["héllo 😀", Buffer.from([1, 2, 3])])
      }
    })
  )

  it(
    "may be for some only, never waits for a slow client, and counts who took it",
    withServer(
      { application: idle, sendBuffer: { messages: 1 } },
      async (server) => {
        const webSocket = await WebSocketClient.connect(server)
        const slow = await PollingClient.connect(server)
        assert.strictEqual(await server.run(EngineIO.broadcast("one")), 2)
        assert.strictEqual(await webSocket.next(), "4one")
        assert.strictEqual(await server.run(EngineIO.broadcast("two")), 1)
        assert.strictEqual(await webSocket.next(), "4two")
        assert.deepStrictEqual(await slow.poll(), ["4one"])
        const filter = (socket: Socket.Socket) => socket.id === slow.sid
        assert.strictEqual(await server.run(EngineIO.broadcast("three", { filter })), 1)
        assert.deepStrictEqual(await slow.poll(), ["4three"])
        await server.barrier()
        assert.deepStrictEqual(webSocket.frames.untaken, [])
      }
    )
  )

  it(
    "skips those it could forge packets to",
    withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      await PollingClient.connect(server)
      assert.strictEqual(await server.run(EngineIO.broadcast("one\x1e1")), 1)
      assert.strictEqual(await webSocket.next(), "4one\x1e1")
    })
  )
})

class Name extends Context.Service<Name, string>()("test/Name") {}

describe("services", () => {
  /** Serves a route on a server of its own while `body` runs. */
  const serving = async (
    route: Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      never,
      EngineIO.EngineIO | HttpServerRequest.HttpServerRequest | Name
    >,
    body: (target: Target) => Promise<void>
  ): Promise<void> => {
    const http = createServer()
    const live = HttpRouter.serve(HttpRouter.add("*", "/engine.io/", route), {
      disableListenLog: true,
      disableLogger: true
    }).pipe(
      Layer.provide(Layer.succeed(Name, "Ada")),
      Layer.provide(EngineIO.layer()),
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
    )
    await Effect.runPromise(Effect.scoped(Effect.andThen(
      Layer.build(live),
      Effect.promise(() => body(unwatched(portOf(http))))
    )))
  }

  it("of the application reach the factory, app and onDisconnect", async () => {
    const names: Array<string> = []
    const handler = EngineIO.handler((socket) =>
      Effect.map(Name, (name) => ({
        app: Effect.andThen(Effect.flatMap(Name, (it) => Socket.send(socket, `${name} ${it}`)), Effect.never),
        onDisconnect: () => Effect.map(Name, (it) => void names.push(it))
      }))
    )
    await serving(handler, async (target) => {
      const webSocket = await WebSocketClient.connect(target)
      assert.strictEqual(await webSocket.next(), "4Ada Ada")
      assert.isTrue(await pending(webSocket.closed))
      await webSocket.close()
      await eventually("onDisconnect", () => names.length, (length) => length === 1)
    })
    assert.deepStrictEqual(names, ["Ada"])
  })

  for (const [count, words] of [[0, "alone"], [9, "among many"]] as const) {
    it(`of one request, ${words}, reach its session and no other`, async () => {
      const handler = EngineIO.handler((socket) =>
        Effect.succeed({
          app: Effect.andThen(Effect.flatMap(Name, (name) => Socket.send(socket, name)), Effect.never)
        })
      )
      const named = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
        const name = headers["x-name"]
        let named = name === undefined ? handler : Effect.provideService(handler, Name, name)
        for (let i = 0; i < count; i++) named = Effect.provideService(named, Context.Service<number>(`test/${i}`), i)
        return named
      })
      await serving(named, async (target) => {
        for (const name of "Ada Ada Grace Ada Ada Bob Ada Grace Grace Grace Bob Grace Ada Bob Bob".split(" ")) {
          const headers = name === "Ada" ? {} : { "X-Name": name }
          const webSocket = await WebSocketClient.connect(target, {}, { headers })
          assert.strictEqual(await webSocket.next(), `4${name}`)
          await webSocket.close()
        }
      })
    })
  }
})
