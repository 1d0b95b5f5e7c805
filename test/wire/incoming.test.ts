import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Socket } from "../../src/index.ts"
import { deflateRawSync } from "node:zlib"
import { eventually, pause } from "../kit/events.ts"
import { PollingClient } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { frames, MemoryClient } from "../kit/webTransport.ts"
import { encodeFrame, Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

/** Binary messages as clients send them, each way in as few pieces as it can. */
const ways: Record<string, (server: TestServer, messages: ReadonlyArray<Uint8Array>) => Promise<unknown>> = {
  "polling, revision 4": async (server, messages) => {
    const client = await PollingClient.connect(server)
    // What base64 is not, is skipped.
    await client.post(messages.map((it) => `b${Buffer.from(it).toString("base64")}\n\n\n\n`).join("\x1e"))
  },
  "polling, revision 3": async (server, messages) => {
    const client = await PlainPollingClient.connect(server)
    const entries = messages.map((it) => {
      const length = Buffer.from(String(it.length + 1)).map((digit) => digit - 0x30)
      return Buffer.concat([Uint8Array.of(1), length, Uint8Array.of(255, 4), it])
    })
    await client.post(Buffer.concat(entries))
  },
  "polling, revision 3, base64": async (server, messages) => {
    const client = await PlainPollingClient.connect(server, { b64: "1" })
    const texts = messages.map((it) => `b4${Buffer.from(it).toString("base64")}`)
    await client.post(texts.map((it) => `${it.length}:${it}`).join(""))
  },
  ...Object.fromEntries((["3", "4"] as const).flatMap((EIO) =>
    [false, true].map((compress) => [
      `WebSocket, revision ${EIO}${compress ? ", compressed" : ""}`,
      async (server: TestServer, messages: ReadonlyArray<Uint8Array>) => {
        const headers = compress ? { "Sec-WebSocket-Extensions": "permessage-deflate; client_no_context_takeover" } : {}
        const raw = await RawWebSocket.open(server, { EIO }, { headers })
        const payloads = messages.map((it) => EIO === "3" ? Buffer.concat([Uint8Array.of(4), it]) : it)
        const last = payloads.pop()!
        raw.connection.write(Buffer.concat([
          ...payloads.map((it) =>
            compress
              ? encodeFrame(Opcode.binary, deflateRawSync(it, { finishFlush: 2 }).subarray(0, -4), { rsv: 4 })
              : encodeFrame(Opcode.binary, it)
          ),
          encodeFrame(Opcode.binary, last.subarray(0, 1), { fin: false }),
          encodeFrame(Opcode.continuation, last.subarray(1))
        ]))
      }
    ])
  )),
  WebTransport: async (server, messages) => {
    const [client] = await MemoryClient.open(server)
    const stream = frames(...messages)
    // The last message comes with its header in another chunk.
    const cut = stream.length - messages.at(-1)!.length
    await client.write(stream.slice(0, cut))
    await client.write(stream.slice(cut))
  }
}

describe("incoming packets", () => {
  it(
    "R62: a ping from a client of revision 4 ends the session",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("2")
      assert.strictEqual((await webSocket.closed).code, 1005)
      const polling = await PollingClient.connect(server)
      const poll = await polling.park()
      assert.strictEqual((await polling.post("4before\x1e2\x1e4after")).status, 400)
      assert.isTrue((await poll.response).text.endsWith("1"))
      for (const { sid } of [webSocket, polling]) {
        const reason = await server.reason(sid)
        assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "InvalidHeartbeat")
        assert.strictEqual(await server.reasonText(sid), "transport error")
      }
      assert.deepStrictEqual(server.messagesOf(polling.sid), ["before"])
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R62: open, upgrade and noop are ignored",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const polling = await PollingClient.connect(server)
      for (const packet of ["0", "0{\"sid\":\"x\"}", "5", "5x", "6", "6x"]) {
        webSocket.send(packet)
        assert.strictEqual((await polling.post(packet)).text, "ok")
      }
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
      await polling.post("4hello")
      assert.deepStrictEqual(await polling.poll(), ["4hello"])
      assert.strictEqual(server.received.all.length, 2)
      assert.isFalse(await server.run(Socket.upgraded(await server.socket(webSocket.sid))))
    })
  )

  it(
    "R62: a message reaches the application as text or bytes",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4text")
      webSocket.send(Buffer.from([1, 2]))
      await webSocket.frames.take(2)
      const [text, bytes] = server.messagesOf(webSocket.sid)
      assert.strictEqual(text, "text")
      assert.instanceOf(bytes, Uint8Array)
    })
  )

  for (const [way, send] of Object.entries(ways)) {
    it(
      `R62: bytes that arrive are a plain Uint8Array with memory of their own: ${way}`,
      withServer({
        application: sink,
        allowEIO3: true,
        transports: ["polling", "websocket", "webtransport"],
        perMessageDeflate: true
      }, async (server) => {
        const messages = [3, 63, 64, 65, 700, 5_000, 64 * 1024].map((length) =>
          Uint8Array.from({ length }, (_, index) => index * length)
        )
        await send(server, messages)
        const received = await server.received.take(messages.length)
        assert.deepStrictEqual(received.map((it) => it.message), messages)
        for (const { message } of received) {
          const { buffer, byteLength, byteOffset } = message as Uint8Array
          assert.strictEqual(Object.getPrototypeOf(message), Uint8Array.prototype)
          assert.deepStrictEqual([byteOffset, buffer.byteLength], [0, byteLength])
          structuredClone(message, { transfer: [buffer as ArrayBuffer] })
        }
      })
    )
  }

  it(
    "R62: what is no packet ends the session with a parse error that says why",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4before")
      webSocket.send("xyz")
      webSocket.send("4after")
      await webSocket.closed
      const reason = await server.reason(webSocket.sid)
      assert.strictEqual(reason._tag, "ParseError")
      assert.strictEqual(reason._tag === "ParseError" ? reason.error._tag : "", "PacketError")
      assert.deepStrictEqual(server.messagesOf(webSocket.sid), ["before"])
      const polling = await PollingClient.connect(server)
      await polling.post("")
      const other = await server.reason(polling.sid)
      assert.strictEqual(other._tag === "ParseError" ? other.error._tag : "", "PayloadError")
    })
  )

  it(
    "R63: what comes while the session is closing is dropped",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("4before")
      const socket = await server.socket(client.sid)
      await server.run(Socket.close(socket))
      assert.strictEqual(await server.run(Socket.state(socket)), "closing")
      const late = await client.post("4late")
      assert.include([200, 400], late.status)
      assert.deepStrictEqual((await client.poll()).at(-1), "1")
      await server.reason(client.sid)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["before"])
    })
  )

  it(
    "R63: what had arrived before the client left is not dropped",
    withServer({ application: sink }, async (server) => {
      for (let i = 0; i < 20; i++) {
        const webSocket = await WebSocketClient.connect(server)
        for (let n = 0; n < 20; n++) webSocket.send(`4${n}`)
        webSocket.close()
        await server.reason(webSocket.sid)
        assert.deepStrictEqual(server.messagesOf(webSocket.sid), Array.from({ length: 20 }, (_, n) => `${n}`))
      }
    })
  )

  it(
    "R62: receive takes one message, receiveAll all that are there, messages streams them",
    withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      const first = server.run(Socket.receive(socket))
      webSocket.send("41")
      assert.strictEqual(await first, "1")
      for (const n of [2, 3, 4]) webSocket.send(`4${n}`)
      const packets: Array<string> = []
      while (packets.length < 3) packets.push(...(await server.run(Socket.receiveAll(socket))) as Array<string>)
      assert.deepStrictEqual(packets, ["2", "3", "4"])
      const streamed = await server.collect("a message", Socket.messages(socket))
      webSocket.send("45")
      assert.strictEqual(await streamed.next(), "5")
    })
  )

  it(
    "R62: an interrupted receive takes nothing",
    withServer({ application: idle }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      const waiting = Effect.runFork(Socket.receive(socket))
      await Effect.runPromise(Fiber.interrupt(waiting))
      webSocket.send("4kept")
      assert.strictEqual(await server.run(Socket.receive(socket)), "kept")
    })
  )

  it("R62: a slow application pauses the WebSocket and loses nothing", async () => {
    await withServer({ application: idle, receiveBuffer: { messages: 4 } }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      const payload = "x".repeat(50_000)
      for (let n = 0; n < 800; n++) webSocket.send(`4${n} ${payload}`)
      let unsent = -1
      await eventually("a pause", async () => {
        const before = unsent
        unsent = webSocket.socket.bufferedAmount
        await pause(50)
        return before === unsent
      }, (stable) => stable)
      assert.isAbove(unsent, 20_000_000)
      for (let n = 0; n < 800; n++) {
        assert.strictEqual(await server.run(Socket.receive(socket)), `${n} ${payload}`)
      }
      assert.strictEqual(await server.count(), 1)
    })()
  })

  it(
    "R62: while reading is paused by the server, a pong it holds back is not missed",
    withServer(
      { application: idle, receiveBuffer: { messages: 4 }, pingInterval: 100, pingTimeout: 100 },
      async (server) => {
        const webSocket = await WebSocketClient.connect(server)
        const socket = await server.socket(webSocket.sid)
        webSocket.socket.on("message", (data: Buffer) => {
          if (data.toString() === "2") webSocket.send("3")
        })
        for (let n = 0; n < 100; n++) webSocket.send(`4${n} ${"x".repeat(20_000)}`)
        await webSocket.frames.find((frame) => frame === "2")
        await pause(400)
        assert.strictEqual(await server.count(), 1)
        for (let n = 0; n < 100; n++) assert.match(String(await server.run(Socket.receive(socket))), /^\d+ x/)
        const pings = webSocket.frames.all.length
        await webSocket.frames.reached(pings + 2)
        assert.strictEqual(await server.count(), 1)
      }
    )
  )
})
