/**
 * What befell other Engine.IO servers, one test each: the same requests do nothing to this one.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { createServer } from "node:http"
import { EngineIO, EngineIOLive, Socket } from "../../src/index.ts"
import { generateSid } from "../../src/internal/server/sid.ts"
import { eventually, pause } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { nothingLeft, snapshot } from "../kit/leaks.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { portOf, sink, type Target, unwatched, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

/** Whether a server still does its work. */
const isAlive = async (server: Target): Promise<void> => {
  const client = await PollingClient.connect(server)
  await client.post("1")
}

describe("ids", () => {
  it("CVE-2017-16031: ids come from a CSPRNG: 1e5 of them differ, in every character that is random", () => {
    const ids = new Set<string>()
    const seen = Array.from({ length: 16 }, () => new Set<string>())
    for (let n = 0; n < 100_000; n++) {
      const id = generateSid()
      assert.match(id, /^[A-Za-z0-9_-]{20}$/)
      ids.add(id.slice(0, 16))
      for (let at = 0; at < 16; at++) seen[at]!.add(id[at]!)
    }
    // Without the counter behind them too: those are the 96 random bits.
    assert.strictEqual(ids.size, 100_000)
    for (const characters of seen) assert.strictEqual(characters.size, 64)
  })

  it("CVE-2017-16031: an id says nothing of the next, and Math.random has no part in it", () => {
    const { random } = Math
    Math.random = () => 0.5
    try {
      assert.notStrictEqual(generateSid().slice(0, 16), generateSid().slice(0, 16))
    } finally {
      Math.random = random
    }
    // Each random bit is set in about half of the ids: five standard deviations of leave.
    const counts = Array.from({ length: 96 }, () => 0)
    for (let n = 0; n < 20_000; n++) {
      const bytes = Buffer.from(generateSid(), "base64url")
      for (let bit = 0; bit < 96; bit++) counts[bit]! += (bytes[bit >> 3]! >> (bit & 7)) & 1
    }
    for (const count of counts) assert.closeTo(count, 10_000, 5 * Math.sqrt(20_000) / 2)
  })
})

describe("transports and ids that are properties of every object", () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "__defineGetter__"]

  it(
    "CVE-2023-31125: transport=__proto__, none, or an array is code 0, over HTTP and on an upgrade",
    withServer({}, async (server) => {
      const queries = [
        ...names.map((name) => `transport=${name}`),
        "transport=",
        "",
        "transport[]=websocket",
        "transport[0]=polling"
      ]
      for (const query of queries) {
        const target = `/engine.io/?EIO=4&${query}`
        const response = await fetchRaw(server, "GET", target)
        assert.strictEqual(response.status, 400, query)
        assert.strictEqual(response.text, "{\"code\":0,\"message\":\"Transport unknown\"}", query)
        const upgrade = await fetchRaw(server, "GET", target, { headers: upgradeHeaders() })
        assert.strictEqual(upgrade.status, 400, query)
        assert.strictEqual(upgrade.text, "Transport unknown", query)
      }
      await isAlive(server)
    })
  )

  it(
    "engine.io 6.6.7 (1fa1f46): sid=__proto__ and its like are sessions that nobody opened",
    withServer({}, async (server) => {
      for (const sid of names) {
        const response = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid }))
        assert.strictEqual(response.text, "{\"code\":1,\"message\":\"Session ID unknown\"}", sid)
        const posted = await fetchRaw(server, "POST", engineTarget({ EIO: "4", transport: "polling", sid }), {
          body: "4x"
        })
        assert.strictEqual(posted.text, "{\"code\":1,\"message\":\"Session ID unknown\"}", sid)
        assert.strictEqual((await refusedUpgrade(server, { sid })).response.text, "Session ID unknown", sid)
      }
      await isAlive(server)
    })
  )

  it("engine.io 6.6.7 (d4bc787): a polluted Object.prototype disturbs neither sessions nor their end", async () => {
    const prototype = Object.prototype as Record<string, unknown>
    prototype["polluted"] = () => assert.fail("nobody asked for this")
    try {
      await withServer({ cookie: true, cors: true, responseHeaders: () => Effect.succeed({}) }, async (server) => {
        const client = await PollingClient.connect(server)
        await client.post("4hello")
        assert.deepStrictEqual(await client.poll(), ["4hello"])
        assert.isUndefined(client.handshake.header("polluted"))
        const webSocket = await WebSocketClient.connect(server)
        webSocket.send("4hello")
        assert.strictEqual(await webSocket.next(), "4hello")
        assert.lengthOf([...(await server.run(EngineIO.sockets)).keys()], 2)
        await server.run(EngineIO.drain({ timeout: 100 }))
        assert.strictEqual(await server.count(), 0)
      })()
    } finally {
      delete prototype["polluted"]
    }
  })
})

describe("requests that wait for ever", () => {
  it(
    "engine.io 6.6.7 (fc11285): an octet-stream POST of revision 4 is answered with 400 and ends the session",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const response = await client.post("4hello", { "Content-Type": "application/octet-stream" })
      assert.strictEqual(response.status, 400)
      const reason = await server.reason(client.sid)
      assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "InvalidContent")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "engineioxide #731: a session whose client never comes back, and an upgrade it abandons, are both reaped",
    withServer({ pingInterval: 100, pingTimeout: 100, upgradeTimeout: 150 }, async (server) => {
      await PollingClient.connect(server).then((client) => server.reasonText(client.sid)).then((reason) =>
        assert.strictEqual(reason, "ping timeout")
      )
      const before = snapshot(server)
      for (let round = 0; round < 20; round++) {
        const client = await PollingClient.connect(server)
        const silent = await RawWebSocket.open(server, { sid: client.sid })
        if (round % 2 === 0) silent.write(Opcode.text, "2probe")
        if (round % 3 === 0) await silent.connection.reset()
      }
      await eventually("an empty registry", () => server.count(), (count) => count === 0)
      for (const connection of server.connections) await connection.close()
      await nothingLeft(server, before)
    })
  )
})

describe("upgrades of others", () => {
  for (const token of ["IRC/6.9", "h2c", "websocket, IRC/6.9"]) {
    it(`CVE-2022-41940: Upgrade: ${token}, then a reset, before and after it is destroyed`, async () => {
      const http = createServer((_, response) => response.end("other"))
      const attached = EngineIO.attach(http, () => Effect.succeed({ app: Effect.never }), { destroyUpgradeTimeout: 50 })
      const program = Effect.gen(function*() {
        yield* attached
        yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
        const target = unwatched(portOf(http))
        const attack = async (path: string, wait: number) => {
          const connection = await Connection.open(target)
          connection.send("GET", path, { headers: upgradeHeaders({ Upgrade: token }) })
          await pause(wait)
          await connection.reset()
        }
        for (const path of ["/", "/chat", polling, polling.replace("polling", "websocket")]) {
          yield* Effect.promise(() => Promise.all([0, 10, 100].map((wait) => attack(path, wait))))
        }
        yield* Effect.promise(() => isAlive(target))
        http.closeAllConnections()
        http.close()
      })
      await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIOLive)))
    })
  }

  it(
    "CVE-2024-38355: connections that are reset in the middle of anything leave no error that nobody handles",
    withServer({}, async (server) => {
      const requests = [
        encodeRequest("GET", polling),
        encodeRequest("POST", polling, { body: "4" }),
        encodeRequest("GET", polling, { headers: upgradeHeaders() }),
        encodeRequest("GET", polling.replace("polling", "websocket"), { headers: upgradeHeaders() }),
        encodeRequest("GET", polling.replace("polling", "websocket"), { headers: upgradeHeaders({ Upgrade: "h2c" }) })
      ]
      for (const request of requests) {
        for (const length of [1, 20, request.length - 1, request.length]) {
          const connection = await Connection.open(server)
          connection.write(request.subarray(0, length))
          if (length === 20) await pause(5)
          await connection.reset()
        }
      }
      await isAlive(server)
    })
  )
})

describe("cookies and close reasons", () => {
  it("CVE-2024-47764: a cookie whose name, path or domain would say more is refused when the layer is built", async () => {
    const wrong: ReadonlyArray<EngineIO.Options["cookie"]> = [
      "a=b; Domain=evil.example; b",
      "a\r\nSet-Cookie: b=c",
      { name: "<script>" },
      { path: "/; Domain=evil.example" },
      { path: "/\r\nSet-Cookie: a=b" },
      { domain: "example.com; Secure" },
      { domain: "a\u0000b" }
    ]
    for (const cookie of wrong) {
      const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(EngineIO.layer({ cookie })))))
      assert.instanceOf(error, EngineIO.OptionsError, JSON.stringify(cookie))
      assert.include(error.message, "cookie")
    }
  })

  it(
    "CVE-2016-10518, CVE-2026-45736: no number becomes memory that was never written, in a message or in a close",
    withServer({ application: () => Effect.succeed({ app: Effect.never }) }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const socket = await server.socket(client.sid)
      for (const message of [100, new Number(100), { length: 100 }, null, undefined]) {
        const sent = [Socket.send(socket, message as never), EngineIO.broadcast(message as never)]
        for (const effect of sent) assert.strictEqual((await server.run(Effect.exit(effect)))._tag, "Failure")
      }
      assert.strictEqual(await server.run(Socket.buffered(socket)).then((it) => it.messages), 0)
      await server.run(Socket.close(socket, { discard: true, reason: 100, code: "x" } as never))
      const { code, reason } = await client.closed
      assert.deepStrictEqual([code, reason], [1005, ""])
    })
  )

  it(
    "CVE-2026-33151, CVE-2022-2421: bytes are bytes and text is text at the application, whatever they look like",
    withServer({ application: sink, allowEIO3: true }, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("bAQID\x1e4b4AQID\x1e4{\"_placeholder\":true}\x1eb")
      const older = await PlainPollingClient.connect(server)
      await older.post("6:b4AQID")
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send(Buffer.from("4text"))
      await server.received.reached(6)
      const kinds = server.received.all.map(({ message }) => typeof message === "string" ? message : [...message])
      assert.deepStrictEqual(kinds, [[1, 2, 3], "b4AQID", "{\"_placeholder\":true}", [], [1, 2, 3], [
        ...Buffer.from("4text")
      ]])
    })
  )
})

describe("what runs before a client is let in", () => {
  it("CVE-2026-48802: handshakes that are not decided are no sessions, and leave nothing when their clients go", async () => {
    const gate = Deferred.makeUnsafe<void>()
    await withServer({ allowRequest: () => Deferred.await(gate) }, async (server) => {
      await fetchRaw(server, "GET", polling.replace("polling", "x"))
      const before = snapshot(server)
      const connections: Array<Connection> = []
      for (let n = 0; n < 50; n++) {
        const connection = await Connection.open(server)
        connections.push(connection)
        if (n % 2 === 0) connection.send("GET", polling)
        else connection.send("GET", polling.replace("polling", "websocket"), { headers: upgradeHeaders() })
      }
      await server.requests.reached(50)
      assert.strictEqual(await server.count(), 0)
      for (const connection of connections) await connection.reset()
      await server.barrier()
      Deferred.doneUnsafe(gate, Effect.void)
      await nothingLeft(server, before)
      assert.deepStrictEqual(server.opened.all, [])
    })()
  })
})
