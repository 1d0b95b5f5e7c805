import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { EngineIO, Socket } from "../../src/index.ts"
import { pause } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { connectWebSocket3, PlainPollingClient, upgrade3 } from "../kit/revision3.ts"
import { type Config, sink, type TestServer, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

/** A server of revision 3 for one test. */
const withServer3 = (config: Config, body: (server: TestServer) => Promise<void>) =>
  withServer({ allowEIO3: true, ...config }, body)

const bytes = (...values: Array<number>): Buffer => Buffer.from(values)

/** "hello" and <01 02 03 04> in a binary payload (A5). */
const A5 = Buffer.from("0006ff3468656c6c6f0105ff0401020304", "hex")

/** "€" and <01 02 03 04> in a binary payload (A6). */
const A6 = Buffer.from("0004ff34e282ac0105ff0401020304", "hex")

const one = bytes(1, 2, 3, 4)

/** A factory whose sessions send these messages and wait. */
const sends = (...messages: ReadonlyArray<Socket.Sendable>): NonNullable<Config["application"]> => (socket) =>
  Effect.succeed({ app: Effect.andThen(Socket.sendAll(socket, messages), Effect.never) })

describe("revision 3: handshake", () => {
  it(
    "R13: without allowEIO3 any revision but 4 gets code 5, over polling and before a WebSocket is accepted",
    withServer({}, async (server) => {
      for (const EIO of ["3", "2", "", "abc"]) {
        const response = await fetchRaw(server, "GET", engineTarget({ EIO, transport: "polling" }))
        assert.strictEqual(response.status, 400)
        assert.strictEqual(response.text, "{\"code\":5,\"message\":\"Unsupported protocol version\"}")
        const refused = await refusedUpgrade(server, { EIO })
        assert.strictEqual(refused.response.status, 400)
        assert.strictEqual(refused.response.text, "Unsupported protocol version")
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R27: the open packet is a payload of text, counted, with the same keys",
    withServer3({ pingInterval: 3_000, pingTimeout: 1_500, maxPayload: 12_345 }, async (server) => {
      const { handshake, sid } = await PlainPollingClient.connect(server)
      const open =
        `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":3000,"pingTimeout":1500,"maxPayload":12345}`
      assert.strictEqual(handshake.text, `${open.length}:${open}`)
      assert.strictEqual(handshake.header("content-type"), "text/plain; charset=UTF-8")
      assert.strictEqual((await server.socket(sid)).protocol, 3)
    })
  )

  it(
    "R13: with allowEIO3 a missing or unknown revision is 3, and 4 is still 4",
    withServer3({}, async (server) => {
      for (const EIO of ["3", "2", "", "abc"]) {
        const { sid } = await PlainPollingClient.connect(server, { EIO })
        assert.strictEqual((await server.socket(sid)).protocol, 3)
      }
      assert.strictEqual((await server.socket((await PollingClient.connect(server)).sid)).protocol, 4)
    })
  )

  it(
    "R29: over WebSocket the open packet is the first frame, without a count",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server)
      assert.deepStrictEqual(client.open.upgrades, [])
      assert.strictEqual((await server.socket(client.sid)).protocol, 3)
    })
  )

  it(
    "R30: the initial message follows in the same payload, bytes as the client takes them",
    withServer3({ initialPacket: "€" }, async (server) => {
      assert.isTrue((await PlainPollingClient.connect(server)).handshake.text.endsWith("}2:4€"))
    })
  )

  it(
    "R30: an initial message of bytes makes the first payload a binary one, or base64 where that is asked for",
    withServer3({ initialPacket: one }, async (server) => {
      const { handshake } = await PlainPollingClient.connect(server)
      assert.strictEqual(handshake.header("content-type"), "application/octet-stream")
      assert.strictEqual(handshake.body[0], 0)
      assert.deepStrictEqual(handshake.body.subarray(-8), bytes(1, 5, 255, 4, 1, 2, 3, 4))
      const text = await PlainPollingClient.connect(server, { b64: "1" })
      assert.isTrue(text.handshake.text.endsWith("}10:b4AQIDBA=="))
    })
  )
})

describe("revision 3: polling", () => {
  it(
    "R65: texts are counted in UTF-16 units, both ways (A4)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      for (const payload of ["6:4hello2:4€", "3:4😀", "1:4", "8:4a\nb:2:c"]) {
        const posted = await client.post(payload)
        assert.strictEqual(posted.status, 200)
        assert.strictEqual(posted.text, "ok")
        const response = await client.get()
        assert.strictEqual(response.text, payload)
        assert.strictEqual(response.header("content-type"), "text/plain; charset=UTF-8")
      }
      assert.deepStrictEqual(server.messagesOf(client.sid), ["hello", "€", "😀", "", "a\nb:2:c"])
    })
  )

  it(
    "R65: for a client with b64 bytes are base64 in a text payload, both ways (A4)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server, { b64: "1" })
      await client.post("6:4hello10:b4AQIDBA==")
      const response = await client.get()
      assert.strictEqual(response.text, "6:4hello10:b4AQIDBA==")
      assert.strictEqual(response.header("content-type"), "text/plain; charset=UTF-8")
      assert.deepStrictEqual(server.messagesOf(client.sid).map((it) => Buffer.from(it).toString("hex")), [
        Buffer.from("hello").toString("hex"),
        "01020304"
      ])
    })
  )

  it(
    "R65: the empty payload is taken and brings nothing (A4)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      assert.strictEqual((await client.post("0:")).text, "ok")
      assert.strictEqual((await client.post("0:2:4a0:")).text, "ok")
      assert.strictEqual((await client.get()).text, "2:4a")
    })
  )

  it(
    "R66: a payload with bytes in it is binary, both ways (A5, A6)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      for (const payload of [A5, A6]) {
        assert.strictEqual((await client.post(payload)).text, "ok")
        const response = await client.get()
        assert.strictEqual(response.body.toString("hex"), payload.toString("hex"))
        assert.strictEqual(response.header("content-type"), "application/octet-stream")
        assert.strictEqual(response.header("content-length"), String(payload.length))
      }
      assert.deepStrictEqual(server.messagesOf(client.sid).map((it) => typeof it === "string" ? it : it.join()), [
        "hello",
        "1,2,3,4",
        "€",
        "1,2,3,4"
      ])
    })
  )

  it(
    "R66: a client without b64 gets text payloads as long as there is text alone, and may post base64",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await client.post("6:4hello")
      assert.strictEqual((await client.get()).text, "6:4hello")
      await client.post("10:b4AQIDBA==")
      assert.deepStrictEqual((await client.get()).body, bytes(1, 5, 255, 4, 1, 2, 3, 4))
    })
  )

  it(
    "R66: a binary payload may hold text packets alone, and its length is in bytes",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await client.post(Buffer.concat([bytes(0, 1, 1, 255), Buffer.from("4aaaaaaaaaa")]))
      assert.strictEqual((await client.get()).text, "11:4aaaaaaaaaa")
    })
  )

  it(
    "R67: b64 is read at the handshake alone",
    withServer3({ application: sends(one, one) }, async (server) => {
      const text = await PlainPollingClient.connect(server, { b64: "1" })
      assert.strictEqual((await text.get()).text, "10:b4AQIDBA==10:b4AQIDBA==")
      const binary = await PlainPollingClient.connect(server)
      const response = await fetchRaw(server, "GET", `${binary.url()}&b64=1`)
      assert.strictEqual(response.header("content-type"), "application/octet-stream")
    })
  )

  it(
    "R68: what is no payload gets 400 and ends the session with a parse error",
    withServer3({ application: sink }, async (server) => {
      const texts = [
        "",
        "4hello",
        "x:4a",
        ":4a",
        "2:4",
        "6:4hello3",
        "6:4hello3:4",
        "-1:4",
        "1e1:4aaaaaaaaa",
        "1:9",
        "1: "
      ]
      const binary = [[], [0], [0, 5], [0, 6, 255, 0x34], [2, 1, 255, 0x34], [0, 255], [0, 10, 255, 0x34], [
        1,
        1,
        255,
        9
      ]]
      for (const payload of [...texts, ...binary.map((it) => Buffer.from(it))]) {
        const client = await PlainPollingClient.connect(server)
        const what = JSON.stringify(payload.toString())
        assert.strictEqual((await client.post(payload)).status, 400, what)
        assert.strictEqual(await server.reasonText(client.sid), "parse error", what)
        assert.strictEqual((await client.get()).text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
      }
      assert.deepStrictEqual(server.received.all.map((it) => it.message), ["hello", "hello"])
    })
  )

  it(
    "R68: hostile lengths and a payload of many packets are read in linear time",
    withServer3({ application: sink }, async (server) => {
      const hostile = ["9".repeat(500_000), `${"9".repeat(20)}:4`, Buffer.alloc(500_000, 9), Buffer.alloc(500_000, 255)]
      for (const payload of hostile) {
        const client = await PlainPollingClient.connect(server)
        assert.strictEqual((await client.post(payload)).status, 400)
        assert.strictEqual(await server.reasonText(client.sid), "parse error")
      }
      const client = await PlainPollingClient.connect(server)
      assert.strictEqual((await client.post("1:4".repeat(300_000))).text, "ok")
      await server.received.reached(300_000)
    })
  )

  it(
    "R69: a ping is answered without its data, over polling (A11)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await client.post("1:2")
      assert.strictEqual((await client.get()).text, "1:3")
      await client.post("6:2probe")
      assert.strictEqual((await client.get()).text, "1:3")
    })
  )

  it(
    "R69: pongs that nobody fetches do not pile up without bound",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      for (let round = 0; round < 3; round++) assert.strictEqual((await client.post("1:2".repeat(100_000))).text, "ok")
      const { text } = await client.get()
      assert.match(text, /^(1:3)+$/)
      assert.isBelow(text.length, 10_000)
    })
  )

  it(
    "R62: a pong from a client of revision 3 ends the session",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await client.post("1:3")
      assert.strictEqual(await server.reasonText(client.sid), "transport error")
    })
  )

  it(
    "R36: an overlapping GET ends the session; the first gets a close packet (A8)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const { response } = await client.park()
      const second = await client.get()
      assert.strictEqual(second.status, 400)
      assert.strictEqual(second.body.length, 0)
      assert.strictEqual((await response).text, "1:1")
      assert.strictEqual(await server.reasonText(client.sid), "transport error")
    })
  )

  it(
    "R47: a close packet ends the session: the POST gets ok, a pending GET a noop (A9)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const { response } = await client.park()
      assert.strictEqual((await client.post("1:1")).text, "ok")
      assert.strictEqual((await response).text, "1:6")
      assert.strictEqual(await server.reasonText(client.sid), "transport close")
    })
  )

  it(
    "R39: a GET that comes while an orderly close waits gets a noop and the close packet (A10)",
    withServer3({ application: sink }, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await server.run(Socket.close(await server.socket(client.sid)))
      assert.strictEqual((await client.get()).text, "1:61:1")
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
    })
  )

  it(
    "R39: what waits for that GET goes before the close packet, as bytes where there are bytes",
    withServer3({ application: sends("a", one) }, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await server.run(Socket.close(await server.socket(client.sid)))
      const { body } = await client.get()
      assert.strictEqual(body.toString("hex"), "0002ff34610105ff04010203040001ff31")
    })
  )

  it(
    "R43: in revision 3 application/octet-stream is a binary payload, and any other type is text",
    withServer3({ application: sink }, async (server) => {
      const client = await PlainPollingClient.connect(server)
      assert.strictEqual((await client.post(A5, "application/octet-stream")).text, "ok")
      assert.strictEqual((await client.post("2:4a", "application/x-whatever")).text, "ok")
      await server.received.reached(3)
    })
  )

  it(
    "R59: text with U+001E passes, for here it forges nothing",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await client.post("5:4a\x1e4b")
      assert.strictEqual((await client.get()).text, "5:4a\x1e4b")
    })
  )
})

describe("revision 3: WebSocket", () => {
  it(
    "R64: text is a text frame, bytes a binary frame behind their type (A7)",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server)
      client.send("4hello€")
      client.send(bytes(4, 1, 2, 3, 4))
      client.send(bytes(4))
      assert.deepStrictEqual(await client.frames.take(3), ["4hello€", bytes(4, 1, 2, 3, 4), bytes(4)])
      assert.strictEqual(server.messagesOf(client.sid)[1]?.length, 4)
    })
  )

  it(
    "R64: so it is for large payloads, batches and broadcasts",
    withServer3({ application: sink }, async (server) => {
      const large = Buffer.alloc(100_000, 7)
      const client = await connectWebSocket3(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.sendAll(socket, ["a", one, large, "b", one]))
      const typed = (data: Buffer) => Buffer.concat([bytes(4), data])
      assert.deepStrictEqual(await client.frames.take(5), ["4a", typed(one), typed(large), "4b", typed(one)])
      const text = await connectWebSocket3(server, { b64: "1" })
      const newer = await WebSocketClient.connect(server)
      assert.strictEqual(await server.run(EngineIO.broadcast(one)), 3)
      assert.deepStrictEqual(await client.next(), typed(one))
      assert.strictEqual(await text.next(), "b4AQIDBA==")
      assert.deepStrictEqual(await newer.next(), one)
    })
  )

  it(
    "R64: for a client with b64 bytes are base64 in a text frame, both ways",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server, { b64: "1" })
      client.send("b4AQIDBA==")
      assert.strictEqual(await client.next(), "b4AQIDBA==")
      client.send(bytes(4, 1, 2, 3, 4))
      assert.strictEqual(await client.next(), "b4AQIDBA==")
    })
  )

  it(
    "R64: a binary frame of an unknown type is ignored",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server)
      for (const frame of [bytes(), bytes(9, 1), bytes(0x34, 1), bytes(255)]) client.send(frame)
      client.send("4still here")
      assert.strictEqual(await client.next(), "4still here")
    })
  )

  it(
    "R69: a ping is answered without its data, over WebSocket (A11)",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server)
      client.send("2")
      client.send("2probe")
      assert.deepStrictEqual(await client.frames.take(2), ["3", "3"])
    })
  )

  it(
    "R60: a text frame that is no packet ends the session",
    withServer3({}, async (server) => {
      const client = await connectWebSocket3(server)
      client.send("9")
      assert.strictEqual(await server.reasonText(client.sid), "parse error")
    })
  )

  it(
    "R72: the server's close is a frame without a status",
    withServer3({}, async (server) => {
      const raw = await RawWebSocket.open(server, { EIO: "3" })
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      await server.run(Socket.close(await server.socket(sid)))
      const frame = await raw.next()
      assert.strictEqual(frame.opcode, Opcode.close)
      assert.strictEqual(frame.payload.length, 0)
    })
  )
})

describe("revision 3: upgrade", () => {
  it(
    "R77, R78: probe, noop to a pending GET, upgrade, and everything arrives in order (A12)",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const { response } = await client.park()
      const candidate = await WebSocketClient.open(server, { EIO: "3", sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      assert.strictEqual((await response).text, "1:6")
      await client.post("2:4a")
      candidate.send("5")
      candidate.send(bytes(4, 1, 2, 3, 4))
      assert.deepStrictEqual(await candidate.frames.take(2), ["4a", bytes(4, 1, 2, 3, 4)])
      assert.strictEqual((await client.get()).text, "{\"code\":3,\"message\":\"Bad request\"}")
    })
  )

  it(
    "R67: whether the WebSocket takes bytes is said on its own URL",
    withServer3({}, async (server) => {
      for (const [polling, webSocket] of [["", "1"], ["1", ""]] as const) {
        const client = await PlainPollingClient.connect(server, { b64: polling })
        const upgraded = await upgrade3(server, client.sid, { b64: webSocket })
        upgraded.send("b4AQIDBA==")
        assert.deepStrictEqual(await upgraded.next(), webSocket === "1" ? "b4AQIDBA==" : bytes(4, 1, 2, 3, 4))
      }
    })
  )

  it(
    "R13: an upgrade speaks the session's revision, whatever its URL says",
    withServer3({}, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const upgraded = await upgrade3(server, client.sid, { EIO: "4" })
      upgraded.send(bytes(4, 1, 2, 3, 4))
      assert.deepStrictEqual(await upgraded.next(), bytes(4, 1, 2, 3, 4))
    })
  )
})

describe("revision 3: heartbeat", () => {
  const heartbeat = { pingInterval: 300, pingTimeout: 200 }

  /** Whether the session ends by itself, not earlier than I + T after `since`. */
  const timesOut = async (server: TestServer, sid: string, since: number) => {
    assert.strictEqual(await server.reasonText(sid), "ping timeout")
    assert.isAtLeast(performance.now() - since, 490)
  }

  it(
    "R-H3: a client that never pings is given up pingInterval + pingTimeout after the handshake, and never pinged",
    withServer3(heartbeat, async (server) => {
      const since = performance.now()
      const polling = await PlainPollingClient.connect(server)
      const { response } = await polling.park()
      const webSocket = await connectWebSocket3(server)
      await timesOut(server, polling.sid, since)
      await timesOut(server, webSocket.sid, since)
      assert.strictEqual((await response).text, "1:1")
      await webSocket.closed
      assert.deepStrictEqual(webSocket.frames.untaken, [])
    })
  )

  it(
    "R-H3: each ping begins that time anew, a message does not",
    withServer3({ ...heartbeat, application: sink }, async (server) => {
      const pinging = await connectWebSocket3(server)
      const talking = await connectWebSocket3(server)
      const talk = setInterval(() => talking.send("4still talking"), 50)
      for (let beat = 0; beat < 4; beat++) {
        await pause(200)
        pinging.send("2")
        assert.strictEqual(await pinging.next(), "3")
      }
      assert.strictEqual(await server.reasonText(talking.sid), "ping timeout")
      clearInterval(talk)
      assert.isTrue(server.ended.all.every((it) => it.sid !== pinging.sid))
      assert.strictEqual(await server.reasonText(pinging.sid), "ping timeout")
    })
  )

  it(
    "R-H2: with anyPacketIsAlive a message does",
    withServer3({ ...heartbeat, anyPacketIsAlive: true, application: sink }, async (server) => {
      const talking = await connectWebSocket3(server)
      for (let time = 0; time < 900; time += 100) {
        await pause(100)
        talking.send("4still talking")
      }
      const silent = performance.now()
      await timesOut(server, talking.sid, silent - 50)
    })
  )

  it(
    "R82, R-H7: a client that upgrades and falls silent is given up pingInterval + pingTimeout later",
    withServer3(heartbeat, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const since = performance.now()
      const upgraded = await upgrade3(server, client.sid)
      await timesOut(server, client.sid, since - 100)
      await upgraded.closed
    })
  )

  it(
    "R82: so is one that pinged over its new transport first",
    withServer3(heartbeat, async (server) => {
      const client = await PlainPollingClient.connect(server)
      const upgraded = await upgrade3(server, client.sid)
      for (let beat = 0; beat < 3; beat++) {
        await pause(200)
        upgraded.send("2")
        assert.strictEqual(await upgraded.next(), "3")
      }
      await timesOut(server, client.sid, performance.now() - 10)
    })
  )
})
