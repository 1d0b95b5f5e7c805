import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Scheduler } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { createServer } from "node:http"
import { clientOf, HandshakeRate } from "../../src/internal/server/rate.ts"
import { EngineIO, EngineIOLive, Socket } from "../../src/index.ts"
import { eventually, pending } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { portOf, sink, type TestServer, unwatched, withServer } from "../kit/server.ts"
import { refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

describe("maxPacketsPerPayload", () => {
  /** Why the session ended, where that was a payload. */
  const complaint = async (server: TestServer, sid: string): Promise<string> => {
    const reason = await server.reason(sid)
    return reason._tag === "ParseError" ? reason.error.reason : reason._tag
  }

  it(
    "by default every payload of maxPayload bytes is in order",
    withServer({ application: sink, receiveBuffer: { messages: 1_000_000 } }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4\x1e".repeat(499_999) + "4")).text, "ok")
      await server.received.reached(500_000)
      assert.strictEqual(await server.count(), 1)
    })
  )

  it(
    "one packet more ends the session with an error that says so, and the POST gets 400",
    withServer({ application: sink, maxPacketsPerPayload: 3, allowEIO3: true }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("41\x1e42\x1e43")).text, "ok")
      assert.strictEqual((await client.post("44\x1e45\x1e46\x1e47")).status, 400)
      assert.strictEqual(await complaint(server, client.sid), "TooManyPackets")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["1", "2", "3", "4", "5", "6"])
      assert.strictEqual((await client.post("48")).status, 400)

      for (
        const body of [
          "2:412:422:432:44",
          Buffer.from("0002ff34310002ff34320002ff34330002ff3434", "hex")
        ]
      ) {
        const older = await PlainPollingClient.connect(server)
        assert.strictEqual((await older.post(body)).status, 400)
        assert.strictEqual(await complaint(server, older.sid), "TooManyPackets")
        assert.deepStrictEqual(server.messagesOf(older.sid), ["1", "2", "3"])
      }
    })
  )

  it(
    "it counts packets of a POST, not messages of a WebSocket",
    withServer({ application: sink, maxPacketsPerPayload: 1 }, async (server) => {
      const client = await WebSocketClient.connect(server)
      for (let n = 0; n < 50; n++) client.send(`4${n}`)
      await server.received.reached(50)
      assert.strictEqual(await server.count(), 1)
    })
  )
})

describe("bodyTimeout", () => {
  const isTooLate = async (server: TestServer, sid: string): Promise<void> => {
    const reason = await server.reason(sid)
    assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
    assert.strictEqual(await server.reasonText(sid), "transport error")
    assert.strictEqual(await server.count(), 0)
  }

  it(
    "by default a body has more time than this test",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await client.beginPost("4he", 6)
      const response = connection.response()
      assert.isTrue(await pending(response))
      connection.write("llo")
      assert.strictEqual((await response).text, "ok")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["hello"])
    })
  )

  it(
    "beyond it the POST gets 408, its connection and the session end, and a poll is told",
    withServer({ application: sink, bodyTimeout: 100 }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      const connection = await client.beginPost("4hello", 100)
      const response = await connection.response()
      assert.strictEqual(response.status, 408)
      assert.strictEqual(response.header("connection"), "close")
      assert.strictEqual(response.text, "")
      await connection.closed
      assert.strictEqual((await poll.response).text, "1")
      await isTooLate(server, client.sid)
      assert.deepStrictEqual(server.messagesOf(client.sid), [])
    })
  )

  it(
    "the shortest time is over only when the body is waited for",
    withServer({ application: sink, bodyTimeout: "1 nanos" }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await client.beginPost("4hello", 100)
      assert.strictEqual((await connection.response()).status, 408)
      await isTooLate(server, client.sid)
    })
  )

  it(
    "a body that comes byte by byte has no more time",
    withServer({ application: sink, bodyTimeout: 200 }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await client.beginPost("4", 10_000)
      const trickle = setInterval(() => connection.socket.destroyed || connection.write("x"), 10)
      const response = await connection.response()
      clearInterval(trickle)
      assert.strictEqual(response.status, 408)
      await isTooLate(server, client.sid)
    })
  )

  it(
    "the time is that of the body, not of an application that keeps the POST waiting, nor of the session",
    withServer({
      bodyTimeout: 100,
      receiveBuffer: { messages: 1 },
      application: () => Effect.succeed({ app: Effect.never })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const answer = client.post("41\x1e42\x1e43")
      await new Promise((resolve) => setTimeout(resolve, 300))
      assert.isTrue(await pending(answer))
      assert.strictEqual(await server.count(), 1)
      for (const message of ["1", "2", "3"]) assert.strictEqual(await server.run(Socket.receive(socket)), message)
      assert.strictEqual((await answer).text, "ok")
    })
  )

  it("an attached server does the same", async () => {
    const http = createServer()
    const program = Effect.gen(function*() {
      yield* EngineIO.attach(http, (socket) => Effect.succeed({ app: Socket.forEach(socket, () => Effect.void) }))
      yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
      const client = yield* Effect.promise(() => PollingClient.connect(unwatched(portOf(http))))
      const connection = yield* Effect.promise(() => client.beginPost("4hello", 100))
      const response = yield* Effect.promise(() => connection.response())
      assert.strictEqual(response.status, 408)
      yield* Effect.promise(() => connection.closed)
      assert.strictEqual(yield* EngineIO.count, 0)
      http.closeAllConnections()
      http.close()
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIO.layer({ bodyTimeout: 100 }))))
  })
})

describe("handshakeRate", () => {
  const refusal = "{\"code\":3,\"message\":\"Too many requests\"}"

  it("by default there is no limit", async () => {
    const limit = await Effect.runPromise(
      Effect.scoped(Effect.provide(Effect.map(EngineIO.EngineIO, ({ engine }) => engine.rate), EngineIOLive))
    )
    assert.isUndefined(limit)
  })

  it(
    "beyond it handshakes get 429, over polling and WebSocket; sessions and upgrades go on; the window passes",
    withServer({ handshakeRate: { limit: 3, window: 2_000 } }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const begun = performance.now()
      const client = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      // What is refused for another reason later counts as well.
      assert.strictEqual((await fetchRaw(server, "GET", polling.replace("EIO=4", "EIO=3"))).status, 400)
      const refused = await fetchRaw(server, "GET", polling)
      const { response } = await refusedUpgrade(server, {})
      if (performance.now() - begun < 1_900) {
        assert.strictEqual(refused.status, 429)
        assert.strictEqual(refused.header("content-type"), "application/json")
        assert.strictEqual(refused.text, refusal)
        assert.strictEqual(response.status, 429)
        assert.strictEqual(response.text, "Too many requests")
        await events.find((it) => it._tag === "ConnectionError" && it.message === "Too many requests" && it.code === 3)
      }
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
      await eventually("another handshake", () => fetchRaw(server, "GET", polling), ({ status }) => status === 200)
      assert.isAbove(performance.now() - begun, 1_900)
    })
  )

  it(
    "it is asked before the application is, and counts each address as the application's middleware left it",
    withServer({
      handshakeRate: { limit: 1, window: "1 minute" },
      allowRequest: () => Effect.fail(new EngineIO.Forbidden({ message: "no" })),
      application: () => Effect.flatMap(HttpServerRequest.HttpServerRequest, () => Effect.die("never"))
    }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 403)
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 429)
      assert.strictEqual((await fetchRaw(server, "GET", polling.replace("polling", "x"))).status, 400)
    })
  )

  it("an address of IPv4 is a client, of IPv6 its network is", () => {
    const same = (...addresses: ReadonlyArray<string>) => new Set(addresses.map(clientOf)).size === 1
    assert.isTrue(same("10.0.0.1", "::ffff:10.0.0.1"))
    assert.isFalse(same("10.0.0.1", "10.0.0.2"))
    assert.isTrue(same("2001:db8:1:2::1", "2001:0DB8:1:2:ffff::7", "2001:db8:1:2:3:4:5:6%eth0"))
    assert.isFalse(same("2001:db8:1:2::1", "2001:db8:1:3::1"))
    assert.isFalse(same("::1", "fe80::1"))
    assert.isAtMost(clientOf("x".repeat(100_000)).length, 64)
  })

  /** A limit on the test's clock, asked by number; what it forked ends with the scope. */
  const makeRate = Effect.fnUntraced(function*(limit: number) {
    const clock = yield* Clock.Clock
    const forked: Array<Fiber.Fiber<void>> = []
    // As in a server, what is due at one time goes in one step.
    const fork = Effect.runForkWith(Context.add(yield* Effect.context<never>(), Scheduler.PreventSchedulerYield, true))
    const rate = new HandshakeRate({ limit, window: 1_000 }, {
      now: () => clock.currentTimeMillisUnsafe(),
      fork: (effect) => {
        const fiber = fork(effect)
        forked.push(fiber)
        return fiber
      }
    })
    yield* Effect.addFinalizer(() => Fiber.interruptAll(forked))
    return { forked, admit: (n: number) => rate.admit(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`) }
  })

  it.effect("what is remembered is bounded, and forgotten by itself", () =>
    Effect.gen(function*() {
      const { admit, forked } = yield* makeRate(1)
      for (let n = 0; n < 200_000; n++) assert.isTrue(admit(n))
      assert.isFalse(admit(199_999))
      assert.isFalse(admit(200_000 - 65_536))
      assert.isTrue(admit(200_000 - 65_537))
      assert.lengthOf(forked, 1)
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(forked[0]!)
      assert.isTrue(admit(199_999))
      assert.isTrue(admit(200_000 - 65_537))
    }))

  it.effect("an address whose window was closed early is counted anew, in a window of full length", () =>
    Effect.gen(function*() {
      const { admit } = yield* makeRate(2)
      const threeTimes = () => [admit(0), admit(0), admit(0)]
      assert.deepStrictEqual(threeTimes(), [true, true, false])
      for (let n = 1; n <= 65_536; n++) admit(n)
      yield* TestClock.setTime(500)
      assert.deepStrictEqual(threeTimes(), [true, true, false])
      // When its first window would have closed, and then the second.
      yield* TestClock.setTime(1_499)
      assert.isFalse(admit(0))
      yield* TestClock.setTime(1_500)
      assert.deepStrictEqual(threeTimes(), [true, true, false])
    }))
})
