/**
 * The test kit that applications get: a client on each transport, on the test's clock, sees what one on a network sees.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { type CloseReason, EngineIO, EngineIOLive, HandshakeError, Rooms, Socket } from "../../src/index.ts"
import { EngineIOTest } from "../../src/testing.ts"

const transports = ["polling", "websocket", "webtransport"] as const

const all = EngineIOTest.layer({ transports })

const echo = (socket: Socket.Socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })

/** An application that notes why its sessions ended. */
const noting = (reasons: Array<CloseReason.CloseReason>) => (socket: Socket.Socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
    onDisconnect: (reason: CloseReason.CloseReason) => Effect.sync(() => void reasons.push(reason))
  })

describe("a client in memory", () => {
  for (const transport of transports) {
    describe(`on ${transport}`, () => {
      it.effect("sends and receives text and bytes, in order", () =>
        Effect.gen(function*() {
          const client = yield* EngineIOTest.connect(echo, { transport })
          assert.strictEqual(yield* Socket.transport(client.socket), transport)
          const messages = ["hello", Uint8Array.of(1, 2, 3), "", "wörld \u{1f30d}"]
          yield* EngineIOTest.sendAll(client, messages)
          for (const message of messages) assert.deepStrictEqual(yield* EngineIOTest.receive(client), message)
          for (let i = 0; i < 100; i++) {
            yield* EngineIOTest.send(client, String(i))
            assert.strictEqual(yield* EngineIOTest.receive(client), String(i))
          }
        }).pipe(Effect.provide(all)))

      it.effect("stays as long as it answers pings, and is missed when it falls silent", () =>
        Effect.gen(function*() {
          const reasons: Array<CloseReason.CloseReason> = []
          const client = yield* EngineIOTest.connect(noting(reasons), { transport })
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* Socket.state(client.socket), "open")
          assert.deepStrictEqual(yield* Socket.rtt(client.socket), Option.some(Duration.zero))
          yield* EngineIOTest.send(client, "still here")
          assert.strictEqual(yield* EngineIOTest.receive(client), "still here")
          yield* EngineIOTest.silence(client)
          yield* TestClock.adjust("44999 millis")
          assert.strictEqual(yield* Socket.state(client.socket), "open")
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual(reasons, [{ _tag: "PingTimeout" }])
        }).pipe(Effect.provide(all)))

      it.effect("goes on after a silence that was short enough", () =>
        Effect.gen(function*() {
          const client = yield* EngineIOTest.connect(echo, { transport })
          yield* EngineIOTest.silence(client)
          yield* Socket.send(client.socket, "later")
          yield* TestClock.adjust("44 seconds")
          yield* EngineIOTest.resume(client)
          assert.strictEqual(yield* EngineIOTest.receive(client), "later")
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* Socket.state(client.socket), "open")
        }).pipe(Effect.provide(all)))

      it.effect("is told when the server closes the session, after what was sent", () =>
        Effect.gen(function*() {
          const client = yield* EngineIOTest.connect(echo, { transport })
          yield* Socket.send(client.socket, "goodbye")
          yield* Socket.close(client.socket)
          assert.strictEqual(yield* EngineIOTest.receive(client), "goodbye")
          assert.strictEqual((yield* Effect.flip(EngineIOTest.receive(client)))._tag, "Disconnected")
          assert.strictEqual((yield* Effect.flip(EngineIOTest.send(client, "late")))._tag, "Disconnected")
          assert.deepStrictEqual(yield* Socket.closed(client.socket), { _tag: "ForcedClose" })
        }).pipe(Effect.provide(all)))

      it.effect("closes, vanishes, and vanishes with its scope: the server hears of it, and nothing is left", () =>
        Effect.gen(function*() {
          const reasons: Array<CloseReason.CloseReason> = []
          const app = noting(reasons)
          yield* Effect.flatMap(EngineIOTest.connect(app, { transport }), EngineIOTest.close)
          yield* Effect.flatMap(EngineIOTest.connect(app, { transport }), EngineIOTest.vanish)
          yield* Effect.scoped(EngineIOTest.connect(app, { transport }))
          yield* TestClock.adjust("1 second")
          const lost = transport === "polling" ? "TransportError" : "TransportClose"
          assert.deepStrictEqual(reasons.map(({ _tag }) => _tag), ["TransportClose", lost, lost])
          assert.strictEqual(yield* EngineIO.count, 0)
        }).pipe(Effect.provide(all)))

      it.effect("shows its request to the function, and is refused by it", () =>
        Effect.gen(function*() {
          const seen: Array<unknown> = []
          const guarded = Effect.fnUntraced(function*(socket: Socket.Socket) {
            const { cookies, headers, query, remoteAddress, transport, url } = socket.handshake
            seen.push(cookies["session"], headers["x-test"], query["room"], remoteAddress, transport, url.split("?")[0])
            if (query["room"] === "secret") return yield* new HandshakeError.Forbidden({ message: "members only" })
            if (query["room"] === "paid") return yield* Effect.fail(HttpServerResponse.text("pay", { status: 402 }))
            return { app: Effect.never }
          })
          const headers = { "cookie": "session=abc", "X-Test": "yes" }
          const connect = (room: string) =>
            EngineIOTest.connect(guarded, {
              transport,
              path: "/chat/",
              query: { room },
              headers,
              remoteAddress: "10.0.0.1"
            })
          yield* connect("lobby")
          assert.deepStrictEqual(seen, ["abc", "yes", "lobby", "10.0.0.1", transport, "/chat/"])
          const forbidden = yield* Effect.flip(connect("secret"))
          assert.deepStrictEqual([forbidden.status, forbidden.message], [403, "members only"])
          assert.strictEqual(forbidden.code, transport === "polling" ? 4 : undefined)
          assert.strictEqual((yield* Effect.flip(connect("paid"))).status, 402)
          assert.strictEqual(yield* EngineIO.count, 1)
        }).pipe(Effect.provide(all)))

      it.effect("has the server wait, both ways, where one of them is slow", () =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const slow = (socket: Socket.Socket) =>
            Effect.succeed({ app: Socket.forEach(socket, () => Deferred.await(gate)) })
          const client = yield* EngineIOTest.connect(slow, { transport })
          yield* EngineIOTest.silence(client)
          const large = "x".repeat(60_000)
          const sending = yield* Effect.forkChild(
            Effect.forEach(Array.from({ length: 10 }, () => large), (it) => Socket.send(client.socket, it)),
            { startImmediately: true }
          )
          yield* TestClock.adjust("1 second")
          assert.isUndefined(sending.pollUnsafe())
          yield* EngineIOTest.resume(client)
          yield* Fiber.join(sending)
          for (let i = 0; i < 10; i++) assert.strictEqual(yield* EngineIOTest.receive(client), large)
          yield* Deferred.succeed(gate, undefined)
        }).pipe(Effect.provide(EngineIOTest.layer({ transports, sendBuffer: { bytes: 100_000 } }))))
    })
  }

  it.effect("is answered in time over polling, where the server reads no more until there is room", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const slow = (socket: Socket.Socket) =>
        Effect.succeed({ app: Socket.forEach(socket, () => Deferred.await(gate)) })
      const client = yield* EngineIOTest.connect(slow)
      const sending = yield* Effect.forkChild(EngineIOTest.sendAll(client, ["1", "2", "3", "4"]), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(sending.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(sending)
    }).pipe(Effect.provide(EngineIOTest.layer({ receiveBuffer: { messages: 2 } }))))

  it.effect("loses its connection for a message that is too large", () =>
    Effect.gen(function*() {
      for (const transport of transports) {
        const client = yield* EngineIOTest.connect(echo, { transport })
        yield* Effect.ignore(EngineIOTest.send(client, "x".repeat(200)))
        assert.strictEqual((yield* Effect.flip(EngineIOTest.receive(client)))._tag, "Disconnected")
        assert.strictEqual((yield* Socket.closed(client.socket))._tag, "TransportError")
      }
    }).pipe(Effect.provide(EngineIOTest.layer({ transports, maxPayload: 100 }))))

  for (const transport of ["websocket", "webtransport"] as const) {
    it.effect(`moves to ${transport}, in the middle of a talk both ways, and loses and reorders nothing`, () =>
      Effect.gen(function*() {
        const client = yield* EngineIOTest.connect(echo)
        const numbers = Array.from({ length: 200 }, (_, i) => String(i))
        const talk = yield* Effect.forkChild(
          Effect.forEach(numbers, (it) => Effect.andThen(EngineIOTest.send(client, it), Effect.yieldNow)),
          { startImmediately: true }
        )
        yield* EngineIOTest.upgrade(client, transport)
        assert.strictEqual(yield* Socket.transport(client.socket), transport)
        assert.isTrue(yield* Socket.upgraded(client.socket))
        yield* Fiber.join(talk)
        for (const it of numbers) assert.strictEqual(yield* EngineIOTest.receive(client), it)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* Socket.state(client.socket), "open")
        yield* EngineIOTest.vanish(client)
        assert.strictEqual((yield* Socket.closed(client.socket))._tag, "TransportClose")
      }).pipe(Effect.provide(all)))

    it.effect(`stays where it is when it may not move to ${transport}`, () =>
      Effect.gen(function*() {
        const client = yield* EngineIOTest.connect(echo)
        assert.strictEqual((yield* Effect.flip(EngineIOTest.upgrade(client, transport)))._tag, "Refused")
        yield* EngineIOTest.send(client, "hello")
        assert.strictEqual(yield* EngineIOTest.receive(client), "hello")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* Socket.transport(client.socket), "polling")
        assert.strictEqual(yield* Socket.state(client.socket), "open")
      }).pipe(Effect.provide(EngineIOTest.layer({ transports, allowUpgrades: false }))))
  }
})

describe("a server in memory", () => {
  it.effect("runs functions with the services of the test, and passes on what they fail with", () =>
    Effect.gen(function*() {
      class Names extends Context.Service<Names, { readonly name: string }>()("test/Names") {}
      const greet = Effect.fnUntraced(function*(socket: Socket.Socket) {
        const request = yield* HttpServerRequest.HttpServerRequest
        const { name } = yield* Names
        if (request.headers["x-fail"] !== undefined) return yield* Effect.fail("no database")
        return { app: Effect.andThen(Names, ({ name: again }) => Socket.send(socket, `${name} ${again}`)) }
      })
      const names = Layer.succeed(Names, { name: "ada" })
      for (const transport of transports) {
        const client = yield* Effect.provide(EngineIOTest.connect(greet, { transport }), names)
        assert.strictEqual(yield* EngineIOTest.receive(client), "ada ada")
        const failing = Effect.provide(EngineIOTest.connect(greet, { transport, headers: { "x-fail": "1" } }), names)
        const error = yield* Effect.flip(failing)
        // A session of WebTransport has no router.
        if (transport === "webtransport") assert.strictEqual((error as EngineIOTest.Refused).status, 500)
        else assert.strictEqual(error, "no database")
      }
    }).pipe(Effect.provide(all)))

  it.effect("has the guards of production: transports, origins, the number of sessions, a drain", () =>
    Effect.gen(function*() {
      const refused = (options: EngineIOTest.ConnectOptions) =>
        Effect.map(Effect.flip(EngineIOTest.connect(echo, options)), ({ code, status }) => [code, status])
      assert.deepStrictEqual(yield* refused({ transport: "websocket" }), [undefined, 400])
      assert.deepStrictEqual(yield* refused({ headers: { origin: "https://evil.example" } }), [4, 403])
      const client = yield* EngineIOTest.connect(echo, { headers: { origin: "https://example.com" } })
      assert.deepStrictEqual(yield* refused({}), [3, 503])
      yield* EngineIO.drain()
      assert.strictEqual((yield* Effect.flip(EngineIOTest.receive(client)))._tag, "Disconnected")
      assert.deepStrictEqual(yield* Socket.closed(client.socket), { _tag: "ServerShutdown", undelivered: 0 })
      assert.deepStrictEqual(yield* refused({}), [3, 503])
    }).pipe(
      Effect.provide(EngineIOTest.layer({
        transports: ["polling"],
        allowedOrigins: ["https://example.com"],
        maxSessions: 1
      }))
    ))

  it.effect("has many clients, in rooms", () =>
    Effect.gen(function*() {
      const rooms = yield* Rooms.make
      const app = (socket: Socket.Socket) =>
        Effect.succeed({ app: Effect.andThen(Rooms.join(rooms, "lobby", socket), Effect.never) })
      const clients = yield* Effect.forEach(transports, (transport) => EngineIOTest.connect(app, { transport }))
      assert.strictEqual(yield* Rooms.broadcast(rooms, "lobby", "hello"), 3)
      for (const client of clients) assert.strictEqual(yield* EngineIOTest.receive(client), "hello")
      for (const client of clients) yield* EngineIOTest.close(client)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* EngineIO.count, 0)
      assert.deepStrictEqual(yield* Rooms.counts(rooms), new Map())
    }).pipe(Effect.provide(all)))

  it.effect("ends before its clients do, silent ones too, without a move of the clock", () =>
    Effect.gen(function*() {
      const reasons: Array<CloseReason.CloseReason> = []
      const outer = yield* Scope.make()
      const inner = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(all), inner)
      for (const transport of transports) {
        const connecting = EngineIOTest.connect(noting(reasons), { transport })
        const client = yield* Effect.provideContext(Scope.provide(connecting, outer), context)
        yield* EngineIOTest.silence(client)
        yield* Socket.send(client.socket, "unread")
      }
      yield* Scope.close(inner, Exit.void)
      assert.deepStrictEqual(reasons.map(({ _tag }) => _tag), ["ServerShutdown", "ServerShutdown", "ServerShutdown"])
      yield* Scope.close(outer, Exit.void)
    }))

  it.effect("ends although an application waits for the clock, and interrupts it", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const slow = (socket: Socket.Socket) =>
        Effect.succeed({
          app: Socket.forEach(
            socket,
            () => Effect.onInterrupt(Effect.sleep("1 hour"), () => Effect.sync(() => interrupted++))
          )
        })
      const working = Effect.forEach(
        transports,
        (transport) =>
          Effect.flatMap(EngineIOTest.connect(slow, { transport }), (client) => EngineIOTest.send(client, "work"))
      )
      // The clients vanish before their server ends, or after.
      yield* working.pipe(Effect.scoped, Effect.provide(all))
      yield* working.pipe(Effect.provide(all))
      assert.strictEqual(interrupted, 6)
    }))

  it.effect("is no other server: a client says which layer it needs", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(EngineIOTest.connect(echo))
      assert.match(String(exit), /needs EngineIOTest\.layer/)
    }).pipe(Effect.provide(EngineIOLive)))
})
