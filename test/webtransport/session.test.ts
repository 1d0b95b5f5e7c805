/**
 * Sessions over WebTransport in memory: framing however it is cut, limits, backpressure both ways, every kind of end.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { afterAll, beforeAll } from "vitest"
import { type CloseReason, Socket } from "../../src/index.ts"
import { eventually, pause, pending, within } from "../kit/events.ts"
import { nothingLeft, snapshot } from "../kit/leaks.ts"
import { type AppFactory, type Config, idle, sink, TestServer, withServer } from "../kit/server.ts"
import { frame, frames, MemoryClient, type MemoryOptions } from "../kit/webTransport.ts"
import { anyBytes, listOf, oneOf, pick, wellFormed } from "../protocol/arbitraries.ts"

const transports = ["polling", "websocket", "webtransport"] as const

/** Runs `body` with a server and a client whose session is open. */
const withClient = (
  config: Config,
  body: (client: MemoryClient, sid: string, server: TestServer) => Promise<void>,
  options?: MemoryOptions
) =>
  withServer({ transports, ...config }, async (server) => {
    const [client, sid] = await MemoryClient.open(server, options)
    await body(client, sid, server)
  })

const tagOf = (reason: CloseReason.CloseReason): string =>
  reason._tag === "TransportError" || reason._tag === "ParseError" ? reason.error._tag : reason._tag

describe("a session over WebTransport", () => {
  it(
    "R86: `0` opens a session; the open packet comes first, then the initial one; no upgrades (R28)",
    withServer({ transports, initialPacket: "hello" }, async (server) => {
      const client = await MemoryClient.connect(server)
      void client.write(frame("0"))
      const [open, hello] = await client.packets.take(2)
      assert.deepStrictEqual(JSON.parse(String(open).slice(1)).upgrades, [])
      assert.strictEqual(hello, "4hello")
      const socket = await server.opened.next()
      assert.strictEqual(socket.protocol, 4)
      assert.strictEqual(socket.handshake.transport, "webtransport")
      assert.strictEqual(await server.run(Socket.transport(socket)), "webtransport")
    })
  )

  it(
    "R85: text and binary go both ways, empty messages and U+001E too",
    withClient({}, async (client) => {
      const large = new Uint8Array(100_000).fill(7)
      for (const message of ["4hé\x1e", Uint8Array.of(1, 2, 3), "4", large, "4" + "x".repeat(70_000)]) {
        void client.write(frame(message))
        assert.deepEqual(await client.packets.next(), message)
      }
      // No frame may be empty (R87): bytes that are none go as base64 of nothing.
      void client.write(frame("b"))
      assert.strictEqual(await client.packets.next(), "b")
    })
  )

  it(
    "R73, R85: what is sent together is written together, large bytes as they are",
    withServer({
      transports,
      application: (socket) =>
        Effect.succeed({
          app: Effect.andThen(
            Socket.sendAll(socket, ["a", "b", Uint8Array.of(1), new Uint8Array(20_000), "c"]),
            Effect.never
          )
        })
    }, async (server) => {
      const client = await MemoryClient.connect(server, { reads: false })
      void client.write(frame("0"))
      await client.read()
      const sizes = [await client.read(), await client.read(), await client.read()]
      assert.deepStrictEqual(sizes, [3 + 3 + 2 + 3, 20_000, 3])
    })
  )

  it(
    "R-H1: pings and pongs",
    withClient({ pingInterval: 40, pingTimeout: 5_000 }, async (client, sid, server) => {
      await client.packets.find((packet) => packet === "2")
      await eventually(
        "a round trip",
        async () => server.run(Socket.rtt(await server.socket(sid))),
        (rtt) => rtt._tag === "Some"
      )
    })
  )

  it(
    "R-H2: a client that does not answer pings is timed out",
    withClient({ pingInterval: 20, pingTimeout: 50 }, async (client, sid, server) => {
      assert.strictEqual((await server.reason(sid))._tag, "PingTimeout")
      await client.end()
    }, { pongs: false })
  )

  it(
    "R62: the client's own ping is the wrong half of the heartbeat",
    withClient({}, async (client, sid, server) => {
      void client.write(frame("2"))
      assert.strictEqual(tagOf(await server.reason(sid)), "InvalidHeartbeat")
      await client.end()
    })
  )
})

describe("the stream of a WebTransport session", () => {
  let server: TestServer
  beforeAll(async () => {
    server = await TestServer.start({ transports })
  })
  afterAll(() => server.stop())

  const anyMessage: Arbitrary.Arbitrary<string | Uint8Array> = oneOf<string | Uint8Array>(
    Arbitrary.map(wellFormed, (text) => "4" + text),
    Arbitrary.filter(anyBytes, (bytes) => bytes.length > 0),
    Arbitrary.map(pick(125, 126, 127, 65_535, 65_536), (length) => new Uint8Array(length).fill(5)),
    Arbitrary.map(pick(124, 125, 126, 65_534, 65_535), (length) => "4" + "y".repeat(length))
  )
  const anySizes = Arbitrary.array(oneOf(pick(1, 2, 3, 8, 9, 127, 128, 1_000), pick(20_000)), {
    minLength: 1,
    maxLength: 4
  })

  it.effect.prop(
    "R85: carries the same packets however it is cut, from the very first",
    [listOf(anyMessage), anySizes],
    ([messages, sizes]) =>
      Effect.promise(async () => {
        const client = await MemoryClient.connect(server)
        const bytes = frames("0", ...messages)
        // Byte by byte only where that does not take all day.
        const smallest = Math.ceil(bytes.length / 300)
        for (let at = 0, step = 0; at < bytes.length; step++) {
          const size = Math.max(sizes[step % sizes.length]!, smallest)
          void client.write(bytes.slice(at, at + size))
          at += size
        }
        await client.handshake()
        assert.deepEqual(await client.packets.take(messages.length), messages)
        client.close()
      }),
    { arbitrary: { runs: 60 } }
  )

  it.effect.prop(
    "R87: whatever it carries ends in packets or a close, never in a crash",
    [anyBytes, Arbitrary.schema(Schema.Boolean)],
    ([garbage, isOpen]) =>
      Effect.promise(async () => {
        const client = await MemoryClient.connect(server)
        if (isOpen) void client.write(frame("0"))
        void client.write(new Uint8Array(garbage))
        client.finish()
        await client.end()
      }),
    { arbitrary: { runs: 60, concurrency: 20 } }
  )

  it("R87: a frame of length zero is a parse error, after what came before it", async () => {
    const [client, sid] = await MemoryClient.open(server)
    void client.write(Uint8Array.of(...frame("4last"), 0, 1))
    const reason = await server.reason(sid)
    assert.strictEqual(reason._tag, "ParseError")
    assert.deepStrictEqual(server.messagesOf(sid), ["last"])
    await client.end()
  })

  it("R60, R87: a packet of an unknown type is a parse error", async () => {
    const [client, sid] = await MemoryClient.open(server)
    void client.write(frame("9"))
    assert.strictEqual((await server.reason(sid))._tag, "ParseError")
    await client.end()
  })

  it("R62: a close packet ends the session", async () => {
    const [client, sid] = await MemoryClient.open(server)
    void client.write(frame("1"))
    assert.strictEqual((await server.reason(sid))._tag, "TransportClose")
    await client.end()
  })
})

describe("limits of WebTransport", () => {
  /** Takes messages once the test says so, by something that looks like a request. */
  const gated: AppFactory = (socket, server) =>
    Effect.succeed({
      app: Effect.andThen(
        Effect.promise(() => server.requests.next()),
        Socket.forEach(socket, (message) => Effect.sync(() => server.received.put({ sid: socket.id, message })))
      )
    })

  it(
    "R87: a message of maxPayload passes, one byte more is refused by its header",
    withClient({ maxPayload: 1000 }, async (client, sid, server) => {
      const message = new Uint8Array(1000).fill(1)
      void client.write(frame(message))
      assert.deepEqual(await client.packets.next(), message)
      void client.write(frame(new Uint8Array(1001)).slice(0, 3))
      const reason = await server.reason(sid)
      assert.strictEqual(tagOf(reason), "PayloadTooLarge")
      assert.strictEqual(reason._tag === "TransportError" && "limit" in reason.error && reason.error.limit, 1000)
      await client.end()
    })
  )

  it(
    "R87: reading stops while receiveBuffer is full, and what was sent arrives when it goes on",
    withClient(
      {
        receiveBuffer: { messages: 10 },
        application: gated
      },
      async (client, sid, server) => {
        const count = 50
        let taken = 0
        for (let i = 0; i < count; i++) void client.write(frame(`4${i}`)).then(() => taken++)
        await pause(50)
        assert.isBelow(taken, 15)
        server.requests.put("go")
        await server.received.reached(count)
        assert.deepStrictEqual(server.messagesOf(sid), Array.from({ length: count }, (_, i) => `${i}`))
      }
    )
  )

  it(
    "R87: the frames of one chunk too wait while receiveBuffer is full",
    withClient(
      {
        receiveBuffer: { messages: 5 },
        application: gated
      },
      async (client, sid, server) => {
        const messages = Array.from({ length: 40 }, (_, i) => `4${i}`)
        await client.write(frames(...messages))
        void client.write(frame("4last"))
        await pause(20)
        server.requests.put("go")
        await server.received.reached(41)
        assert.deepStrictEqual(server.messagesOf(sid), [...messages.map((it) => it.slice(1)), "last"])
      }
    )
  )

  it(
    "R63: what had arrived when the client left is still delivered",
    withClient(
      {
        receiveBuffer: { messages: 5 },
        application: gated
      },
      async (client, sid, server) => {
        await client.write(frames(...Array.from({ length: 40 }, (_, i) => `4${i}`)))
        await pause(20)
        client.close()
        server.requests.put("go")
        assert.strictEqual((await server.reason(sid))._tag, "TransportClose")
        assert.strictEqual(server.messagesOf(sid).length, 40)
      }
    )
  )

  /** Sends without pause, and writes down how much was accepted. */
  const flood: AppFactory = (socket, server) =>
    Effect.succeed({
      app: Effect.gen(function*() {
        const message = new Uint8Array(1000)
        while (true) {
          yield* Socket.send(socket, message)
          server.received.put({ sid: socket.id, message: "" })
        }
      })
    })

  for (const highWaterMark of [1, 1000]) {
    it(
      `R87: a client that does not read holds back what is sent, in sendBuffer (stream of ${highWaterMark})`,
      withServer({ transports, application: flood, sendBuffer: { bytes: 50_000 } }, async (server) => {
        const client = await MemoryClient.connect(server, { reads: false, highWaterMark })
        void client.write(frame("0"))
        await server.received.reached(45)
        await pause(50)
        const { length } = server.received.all
        assert.isAtMost(length, 130)
        const socket = await server.opened.next()
        const { bytes, messages } = await server.run(Socket.buffered(socket))
        assert.isAtMost(bytes, 50_000)
        assert.isAtMost(messages, 50)
        for (let read = 0; read < 300_000;) read += await client.read()
        await server.received.reached(250)
      })
    )
  }
})

describe("the end of a WebTransport session", () => {
  const farewell: AppFactory = (socket) =>
    Effect.succeed({
      app: Effect.gen(function*() {
        yield* Socket.receive(socket)
        yield* Socket.sendAll(socket, ["x".repeat(200_000), "last"])
        yield* Socket.close(socket)
        return yield* Effect.never
      })
    })

  it(
    "R87: closed by the server, the client gets everything first, then the session closes",
    withClient({ application: farewell }, async (client, sid, server) => {
      void client.write(frame("4go"))
      assert.deepStrictEqual(await client.end(1_500), {})
      assert.strictEqual(client.packets.all.findLast((it) => it !== "2"), "4last")
      assert.strictEqual((await server.reason(sid))._tag, "ForcedClose")
    })
  )

  it(
    "R87: a client that does not say it has everything is not waited for long",
    withClient({ application: farewell }, async (client, sid, server) => {
      void client.write(frame("4go"))
      await client.end(4_000)
      assert.strictEqual((await server.reason(sid))._tag, "ForcedClose")
    }, { pongs: false })
  )

  it(
    "R87: a client that takes nothing is waited for closeTimeout",
    withServer({ transports, application: farewell, closeTimeout: 100 }, async (server) => {
      const client = await MemoryClient.connect(server, { reads: false })
      void client.write(frame("0"))
      await client.read()
      void client.write(frame("4go"))
      await client.end(2_000)
      assert.strictEqual((await server.ended.next()).reason._tag, "ForcedClose")
    })
  )

  it(
    "R87: closed by the client, with its code and reason",
    withClient({ application: sink }, async (client, sid, server) => {
      client.close({ closeCode: 7, reason: "bye" })
      assert.deepStrictEqual(await server.reason(sid), { _tag: "TransportClose", code: 7, reason: "bye" })
    })
  )

  it(
    "R87: closed by the client without either",
    withClient({ application: sink }, async (client, sid, server) => {
      client.close({ closeCode: 0, reason: "" })
      assert.deepStrictEqual(await server.reason(sid), { _tag: "TransportClose" })
    })
  )

  it(
    "R87: a client that closes its half of the stream is gone",
    withClient({ application: sink }, async (client, sid, server) => {
      client.finish()
      assert.strictEqual((await server.reason(sid))._tag, "TransportClose")
      await client.end()
    })
  )

  it(
    "R87: a session that dies while both sides write is a close, and nothing is left unhandled",
    withServer({ transports, application: sink }, async (server) => {
      const before = snapshot(server)
      for (let i = 0; i < 20; i++) {
        const [client, sid] = await MemoryClient.open(server)
        void client.write(frame("4a"))
        const socket = await server.socket(sid)
        await server.run(Socket.sendAll(socket, ["b", new Uint8Array(20_000), "c"]))
        const flushed = server.run(Effect.exit(Socket.flushed(socket)))
        client.kill()
        assert.include(["TransportClose", "WriteFailed"], tagOf(await server.reason(sid)))
        await within(flushed, "the end of a wait")
      }
      await nothingLeft(server, before)
    })
  )

  it(
    "R87: a write that fails ends the session with its cause",
    withServer({ transports, application: idle }, async (server) => {
      const client = new MemoryClient()
      const { incomingBidirectionalStreams: streams, ...rest } = client.session
      const failing = {
        closed: rest.closed,
        close: rest.close,
        incomingBidirectionalStreams: {
          getReader: () => {
            const reader = streams.getReader()
            return {
              closed: reader.closed,
              cancel: () => reader.cancel(),
              read: async () => {
                const { done, value } = await reader.read()
                if (done || value === undefined) return { done }
                const writer = value.writable.getWriter()
                let writes = 0
                return {
                  done,
                  value: {
                    readable: value.readable,
                    writable: {
                      getWriter: () => ({
                        write: (chunk: Uint8Array) =>
                          writes++ === 0 ? writer.write(chunk) : Promise.reject(new Error("no way")),
                        close: () => writer.close(),
                        abort: () => writer.abort(),
                        desiredSize: 1,
                        ready: Promise.reject(new Error("never ready")),
                        closed: Promise.reject(new Error("closed"))
                      })
                    }
                  }
                }
              }
            }
          }
        }
      }
      client.openStream()
      await server.acceptWebTransport(failing)
      void client.write(frame("0"))
      const sid = await client.handshake()
      await server.run(Socket.send(await server.socket(sid), "lost"))
      const reason = await server.reason(sid)
      assert.strictEqual(tagOf(reason), "WriteFailed")
      assert.deepInclude(reason, { _tag: "TransportError" })
      await client.end()
    })
  )

  it(
    "R87: the server's end gives a session what it had accepted, then closes it",
    withClient({ application: sink }, async (client, sid, server) => {
      await server.run(Socket.send(await server.socket(sid), "last"))
      const stopped = server.release()
      await client.end()
      await stopped
      assert.include(client.packets.all, "4last")
      assert.strictEqual((await server.reason(sid))._tag, "ServerShutdown")
      assert.isFalse(await pending(client.closed))
    })
  )
})
