import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { brotliDecompressSync, deflateRawSync, gunzipSync, inflateRawSync, inflateSync } from "node:zlib"
import { WebSocket } from "ws"
import { EngineIO, Socket } from "../../src/index.ts"
import { pause, within } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient, type Response } from "../kit/http.ts"
import { idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

const text = "the same words again and again, ".repeat(100)

/** The answer to a poll for messages that are sent first. */
const poll = async (
  server: TestServer,
  acceptEncoding: string | undefined,
  ...messages: ReadonlyArray<readonly [Socket.Sendable, Socket.SendOptions?]>
): Promise<Response> => {
  const client = await PollingClient.connect(server)
  const socket = await server.socket(client.sid)
  for (const [message, options] of messages) await server.run(Socket.send(socket, message, options))
  return client.get(acceptEncoding === undefined ? {} : { headers: { "Accept-Encoding": acceptEncoding } })
}

const decode = (response: Response): string => {
  assert.strictEqual(response.header("content-length"), String(response.body.length))
  switch (response.header("content-encoding")) {
    case "gzip":
      return gunzipSync(response.body).toString()
    case "deflate":
      // Wrapped in zlib's header, as HTTP wants it, not raw.
      return inflateSync(response.body).toString()
    case "br":
      return brotliDecompressSync(response.body).toString()
    default:
      return response.text
  }
}

describe("httpCompression", () => {
  it(
    "R52: gzip, deflate and brotli, by what the client prefers; ties go to what it names first",
    withServer({ application: idle }, async (server) => {
      const cases: ReadonlyArray<readonly [accepts: string | undefined, encoding: string | undefined]> = [
        [undefined, undefined],
        ["", undefined],
        ["identity", undefined],
        ["compress, zstd", undefined],
        ["gzip", "gzip"],
        ["deflate", "deflate"],
        ["br", "br"],
        ["GZIP", "gzip"],
        ["gzip, deflate, br", "gzip"],
        ["deflate, gzip", "deflate"],
        ["br, gzip", "br"],
        ["gzip;q=0.5, br;q=0.8", "br"],
        ["gzip;q=0.5, deflate;q=0.6, br;q=0.1", "deflate"],
        ["gzip;q=0", undefined],
        ["gzip;q=0, deflate", "deflate"],
        ["gzip;q=0, *", "deflate"],
        ["*", "gzip"],
        ["*;q=0", undefined],
        ["gzip;q=0.5, identity", undefined],
        ["gzip;q=nonsense, ,;", undefined],
        ["xgzip", undefined]
      ]
      for (const [accepts, encoding] of cases) {
        const response = await poll(server, accepts, [text])
        assert.strictEqual(response.header("content-encoding"), encoding, accepts)
        assert.strictEqual(decode(response), `4${text}`)
        if (encoding !== undefined) assert.isBelow(response.body.length, 500)
        assert.strictEqual(response.header("content-type"), "text/plain; charset=UTF-8")
        assert.strictEqual(response.header("cache-control"), "no-store")
      }
    })
  )

  it(
    "R52: by default from 1024 bytes on, counted as UTF-8",
    withServer({ application: idle }, async (server) => {
      for (const [message, encoding] of [["x".repeat(1_022), undefined], ["x".repeat(1_023), "gzip"]] as const) {
        assert.strictEqual((await poll(server, "gzip", [message])).header("content-encoding"), encoding)
      }
      assert.strictEqual((await poll(server, "gzip", ["€".repeat(341)])).header("content-encoding"), "gzip")
      assert.strictEqual((await poll(server, "gzip", ["€".repeat(340)])).header("content-encoding"), undefined)
    })
  )

  it(
    "R52: the threshold can be set",
    withServer({ application: idle, httpCompression: { threshold: 10 } }, async (server) => {
      assert.strictEqual((await poll(server, "gzip", ["123456789"])).header("content-encoding"), "gzip")
      assert.strictEqual((await poll(server, "gzip", ["12345678"])).header("content-encoding"), undefined)
    })
  )

  it("R52: true is the default, false turns it off", async () => {
    for (const [httpCompression, encoding] of [[true, "gzip"], [false, undefined]] as const) {
      await withServer({ application: idle, httpCompression }, async (server) => {
        assert.strictEqual((await poll(server, "gzip", [text])).header("content-encoding"), encoding)
      })()
    }
  })

  it(
    "R52: a payload is compressed if any of its packets may be",
    withServer({ application: idle }, async (server) => {
      const refusing = { compress: false }
      assert.strictEqual((await poll(server, "gzip", [text, refusing])).header("content-encoding"), undefined)
      const mixed = await poll(server, "gzip", [text, refusing], ["small"])
      assert.strictEqual(mixed.header("content-encoding"), "gzip")
      assert.strictEqual(decode(mixed), `4${text}\x1e4small`)
      const client = await PollingClient.connect(server)
      await server.run(EngineIO.broadcast(text, { compress: false }))
      const broadcast = await client.get({ headers: { "Accept-Encoding": "gzip" } })
      assert.strictEqual(broadcast.header("content-encoding"), undefined)
    })
  )

  it(
    "R52: noop and close by themselves are never compressed, nor are answers to posts, nor refusals",
    withServer({ application: sink, httpCompression: { threshold: 0 } }, async (server) => {
      const headers = { "Accept-Encoding": "gzip" }
      const handshake = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling" }), { headers })
      assert.strictEqual(handshake.header("content-encoding"), "gzip")
      const client = await PollingClient.connect(server)
      const parked = await client.park({ headers })
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      const noop = await parked.response
      assert.strictEqual(noop.text, "6")
      const post = await client.post("4hello", { ...headers, "Content-Type": "text/plain" })
      assert.strictEqual(post.text, "ok")
      await server.run(Socket.close(await server.socket(client.sid)))
      const close = await client.get({ headers })
      assert.strictEqual(close.text, "6\x1e1")
      const refusal = await client.get({ headers })
      assert.strictEqual(refusal.status, 400)
      for (const response of [noop, post, close, refusal]) {
        assert.strictEqual(response.header("content-encoding"), undefined)
      }
    })
  )

  it(
    "R52: what is being compressed when its client gives up ends the session instead of being lost unnoticed",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const events = await server.collect("an event", Socket.events(socket))
      const { connection } = await client.park({ headers: { "Accept-Encoding": "gzip" } })
      const large = randomBytes(6_000_000).toString("latin1").replaceAll("\x1e", "")
      await server.run(Socket.send(socket, large))
      await events.find((event) => event._tag === "Flushed")
      await connection.reset()
      const reason = await server.reason(client.sid)
      assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
    })
  )
})

/** RSV1, which marks a compressed message, as the kit gives it. */
const compressed = 4

const inflate = (data: Buffer): string =>
  inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: 2 }).toString()

const deflate = (data: string | Uint8Array): Buffer => deflateRawSync(data, { finishFlush: 2 }).subarray(0, -4)

const withoutContext = "permessage-deflate; server_no_context_takeover"

/** A session on a WebSocket that offered to compress; by default each message by itself, so that it can be read alone. */
const connect = async (server: TestServer, extension = withoutContext) => {
  const raw = await RawWebSocket.open(server, {}, { headers: { "Sec-WebSocket-Extensions": extension } })
  const { payload, rsv } = await raw.next()
  const open = rsv === compressed ? inflate(payload) : payload.toString()
  const { sid } = JSON.parse(open.slice(1)) as { readonly sid: string }
  return { raw, sid, socket: await server.socket(sid) }
}

describe("perMessageDeflate", () => {
  it(
    "R53: by default it is not negotiated, and nothing is compressed",
    withServer({ application: idle }, async (server) => {
      const { raw, socket } = await connect(server)
      assert.strictEqual(raw.response.header("sec-websocket-extensions"), undefined)
      await server.run(Socket.send(socket, text))
      const frame = await raw.next()
      assert.strictEqual(frame.rsv, 0)
      assert.strictEqual(frame.payload.toString(), `4${text}`)
    })
  )

  it(
    "R53: a client that does not offer it gets plain frames",
    withServer({ perMessageDeflate: true }, async (server) => {
      const raw = await RawWebSocket.open(server)
      assert.strictEqual(raw.response.header("sec-websocket-extensions"), undefined)
      await raw.next()
      raw.write(Opcode.text, `4${text}`)
      assert.strictEqual((await raw.next()).payload.toString(), `4${text}`)
    })
  )

  it(
    "R53: messages of 1024 bytes and more are compressed, smaller ones are not",
    withServer({ perMessageDeflate: true, application: idle }, async (server) => {
      const { raw, socket } = await connect(server)
      assert.include(raw.response.header("sec-websocket-extensions"), "permessage-deflate")
      await server.run(
        Socket.sendAll(socket, ["x".repeat(1_022), "x".repeat(1_023), text, Buffer.alloc(1_024, 7), "small"])
      )
      const frames = await raw.frames.take(5)
      assert.deepStrictEqual(frames.map((it) => it.rsv), [0, compressed, compressed, compressed, 0])
      assert.deepStrictEqual(frames.map((it) => it.opcode), [1, 1, 1, 2, 1])
      assert.strictEqual(inflate(frames[2]!.payload), `4${text}`)
      assert.isBelow(frames[2]!.payload.length, 200)
      assert.strictEqual(frames[4]!.payload.toString(), "4small")
    })
  )

  it(
    "R53: the threshold can be set, whether or not the context is kept",
    withServer({ perMessageDeflate: { threshold: 10 }, application: idle }, async (server) => {
      for (const extension of ["permessage-deflate", withoutContext]) {
        const { raw, socket } = await connect(server, extension)
        await server.run(Socket.sendAll(socket, ["12345678", "123456789"]))
        const frames = await raw.frames.take(2)
        assert.deepStrictEqual(frames.map((it) => it.rsv), [0, compressed], extension)
      }
    })
  )

  it(
    "R53: a message sent with compress: false is not compressed, whatever its size, whether or not the context is kept",
    withServer({ perMessageDeflate: true, application: idle }, async (server) => {
      for (const extension of ["permessage-deflate", withoutContext]) {
        const { raw, sid, socket } = await connect(server, extension)
        await server.run(Socket.send(socket, text, { compress: false }))
        await server.run(Socket.send(socket, text))
        assert.isTrue(await server.run(Socket.offer(socket, text, { compress: false })))
        await server.run(EngineIO.broadcast(text, { compress: false, filter: (it) => it.id === sid }))
        await server.run(EngineIO.broadcast(text, { filter: (it) => it.id === sid }))
        const frames = await raw.frames.take(5)
        assert.deepStrictEqual(frames.map((it) => it.rsv), [0, compressed, 0, 0, compressed])
        for (const index of [0, 2, 3]) assert.strictEqual(frames[index]!.payload.toString(), `4${text}`)
      }
    })
  )

  it(
    "R53: what the client compressed is inflated",
    withServer({ perMessageDeflate: true, application: sink }, async (server) => {
      const { raw } = await connect(server)
      raw.write(Opcode.text, deflate(`4${text}`), { rsv: compressed })
      raw.write(Opcode.binary, deflate(Buffer.alloc(5_000, 7)), { rsv: compressed })
      raw.write(Opcode.text, "4plain")
      const messages = (await server.received.take(3)).map((it) => it.message)
      assert.strictEqual(messages[0], text)
      assert.strictEqual(messages[1]!.length, 5_000)
      assert.strictEqual(messages[2], "plain")
    })
  )

  it(
    "R53, CVE-2016-10542: the limit is for the inflated size: a bomb is closed with 1009 and not inflated whole",
    withServer({ perMessageDeflate: true, application: sink, maxPayload: 10_000 }, async (server) => {
      const fits = await connect(server)
      fits.raw.write(Opcode.text, deflate(`4${"x".repeat(9_999)}`), { rsv: compressed })
      assert.strictEqual((await server.received.next()).message.length, 9_999)
      const { raw, sid } = await connect(server)
      const bomb = deflate(Buffer.alloc(9_000_000, 0x34))
      assert.isBelow(bomb.length, 10_000)
      raw.write(Opcode.text, bomb, { rsv: compressed })
      assert.strictEqual(await raw.closeCode(), 1009)
      const reason = await server.reason(sid)
      assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "PayloadTooLarge")
    })
  )

  it(
    "R53: what there is no room for is not inflated, and all of it arrives",
    withServer({ perMessageDeflate: true, application: idle, maxPayload: 2_000_000 }, async (server) => {
      const { raw, socket } = await connect(server, "permessage-deflate; client_no_context_takeover")
      const count = 60
      const frame = encodeFrame(Opcode.text, deflate(`4${"x".repeat(1_000_000)}`), { rsv: compressed })
      const ping = encodeFrame(Opcode.ping, "behind all")
      raw.connection.write(Buffer.concat([...Array<Buffer>(count).fill(frame), ping]))
      let received = 0
      while (received < count) {
        // Time for the server to go on, if it did.
        await pause(20)
        if (received < count - 10) assert.strictEqual(raw.frames.untaken.length, 0)
        const messages = await server.run(Socket.receiveAll(socket))
        assert.isAtMost(messages.length, 5)
        received += messages.length
      }
      assert.strictEqual((await raw.next()).opcode, Opcode.pong)
    })
  )

  it(
    "R53: a client that goes leaves behind what there is room for, not all that could be inflated",
    withServer({
      perMessageDeflate: true,
      application: idle,
      maxPayload: 2_000_000,
      closeTimeout: 100
    }, async (server) => {
      const { raw, socket } = await connect(server, "permessage-deflate; client_no_context_takeover")
      const frame = encodeFrame(Opcode.text, deflate(`4${"x".repeat(1_000_000)}`), { rsv: compressed })
      raw.connection.write(Buffer.concat(Array<Buffer>(60).fill(frame)))
      const first = await server.run(Socket.receive(socket))
      assert.lengthOf(first, 1_000_000)
      await raw.connection.reset()
      await within(server.run(Socket.closed(socket)), "the end of the session")
      assert.isAtMost((await server.run(Socket.receiveAll(socket))).length, 5)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R53: a compressed message where nothing was negotiated breaks the protocol",
    withServer({ application: sink }, async (server) => {
      const { raw } = await connect(server)
      raw.write(Opcode.text, deflate("4hello"), { rsv: compressed })
      assert.strictEqual(await raw.closeCode(), 1002)
    })
  )

  it(
    "R53: with a real client thousands of messages of all sizes keep their order, and a close waits for them",
    withServer({
      perMessageDeflate: { threshold: 100 },
      application: (socket) =>
        Effect.succeed({
          app: Socket.sendAll(socket, Array.from({ length: 2_000 }, (_, i) => `${i}:${"x".repeat(i % 300)}`))
        })
    }, async (server) => {
      const socket = new WebSocket(`ws://127.0.0.1:${server.port}${engineTarget({ EIO: "4", transport: "websocket" })}`)
      const messages: Array<string> = []
      socket.on("message", (data: Buffer) => messages.push(data.toString()))
      await new Promise((resolve) => socket.on("close", resolve))
      assert.strictEqual(messages.length, 2_001)
      assert.deepStrictEqual(messages.slice(1).map((it) => Number(it.slice(1).split(":")[0])), [
        ...Array.from({ length: 2_000 }).keys()
      ])
    })
  )

  it(
    "R53: options reach the library",
    withServer({
      perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 10 }
    }, async (server) => {
      const { raw } = await connect(server, "permessage-deflate")
      const negotiated = raw.response.header("sec-websocket-extensions")
      for (
        const parameter of ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits=10"]
      ) {
        assert.include(negotiated, parameter)
      }
    })
  )
})
