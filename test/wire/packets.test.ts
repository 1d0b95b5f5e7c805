import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Socket } from "../../src/index.ts"
import { PollingClient } from "../kit/http.ts"
import { idle, sink, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

const bytes = (...values: Array<number>) => Uint8Array.from(values)

/** Messages as plain values, so that every kind of byte array compares. */
const plain = (messages: ReadonlyArray<string | Uint8Array>) =>
  messages.map((message) => typeof message === "string" ? message : [...message])

describe("packets on the wire", () => {
  it(
    "R58: a message is its digit and its text, an empty one just the digit",
    withServer({}, async (server) => {
      const polling = await PollingClient.connect(server)
      await polling.post("4hello\x1e4\x1e4€ 😀 \u2028\n\0")
      assert.deepStrictEqual(await polling.messages(3), ["4hello", "4", "4€ 😀 \u2028\n\0"])
      assert.deepStrictEqual(server.messagesOf(polling.sid), ["hello", "", "€ 😀 \u2028\n\0"])
      const webSocket = await WebSocketClient.connect(server)
      for (const frame of ["4hello", "4", "4€ 😀 \u2028\n\0", "4b", "42"]) {
        webSocket.send(frame)
        assert.strictEqual(await webSocket.next(), frame)
      }
    })
  )

  it(
    "R59: over polling a binary message is b and padded base64, over WebSocket its bytes",
    withServer({}, async (server) => {
      const polling = await PollingClient.connect(server)
      await polling.post("4hello\x1ebAQIDBA==\x1e4world")
      assert.deepStrictEqual(await polling.messages(3), ["4hello", "bAQIDBA==", "4world"])
      assert.deepStrictEqual(plain(server.messagesOf(polling.sid)), ["hello", [1, 2, 3, 4], "world"])
      const webSocket = await RawWebSocket.open(server)
      await webSocket.next()
      webSocket.write(Opcode.binary, bytes(1, 2, 3, 4))
      const frame = await webSocket.next()
      assert.strictEqual(frame.opcode, Opcode.binary)
      assert.deepStrictEqual([...frame.payload], [1, 2, 3, 4])
      webSocket.write(Opcode.text, "4text")
      assert.strictEqual((await webSocket.next()).opcode, Opcode.text)
    })
  )

  it(
    "R59: one packet per frame, both ways, and U+001E is an ordinary character there",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4one\x1e4two")
      assert.strictEqual(await webSocket.next(), "4one\x1e4two")
      assert.deepStrictEqual(server.messagesOf(webSocket.sid), ["one\x1e4two"])
    })
  )

  it(
    "R59: text with U+001E is refused while the session polls, for it could forge packets",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const forged = "hello\x1e1"
      const refused = await server.run(Effect.flip(Socket.send(socket, forged)))
      assert.strictEqual(refused._tag, "InvalidMessage")
      const refusedAll = await server.run(Effect.flip(Socket.sendAll(socket, ["fine", forged])))
      assert.strictEqual(refusedAll._tag, "InvalidMessage")
      assert.strictEqual(await server.run(Socket.offer(socket, forged)), false)
      await server.run(Socket.send(socket, bytes(0x1e)))
      await server.run(Socket.send(socket, "last"))
      const packets = await client.messages(2)
      assert.deepStrictEqual(packets.slice(-2), ["bHg==", "4last"])
      assert.isFalse(packets.includes("1"))
    })
  )

  it(
    "R60: base64 is read leniently, b alone is an empty message, and on WebSocket too",
    withServer({ application: sink }, async (server) => {
      const polling = await PollingClient.connect(server)
      await polling.post("bAQIDBA\x1ebAQID\x1eb\x1eb_-8=\x1eb/+8")
      assert.deepStrictEqual(plain(server.messagesOf(polling.sid)), [
        [1, 2, 3, 4],
        [1, 2, 3],
        [],
        [0xff, 0xef],
        [0xff, 0xef]
      ])
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("bAQIDBA==")
      webSocket.send("b")
      webSocket.send(new Uint8Array(0))
      await server.received.reached(8)
      assert.deepStrictEqual(plain(server.messagesOf(webSocket.sid)), [[1, 2, 3, 4], [], []])
      assert.isTrue(server.messagesOf(webSocket.sid).every((message) => typeof message !== "string"))
    })
  )

  it(
    "R60: a frame whose first character is no type ends the session with a parse error",
    withServer({}, async (server) => {
      for (const frame of ["", "7", "9hello", "x", "é", "👍", " 4"]) {
        const webSocket = await WebSocketClient.connect(server)
        webSocket.send(frame)
        assert.strictEqual((await webSocket.closed).code, 1005)
        assert.strictEqual(await server.reasonText(webSocket.sid), "parse error")
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R61: binary messages arrive as bytes that are the application's own",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send(bytes(1, 2, 3))
      webSocket.send(bytes(4, 5, 6))
      await webSocket.frames.take(2)
      const [first, second] = server.messagesOf(webSocket.sid)
      assert.instanceOf(first, Uint8Array)
      assert.deepStrictEqual([...first as Uint8Array], [1, 2, 3])
      ;(first as Uint8Array).fill(0xff)
      assert.deepStrictEqual([...second as Uint8Array], [4, 5, 6])
    })
  )

  it(
    "R61: of a view exactly its bytes are sent",
    withServer({ application: idle }, async (server) => {
      const buffer = bytes(0, 1, 2, 3, 4, 5, 6, 7, 8, 9).buffer
      const views = [
        buffer,
        new Uint8Array(buffer, 2, 3),
        new DataView(buffer, 1, 2),
        new Uint16Array(buffer, 4, 2),
        Buffer.from(buffer, 9, 1),
        new Float32Array(buffer, 4, 0)
      ]
      const expected = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 3, 4], [1, 2], [4, 5, 6, 7], [9], []]
      const polling = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      for (const view of views) {
        await server.run(Socket.send(await server.socket(polling.sid), view))
        await server.run(Socket.send(await server.socket(webSocket.sid), view))
      }
      assert.deepStrictEqual(
        await polling.messages(views.length),
        expected.map((values) => `b${Buffer.from(values).toString("base64")}`)
      )
      const frames = await webSocket.frames.take(views.length)
      assert.deepStrictEqual(plain(frames), expected)
      assert.isTrue(frames.every((frame) => typeof frame !== "string"))
    })
  )

  it(
    "R61: all byte values, and texts of every plane, come back as they were",
    withServer({}, async (server) => {
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      const text = Array.from({ length: 0x500 }, (_, i) => String.fromCodePoint(i * 0xd3 % 0xd800 || 1)).join("") +
        "😀𝒳"
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send(all)
      webSocket.send(`4${text}`)
      assert.deepStrictEqual(plain(await webSocket.frames.take(2)), [[...all], `4${text}`])
      const polling = await PollingClient.connect(server)
      const printable = text.replaceAll("\x1e", "")
      await polling.post(`b${Buffer.from(all).toString("base64")}\x1e4${printable}`)
      assert.deepStrictEqual(await polling.messages(2), [`b${Buffer.from(all).toString("base64")}`, `4${printable}`])
    })
  )

  it(
    "R59: a message of no characters and one of no bytes stay apart",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4")
      webSocket.send(new Uint8Array(0))
      assert.deepStrictEqual(plain(await webSocket.frames.take(2)), ["4", []])
      assert.deepStrictEqual(plain(server.messagesOf(webSocket.sid)), ["", []])
    })
  )
})
