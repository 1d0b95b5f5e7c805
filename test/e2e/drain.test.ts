import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { eventually, within } from "../kit/events.ts"
import { Connection, engineTarget, fetchRaw, PollingClient, textHeaders } from "../kit/http.ts"
import { type AppFactory, type Config, idle, type Target, TestServer, unwatched, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

const send = async (server: TestServer, sid: string, ...messages: ReadonlyArray<string>) =>
  server.run(Socket.sendAll(await server.socket(sid), messages))

/** More than the buffers of a connection hold. */
const sendsMuch: AppFactory = (socket) => Effect.as(Socket.send(socket, "x".repeat(10_000_000)), { app: Effect.never })

/** How many messages a session reported as lost to the server's end. */
const undelivered = (reason: CloseReason.CloseReason): number | undefined =>
  reason._tag === "ServerShutdown" ? reason.undelivered : undefined

describe("drain", () => {
  it(
    "while the server listens, new handshakes get 503 and nothing that was accepted is lost",
    withServer({ application: idle }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const between = await PollingClient.connect(server)
      const quiet = await PollingClient.connect(server)
      const parking = await PollingClient.connect(server)
      const upgrading = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      const parked = await parking.park()
      const candidate = await WebSocketClient.open(server, { sid: upgrading.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      for (const { sid } of [between, upgrading, webSocket]) await send(server, sid, "a", "b")

      const drained = server.run(EngineIO.drain())
      const refused = await fetchRaw(server, "GET", polling)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.text, "{\"code\":3,\"message\":\"Server shutting down\"}")
      assert.strictEqual(refused.header("content-type"), "application/json")
      const refusedWebSocket = await refusedUpgrade(server, {})
      assert.strictEqual(refusedWebSocket.response.status, 503)
      assert.strictEqual(refusedWebSocket.response.text, "Server shutting down")

      assert.strictEqual((await parked.response).text, "1")
      assert.deepStrictEqual(await webSocket.frames.take(2), ["4a", "4b"])
      assert.strictEqual((await webSocket.closed).code, 1005)
      // A session on its way to another transport gets what it is owed there.
      candidate.send("5")
      assert.deepStrictEqual(await candidate.frames.take(2), ["4a", "4b"])
      assert.strictEqual((await candidate.closed).code, 1005)
      assert.deepStrictEqual(await between.poll(), ["4a", "4b", "1"])
      assert.deepStrictEqual(await quiet.poll(), ["6", "1"])
      await within(drained, "the end of the drain")
      assert.strictEqual(await server.count(), 0)
      await server.ended.reached(5)
      assert.deepStrictEqual(server.ended.all.map((it) => undelivered(it.reason)), [0, 0, 0, 0, 0])
      await events.find((it) => it._tag === "ConnectionError" && it.message === "Server shutting down" && it.code === 3)
    })
  )

  it(
    "what is not fetched before the timeout is cut, and counted",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const quiet = await PollingClient.connect(server)
      await send(server, client.sid, "a", "b", "c")
      const started = performance.now()
      await server.run(EngineIO.drain({ timeout: "300 millis" }))
      assert.isAtLeast(performance.now() - started, 290)
      assert.strictEqual(undelivered(await server.reason(client.sid)), 3)
      assert.strictEqual(undelivered(await server.reason(quiet.sid)), 0)
      assert.strictEqual((await client.get()).status, 400)
    })
  )

  it(
    "what a client that reads no more has not taken is counted too",
    withServer({ application: idle }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      raw.connection.socket.pause()
      const size = 100_000
      const socket = await server.socket(sid)
      for (let i = 0; i < 150; i++) await server.run(Socket.send(socket, "x".repeat(size)))
      await server.run(EngineIO.drain({ timeout: "200 millis" }))
      const lost = undelivered(await server.reason(sid))!
      for (const { socket } of server.connections) socket.resume()
      assert.isAbove(lost, 0)
      // The rest had left for the network, and arrives.
      await raw.frames.reached(151 - lost)
    })
  )

  it(
    "messages of clients still arrive before it begins, what is sent after it is refused",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await client.post("4one\x1e4two")
      const drained = server.run(EngineIO.drain())
      const outcome = await server.run(Effect.flip(Socket.send(socket, "late")))
      assert.strictEqual(outcome._tag, "SocketClosed")
      assert.isFalse(await server.run(Socket.offer(socket, "late")))
      assert.deepStrictEqual(await client.poll(), ["4one", "4two", "1"])
      await within(drained, "the end of the drain")
    })
  )

  it(
    "an application that is still busy with what a client left has no longer than the drain",
    withServer({
      closeTimeout: "1 hour",
      drainTimeout: "200 millis",
      application: (_socket, server) =>
        Effect.succeed({
          app: Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => server.received.put({ sid: "", message: "interrupted" })))
        })
    }, async (server) => {
      const client = await WebSocketClient.connect(server)
      client.send("4last words")
      await client.close()
      await eventually("the end of the session", () => server.count(), (count) => count === 0)
      await server.run(EngineIO.drain())
      await server.received.reached(1)
    })
  )

  it(
    "with nobody there it is over at once, and may be asked for twice",
    withServer({}, async (server) => {
      await within(server.run(Effect.andThen(EngineIO.drain(), EngineIO.drain())), "the end of the drain", 2_000)
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 503)
    })
  )

  it(
    "handshakes that are still being decided when it begins are refused",
    withServer({ application: () => Effect.delay(Effect.succeed({ app: Effect.never }), 150) }, async (server) => {
      const refused = fetchRaw(server, "GET", polling)
      await server.settled(polling)
      await server.run(EngineIO.drain())
      assert.strictEqual((await refused).text, "{\"code\":3,\"message\":\"Server shutting down\"}")
      assert.strictEqual(await server.count(), 0)
    })
  )
})

describe("a server that stops", () => {
  it("does not wait for handshakes that are being decided: they are refused, and their functions interrupted", async () => {
    let interrupted = 0
    const server = await TestServer.start({
      handshakeTimeout: "1 hour",
      application: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
    })
    const connection = await Connection.open(server)
    const webSocket = refusedUpgrade(server, {})
    connection.send("GET", polling)
    await server.settled(polling)
    await server.requests.reached(2)
    await server.barrier()
    const released = server.release()
    assert.strictEqual((await connection.response()).text, "{\"code\":3,\"message\":\"Server shutting down\"}")
    assert.strictEqual((await webSocket).response.text, "Server shutting down")
    await connection.close()
    await released
    assert.strictEqual(interrupted, 2)
    await server.stop()
  })

  for (const attached of [false, true]) {
    describe(attached ? "attached" : "on a router", () => {
      /** A server that stops, though Node closes none of its connections because it is idle for long. */
      const stopping = async (
        config: Config,
        hold: (server: Target) => Promise<() => Promise<void> | void>
      ): Promise<void> => {
        const server = await TestServer.start({ attached, drainTimeout: "1 second", ...config })
        server.http.keepAliveTimeout = 0
        const { connections } = server
        try {
          const check = await hold(attached ? { ...unwatched(server.port), connections } : server)
          await server.release()
          await check()
        } finally {
          await server.stop()
        }
      }

      it("R21: does not wait for an upgrade that is being decided, of a client that reads nothing", () =>
        stopping({ handshakeTimeout: "1 hour", application: () => Effect.never }, async (server) => {
          const connection = await Connection.open(server)
          connection.socket.pause()
          const url = engineTarget({ EIO: "4", transport: "websocket" })
          connection.send("GET", url, { headers: upgradeHeaders() })
          await server.settled(url)
          return async () => {
            connection.socket.resume()
            const { headers, text } = await connection.response()
            assert.strictEqual(text, "Server shutting down")
            assert.deepStrictEqual(headers.map(([name]) => name), ["Connection", "Content-type", "Content-Length"])
          }
        }))

      it("R26: waits no longer than drainTimeout for who offers another protocol, and takes nothing of a long answer", () =>
        stopping({ application: sendsMuch }, async (server) => {
          const client = await PollingClient.connect(server)
          const connection = await Connection.open(server)
          connection.send("GET", client.url(), { headers: upgradeHeaders({ Upgrade: "h2c" }) })
          await within(once(connection.socket, "data"), "the beginning of the answer")
          connection.socket.pause()
          return () => {}
        }))

      it("delivers an answer that is on its way, whose client takes its time, and closes its connection", () =>
        stopping({ application: sendsMuch, drainTimeout: "10 seconds" }, async (server) => {
          const client = await PollingClient.connect(server)
          const connection = await Connection.open(server)
          connection.send("GET", client.url())
          const response = connection.response()
          await within(once(connection.socket, "data"), "the beginning of the answer")
          connection.socket.pause()
          setTimeout(() => connection.socket.resume(), 300)
          return async () => {
            assert.lengthOf((await response).text, 10_000_001)
            await within(connection.closed, "the end of the connection")
          }
        }))

      it("waits for one that is not read no longer than drainTimeout", () =>
        stopping({ application: sendsMuch }, async (server) => {
          const client = await PollingClient.connect(server)
          const connection = await Connection.open(server)
          connection.send("GET", client.url())
          await within(once(connection.socket, "data"), "the beginning of the answer")
          connection.socket.pause()
          return () => {}
        }))

      it("does not wait for the rest of a POST that it has refused", () =>
        stopping({}, async (server) => {
          const connection = await Connection.open(server)
          connection.send("POST", polling, { body: "4he", headers: { ...textHeaders, "Content-Length": "100" } })
          assert.strictEqual((await connection.response()).status, 400)
          return async () => {
            await within(connection.closed, "the end of the connection")
          }
        }))

      it("does not wait for the rest of a POST whose session it has ended", () =>
        stopping({ application: idle }, async (server) => {
          const connection = await (await PollingClient.connect(server)).beginPost("4he", 100)
          const response = connection.response()
          return async () => {
            assert.strictEqual((await response).status, 400)
            assert.strictEqual((await response).header("connection"), "close")
            await within(connection.closed, "the end of the connection")
          }
        }))

      it("does not wait for the rest of a POST that a session has refused", () =>
        stopping({ application: idle, maxPayload: 50 }, async (server) => {
          const connection = await (await PollingClient.connect(server)).beginPost("4he", 100)
          assert.strictEqual((await connection.response()).status, 413)
          return async () => {
            await within(connection.closed, "the end of the connection")
          }
        }))
    })
  }
})

interface Fate {
  readonly accepted: number
  readonly reason?: string
  readonly undelivered?: number
}

it(
  "a connection that never sends anything, as browsers open them in advance, does not hold up the end of the server",
  withServer({ application: idle }, async (server) => {
    // The engine knows its server by a request.
    await PollingClient.connect(server)
    const connection = await Connection.open(server)
    // Effect would wait 20 seconds for it.
    await server.release()
    await connection.closed
  })
)

it(
  "a request on a connection that is new when the server stops is answered",
  withServer({ application: idle }, async (server) => {
    const connection = await Connection.open(server)
    await PollingClient.connect(server)
    const released = server.release()
    assert.strictEqual((await connection.exchange("GET", polling)).status, 503)
    await released
  })
)

describe("SIGTERM", () => {
  it("with a thousand clients the process exits in time, and every message is delivered or counted", async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL("fixtures/drain.ts", import.meta.url))], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    let output = ""
    const listening = new Promise<number>((resolve) => {
      child.stdout.on("data", (chunk: Buffer) => {
        output += chunk.toString()
        if (output.includes("\n")) resolve(Number(output.split("\n")[0]))
      })
    })
    const exited = new Promise<number | null>((resolve) => child.on("close", resolve))
    try {
      const target = unwatched(await within(listening, "the server"))
      const delivered = new Map<string, Array<string>>()
      const closed: Array<Promise<unknown>> = []

      const parkOne = async () => {
        const client = await PollingClient.connect(target)
        const connection = await client.connection()
        connection.send("GET", client.url())
        closed.push(
          connection.response(15_000).then((response) => {
            assert.strictEqual(response.status, 200)
            delivered.set(client.sid, response.packets)
          })
        )
      }
      const betweenOne = async () => {
        const client = await PollingClient.connect(target)
        delivered.set(client.sid, [])
      }
      const webSocketOne = async (answersClose: boolean) => {
        const raw = await RawWebSocket.open(target)
        const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
        const packets: Array<string> = []
        delivered.set(sid, packets)
        closed.push((async () => {
          while (true) {
            const frame = await raw.frames.next(15_000)
            if (frame.opcode === Opcode.close) {
              if (answersClose) raw.write(Opcode.close, frame.payload)
              return
            }
            packets.push(frame.payload.toString())
          }
        })())
      }

      for (let i = 0; i < 1_000; i += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, k) => {
          if (k < 20) return parkOne()
          if (k < 35) return betweenOne()
          // Some never answer the close they get.
          return webSocketOne(k < 49)
        }))
      }
      // What was written last has been read when this is answered.
      await fetchRaw(target, "GET", "/nothing")

      const started = performance.now()
      child.stdin.write("go\n")
      const code = await within(exited, "the end of the process", 15_000)
      const elapsed = performance.now() - started
      assert.strictEqual(code, 130)
      // The drain has three seconds; a busy machine needs some more for a thousand ends.
      assert.isBelow(elapsed, 8_000)
      await within(Promise.all(closed), "the close of every client that can be told")

      const fates = JSON.parse(output.slice(output.indexOf("\n"))) as Record<string, Fate>
      assert.lengthOf(Object.keys(fates), 1_000)
      let accepted = 0
      for (const [sid, fate] of Object.entries(fates)) {
        const messages = delivered.get(sid)!.filter((packet) => packet.startsWith("4"))
        assert.deepStrictEqual(messages, messages.map((_, i) => `4last words ${i}`))
        assert.strictEqual(messages.length + fate.undelivered!, fate.accepted, `${sid} ${fate.reason}`)
        accepted += fate.accepted
      }
      assert.strictEqual(accepted, 1_500)
    } finally {
      child.kill("SIGKILL")
    }
  })
})
