import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Socket as TcpSocket } from "node:net"
import { duplexPair, Writable } from "node:stream"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { eventually, Mailbox, pending } from "../kit/events.ts"
import { encodeRequest, engineTarget, PollingClient } from "../kit/http.ts"
import { idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { isReadingPaused } from "../kit/session.ts"
import { encodeFrame, Opcode, RawWebSocket, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

/** A session on a WebSocket whose frames are made by hand. */
const connect = async (
  server: TestServer,
  headers: Readonly<Record<string, string>> = {}
): Promise<{ readonly raw: RawWebSocket; readonly sid: string }> => {
  const raw = await RawWebSocket.open(server, {}, { headers })
  const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
  return { raw, sid }
}

const transportError = async (server: TestServer, sid: string): Promise<CloseReason.TransportFailure> => {
  const reason = await server.reason(sid)
  assert.strictEqual(reason._tag, "TransportError")
  return (reason as CloseReason.TransportError).error
}

/** Whether the server closed with `code` for breaking the WebSocket protocol. */
const isProtocolError = async (server: TestServer, session: { raw: RawWebSocket; sid: string }, code: number) => {
  assert.strictEqual(await session.raw.closeCode(), code)
  const error = await transportError(server, session.sid)
  assert.strictEqual(error._tag, "WebSocketProtocol")
  if (error._tag === "WebSocketProtocol") assert.strictEqual(error.code, code)
}

describe("WebSocket", () => {
  it(
    "R70: a message of exactly maxPayload bytes is accepted",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const messages = [`4${"x".repeat(999)}`, `4${"€".repeat(333)}`, Buffer.alloc(1_000, 7)]
      for (const message of messages) client.send(message)
      assert.deepStrictEqual(await client.frames.take(3), messages)
    })
  )

  it(
    "R70: one byte more is closed with 1009 and ends the session",
    withServer({ maxPayload: 1_000 }, async (server) => {
      for (const message of [`4${"x".repeat(1_000)}`, `4${"€".repeat(334)}`, Buffer.alloc(1_001, 7)]) {
        const client = await WebSocketClient.connect(server)
        client.send(message)
        assert.strictEqual((await client.closed).code, 1009)
        const error = await transportError(server, client.sid)
        assert.strictEqual(error._tag, "PayloadTooLarge")
        assert.strictEqual("limit" in error ? error.limit : undefined, 1_000)
        assert.include(error.message, "Max payload size exceeded")
        assert.strictEqual(await server.reasonText(client.sid), "transport error")
      }
      assert.deepStrictEqual(server.received.all, [])
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R70: the announced length is enough to refuse a message",
    withServer({ maxPayload: 1_000 }, async (server) => {
      for (const length of [1_001, 70_000, 2 ** 40]) {
        const { raw, sid } = await connect(server)
        raw.write(Opcode.text, "4hel", { length })
        assert.strictEqual(await raw.closeCode(), 1009)
        assert.strictEqual((await transportError(server, sid))._tag, "PayloadTooLarge")
      }
    })
  )

  it(
    "R70: the fragments of a message count together",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const { raw, sid } = await connect(server)
      raw.write(Opcode.text, `4${"x".repeat(599)}`, { fin: false })
      raw.write(Opcode.ping, "between")
      raw.write(Opcode.continuation, "y".repeat(400))
      assert.strictEqual((await raw.next()).opcode, Opcode.pong)
      assert.strictEqual((await raw.next()).payload.toString(), `4${"x".repeat(599)}${"y".repeat(400)}`)
      raw.write(Opcode.text, `4${"x".repeat(599)}`, { fin: false })
      raw.write(Opcode.continuation, "y".repeat(401))
      assert.strictEqual(await raw.closeCode(), 1009)
      assert.strictEqual((await transportError(server, sid))._tag, "PayloadTooLarge")
    })
  )

  it(
    "R70: text that is no UTF-8 is closed with 1007",
    withServer({}, async (server) => {
      for (const bad of [[0x34, 0xff], [0x34, 0xc0, 0xaf], [0x34, 0xed, 0xa0, 0x80], [0x34, 0xe2, 0x82]]) {
        const session = await connect(server)
        session.raw.write(Opcode.text, Uint8Array.from(bad))
        await isProtocolError(server, session, 1007)
      }
      assert.deepStrictEqual(server.received.all, [])
    })
  )

  it(
    "R70: a character may be cut between two fragments",
    withServer({}, async (server) => {
      const { raw } = await connect(server)
      const text = Buffer.from("4€😀")
      for (let cut = 1; cut < text.length; cut++) {
        raw.write(Opcode.text, text.subarray(0, cut), { fin: false })
        raw.write(Opcode.continuation, text.subarray(cut))
        assert.strictEqual((await raw.next()).payload.toString(), "4€😀")
      }
    })
  )

  it(
    "R70: what breaks the protocol is closed with 1002",
    withServer({}, async (server) => {
      const breaches: ReadonlyArray<readonly [name: string, frames: ReadonlyArray<Buffer>]> = [
        ["a reserved bit", [encodeFrame(Opcode.text, "4x", { rsv: 1 })]],
        ["the bit of a compression that was not agreed", [encodeFrame(Opcode.text, "4x", { rsv: 4 })]],
        ["no mask", [encodeFrame(Opcode.text, "4x", { masked: false })]],
        ["an unknown data frame", [encodeFrame(3, "4x")]],
        ["an unknown control frame", [encodeFrame(11, "")]],
        ["a continuation of nothing", [encodeFrame(Opcode.continuation, "4x")]],
        ["a new message within one", [encodeFrame(Opcode.text, "4x", { fin: false }), encodeFrame(Opcode.text, "4y")]],
        ["a control frame in fragments", [encodeFrame(Opcode.ping, "x", { fin: false })]],
        ["a long control frame", [encodeFrame(Opcode.ping, "x".repeat(126))]],
        ["a close frame with half a status", [encodeFrame(Opcode.close, "x")]],
        ["a close status that may not be sent", [encodeFrame(Opcode.close, Uint8Array.from([0x03, 0xed]))]]
      ]
      for (const [name, frames] of breaches) {
        const session = await connect(server)
        session.raw.connection.write(Buffer.concat(frames))
        assert.strictEqual(await session.raw.closeCode(), 1002, name)
        await isProtocolError(server, session, 1002)
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R70: a message in more than 131 072 fragments is closed with 1008",
    withServer({}, async (server) => {
      const session = await connect(server)
      const fragment = encodeFrame(Opcode.continuation, "x", { fin: false })
      session.raw.write(Opcode.text, "4", { fin: false })
      for (let i = 0; i < 8; i++) {
        session.raw.connection.write(Buffer.concat(Array.from({ length: 20_000 }, () => fragment)))
      }
      await isProtocolError(server, session, 1008)
      await WebSocketClient.connect(server)
    })
  )

  it(
    "R71: a close frame ends the session with transport close, and its status and reason are kept",
    withServer({}, async (server) => {
      for (const [code, reason] of [[1000, "done"], [4001, "see you"], [1001, ""]] as const) {
        const client = await WebSocketClient.connect(server)
        await client.close(code, reason)
        const ended = await server.reason(client.sid)
        assert.deepInclude(ended, { _tag: "TransportClose", code })
        assert.strictEqual((ended as CloseReason.TransportClose).reason ?? "", reason)
        assert.strictEqual(await server.reasonText(client.sid), "transport close")
      }
    })
  )

  it(
    "R71: so does one without a status, and it is answered",
    withServer({}, async (server) => {
      const { raw, sid } = await connect(server)
      raw.write(Opcode.close)
      assert.strictEqual((await raw.next()).opcode, Opcode.close)
      assert.strictEqual(await server.reasonText(sid), "transport close")
      await raw.closed
    })
  )

  it(
    "R71: so does the loss of the connection without a close frame",
    withServer({}, async (server) => {
      for (const leave of ["close", "reset"] as const) {
        const { raw, sid } = await connect(server)
        await raw.connection[leave]()
        assert.strictEqual(await server.reasonText(sid), "transport close")
      }
      const half = await connect(server)
      half.raw.connection.socket.end()
      assert.strictEqual(await server.reasonText(half.sid), "transport close")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R71: what came before the close frame reaches the application",
    withServer({ application: sink }, async (server) => {
      const { raw, sid } = await connect(server)
      raw.connection.write(Buffer.concat([
        ...Array.from({ length: 50 }, (_, i) => encodeFrame(Opcode.text, `4${i}`)),
        encodeFrame(Opcode.close, Uint8Array.from([0x03, 0xe8]))
      ]))
      assert.strictEqual(await server.reasonText(sid), "transport close")
      assert.deepStrictEqual(server.messagesOf(sid), Array.from({ length: 50 }, (_, i) => `${i}`))
    })
  )

  for (const perMessageDeflate of [false, true]) {
    const headers = perMessageDeflate ? { "Sec-WebSocket-Extensions": "permessage-deflate" } : {}
    const kind = perMessageDeflate ? "deflated" : "plain"

    it(
      `R71: a close frame, or the end of the peer's half, is the end though the connection stays, ${kind}`,
      withServer({ application: sink, closeTimeout: 60_000, perMessageDeflate }, async (server) => {
        const leaves: ReadonlyArray<readonly [leave: (raw: RawWebSocket) => void, reason: CloseReason.TransportClose]> =
          [
            [(raw) => raw.write(Opcode.close, Buffer.from("\x0f\xa1bye", "latin1")), {
              _tag: "TransportClose",
              code: 4001,
              reason: "bye"
            }],
            [(raw) => raw.write(Opcode.close), { _tag: "TransportClose" }],
            [(raw) => raw.connection.socket.end(), { _tag: "TransportClose" }]
          ]
        for (const [leave, reason] of leaves) {
          const { raw, sid } = await connect(server, headers)
          const socket = await server.socket(sid)
          raw.connection.socket.pause()
          raw.write(Opcode.text, "4last words")
          leave(raw)
          assert.deepStrictEqual(await server.reason(sid), reason)
          assert.deepStrictEqual(server.messagesOf(sid), ["last words"])
          assert.strictEqual((await server.run(Effect.flip(Socket.send(socket, "too late"))))._tag, "SocketClosed")
          assert.strictEqual(await server.count(), 0)
          assert.isTrue(await pending(raw.closed))
          raw.connection.socket.resume()
          await raw.closed
        }
      })
    )

    it(
      `R71: what came before either reaches the application, however much, ${kind}`,
      withServer({ application: sink, perMessageDeflate, receiveBuffer: { messages: 100 } }, async (server) => {
        const messages = Array.from({ length: 5_000 }, (_, i) => `${i}`)
        for (const leave of ["frame", "end"] as const) {
          const { raw, sid } = await connect(server, headers)
          raw.connection.write(Buffer.concat(messages.map((message) => encodeFrame(Opcode.text, `4${message}`))))
          if (leave === "frame") raw.write(Opcode.close)
          else raw.connection.socket.end()
          assert.strictEqual(await server.reasonText(sid), "transport close")
          assert.deepStrictEqual(server.messagesOf(sid), messages)
        }
      })
    )

    it(
      `R72: a peer that has closed and reads nothing is cut off after closeTimeout, ${kind}`,
      withServer({ application: idle, closeTimeout: 100, perMessageDeflate }, async (server) => {
        const sockets: Array<TcpSocket> = []
        server.http.on("connection", (socket: TcpSocket) => sockets.push(socket))
        for (const leave of ["frame", "end"] as const) {
          const { raw, sid } = await connect(server, headers)
          const connection = sockets.at(-1)!
          const socket = await server.socket(sid)
          raw.connection.socket.pause()
          while (connection.writableLength === 0) {
            await server.run(Socket.offer(socket, randomBytes(1_000_000)))
            await server.barrier()
          }
          if (leave === "frame") raw.write(Opcode.close)
          else raw.connection.socket.end()
          await eventually("the end of the connection", () => connection.destroyed, (destroyed) => destroyed)
        }
      })
    )
  }

  it(
    "R72: the server closes with a frame that has no status, and the session is over at once",
    withServer({ application: idle, closeTimeout: 60_000 }, async (server) => {
      const { raw, sid } = await connect(server)
      await server.run(Socket.close(await server.socket(sid)))
      assert.strictEqual(await server.reasonText(sid), "forced close")
      assert.strictEqual(await server.count(), 0)
      assert.isUndefined(await raw.closeCode())
      assert.isTrue(await pending(raw.closed))
      raw.write(Opcode.close)
      await raw.closed
    })
  )

  it(
    "R72: a peer that does not answer the close frame is cut off after closeTimeout",
    withServer({ application: idle, closeTimeout: 100 }, async (server) => {
      const { raw, sid } = await connect(server)
      const started = performance.now()
      await server.run(Socket.close(await server.socket(sid)))
      await raw.closeCode()
      assert.isTrue(await pending(raw.closed))
      await raw.closed
      assert.isAtLeast(performance.now() - started, 95)
    })
  )

  it(
    "R73: what is sent together goes out together, in order",
    withServer({ application: idle }, async (server) => {
      const { raw, sid } = await connect(server)
      const socket = await server.socket(sid)
      const messages = Array.from({ length: 100 }, (_, i) => i % 3 === 0 ? Uint8Array.from([i]) : `text ${i}`)
      const chunks = raw.connection.upgraded.all.length
      await server.run(Effect.forEach(messages, (message) => Socket.send(socket, message), { discard: true }))
      for (const message of messages) {
        const frame = await raw.next()
        if (typeof message === "string") assert.strictEqual(frame.payload.toString(), `4${message}`)
        else assert.deepStrictEqual([...frame.payload], [...message])
      }
      assert.isBelow(raw.connection.upgraded.all.length - chunks, 50)
    })
  )

  it(
    "R73: a connection that is lost while much waits to be written ends the session",
    withServer({ application: idle }, async (server) => {
      const { raw, sid } = await connect(server)
      const socket = await server.socket(sid)
      raw.connection.socket.pause()
      const large = Buffer.alloc(1_000_000, 7)
      while (await server.run(Socket.offer(socket, large))) { /* until the send buffer is full */ }
      await raw.connection.reset()
      assert.include(["transport close", "transport error"], await server.reasonText(sid))
      assert.strictEqual(await server.count(), 0)
      const refused = await server.run(Effect.flip(Socket.send(socket, "too late")))
      assert.strictEqual(refused._tag, "SocketClosed")
    })
  )

  it(
    "R74: a WebSocket ping is answered with its payload",
    withServer({}, async (server) => {
      const { raw } = await connect(server)
      raw.write(Opcode.ping, "are you there?")
      const frame = await raw.next()
      assert.strictEqual(frame.opcode, Opcode.pong)
      assert.strictEqual(frame.payload.toString(), "are you there?")
      raw.write(Opcode.pong, "unasked")
      raw.write(Opcode.text, "4hello")
      assert.strictEqual((await raw.next()).payload.toString(), "4hello")
    })
  )

  it(
    "R74: of pings that come while nothing can be written, the last is answered",
    withServer({ application: idle }, async (server) => {
      const { raw, sid } = await connect(server)
      const socket = await server.socket(sid)
      raw.connection.socket.pause()
      while (await server.run(Socket.offer(socket, Buffer.alloc(1_000_000)))) { /* until the send buffer is full */ }
      const pings = Array.from({ length: 1_000 }, (_, i) => encodeFrame(Opcode.ping, `${i}`))
      raw.connection.write(Buffer.concat([...pings, encodeFrame(Opcode.text, "4all sent")]))
      await server.run(Socket.receive(socket))
      raw.connection.socket.resume()
      const pong = await raw.frames.find((frame) => frame.opcode === Opcode.pong, "a pong")
      assert.strictEqual(pong.payload.toString(), "999")
      raw.write(Opcode.ping, "again")
      await raw.frames.find((frame) => frame.payload.toString() === "again", "the last pong")
      assert.lengthOf(raw.frames.all.filter((frame) => frame.opcode === Opcode.pong), 2)
    })
  )

  for (const perMessageDeflate of [true, false]) {
    it(
      `R72: a peer is let go at once though nobody took its messages, ${perMessageDeflate ? "deflated" : "plain"}`,
      withServer({
        application: idle,
        receiveBuffer: { messages: 1 },
        closeTimeout: 60_000,
        perMessageDeflate
      }, async (server) => {
        const client = await WebSocketClient.open(server, {}, { perMessageDeflate })
        await client.next()
        const [socket] = (await server.run(EngineIO.sockets)).values()
        for (let i = 0; i < 500; i++) client.send(`4${"x".repeat(1_000)}`)
        await eventually("the limit", () => socket !== undefined && isReadingPaused(socket), (it) => it)
        await server.run(Socket.close(socket!))
        await client.closed
      })
    )
  }

  it(
    "R74: WebSocket pings and pongs are no sign of life",
    withServer({ pingInterval: 100, pingTimeout: 100 }, async (server) => {
      const { raw, sid } = await connect(server)
      const busy = setInterval(() => {
        raw.write(Opcode.ping, "x")
        raw.write(Opcode.pong, "x")
      }, 10)
      try {
        assert.strictEqual(await server.reasonText(sid), "ping timeout")
      } finally {
        clearInterval(busy)
      }
    })
  )

  it("R75: the connection is without delay and without idle timeout", async () => {
    await withServer({}, async (server) => {
      const sockets: Array<TcpSocket> = []
      server.http.on("connection", (socket: TcpSocket) => sockets.push(socket))
      server.http.setTimeout(60_000)
      await WebSocketClient.connect(server)
      const socket = sockets[0]!
      assert.strictEqual(socket.timeout ?? 0, 0)
      const noDelay = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === "kSetNoDelay")
      assert.isDefined(noDelay)
      assert.strictEqual((socket as unknown as Record<symbol, unknown>)[noDelay], true)
    })()
  })

  it(
    "R62: a close packet over WebSocket ends the session at once",
    withServer({}, async (server) => {
      const client = await WebSocketClient.connect(server)
      client.send("4hello")
      client.send("1")
      assert.strictEqual((await client.closed).code, 1005)
      assert.strictEqual(await server.reasonText(client.sid), "transport close")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["hello"])
    })
  )

  it(
    "R84: frames after the end are ignored",
    withServer({ application: sink, closeTimeout: 60_000 }, async (server) => {
      const { raw, sid } = await connect(server)
      await server.run(Socket.close(await server.socket(sid)))
      await raw.closeCode()
      for (let i = 0; i < 10; i++) raw.write(Opcode.text, `4late ${i}`)
      raw.write(Opcode.text, "9nonsense")
      raw.write(Opcode.close)
      await raw.closed
      await eventually("the end of the connection", () => server.count(), (count) => count === 0)
      assert.deepStrictEqual(server.received.all, [])
      assert.strictEqual(server.ended.all.length, 1)
      await PollingClient.connect(server)
    })
  )

  for (const attached of [true, false]) {
    it(
      `after a close frame nothing is written, ${attached ? "attached" : "on a router"}`,
      withServer({ attached }, async (server) => {
        const { raw, sid } = await connect(server)
        const frames = [
          encodeFrame(Opcode.text, "4a"),
          encodeFrame(Opcode.text, "4b"),
          encodeFrame(Opcode.close, Uint8Array.of(3, 232))
        ]
        raw.connection.write(Buffer.concat(frames))
        assert.strictEqual(await raw.closeCode(), 1000)
        await raw.closed
        assert.strictEqual(raw.frames.all.at(-1)?.opcode, Opcode.close)
        // They were taken by the application all the same.
        await server.reason(sid)
        assert.deepStrictEqual(server.messagesOf(sid), ["a", "b"])
      })
    )
  }
})

describe("memory of what arrives", () => {
  /** The chunks that the connections to come will read. */
  const keepChunks = (server: TestServer): Array<Buffer> => {
    const chunks: Array<Buffer> = []
    server.http.on("connection", (socket: TcpSocket) => {
      const { push } = socket
      socket.push = (chunk: Buffer | null) => {
        if (chunk !== null) chunks.push(chunk)
        return push.call(socket, chunk)
      }
    })
    return chunks
  }

  const large = Buffer.alloc(300_000, 7)

  for (const [kind, message] of [["bytes", large], ["text", `4${large.toString("latin1")}`]] as const) {
    it(
      `is given back at once where nobody needs it: large messages of ${kind}`,
      withServer({}, async (server) => {
        const chunks = keepChunks(server)
        const client = await WebSocketClient.connect(server)
        for (let i = 0; i < 3; i++) client.send(message)
        assert.deepStrictEqual(await client.frames.take(3), [message, message, message])
        const sizes = chunks.map(({ buffer, length }) => ({ isGivenBack: length === 0, size: buffer.byteLength }))
        assert.isAbove(sizes.filter(({ isGivenBack }) => isGivenBack).length, 5)
        assert.isEmpty(sizes.filter(({ size }) => size >= 16 * 1024))
      })
    )
  }

  type Hear = (chunk: Buffer) => void

  const ways: Readonly<Record<string, (socket: TcpSocket, hear: Hear) => unknown>> = {
    "who listen to the connection too": (socket, hear) => socket.on("data", hear),
    "who listened to it once": (socket, hear) => socket.once("data", hear),
    "who pipe it on": (socket, hear) =>
      socket.pipe(new Writable({ write: (chunk: Buffer, _, done) => (hear(chunk), done()) })),
    "who read it by hand": (socket, hear) =>
      socket.on("readable", () => {
        for (let chunk: unknown; (chunk = socket.read()) !== null;) hear(chunk as Buffer)
      })
  }

  for (const [who, listen] of Object.entries(ways)) {
    for (const isEarly of [true, false]) {
      it(
        `stays as it came with those ${who}, ${isEarly ? "before the server does" : "from some time on"}`,
        withServer({}, async (server) => {
          const heard: Array<Buffer> = []
          const hear: Hear = (chunk) => void heard.push(chunk)
          const opened = Promise.withResolvers<TcpSocket>()
          server.http.prependListener("upgrade", ({ socket }: IncomingMessage) => {
            if (isEarly) listen(socket, hear)
            opened.resolve(socket)
          })
          const { raw } = await connect(server)
          if (!isEarly) listen(await opened.promise, hear)
          const sent = Buffer.concat([
            encodeFrame(Opcode.text, "4a text in one chunk"),
            encodeFrame(Opcode.ping, "a ping"),
            encodeFrame(Opcode.binary, large.subarray(0, 1_000)),
            encodeFrame(Opcode.text, `4${large.toString("latin1")}`),
            encodeFrame(Opcode.binary, large)
          ])
          raw.connection.write(sent)
          await raw.frames.find(({ payload }) => payload.equals(large), "the last echo")
          const seen = Buffer.concat(heard)
          assert.isAbove(seen.length, 0)
          assert.isTrue(seen.equals(sent.subarray(0, seen.length)), "the bytes were changed")
          if (!who.includes("once")) assert.strictEqual(seen.length, sent.length)
        })
      )
    }
  }

  it(
    "stays as it came with who reads by hand what the server does not read yet",
    withServer({ application: idle, receiveBuffer: { messages: 1 } }, async (server) => {
      const opened = Promise.withResolvers<TcpSocket>()
      server.http.prependListener("upgrade", ({ socket }: IncomingMessage) => opened.resolve(socket))
      const { raw, sid } = await connect(server)
      const socket = await opened.promise
      raw.write(Opcode.text, "4one")
      raw.write(Opcode.text, "4two")
      await eventually("the limit", () => socket.isPaused(), (it) => it)
      const sent = encodeFrame(Opcode.binary, large)
      raw.connection.write(sent)
      const seen = await eventually("what waits", () => socket.read() as Buffer | null, (it) => it !== null)
      await server.run(Socket.close(await server.socket(sid)))
      raw.write(Opcode.close)
      await raw.closed
      assert.isTrue(seen!.length > 0 && seen!.equals(sent.subarray(0, seen!.length)))
    })
  )

  it(
    "stays with whoever gave it to a connection that is no TCP socket",
    withServer({}, async (server) => {
      const [near, far] = duplexPair()
      server.http.emit("connection", far)
      const arrived = new Mailbox<Buffer>("what the server wrote")
      near.on("data", (chunk: Buffer) => arrived.put(chunk))
      const url = engineTarget({ EIO: "4", transport: "websocket" })
      near.write(encodeRequest("GET", url, { headers: upgradeHeaders() }))
      await arrived.find((chunk) => chunk.includes("\"sid\""), "the open packet")
      // Memory of its own, as large pieces have.
      const frame = Buffer.from(Uint8Array.from(encodeFrame(Opcode.text, `4${"x".repeat(20_000)}`)).buffer)
      near.write(frame)
      await arrived.find((chunk) => chunk.includes("x".repeat(20_000)), "the echo")
      assert.isAbove(frame.length, 20_000)
      near.end(encodeFrame(Opcode.close, ""))
      await server.ended.reached(1)
    })
  )
})
