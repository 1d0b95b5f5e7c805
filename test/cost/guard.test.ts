/**
 * What a message, a poll and an idle session may cost, in things that can be counted exactly. Times are for `bench/`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Fiber } from "effect"
import type { Socket as TcpSocket } from "node:net"
import { queryObjects } from "node:v8"
import { EngineIO, Socket } from "../../src/index.ts"
import type { Session } from "../../src/internal/session/session.ts"
import { PollingClient } from "../kit/http.ts"
import { resources } from "../kit/leaks.ts"
import { type TestServer, withServer } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

/** Counts what the server's sockets hand to the system: each call is one write. */
const countWrites = (server: TestServer) => {
  const writes: Array<number> = []
  const counted = new WeakSet<TcpSocket>()
  server.http.prependListener("connection", (socket: TcpSocket) => {
    if (counted.has(socket)) return
    counted.add(socket)
    const inner = socket as TcpSocket & {
      _write(chunk: Buffer, encoding: string, done: () => void): void
      _writev(chunks: ReadonlyArray<{ readonly chunk: Buffer | string }>, done: () => void): void
    }
    const { _write, _writev } = inner
    inner._write = function(chunk, encoding, done) {
      writes.push(chunk.length)
      return _write.call(this, chunk, encoding, done)
    }
    inner._writev = function(chunks, done) {
      writes.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0))
      return _writev.call(this, chunks, done)
    }
  })
  return { take: () => writes.splice(0).length }
}

/** A frame of a client, with a mask of zeros. */
const frame = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])

const rawSocket = (client: WebSocketClient): TcpSocket =>
  (client.socket as unknown as { readonly _socket: TcpSocket })._socket

describe("what a message costs", () => {
  it(
    "sixteen frames that arrive together are echoed with one write",
    withServer({}, async (server) => {
      const writes = countWrites(server)
      const client = await WebSocketClient.connect(server)
      writes.take()
      const frames = Array.from({ length: 16 }, (_, i) => frame(`4message ${i}`))
      rawSocket(client).write(Buffer.concat(frames))
      assert.deepStrictEqual(await client.messages(16), Array.from({ length: 16 }, (_, i) => `4message ${i}`))
      assert.strictEqual(writes.take(), 1)
    })
  )

  it(
    "a burst of ten thousand small messages is written in batches of 64 KiB",
    withServer({}, async (server) => {
      const writes = countWrites(server)
      const client = await WebSocketClient.connect(server)
      writes.take()
      const socket = await server.socket(client.sid)
      await server.run(Socket.sendAll(socket, Array.from({ length: 10_000 }, () => "x".repeat(30))))
      await client.messages(10_000)
      assert.isAtMost(writes.take(), Math.ceil(10_000 * 33 / 65_536) + 2)
    })
  )

  it(
    "a broadcast is one write a socket, of one frame for all",
    withServer({}, async (server) => {
      const writes = countWrites(server)
      const clients: Array<WebSocketClient> = []
      for (let i = 0; i < 20; i++) clients.push(await WebSocketClient.connect(server))
      writes.take()
      assert.strictEqual(await server.run(EngineIO.broadcast("to all")), 20)
      for (const client of clients) assert.strictEqual(await client.next(), "4to all")
      assert.strictEqual(writes.take(), 20)
    })
  )

  it(
    "a large binary message is written with one call, behind its header",
    withServer({}, async (server) => {
      const writes = countWrites(server)
      const client = await WebSocketClient.connect(server)
      writes.take()
      const data = Buffer.alloc(60_000, 7)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, data))
      assert.deepStrictEqual(await client.next(), data)
      assert.strictEqual(writes.take(), 1)
    })
  )

  it(
    "R29: the 101 and all that opens the session are one write each",
    withServer({ initialPacket: "initial" }, async (server) => {
      const writes = countWrites(server)
      const client = await WebSocketClient.connect(server)
      assert.strictEqual(await client.next(), "4initial")
      assert.strictEqual(writes.take(), 2)
    })
  )

  it(
    "a poll and a post are one write each, whatever they carry",
    withServer({}, async (server) => {
      const writes = countWrites(server)
      const client = await PollingClient.connect(server)
      writes.take()
      await client.post(Array.from({ length: 16 }, (_, i) => `4${i}`).join("\x1e"))
      assert.strictEqual(writes.take(), 1)
      assert.strictEqual((await client.poll()).length, 16)
      assert.strictEqual(writes.take(), 1)
    })
  )
})

describe("what an idle session costs", () => {
  const FiberImpl = Effect.runFork(Effect.never).constructor as new() => Fiber.Fiber<unknown>
  const fibers = (): number => queryObjects(FiberImpl, { format: "count" })

  it(
    "over WebSocket: its own fiber and the application's, one timer, and nothing for what it does not do",
    withServer({}, async (server) => {
      const first = await WebSocketClient.connect(server)
      const before = { fibers: fibers(), timers: resources()["Timeout"] ?? 0 }
      const clients: Array<WebSocketClient & { readonly sid: string }> = []
      for (let i = 0; i < 50; i++) clients.push(await WebSocketClient.connect(server))
      assert.isAtMost(fibers() - before.fibers, 100)
      assert.isAtMost(resources()["Timeout"] ?? 0, before.timers + 50)
      const session = await server.socket(first.sid) as Session
      assert.isUndefined(session.incoming.messages.head)
      assert.isUndefined(session.outgoing.messages.head)
      assert.isUndefined(session.line)
      assert.isUndefined(session.progress)
      assert.isUndefined(session.upgrade)
      assert.isUndefined(session.observers)
    })
  )
})
