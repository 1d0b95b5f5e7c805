/**
 * A client that stops reading costs the server its send buffer and no more, and costs other clients nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, pause, pending } from "../kit/events.ts"
import { PollingClient } from "../kit/http.ts"
import { memory } from "../kit/memory.ts"
import { echo, idle, type TestServer, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

const mebibyte = 1 << 20
const count = 50_000

/** A message of 1 KiB that says its number. Made anew each time, so that it costs what it weighs. */
const numbered = (n: number): string => `${n}:`.padEnd(1_024, String.fromCharCode(97 + n % 26))

interface Sending {
  readonly sent: () => number
  readonly fiber: Fiber.Fiber<void, unknown>
}

const sendAll = (socket: Socket.Socket, run: (effect: Effect.Effect<void, unknown>) => Fiber.Fiber<void, unknown>) => {
  let sent = 0
  const one = Effect.suspend(() => Effect.tap(Socket.send(socket, numbered(sent)), () => Effect.sync(() => sent++)))
  const fiber = run(Effect.whileLoop({ while: () => sent < count, body: () => one, step: () => undefined }))
  return { sent: () => sent, fiber } satisfies Sending
}

/** Waits until no further message is accepted. */
const stalled = async (sending: Sending): Promise<number> => {
  let before = -1
  return eventually("a stall", async () => {
    before = sending.sent()
    await pause(100)
    return sending.sent()
  }, (sent) => sent > 0 && sent === before)
}

const othersAreWell = async (server: TestServer): Promise<void> => {
  const webSocket = await WebSocketClient.connect(server)
  const polling = await PollingClient.connect(server)
  for (let i = 0; i < 20; i++) {
    const started = performance.now()
    webSocket.send(`4${i}`)
    assert.strictEqual(await webSocket.next(), `4${i}`)
    await polling.post(`4${i}`)
    assert.deepStrictEqual(await polling.poll(), [`4${i}`])
    assert.isBelow(performance.now() - started, 1_000)
  }
}

describe("a client that stops reading", () => {
  it(
    "holds up nobody where what is unsent is no message, after all messages had left",
    withServer({ application: idle, sendBuffer: { bytes: 1_000 } }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      const socket = await server.socket(sid)
      await server.run(Effect.andThen(Socket.send(socket, "first"), Socket.flushed(socket)))
      raw.connection.socket.pause()
      const pings = Buffer.concat(Array<Buffer>(1_000).fill(encodeFrame(Opcode.ping, Buffer.alloc(125))))
      await eventually("pongs that wait", async () => {
        raw.connection.write(pings)
        return (await server.run(Socket.buffered(socket))).bytes
      }, (bytes) => bytes > 2_000)
      const sent = server.run(Socket.send(socket, "x".repeat(900)))
      assert.isTrue(await pending(sent))
      await server.barrier()
      raw.connection.socket.resume()
      await sent
    })
  )

  it(
    "50 000 messages of 1 KiB over WebSocket: memory stays within the send buffer, send waits, offer says no",
    { timeout: 60_000 },
    withServer({ application: echo, sendBuffer: { bytes: 4 * mebibyte } }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      const socket = await server.socket(sid)
      raw.connection.socket.pause()
      const before = await memory()

      const sending = sendAll(socket, (effect) => Effect.runFork(effect))
      const sent = await stalled(sending)
      assert.isBelow(sent, count)
      assert.isFalse(await server.run(Socket.offer(socket, numbered(0))))
      const buffered = await server.run(Socket.buffered(socket))
      assert.isAtMost(buffered.bytes, 5 * mebibyte)
      assert.isAbove(buffered.bytes, 2 * mebibyte)
      const grown = await memory() - before
      assert.isBelow(grown, 12 * mebibyte)

      assert.strictEqual(await server.run(EngineIO.broadcast("to whom it may reach")), 0)
      await othersAreWell(server)
      assert.strictEqual(sending.sent(), sent)

      raw.connection.socket.resume()
      for (let n = 0; n < count; n++) {
        const frame = await raw.next()
        assert.isTrue(frame.payload.toString() === `4${numbered(n)}`, `message ${n}`)
      }
      assert.isTrue(Exit.isSuccess(await Effect.runPromise(Fiber.await(sending.fiber))))
      assert.deepStrictEqual(await server.run(Socket.buffered(socket)), { messages: 0, bytes: 0 })
      assert.isTrue(await server.run(Socket.offer(socket, "again")))
    })
  )

  it(
    "over polling: send waits for the next GET, offer says no, and all of it arrives in order",
    { timeout: 60_000 },
    withServer({ application: echo, sendBuffer: { messages: 1_000 } }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const sending = sendAll(socket, (effect) => Effect.runFork(effect))
      assert.strictEqual(await stalled(sending), 1_000)
      assert.isFalse(await server.run(Socket.offer(socket, "more")))
      assert.deepInclude(await server.run(Socket.buffered(socket)), { messages: 1_000 })
      await othersAreWell(server)
      let next = 0
      while (next < count) {
        for (const packet of await client.poll()) assert.isTrue(packet === `4${numbered(next++)}`, `message ${next}`)
      }
      assert.isTrue(Exit.isSuccess(await Effect.runPromise(Fiber.await(sending.fiber))))
    })
  )

  it(
    "gets what had to wait for room before its session closes, however soon behind it",
    withServer({
      sendBuffer: { messages: 1 },
      application: (socket) =>
        Effect.succeed({
          app: Effect.gen(function*() {
            yield* Socket.receive(socket)
            for (const message of ["a", "b", "c"]) yield* Socket.send(socket, message)
            yield* Socket.close(socket)
            yield* Effect.never
          })
        })
    }, async (server) => {
      const client = await WebSocketClient.connect(server)
      client.send("4go")
      assert.deepStrictEqual(await client.messages(3), ["4a", "4b", "4c"])
    })
  )

  it(
    "is waited for by flushed, also for what had to wait for room",
    withServer({ application: idle, sendBuffer: { messages: 1 } }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "a"))
      const buffered = server.run(
        Effect.andThen(Effect.andThen(Socket.send(socket, "b"), Socket.flushed(socket)), Socket.buffered(socket))
      )
      assert.deepStrictEqual(await client.poll(), ["4a"])
      assert.deepStrictEqual(await client.poll(), ["4b"])
      assert.deepStrictEqual(await buffered, { messages: 0, bytes: 0 })
    })
  )

  it(
    "forty thousand sends that give up one after the other do not hold up the server",
    { timeout: 60_000 },
    withServer({ application: echo, sendBuffer: { messages: 1 } }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "first"))
      const givenUp = Array.from({ length: 40_000 }, () => Effect.runFork(Socket.send(socket, "given up")))
      const last = Effect.runFork(Socket.send(socket, "last"))
      const started = performance.now()
      for (const fiber of givenUp) fiber.interruptUnsafe()
      assert.isBelow(performance.now() - started, 3_000)
      assert.deepStrictEqual(await client.poll(), ["4first"])
      assert.deepStrictEqual(await client.poll(), ["4last"])
      await Effect.runPromise(Fiber.join(last))
    })
  )

  it(
    "is given up although the server reads nothing from it either, once it takes nothing for a whole heartbeat",
    withServer({
      application: () => Effect.succeed({ app: Effect.never }),
      receiveBuffer: { messages: 1 },
      sendBuffer: { bytes: 100_000 },
      pingInterval: 200,
      pingTimeout: 200,
      closeTimeout: 100
    }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const socket = await server.socket(webSocket.sid)
      for (let n = 0; n < 100; n++) webSocket.send(`4${n} ${"x".repeat(20_000)}`)
      webSocket.socket.pause()
      const large = Buffer.alloc(100_000, 7)
      const fill = () => server.run(Socket.offer(socket, large))
      while (await fill()) await pause(1)
      assert.strictEqual(await server.reasonText(webSocket.sid, 5_000), "ping timeout")
      assert.strictEqual(await server.count(), 0)
    })
  )
})
