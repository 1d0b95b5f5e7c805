/**
 * What earlier servers of the protocol got wrong, and this one does right. S1 to S18 are defects of the Haskell
 * server, G1 to G15 of the Go server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createServer } from "node:http"
import { inflateSync } from "node:zlib"
import { EngineIO, Socket } from "../../src/index.ts"
import { pause, pending } from "../kit/events.ts"
import { Connection, encodeChunk, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { connectWebSocket3, PlainPollingClient } from "../kit/revision3.ts"
import { echo, idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

const errorOf = async (server: TestServer, query: string, method = "GET") => {
  const { status, text } = await fetchRaw(server, method, `/engine.io/?${query}`)
  return `${status} ${text}`
}

describe("defects of the Haskell server", () => {
  it(
    "S1: EIO is read: 4 is framed as 4, and 3 refused with code 5 unless it is allowed",
    withServer({}, async (server) => {
      assert.match((await fetchRaw(server, "GET", polling)).text, /^0\{/)
      assert.strictEqual(
        await errorOf(server, "EIO=3&transport=polling"),
        "400 {\"code\":5,\"message\":\"Unsupported protocol version\"}"
      )
    })
  )

  it(
    "S2: the server pings clients of revision 4, never those of revision 3",
    withServer({ allowEIO3: true, pingInterval: 150, pingTimeout: 5_000, application: idle }, async (server) => {
      const older = await connectWebSocket3(server)
      assert.strictEqual(await (await WebSocketClient.connect(server)).next(), "2")
      assert.deepStrictEqual(older.frames.untaken, [])
      older.send("2")
      assert.strictEqual(await older.next(), "3")
    })
  )

  it(
    "S3: the heartbeat is an option, and a client of revision 3 has both its parts",
    withServer({ allowEIO3: true, pingInterval: 300, pingTimeout: 200, application: idle }, async (server) => {
      const started = performance.now()
      const client = await PlainPollingClient.connect(server)
      assert.deepStrictEqual([client.open.pingInterval, client.open.pingTimeout], [300, 200])
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
      assert.isAtLeast(performance.now() - started, 490)
    })
  )

  it(
    "S4: text goes out as text, and with b64 bytes do too",
    withServer({ allowEIO3: true }, async (server) => {
      const client = await PlainPollingClient.connect(server, { b64: "1" })
      assert.match(client.handshake.text, /^\d+:0\{/)
      assert.strictEqual(client.handshake.header("content-type"), "text/plain; charset=UTF-8")
      await client.post("10:b4AQIDBA==")
      assert.strictEqual((await client.get()).text, "10:b4AQIDBA==")
    })
  )

  it(
    "S5: a POST is answered with ok, nothing is to be stored, and what is no payload ends the session",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const ok = await client.post("4hello")
      assert.deepStrictEqual([ok.text, ok.header("cache-control")], ["ok", "no-store"])
      assert.strictEqual((await client.get()).header("cache-control"), "no-store")
      assert.strictEqual((await client.post("")).status, 400)
      assert.strictEqual(await server.reasonText(client.sid), "parse error")
    })
  )

  it(
    "S6: a handshake over WebSocket opens a session on WebSocket",
    withServer({}, async (server) => {
      const client = await WebSocketClient.connect(server)
      assert.strictEqual(await server.run(Socket.transport(await server.socket(client.sid))), "websocket")
    })
  )

  it(
    "S7: binary frames arrive, and a frame that is no packet ends the session",
    withServer({}, async (server) => {
      const client = await WebSocketClient.connect(server)
      client.send(Uint8Array.of(1, 2, 3))
      assert.deepStrictEqual(await client.next(), Buffer.from([1, 2, 3]))
      client.send("x")
      assert.strictEqual(await server.reasonText(client.sid), "parse error")
    })
  )

  it(
    "S8: ids need no escaping in a URL, and none is like another",
    withServer({ application: idle }, async (server) => {
      const clients = await Promise.all(Array.from({ length: 200 }, () => PollingClient.connect(server)))
      assert.strictEqual(new Set(clients.map((it) => it.sid)).size, 200)
      // What the first letters share is the counter's: none.
      assert.isAbove(new Set(clients.map((it) => it.sid.slice(0, 4))).size, 190)
      for (const { sid } of clients) assert.match(sid, /^[A-Za-z0-9_-]{20}$/)
    })
  )

  it(
    "S9: what waits for a client that takes nothing is bounded",
    withServer({ application: idle, sendBuffer: { messages: 10 } }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const offered = await Promise.all(Array.from({ length: 50 }, () => server.run(Socket.offer(socket, "x"))))
      assert.strictEqual(offered.filter(Boolean).length, 10)
      assert.strictEqual((await server.run(Socket.buffered(socket))).messages, 10)
    })
  )

  it(
    "S10: two GETs at once end the session instead of racing, and so does an abandoned one",
    withServer({ application: idle }, async (server) => {
      const racing = await PollingClient.connect(server)
      const { response } = await racing.park()
      assert.strictEqual((await racing.get()).status, 400)
      assert.strictEqual((await response).text, "1")
      const leaving = await PollingClient.connect(server)
      const { connection } = await leaving.park()
      await connection.reset()
      assert.strictEqual(await server.reasonText(leaving.sid), "transport error")
    })
  )

  it(
    "S11: no body and no message is larger than maxPayload",
    withServer({ maxPayload: 100 }, async (server) => {
      assert.strictEqual((await (await PollingClient.connect(server)).post("4".repeat(101))).status, 413)
      const client = await WebSocketClient.connect(server)
      client.send("4".repeat(101))
      assert.strictEqual((await client.closed).code, 1009)
    })
  )

  it(
    "S12: when the application ends its client is told, over polling and WebSocket, and the reason is known",
    withServer({ application: (socket) => Effect.succeed({ app: Socket.receive(socket) }) }, async (server) => {
      const client = await PollingClient.connect(server)
      const { response } = await client.park()
      await client.post("4end")
      assert.strictEqual((await response).text, "1")
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4end")
      assert.strictEqual((await webSocket.closed).code, 1005)
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
      assert.strictEqual(await server.reasonText(webSocket.sid), "forced close")
    })
  )

  it(
    "S13: the noop of an upgrade answers a pending GET and nothing else",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await pause(250)
      candidate.send("5")
      candidate.send("4hello")
      assert.strictEqual(await candidate.next(), "4hello")
    })
  )

  it(
    "S14: an upgrade that is not completed is given up, and only one is under way",
    withServer({ upgradeTimeout: 300 }, async (server) => {
      const client = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      const second = await WebSocketClient.open(server, { sid: client.sid })
      assert.strictEqual((await second.closed).code, 1005)
      assert.isTrue(await pending(candidate.closed))
      await candidate.closed
      assert.strictEqual((await client.post("4hello")).text, "ok")
    })
  )

  it(
    "S15: all codes there are, repeated parameters and any b64 are no errors",
    withServer({ application: () => Effect.fail(new EngineIO.Forbidden({ message: "no" })) }, async (server) => {
      assert.include(await errorOf(server, "EIO=4&transport=x"), "400 {\"code\":0,")
      assert.include(await errorOf(server, "EIO=4&transport=polling&sid=x"), "400 {\"code\":1,")
      assert.include(await errorOf(server, "EIO=4&transport=polling", "POST"), "400 {\"code\":2,")
      assert.include(await errorOf(server, "EIO=4&transport=websocket"), "400 {\"code\":3,")
      assert.include(await errorOf(server, "EIO=4&transport=polling"), "403 {\"code\":4,")
      assert.include(await errorOf(server, "EIO=3&transport=polling"), "400 {\"code\":5,")
      assert.include(await errorOf(server, "EIO=4&transport=x&transport=polling&b64=yes"), "403 {\"code\":4,")
    })
  )

  it(
    "S16: an id that is in use is refused as the protocol says, not with 500",
    withServer({ generateId: () => Effect.succeed("same") }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", polling)).status, 200)
      assert.strictEqual(
        await errorOf(server, "EIO=4&transport=polling"),
        "400 {\"code\":3,\"message\":\"Bad request\"}"
      )
    })
  )

  it(
    "S17: a pong does not repeat the ping's data",
    withServer({ allowEIO3: true }, async (server) => {
      const client = await connectWebSocket3(server)
      client.send("2some data")
      assert.strictEqual(await client.next(), "3")
    })
  )

  it(
    "S18: a close packet releases the pending GET with a noop",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const { response } = await client.park()
      assert.strictEqual((await client.post("1")).text, "ok")
      assert.strictEqual((await response).text, "6")
    })
  )
})

describe("defects of the Go server", () => {
  it(
    "G1: code 5 is 5",
    withServer({}, async (server) => {
      assert.include(await errorOf(server, "EIO=3&transport=polling"), "\"code\":5")
    })
  )

  it(
    "G2: binary content in revision 4 is answered, with 400",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const response = await client.post(Uint8Array.of(1), { "Content-Type": "application/octet-stream" })
      assert.strictEqual(response.status, 400)
    })
  )

  it(
    "G3: a chunked body that is too large is refused, not cut",
    withServer({ maxPayload: 100, application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await Connection.open(server)
      connection.send("POST", client.url(), { headers: { "Transfer-Encoding": "chunked" } })
      connection.write(encodeChunk("4".repeat(60)))
      connection.write(encodeChunk("4".repeat(60)))
      connection.write(encodeChunk(""))
      assert.strictEqual((await connection.response()).status, 413)
      await client.post("4after")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["after"])
    })
  )

  it(
    "G4: a bad packet, or an empty one, is an error and not ok",
    withServer({}, async (server) => {
      for (const payload of ["9", "4a\x1e\x1e4b"]) {
        const client = await PollingClient.connect(server)
        assert.strictEqual((await client.post(payload)).status, 400)
        assert.strictEqual(await server.reasonText(client.sid), "parse error")
      }
    })
  )

  it(
    "G5: a line feed posted by a JSONP client is one",
    withServer({ allowEIO3: true }, async (server) => {
      const client = await PlainPollingClient.connect(server, { j: "0" })
      await client.post("d=4%3A4a%5Cnb", "application/x-www-form-urlencoded")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["a\nb"])
    })
  )

  it(
    "G6: deflate has its header, and an encoding with q=0 is not used",
    withServer({
      application: (socket) => Effect.as(Socket.send(socket, "x".repeat(2_000)), { app: Effect.never })
    }, async (server) => {
      const get = async (accepts: string) =>
        (await PollingClient.connect(server)).get({ headers: { "Accept-Encoding": accepts } })
      const deflated = await get("deflate")
      assert.strictEqual(inflateSync(deflated.body).toString(), `4${"x".repeat(2_000)}`)
      assert.strictEqual((await get("gzip;q=0, xgzip")).header("content-encoding"), undefined)
    })
  )

  it(
    "G7: an origin that is not allowed gets no header, instead of one that says false",
    withServer({ cors: { origin: ["https://a.example"] } }, async (server) => {
      const response = await fetchRaw(server, "GET", polling, { headers: { Origin: "https://evil.test" } })
      assert.strictEqual(response.header("access-control-allow-origin"), undefined)
    })
  )

  it(
    "G8: a WebSocket is closed with a close frame",
    withServer({ application: sink }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      await server.run(Socket.close(await server.socket(sid)))
      assert.strictEqual((await raw.next()).opcode, Opcode.close)
    })
  )

  it("G9: HttpOnly can be turned off, and the options are left as they are", async () => {
    const cookie = Object.freeze({ name: "sid", httpOnly: false })
    await withServer({ cookie }, async (server) => {
      for (let round = 0; round < 2; round++) {
        const client = await PollingClient.connect(server)
        assert.strictEqual(client.handshake.header("set-cookie"), `sid=${client.sid}; Path=/; SameSite=Lax`)
      }
    })()
  })

  it("G10: an upgrade that is nobody's is closed in time", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 50 })
    await listening(server, async (target) => {
      const connection = await Connection.open(target)
      connection.send("GET", "/other", { headers: upgradeHeaders() })
      await connection.closed
      assert.lengthOf(connection.responses.all, 0)
      await mounted.release()
    })
  })

  it(
    "G11: messages are handled one by one in order, without a queue of tasks to overflow",
    withServer({ application: echo }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const sent = Array.from({ length: 5_000 }, (_, i) => `4${i}`)
      for (const message of sent) client.send(message)
      assert.deepStrictEqual(await client.frames.take(5_000), sent)
    })
  )

  it(
    "G12: a client that uses its id as soon as it has it is known",
    withServer({}, async (server) => {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const client = await PollingClient.connect(server)
        assert.strictEqual((await client.post("4hello")).text, "ok")
      }))
    })
  )

  it(
    "G13: a POST that is under way when the session closes is answered as any other",
    withServer({ application: (socket) => Effect.succeed({ app: Socket.receive(socket) }) }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4end")).text, "ok")
      const other = await PollingClient.connect(server)
      const begun = await other.beginPost("4hel", 6)
      await server.run(Socket.close(await server.socket(other.sid), { discard: true }))
      assert.strictEqual((await begun.response()).status, 400)
    })
  )

  it(
    "G14: a client that upgrades between ping and pong, and falls silent, is given up",
    withServer({ pingInterval: 200, pingTimeout: 400, application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["2"])
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      candidate.send("5")
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
    })
  )

  it(
    "G15: what is sent is text if it is a string, and bytes if it is bytes of any kind",
    withServer({ application: idle }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const socket = await server.socket(client.sid)
      const bytes = Uint8Array.of(0x61, 0x62)
      await server.run(
        Socket.sendAll(socket, ["ab", bytes, bytes.buffer, new DataView(bytes.buffer), Buffer.from(bytes)])
      )
      const ab = Buffer.from("ab")
      assert.deepStrictEqual(await client.frames.take(5), ["4ab", ab, ab, ab, ab])
    })
  )
})
