import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import type { Socket as TcpSocket } from "node:net"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, Mailbox, pending } from "../kit/events.ts"
import { Connection, encodeRequest, fetchRaw, introduce, PollingClient } from "../kit/http.ts"
import { idle, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

const polling = "/engine.io/?EIO=4&transport=polling"

/** Tells what a connection hands to the system, write by write. */
const onWrite = (socket: TcpSocket, tell: (bytes: Buffer) => void): void => {
  const { _write, _writev } = socket
  socket._write = (chunk: string, encoding, callback) => {
    tell(Buffer.from(chunk, encoding))
    _write.call(socket, chunk, encoding, callback)
  }
  socket._writev = (chunks, callback) => {
    tell(Buffer.concat(chunks.map(({ chunk, encoding }) => Buffer.from(chunk as string, encoding))))
    _writev!.call(socket, chunks, callback)
  }
}

describe("open packet", () => {
  it(
    "R27: polling gets the open packet as text, its keys in order",
    withServer({ pingInterval: "3 seconds", pingTimeout: 1_500, maxPayload: 12_345 }, async (server) => {
      const response = await fetchRaw(server, "GET", polling)
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.header("content-type"), "text/plain; charset=UTF-8")
      assert.strictEqual(response.header("content-length"), String(response.body.length))
      assert.strictEqual(response.header("cache-control"), "no-store")
      const { sid } = JSON.parse(response.text.slice(1)) as { readonly sid: string }
      assert.strictEqual(
        response.text,
        `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":3000,"pingTimeout":1500,"maxPayload":12345}`
      )
    })
  )

  it(
    "R27: the defaults are 25 s, 20 s and a million bytes",
    withServer({}, async (server) => {
      const { open } = await PollingClient.connect(server)
      assert.strictEqual(open.pingInterval, 25_000)
      assert.strictEqual(open.pingTimeout, 20_000)
      assert.strictEqual(open.maxPayload, 1_000_000)
    })
  )

  it(
    "R28: upgrades are the configured transports beyond polling, and none where upgrades are not allowed",
    async () => {
      const upgrades = async (config: Parameters<typeof withServer>[0]) => {
        let names: Array<string> = []
        await withServer(config, async (server) => {
          names = (await PollingClient.connect(server)).open.upgrades
        })()
        return names
      }
      assert.deepStrictEqual(await upgrades({}), ["websocket"])
      assert.deepStrictEqual(await upgrades({ transports: ["polling"] }), [])
      assert.deepStrictEqual(await upgrades({ transports: ["websocket", "polling"] }), ["websocket"])
      assert.deepStrictEqual(await upgrades({ allowUpgrades: false }), [])
    }
  )

  it(
    "R28: a session that begins on WebSocket has no upgrades",
    withServer({}, async (server) => {
      assert.deepStrictEqual((await WebSocketClient.connect(server)).open.upgrades, [])
    })
  )

  it(
    "R29: WebSocket gets the open packet as its first frame, as text",
    withServer({ pingInterval: 3_000, pingTimeout: 1_500, maxPayload: 12_345 }, async (server) => {
      const webSocket = await RawWebSocket.open(server)
      const frame = await webSocket.next()
      assert.strictEqual(frame.opcode, Opcode.text)
      assert.isTrue(frame.fin)
      const text = frame.payload.toString()
      const { sid } = JSON.parse(text.slice(1)) as { readonly sid: string }
      assert.strictEqual(
        text,
        `0{"sid":"${sid}","upgrades":[],"pingInterval":3000,"pingTimeout":1500,"maxPayload":12345}`
      )
    })
  )

  for (const EIO of ["3", "4"]) {
    for (const perMessageDeflate of [false, true]) {
      for (const attached of [false, true]) {
        it(
          `R29: the open packet leaves in a later turn than the 101, and first: ${
            [`EIO ${EIO}`, perMessageDeflate ? "deflated" : "plain", attached ? "attached" : "router"].join(", ")
          }`,
          withServer({
            allowEIO3: true,
            perMessageDeflate,
            attached,
            initialPacket: "initial",
            application: (socket) => Effect.as(Socket.send(socket, "factory"), { app: Socket.send(socket, "app") })
          }, async (server) => {
            const seen: Array<string> = []
            server.http.on("connection", (socket: TcpSocket) => {
              onWrite(socket, (bytes) => {
                seen.push(
                  ...(bytes.includes("HTTP/1.1 101") ? ["101"] : []),
                  ...(bytes.includes("sid") ? ["open"] : [])
                )
                setImmediate(() => seen.push("turn"))
              })
            })
            const client = await WebSocketClient.connect(server, { EIO }, { perMessageDeflate })
            assert.deepStrictEqual(await client.frames.take(3), ["4initial", "4factory", "4app"])
            assert.deepStrictEqual(seen.slice(0, 3), ["101", "turn", "open"])
          })
        )
      }
    }
  }
})

describe("beginning of a session", () => {
  it(
    "R31: what the application sends first goes out with the next GET",
    withServer({
      application: (socket) =>
        Effect.as(Socket.send(socket, "from the factory"), {
          app: Effect.andThen(Socket.send(socket, "from the app"), Effect.never)
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual(client.handshake.packets.length, 1)
      assert.deepStrictEqual(await client.messages(2), ["4from the factory", "4from the app"])
    })
  )

  it(
    "R31: over WebSocket it follows the open packet at once",
    withServer({
      application: (socket) =>
        Effect.as(Socket.send(socket, "from the factory"), {
          app: Effect.andThen(Socket.send(socket, "from the app"), Effect.never)
        })
    }, async (server) => {
      const client = await WebSocketClient.connect(server)
      assert.deepStrictEqual(await client.frames.take(2), ["4from the factory", "4from the app"])
    })
  )

  it(
    "R31: while the factory runs the session is opening, and what came meanwhile waits for app",
    withServer({
      application: (socket, server) =>
        Effect.map(Effect.zip(Socket.state(socket), Effect.sleep(20)), ([state]) => ({
          app: Effect.andThen(
            Effect.flatMap(Socket.state(socket), (now) => Socket.send(socket, `${state} ${now}`)),
            Socket.forEach(socket, (message) => Effect.sync(() => server.received.put({ sid: socket.id, message })))
          )
        }))
    }, async (server) => {
      const polling = await PollingClient.connect(server)
      assert.deepStrictEqual(await polling.messages(1), ["4opening open"])
      const early = Buffer.concat([encodeFrame(Opcode.text, "4one"), encodeFrame(Opcode.text, "4two")])
      const raw = await RawWebSocket.open(server, {}, { early })
      assert.match((await raw.next()).payload.toString(), /^0\{/)
      assert.strictEqual((await raw.next()).payload.toString(), "4opening open")
      const received = await server.received.take(2)
      assert.deepStrictEqual(received.map(({ message }) => message), ["one", "two"])
    })
  )

  for (const perMessageDeflate of [false, true]) {
    for (const attached of [false, true]) {
      const way = `${perMessageDeflate ? "deflated" : "plain"}, ${attached ? "attached" : "router"}`
      it(`R16: frames that arrive while the handshake is decided on are not lost, few or many: ${way}`, async () => {
        const begun = new Mailbox<undefined>("a decision")
        let gate = Deferred.makeUnsafe<void>()
        const decision = Effect.suspend(() => {
          begun.put(undefined)
          return Deferred.await(gate)
        })
        await withServer({ allowRequest: () => decision, perMessageDeflate, attached }, async (server) => {
          await introduce(server)
          for (const size of [10, 500_000]) {
            const sizes = [0, 1, size, 7]
            const headers = perMessageDeflate ? { "Sec-WebSocket-Extensions": "permessage-deflate" } : {}
            const opening = RawWebSocket.open(server, {}, { headers, early: encodeFrame(Opcode.text, "4") })
            await begun.next()
            const [connection] = [...server.connections].slice(-1)
            for (const size of sizes.slice(1)) {
              await server.barrier()
              connection!.write(encodeFrame(Opcode.text, `4${"x".repeat(size)}`))
            }
            await server.barrier()
            Deferred.doneUnsafe(gate, Effect.void)
            gate = Deferred.makeUnsafe()
            await opening
            const received = await server.received.take(4)
            assert.deepStrictEqual(received.map(({ message }) => message.length), sizes)
          }
        })()
      })
    }
  }

  it(
    "R34: the handshake is plain data: a spread, a clone, and JSON have all of it",
    withServer({ application: idle }, async (server) => {
      const headers = { Cookie: "a=1; b=%20two", "X-Mine": "x" }
      const client = await PollingClient.connect(server, { query: { token: "t" }, headers })
      await WebSocketClient.connect(server, { token: "t" }, { headers })
      await server.opened.reached(2)
      for (const { handshake } of server.opened.all) {
        // A copy first: to ask for a part must change nothing.
        for (const copy of [{ ...handshake }, structuredClone(handshake), JSON.parse(JSON.stringify(handshake))]) {
          const { cookies, headers, query, remoteAddress, time, transport, url } = copy as typeof handshake
          assert.deepInclude({ ...query }, { EIO: "4", token: "t", transport: handshake.transport })
          assert.deepStrictEqual({ ...cookies }, { a: "1", b: " two" })
          assert.strictEqual(headers["x-mine"], "x")
          assert.deepStrictEqual([remoteAddress, time, transport, url], [
            "127.0.0.1",
            handshake.time,
            handshake.transport,
            handshake.url
          ])
        }
        assert.strictEqual(structuredClone(handshake).headers["cookie"], headers.Cookie)
        const shown = JSON.parse(JSON.stringify(handshake)) as typeof handshake
        assert.strictEqual(shown.headers["cookie"], "<redacted>")
      }
      const { handshake } = await server.socket(client.sid)
      assert.deepStrictEqual(Object.keys(handshake).sort(), [
        "cookies",
        "headers",
        "query",
        "remoteAddress",
        "time",
        "transport",
        "url"
      ])
    })
  )

  it(
    "R31: a session is counted when its application starts and until it ends, once",
    withServer({}, async (server) => {
      assert.strictEqual(await server.count(), 0)
      const first = await PollingClient.connect(server)
      assert.strictEqual(await server.count(), 1)
      const second = await WebSocketClient.connect(server)
      assert.strictEqual(await server.count(), 2)
      assert.sameMembers([...(await server.run(EngineIO.sockets)).keys()], [first.sid, second.sid])
      await first.post("1")
      await server.reason(first.sid)
      assert.strictEqual(await server.count(), 1)
      assert.strictEqual((await first.get()).status, 400)
      await second.close()
      await server.reason(second.sid)
      assert.strictEqual(await server.count(), 0)
      assert.strictEqual(server.ended.all.length, 2)
    })
  )

  it("R31: nothing is registered while the application's factory decides", async () => {
    const started = Deferred.makeUnsafe<void>()
    const gate = Deferred.makeUnsafe<void>()
    await withServer({
      application: () =>
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Deferred.await(gate)),
          Effect.as({ app: Effect.never })
        )
    }, async (server) => {
      const response = fetchRaw(server, "GET", polling)
      await Effect.runPromise(Deferred.await(started))
      assert.strictEqual(await server.count(), 0)
      assert.isTrue(await pending(response))
      Deferred.doneUnsafe(gate, Effect.void)
      assert.strictEqual((await response).status, 200)
      assert.strictEqual(await server.count(), 1)
    })()
  })

  it("R16: a client that leaves while the factory decides interrupts it", async () => {
    for (const kind of ["polling", "websocket"]) {
      const started = Deferred.makeUnsafe<void>()
      const interrupted = Deferred.makeUnsafe<void>()
      await withServer({
        application: () =>
          Deferred.succeed(started, undefined).pipe(
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
      }, async (server) => {
        const connection = await Connection.open(server)
        if (kind === "polling") connection.write(encodeRequest("GET", polling))
        else void RawWebSocket.open(server).catch(() => undefined)
        await Effect.runPromise(Deferred.await(started))
        for (const open of server.connections) await open.reset()
        await Effect.runPromise(Deferred.await(interrupted))
        assert.strictEqual(await server.count(), 0)
      })()
    }
  })

  it(
    "R16: a factory that takes longer than handshakeTimeout gives the client 503",
    withServer({ application: () => Effect.never, handshakeTimeout: 50 }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 503)
      const refusal = await RawWebSocket.open(server).then(() => "accepted", (error: Error) => error.message)
      assert.include(refusal, "503")
      await eventually("an empty registry", () => server.count(), (count) => count === 0)
      assert.deepStrictEqual(server.opened.all, [])
    })
  )

  it(
    "R34: the handshake keeps what the request said, and the address of its peer",
    withServer({}, async (server) => {
      const headers = { "X-Custom": "value", Cookie: "a=1; b=two", "X-Forwarded-For": "10.0.0.1" }
      for (const transport of ["polling", "websocket"]) {
        const { sid } = transport === "polling"
          ? await PollingClient.connect(server, { query: { token: "t" }, headers })
          : await WebSocketClient.connect(server, { token: "t" }, { headers })
        const socket = await server.socket(sid)
        assert.strictEqual(socket.id, sid)
        assert.strictEqual(socket.protocol, 4)
        assert.strictEqual(socket.handshake.headers["x-custom"], "value")
        assert.strictEqual(socket.handshake.query["token"], "t")
        assert.include(socket.handshake.url, "token=t")
        assert.strictEqual(socket.handshake.transport, transport)
        assert.strictEqual(socket.handshake.cookies["b"], "two")
        assert.match(JSON.stringify(socket.handshake.remoteAddress), /(::ffff:)?127\.0\.0\.1/)
      }
    })
  )
})
