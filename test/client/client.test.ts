/**
 * The client against a real server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, type Scope, Stream } from "effect"
import { Socket as EffectSocket } from "effect/socket"
import { WebSocketServer } from "ws"
import { EngineIO, Socket } from "../../src/index.ts"
import * as EngineIOClient from "../../src/EngineIOClient.ts"
import { modes } from "../kit/client.ts"
import { eventually } from "../kit/events.ts"
import { grown, resources } from "../kit/leaks.ts"
import { FaultProxy } from "../kit/proxy.ts"
import { type Config, idle, sink, type TestServer, withServer } from "../kit/server.ts"

/** Runs `body` with a server, in a scope, and looks for what it leaves behind. */
const withClients = <E>(
  config: Config,
  body: (server: TestServer, url: string) => Generator<Effect.Effect<unknown, E, Scope.Scope>, void, never>
) =>
async () => {
  const before = resources()
  await withServer(config, async (server) => {
    await Effect.runPromise(Effect.scoped(Effect.gen(() => body(server, `http://127.0.0.1:${server.port}`))))
    await eventually("the end of all sessions", () => server.count(), (count) => count === 0)
  })()
  const left = () => Object.keys(grown(before, resources())).filter((kind) => /^(?:TCP|HTTP|Timeout)/.test(kind))
  await eventually("the release of all that was taken", left, (more) => more.length === 0)
}

const optionsOf = (mode: string): EngineIOClient.Options => ({
  transports: mode === "websocket" ? ["websocket"] : mode === "polling" ? ["polling"] : ["polling", "websocket"]
})

const atServer = (server: TestServer, { id }: EngineIOClient.Client) => Effect.promise(() => server.socket(id))

const proxyOf = (server: TestServer) =>
  Effect.acquireRelease(Effect.promise(() => FaultProxy.start(server)), (proxy) => Effect.promise(() => proxy.stop()))

const connectBy = ({ port }: FaultProxy, mode: string, options?: EngineIOClient.Options) =>
  EngineIOClient.connect(`http://127.0.0.1:${port}`, { ...optionsOf(mode), ...options })

const reasonOf = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (!EffectSocket.isSocketError(error)) return assert.fail(String(error))
    return error.reason
  })

const closeOf = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.map(
    reasonOf(effect),
    (reason) => reason._tag === "SocketCloseError" ? [reason.code, reason.closeReason] : reason._tag
  )

describe("a client", () => {
  for (const mode of modes) {
    it(
      `sends and receives text and bytes of all lengths (${mode})`,
      withClients({}, function*(_, url) {
        const client = yield* EngineIOClient.connect(url, optionsOf(mode))
        assert.strictEqual(client.handshake.sid, client.id)
        assert.strictEqual(client.handshake.pingInterval, 25_000)
        const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
        for (const message of ["hello", "", "grüße €😀", new Uint8Array(0), bytes, bytes.subarray(10, 20)]) {
          yield* EngineIOClient.send(client, message)
          const echo = yield* EngineIOClient.receive(client)
          assert.deepStrictEqual(
            typeof echo === "string" ? echo : Uint8Array.from(echo),
            typeof message === "string" ? message : Uint8Array.from(message)
          )
        }
      })
    )

    it(
      `gives messages as a stream, in order (${mode})`,
      withClients({}, function*(_, url) {
        const client = yield* EngineIOClient.connect(url, optionsOf(mode))
        const numbers = Array.from({ length: 1000 }, (_, index) => String(index))
        yield* Effect.forkChild(Effect.forEach(numbers, (number) => EngineIOClient.send(client, number)))
        const echoes = yield* EngineIOClient.messages(client).pipe(Stream.take(1000), Stream.runCollect)
        assert.deepStrictEqual(echoes, numbers)
      })
    )

    it(
      `delivers what it sent before its scope ends, and tells the server (${mode})`,
      withClients({ application: sink }, function*(server, url) {
        const id = yield* Effect.scoped(Effect.gen(function*() {
          const client = yield* EngineIOClient.connect(url, optionsOf(mode))
          for (const message of ["1", "2", "3"]) yield* EngineIOClient.send(client, message)
          return client.id
        }))
        yield* Effect.promise(() => server.reason(id))
        assert.deepStrictEqual(server.messagesOf(id), ["1", "2", "3"])
        assert.strictEqual(yield* Effect.promise(() => server.reasonText(id)), "transport close")
      })
    )

    it(
      `gives what had arrived before the end, then fails with the end (${mode})`,
      withClients({ application: idle }, function*(server, url) {
        const client = yield* EngineIOClient.connect(url, optionsOf(mode))
        const socket = yield* atServer(server, client)
        yield* Socket.sendAll(socket, ["1", "2"])
        yield* Socket.close(socket)
        const { reason } = yield* EngineIOClient.closed(client)
        assert.strictEqual(reason._tag === "SocketCloseError" && reason.code, 1005)
        assert.strictEqual(yield* EngineIOClient.receive(client), "1")
        assert.strictEqual(yield* EngineIOClient.receive(client), "2")
        assert.strictEqual(yield* reasonOf(EngineIOClient.receive(client)), reason)
        assert.strictEqual(yield* reasonOf(Stream.runDrain(EngineIOClient.messages(client))), reason)
        assert.strictEqual((yield* reasonOf(EngineIOClient.send(client, "late")))._tag, "SocketWriteError")
      })
    )
  }

  it(
    "says which transport it is on, and which it moves to",
    withClients({}, function*(server, url) {
      const client = yield* EngineIOClient.connect(url)
      const names = yield* EngineIOClient.transports(client).pipe(Stream.take(2), Stream.runCollect)
      assert.deepStrictEqual(names, ["polling", "websocket"])
      assert.strictEqual(yield* EngineIOClient.transport(client), "websocket")
      const rest = yield* Effect.forkChild(Stream.runCollect(EngineIOClient.transports(client)))
      yield* Socket.close(yield* atServer(server, client), { discard: true })
      assert.deepStrictEqual(yield* Fiber.join(rest), ["websocket"])
    })
  )

  it(
    "sends text with U+001E over WebSocket, and refuses it while polling",
    withClients({}, function*(_, url) {
      const polling = yield* EngineIOClient.connect(url, { transports: ["polling"] })
      assert.strictEqual((yield* reasonOf(EngineIOClient.send(polling, "a\x1eb")))._tag, "SocketWriteError")
      const webSocket = yield* EngineIOClient.connect(url, { transports: ["websocket"] })
      yield* EngineIOClient.send(webSocket, "a\x1eb")
      assert.strictEqual(yield* EngineIOClient.receive(webSocket), "a\x1eb")
    })
  )

  it(
    "has a sender wait while a hundred messages wait, and fails it when the connection ends",
    withClients({ application: idle, bodyTimeout: "1 minute" }, function*(server, url) {
      const client = yield* EngineIOClient.connect(url, { transports: ["polling"] })
      let sent = 0
      const sending = yield* Effect.forkChild(Effect.forever(
        Effect.tap(EngineIOClient.send(client, "x"), () => Effect.sync(() => sent++)),
        { disableYield: true }
      ))
      yield* Effect.yieldNow
      assert.strictEqual(sent, 100)
      const socket = yield* atServer(server, client)
      yield* Effect.promise(() => eventually("more to be sent", () => sent, (it) => it > 100))
      yield* Socket.close(socket, { discard: true })
      const exit = yield* Fiber.await(sending)
      assert.isTrue(Exit.isFailure(exit) && EffectSocket.isSocketError(Cause.squash(exit.cause)))
    })
  )
})

describe("a URL", () => {
  const handshakeOf = (server: TestServer) =>
    Effect.map(Effect.promise(() => server.opened.next()), (it) => it.handshake)

  it(
    "may be ws, and have no path; its parameters and those of the options are sent, and headers",
    withClients({}, function*(server, url) {
      for (const mode of ["polling", "websocket"]) {
        yield* EngineIOClient.connect(`${url.replace("http", "ws")}?room=1&name=a%20b`, {
          ...optionsOf(mode),
          query: { name: "c&d" },
          extraHeaders: { "x-token": "secret" }
        })
        const { headers, query, url: target } = yield* handshakeOf(server)
        assert.match(target, /^\/engine\.io\/\?/)
        assert.deepStrictEqual([query["room"], query["name"], headers["x-token"]], ["1", "c&d", "secret"])
      }
    })
  )

  it(
    "has the path of the route, with or without a slash at its end",
    withClients({}, function*(server, url) {
      for (const path of ["/engine.io/", "/engine.io"]) {
        yield* EngineIOClient.connect(new URL(path, url), { transports: ["polling"] })
        assert.strictEqual((yield* handshakeOf(server)).url.split("?")[0], path)
      }
      const elsewhere = yield* reasonOf(EngineIOClient.connect(`${url}/elsewhere`))
      assert.strictEqual(elsewhere._tag === "SocketOpenError" && elsewhere.kind, "Unknown")
    })
  )
})

describe("an option that is wrong", () => {
  const message = (url: string | URL, options: object) =>
    Effect.gen(function*() {
      const errors = yield* Effect.all([
        Effect.flip(EngineIOClient.makeSocket(url, options)),
        Effect.scoped(Effect.flip(EngineIOClient.connect(url, options)))
      ])
      for (const error of errors) assert.instanceOf(error, EngineIO.OptionsError)
      return errors[0].message
    })

  const wrong: ReadonlyArray<readonly [object, RegExp]> = [
    [{ transports: [] }, /transports/],
    [{ transports: ["carrier pigeon"] }, /transports/],
    [{ upgrade: "yes" }, /upgrade/],
    [{ openTimeout: -1 }, /openTimeout.*/s],
    [{ requestTimeout: "soon" }, /requestTimeout/],
    [{ query: { a: 1 } }, /query/],
    [{ agent: true }, /agent/],
    [{ transportOptions: { smoke: {} } }, /transportOptions/],
    [{ path: "/engine.io/" }, /path/],
    [{ upgrade: 1, forceBase64: 1 }, /upgrade.*forceBase64/s]
  ]
  for (const [options, pattern] of wrong) {
    it.effect(`is named: ${JSON.stringify(options)}`, () =>
      Effect.map(message("http://localhost", options), (text) => assert.match(text, pattern)))
  }

  for (const url of ["", "/rpc/", "ftp://localhost", "localhost:3000"]) {
    it.effect(`so is a URL that is none: ${JSON.stringify(url)}`, () =>
      Effect.map(message(url, {}), (text) => assert.include(text, `not ${url}`)))
  }
})

describe("a connection that fails", () => {
  for (const mode of ["polling", "websocket"]) {
    it(
      `says that nobody listens (${mode})`,
      withClients({}, function*(server, url) {
        yield* Effect.promise(() => server.release())
        const reason = yield* reasonOf(EngineIOClient.connect(url, optionsOf(mode)))
        assert.strictEqual(reason._tag === "SocketOpenError" && reason.kind, "Unknown")
      })
    )

    it(
      `says that it was refused (${mode})`,
      withClients({ allowRequest: () => Effect.fail(new EngineIO.Forbidden({ message: "no" })) }, function*(_, url) {
        const reason = yield* reasonOf(EngineIOClient.connect(url, optionsOf(mode)))
        assert.isTrue(reason._tag === "SocketOpenError" && reason.kind === "Unknown" && reason.cause instanceof Error)
      })
    )

    it(
      `leaves the rest of its scope alone when it was refused (${mode})`,
      withClients({ allowRequest: () => Effect.fail(new EngineIO.Forbidden({ message: "no" })) }, function*(_, url) {
        const exits = yield* Effect.forEach([1, 2], () => Effect.exit(EngineIOClient.connect(url, optionsOf(mode))), {
          concurrency: 2
        })
        assert.deepStrictEqual(exits.map(Exit.isFailure), [true, true])
      })
    )

    it(
      `gives up after openTimeout (${mode})`,
      withClients({}, function*(server) {
        const proxy = yield* proxyOf(server)
        proxy.fault = "silence"
        const reason = yield* reasonOf(connectBy(proxy, mode, { openTimeout: "50 millis" }))
        assert.strictEqual(reason._tag === "SocketOpenError" && reason.kind, "Timeout")
      })
    )

    it(
      `notices a server that falls silent (${mode})`,
      withClients({ pingInterval: "50 millis", pingTimeout: "50 millis" }, function*(server) {
        const proxy = yield* proxyOf(server)
        const client = yield* connectBy(proxy, mode)
        proxy.fault = "silence"
        assert.deepStrictEqual(yield* closeOf(EngineIOClient.receive(client)), [1006, "ping timeout"])
      })
    )

    it(
      `notices a connection that breaks (${mode})`,
      withClients({ pingInterval: "200 millis", pingTimeout: "200 millis" }, function*(server) {
        const proxy = yield* proxyOf(server)
        const client = yield* connectBy(proxy, mode)
        proxy.fault = "reset"
        const reason = yield* closeOf(EngineIOClient.receive(client))
        assert.deepStrictEqual(reason, mode === "polling" ? "SocketReadError" : [1006, "websocket connection closed"])
      })
    )

    for (const handshake of ["", "{", "null", "{}", `{"sid":"a","upgrades":"b","pingInterval":1,"pingTimeout":1}`]) {
      it(
        `takes 0${handshake} for no handshake (${mode})`,
        withClients({}, function*(server, url) {
          const webSockets = new WebSocketServer({ noServer: true })
          server.http.removeAllListeners("request").on("request", (_, response) => response.end(`0${handshake}`))
          server.http.removeAllListeners("upgrade").on(
            "upgrade",
            (request, socket, head) =>
              webSockets.handleUpgrade(request, socket, head, (webSocket) => webSocket.send(`0${handshake}`))
          )
          const reason = yield* reasonOf(EngineIOClient.connect(url, optionsOf(mode)))
          assert.strictEqual(reason._tag === "SocketOpenError" && reason.kind, "Unknown")
        })
      )
    }
  }

  it(
    "says that the server knows its session no more",
    withClients({}, function*(server, url) {
      const client = yield* EngineIOClient.connect(url, { transports: ["polling"] })
      server.http.prependListener("request", (request) => request.url = `${request.url}&sid=unknown`)
      yield* EngineIOClient.send(client, "hello")
      assert.strictEqual((yield* reasonOf(EngineIOClient.receive(client)))._tag, "SocketReadError")
      yield* Socket.close(yield* atServer(server, client), { discard: true })
    })
  )
})
