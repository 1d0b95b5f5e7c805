import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Option } from "effect"
import { CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { pending } from "../kit/events.ts"
import { PollingClient } from "../kit/http.ts"
import { echo, idle, sink, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

const unknownSid = "{\"code\":1,\"message\":\"Session ID unknown\"}"

describe("the end of a session", () => {
  it(
    "R-C1: each cause has the protocol's text",
    withServer(
      { pingInterval: 400, pingTimeout: 200, application: sink },
      async (server) => {
        const ends: ReadonlyArray<readonly [text: string, end: (client: PollingClient) => Promise<unknown>]> = [
          ["transport close", (client) => client.post("1")],
          ["transport error", async (client) => {
            await client.park()
            return client.get()
          }],
          ["ping timeout", () => Promise.resolve()],
          ["parse error", (client) => client.post("x")],
          [
            "forced close",
            async (client) => server.run(Socket.close(await server.socket(client.sid), { discard: true }))
          ]
        ]
        for (const [text, end] of ends) {
          const client = await PollingClient.connect(server)
          await end(client)
          assert.strictEqual(await server.reasonText(client.sid), text)
        }
      }
    )
  )

  it(
    "R-C1: the first cause wins",
    withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      await server.run(Socket.close(socket))
      webSocket.socket.terminate()
      assert.strictEqual(await server.reasonText(webSocket.sid), "forced close")
      assert.strictEqual(server.ended.all.length, 1)
    })
  )

  it("R-C2: when onDisconnect runs the session is over: closed, unregistered, its sends refused", async () => {
    const seen = Deferred.makeUnsafe<ReadonlyArray<unknown>>()
    await withServer({
      application: (socket, server) =>
        Effect.succeed({
          app: Effect.never,
          onDisconnect: () =>
            Effect.gen(function*() {
              const state = yield* Socket.state(socket)
              const registered = yield* Effect.promise(() => server.run(EngineIO.socket(socket.id)))
              const count = yield* Effect.promise(() => server.count())
              const sent = yield* Effect.flip(Socket.send(socket, "too late")).pipe(Effect.orDie)
              const offered = yield* Socket.offer(socket, "too late")
              const text = sent._tag === "SocketClosed" ? CloseReason.message(sent.reason) : sent._tag
              yield* Deferred.succeed(seen, [state, Option.isSome(registered), count, text, offered])
            })
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("1")
      const facts = await Effect.runPromise(Deferred.await(seen))
      assert.deepStrictEqual(facts, ["closed", false, 0, "transport close", false])
    })()
  })

  it(
    "R-C2: onDisconnect runs once, whatever else happens",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      webSocket.send("x")
      webSocket.send("1")
      webSocket.close()
      await server.run(Socket.close(socket))
      await server.run(Socket.close(socket, { discard: true }))
      await server.reason(webSocket.sid)
      await webSocket.closed
      await server.barrier()
      assert.strictEqual(server.ended.all.length, 1)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R-C2: closed gives the reason to all who wait, and afterwards",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const waiting = [1, 2].map(() => server.run(Socket.closed(socket)))
      assert.isTrue(await pending(waiting[0]!))
      await client.post("1")
      for (const reason of await Promise.all(waiting)) assert.strictEqual(reason._tag, "TransportClose")
      assert.strictEqual((await server.run(Socket.closed(socket)))._tag, "TransportClose")
      assert.strictEqual(await server.run(Socket.state(socket)), "closed")
    })
  )

  it(
    "R-C2: whoever waits to send or to receive is told",
    withServer(
      { application: idle, sendBuffer: { messages: 1 } },
      async (server) => {
        const client = await PollingClient.connect(server)
        const socket = await server.socket(client.sid)
        await server.run(Socket.send(socket, "fills the buffer"))
        const waiting = [
          server.run(Effect.flip(Socket.send(socket, "waits"))),
          server.run(Effect.flip(Socket.flushed(socket))),
          server.run(Effect.flip(Socket.receive(socket)))
        ]
        for (const one of waiting) assert.isTrue(await pending(one))
        await client.post("1")
        for (const error of await Promise.all(waiting)) {
          assert.strictEqual(error._tag, "SocketClosed")
          if (error._tag === "SocketClosed") assert.strictEqual(error.reason._tag, "TransportClose")
        }
      }
    )
  )

  it(
    "R-C3: with nothing to send a close is immediate: a pending GET gets a close packet, a WebSocket a close frame",
    withServer({ application: idle }, async (server) => {
      const polling = await PollingClient.connect(server)
      const poll = await polling.park()
      const socket = await server.socket(polling.sid)
      await server.run(Socket.close(socket))
      assert.strictEqual(await server.run(Socket.state(socket)), "closed")
      assert.strictEqual((await poll.response).text, "1")
      const webSocket = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await webSocket.next()).payload.toString().slice(1)) as { readonly sid: string }
      await server.run(Socket.close(await server.socket(sid)))
      const frame = await webSocket.next()
      assert.strictEqual(frame.opcode, Opcode.close)
      assert.strictEqual(frame.payload.length, 0)
      for (const id of [polling.sid, sid]) assert.strictEqual(await server.reasonText(id), "forced close")
    })
  )

  it(
    "R-C4: what was sent before a close is delivered, what is sent after it refused",
    withServer(
      { application: idle },
      async (server) => {
        const polling = await PollingClient.connect(server)
        const webSocket = await WebSocketClient.connect(server)
        for (const { sid } of [polling, webSocket]) {
          const socket = await server.socket(sid)
          await server.run(Effect.gen(function*() {
            yield* Socket.send(socket, "hello")
            yield* Socket.send(socket, "world")
            yield* Socket.close(socket)
            const refused = yield* Effect.flip(Socket.send(socket, "too late"))
            assert.strictEqual(refused._tag, "SocketClosed")
            assert.isFalse(yield* Socket.offer(socket, "too late"))
          }))
        }
        assert.strictEqual(await server.run(Socket.state(await server.socket(polling.sid))), "closing")
        const packets: Array<string> = []
        while (packets.at(-1) !== "1") packets.push(...(await polling.poll()).filter((packet) => packet !== "6"))
        assert.deepStrictEqual(packets, ["4hello", "4world", "1"])
        await webSocket.closed
        assert.deepStrictEqual(webSocket.frames.untaken, ["4hello", "4world"])
        for (const { sid } of [polling, webSocket]) assert.strictEqual(await server.reasonText(sid), "forced close")
      }
    )
  )

  it(
    "R-C4: an application that ends has said all it wanted",
    withServer({
      application: (socket) => Effect.succeed({ app: Socket.sendAll(socket, ["hello", "and goodbye"]) })
    }, async (server) => {
      const polling = await PollingClient.connect(server)
      const packets: Array<string> = []
      while (packets.at(-1) !== "1") packets.push(...(await polling.poll()).filter((packet) => packet !== "6"))
      assert.deepStrictEqual(packets, ["4hello", "4and goodbye", "1"])
      const webSocket = await WebSocketClient.connect(server)
      await webSocket.closed
      assert.deepStrictEqual(webSocket.frames.untaken, ["4hello", "4and goodbye"])
      for (const { sid } of [polling, webSocket]) {
        assert.deepStrictEqual(await server.reason(sid), { _tag: "ForcedClose" })
      }
    })
  )

  it(
    "R-C5: a discarding close drops what waits",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "never arrives"))
      await server.run(Socket.close(socket, { discard: true }))
      assert.strictEqual(await server.run(Socket.state(socket)), "closed")
      assert.strictEqual((await client.get()).text, unknownSid)
      assert.strictEqual(await server.reasonText(client.sid), "forced close")

      const waiting = await PollingClient.connect(server)
      const poll = await waiting.park()
      await server.run(Socket.close(await server.socket(waiting.sid), { discard: true }))
      assert.strictEqual((await poll.response).text, "1")
    })
  )

  it(
    "R-C5: so it does over WebSocket",
    withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      await server.run(Effect.andThen(
        Socket.sendAll(socket, ["dropped", "too"]),
        Socket.close(socket, { discard: true })
      ))
      assert.strictEqual((await webSocket.closed).code, 1005)
      assert.deepStrictEqual(webSocket.frames.untaken, [])
    })
  )

  it(
    "R-C6: a discarding close cuts that wait short",
    withServer({ application: idle, closeTimeout: 60_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "never taken"))
      await server.run(Socket.close(socket))
      assert.strictEqual(await server.run(Socket.state(socket)), "closing")
      await server.run(Socket.close(socket, { discard: true }))
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R-C7: a POST that is coming in when its session is closed gets an answer",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      const post = await client.beginPost("4he", 6)
      await server.run(Socket.close(await server.socket(client.sid)))
      assert.strictEqual((await poll.response).text, "1")
      post.write("llo")
      const response = await post.outcome()
      assert.include([200, 400], response?.status)
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
    })
  )

  it(
    "R-C8: a client given up after a missed pong is told so on its transport",
    withServer(
      { pingInterval: 100, pingTimeout: 100 },
      async (server) => {
        const polling = await PollingClient.connect(server)
        assert.strictEqual((await polling.get()).text, "2")
        const poll = await polling.park()
        assert.strictEqual((await poll.response).text, "1")
        assert.strictEqual(await server.reasonText(polling.sid), "ping timeout")
        const webSocket = await WebSocketClient.connect(server)
        assert.strictEqual((await webSocket.closed).code, 1005)
        assert.strictEqual(await server.reasonText(webSocket.sid), "ping timeout")
      }
    )
  )

  it("R-C9: the end of the server's scope ends every session and tells its client", async () => {
    await withServer({ application: echo }, async (server) => {
      const waiting = await PollingClient.connect(server)
      const poll = await waiting.park()
      const between = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      const upgrading = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: upgrading.sid })
      candidate.send("2probe")
      await candidate.next()
      const upgraded = await PollingClient.connect(server)
      const moved = await WebSocketClient.open(server, { sid: upgraded.sid })
      moved.send("5")
      moved.send("4hello")
      await moved.next()
      await server.release()
      assert.strictEqual((await poll.response).text, "1")
      for (const client of [webSocket, moved, candidate]) await client.closed
      for (const { sid } of [waiting, between, webSocket, upgrading, upgraded]) {
        assert.strictEqual(await server.reasonText(sid), "forced close")
        assert.strictEqual((await server.reason(sid))._tag, "ServerShutdown")
      }
      assert.strictEqual(server.ended.all.length, 5)
    })()
  })

  it("R-C9: at the end of the server's scope what was accepted is delivered to those who can take it", async () => {
    await withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const away = await PollingClient.connect(server)
      await server.run(Socket.sendAll(await server.socket(away.sid), ["a", "b", "c"]))
      const messages = Array.from({ length: 100 }, (_, i) => `${i}`)
      await server.run(Socket.sendAll(await server.socket(webSocket.sid), messages))
      await server.release()
      await webSocket.closed
      assert.deepStrictEqual(webSocket.frames.untaken, messages.map((message) => `4${message}`))
      assert.deepStrictEqual(await server.reason(away.sid), { _tag: "ServerShutdown", undelivered: 3 })
      assert.deepStrictEqual(await server.reason(webSocket.sid), { _tag: "ServerShutdown", undelivered: 0 })
    })()
  })

  it(
    "R-C11: at an abrupt failure the session is gone before the offending request is answered",
    withServer({}, async (server) => {
      const failures: ReadonlyArray<(client: PollingClient) => Promise<{ readonly status: number }>> = [
        async (client) => {
          await client.park()
          return client.get()
        },
        async (client) => {
          await client.beginPost("4", 10)
          return client.post("4x")
        },
        (client) => client.post("x", { "Content-Type": "application/octet-stream" }),
        (client) => client.post("nonsense")
      ]
      for (const failure of failures) {
        const client = await PollingClient.connect(server)
        const answered = failure(client).then(async (response) => [response.status, await server.count()])
        assert.deepStrictEqual(await answered, [400, 0])
        assert.strictEqual((await client.get()).text, unknownSid)
      }
    })
  )
})
