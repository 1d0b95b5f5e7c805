/**
 * What waits between an application and its client, and what of it is limited: `sendBuffer`, `receiveBuffer`. Nothing here
 * takes time.
 */
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Exit, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EngineIO, type Packet, Socket } from "../../src/index.ts"
import { nothing, serving, settled } from "../kit/inMemory.ts"

/** Runs on its own until it has to wait. */
const start = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), () => settled)

const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

describe("sendBuffer", () => {
  it.effect("so many messages wait, and no more: send waits, offer says no", () =>
    serving({ sendBuffer: { messages: 3 } }, function*(server) {
      const client = yield* server.connect("polling")
      const { socket } = client
      yield* Socket.sendAll(socket, ["0", "1"])
      assert.isTrue(yield* Socket.offer(socket, "2"))
      assert.isFalse(yield* Socket.offer(socket, "no"))
      const sending = yield* start(Socket.send(socket, "3"))
      assert.isTrue(isWaiting(sending))
      assert.deepStrictEqual(yield* Socket.buffered(socket), { messages: 3, bytes: 3 })
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["40", "41", "42"])
      yield* Fiber.join(sending)
      assert.deepStrictEqual(yield* Socket.buffered(socket), { messages: 1, bytes: 1 })
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["43"])
    }))

  it.effect("so many bytes wait, and no more; text counts as UTF-8", () =>
    serving({ sendBuffer: { bytes: 10 } }, function*(server) {
      const { socket } = yield* server.connect("polling")
      yield* Socket.send(socket, "€€")
      yield* Socket.send(socket, Uint8Array.of(1, 2, 3))
      assert.isFalse(yield* Socket.offer(socket, "ab"))
      assert.isTrue(yield* Socket.offer(socket, "a"))
      assert.deepStrictEqual(yield* Socket.buffered(socket), { messages: 3, bytes: 10 })
    }))

  it.effect("what the connection holds, and the network has not taken, counts", () =>
    serving({ sendBuffer: { bytes: 10 } }, function*(server) {
      const client = yield* server.connect("websocket")
      const { socket } = client
      yield* client.sticks
      yield* Socket.send(socket, "12345678")
      yield* settled
      assert.deepStrictEqual(yield* Socket.buffered(socket), { messages: 0, bytes: 9 })
      assert.isFalse(yield* Socket.offer(socket, "ab"))
      const sending = yield* start(Socket.send(socket, "ab"))
      assert.isTrue(isWaiting(sending))
      yield* client.flows
      yield* Fiber.join(sending)
      yield* settled
      assert.deepStrictEqual(client.take(), ["412345678", "4ab"])
    }))

  it.effect("an empty buffer takes one message of any size, and one that is not takes none", () =>
    serving({ sendBuffer: { bytes: 10 } }, function*(server) {
      const client = yield* server.connect("polling")
      const large = "x".repeat(1_000)
      assert.isTrue(yield* Socket.offer(client.socket, large))
      assert.isFalse(yield* Socket.offer(client.socket, ""))
      yield* client.polls
      assert.deepStrictEqual(client.take(), [`4${large}`])
      assert.isTrue(yield* Socket.offer(client.socket, large))
    }))

  it.effect("control packets enter a buffer that is full, and take no room in one that is not", () =>
    serving({ sendBuffer: { messages: 1 }, allowEIO3: true }, function*(server) {
      const full = yield* server.connect("polling")
      yield* Socket.send(full.socket, "full")
      const empty = yield* server.connect("polling")
      const old = yield* server.connect("polling", {}, 3)
      yield* Socket.send(old.socket, "full")
      yield* old.says("2")
      yield* TestClock.adjust("25 seconds")
      assert.isTrue(yield* Socket.offer(empty.socket, "room"))
      for (const { polls } of [full, empty, old]) yield* polls
      assert.deepStrictEqual(full.take(), ["4full", "2"])
      assert.deepStrictEqual(empty.take(), ["2", "4room"])
      assert.deepStrictEqual(old.take(), ["4full", "3"])
    }))

  it.effect("who waits is let in by turns, and what is sent together stays together", () =>
    serving({ sendBuffer: { messages: 2 } }, function*(server) {
      const client = yield* server.connect("polling")
      const { socket } = client
      const senders = [
        yield* start(Socket.sendAll(socket, ["0", "1", "2", "3"])),
        yield* start(Socket.send(socket, "4")),
        yield* start(Socket.sendAll(socket, ["5", "6"]))
      ]
      const got: Array<string> = []
      while (got.length < 7) {
        yield* client.polls
        got.push(...client.take())
      }
      assert.deepStrictEqual(got, ["40", "41", "42", "43", "44", "45", "46"])
      for (const sender of senders) yield* Fiber.join(sender)
    }))

  it.effect("nobody passes who waits: a message for which there would be room waits behind one for which there is none", () =>
    serving({ sendBuffer: { bytes: 10 } }, function*(server) {
      const client = yield* server.connect("polling")
      const { socket } = client
      yield* Socket.send(socket, "12345")
      const large = yield* start(Socket.send(socket, "large..."))
      assert.isFalse(yield* Socket.offer(socket, "s"))
      const small = yield* start(Socket.send(socket, "s"))
      assert.isTrue(isWaiting(small))
      yield* client.polls
      yield* Fiber.join(large)
      yield* Fiber.join(small)
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["412345", "4large...", "4s"])
    }))

  it.effect("a sender that is interrupted sends nothing, and those behind it go on", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      const { socket } = client
      yield* Socket.send(socket, "0")
      const givesUp = yield* start(Socket.send(socket, "given up"))
      const next = yield* start(Socket.send(socket, "1"))
      yield* Fiber.interrupt(givesUp)
      yield* client.polls
      yield* Fiber.join(next)
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["40", "41"])
    }))

  it.effect("sendAll that is interrupted leaves unsent what was not accepted", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      const sending = yield* start(Socket.sendAll(client.socket, ["0", "1", "2", "3"]))
      yield* client.polls
      assert.isTrue(isWaiting(sending))
      yield* Fiber.interrupt(sending)
      for (let i = 0; i < 4; i++) yield* client.polls
      assert.deepStrictEqual(client.take(), ["40", "41"])
      assert.isTrue(yield* Socket.offer(client.socket, "again"))
    }))

  it.effect("who gave up waiting leaves no fiber", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "0")
      const { left } = server
      const sending = yield* start(Socket.send(client.socket, "1"))
      yield* Fiber.interrupt(sending)
      yield* client.polls
      assert.deepStrictEqual(server.left, left)
    }))

  for (const [how, discard] of [["closes", false], ["ends", true]] as const) {
    it.effect(`who waits is told when the session ${how}`, () =>
      serving({ sendBuffer: { messages: 1 } }, function*(server) {
        const { socket } = yield* server.connect("polling")
        yield* Socket.send(socket, "0")
        const senders = [
          yield* start(Effect.flip(Socket.send(socket, "1"))),
          yield* start(Effect.flip(Socket.sendAll(socket, ["2", "3"])))
        ]
        yield* Socket.close(socket, { discard })
        for (const sender of senders) {
          const error = yield* Fiber.join(sender)
          assert.isTrue(error._tag === "SocketClosed" && error.reason._tag === "ForcedClose")
        }
      }))
  }

  it.effect("R89: what is sent in one turn goes out together", () =>
    serving({}, function*(server) {
      const { socket } = yield* server.connect("websocket")
      const flushed: Array<ReadonlyArray<Packet.Packet>> = []
      yield* start(Stream.runForEach(Socket.events(socket), (event) =>
        Effect.sync(() => {
          if (event._tag === "Flushed") flushed.push(event.packets)
        })))
      for (const message of ["1", "2"]) yield* Socket.send(socket, message)
      yield* Socket.sendAll(socket, ["3", "4"])
      yield* settled
      assert.deepStrictEqual(flushed.map((packets) => packets.map(({ data }) => data)), [["1", "2", "3", "4"]])
    }))
})

describe("flushed", () => {
  it.effect("waits until the network has taken all that was accepted before, and not for what came after", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.sticks
      yield* Socket.send(client.socket, "1")
      const flushed = yield* start(Socket.flushed(client.socket))
      yield* Socket.send(client.socket, "2")
      const later = yield* start(Socket.flushed(client.socket))
      assert.isTrue(isWaiting(flushed))
      yield* client.drips
      yield* Fiber.join(flushed)
      assert.deepStrictEqual(client.take(), ["41"])
      assert.isTrue(isWaiting(later))
      yield* client.drips
      yield* Fiber.join(later)
    }))

  it.effect("asks the transport once, however many wait and give up", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { socket } = client
      const asked = vi.spyOn(client, "whenWritten")
      yield* client.sticks
      yield* Socket.send(socket, "1")
      yield* settled
      for (let i = 0; i < 100; i++) yield* Fiber.interrupt(yield* start(Socket.flushed(socket)))
      const first = yield* start(Socket.flushed(socket))
      assert.strictEqual(asked.mock.calls.length, 1)
      yield* Socket.send(socket, "2")
      const second = yield* start(Socket.flushed(socket))
      yield* client.drips
      yield* Fiber.join(first)
      assert.isTrue(isWaiting(second))
      assert.strictEqual(asked.mock.calls.length, 2)
      yield* client.drips
      yield* Fiber.join(second)
    }))

  it.effect("waits for the poll that takes it", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "1")
      const flushed = yield* start(Socket.flushed(client.socket))
      assert.isTrue(isWaiting(flushed))
      yield* client.polls
      yield* Fiber.join(flushed)
    }))

  it.effect("waits for nothing where nothing waits", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.flushed(client.socket)
    }))

  it.effect("is told that the session has ended, if what it waits for was not taken", () =>
    serving({}, function*(server) {
      const polling = yield* server.connect("polling")
      const webSocket = yield* server.connect("websocket")
      yield* webSocket.sticks
      for (const client of [polling, webSocket]) {
        yield* Socket.send(client.socket, "1")
        const flushed = yield* start(Effect.flip(Socket.flushed(client.socket)))
        yield* client.leaves
        assert.strictEqual((yield* Fiber.join(flushed)).reason._tag, "TransportClose")
      }
    }))
})

describe("text that would forge packets", () => {
  it.effect("is refused while the session polls, and passes over a WebSocket", () =>
    serving({}, function*(server) {
      const polling = yield* server.connect("polling")
      const error = yield* Effect.flip(Socket.sendAll(polling.socket, ["fine", "one\x1e1"]))
      assert.strictEqual(error._tag, "InvalidMessage")
      assert.isFalse(yield* Socket.offer(polling.socket, "one\x1e1"))
      assert.deepStrictEqual(yield* Socket.buffered(polling.socket), { messages: 0, bytes: 0 })
      const webSocket = yield* server.connect("websocket")
      yield* Socket.send(webSocket.socket, "one\x1e1")
      yield* settled
      assert.deepStrictEqual(webSocket.take(), ["4one\x1e1"])
    }))
})

describe("broadcast", () => {
  it.effect("counts who took it: not who is full, closing, closed, or could be forged packets to", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const clients: Record<string, Effect.Success<ReturnType<typeof server.connect>>> = {}
      for (const name of ["well", "full", "closing", "closed", "waited for"]) {
        clients[name] = yield* server.connect("polling")
      }
      const { closed, closing, full, well } = clients
      yield* Socket.send(full!.socket, "full")
      yield* Socket.send(clients["waited for"]!.socket, "full")
      const waiting = yield* start(Socket.send(clients["waited for"]!.socket, "waiting"))
      yield* Socket.close(closing!.socket)
      yield* closed!.leaves
      const webSocket = yield* server.connect("websocket")
      assert.strictEqual(yield* EngineIO.broadcast("forged\x1e1"), 1)
      assert.strictEqual(yield* EngineIO.broadcast("to all"), 1)
      yield* settled
      assert.deepStrictEqual(webSocket.take(), ["4forged\x1e1"])
      assert.strictEqual(yield* EngineIO.broadcast("to one", { filter: ({ id }) => id === webSocket.socket.id }), 1)
      yield* well!.polls
      assert.deepStrictEqual(well!.take(), ["4to all"])
      yield* clients["waited for"]!.polls
      yield* Fiber.join(waiting)
    }))
})

describe("receiveBuffer", () => {
  it.effect("so many messages wait for the application, and then nothing more is read", () =>
    serving({ receiveBuffer: { messages: 2 } }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("41", "42")
      assert.isFalse(client.isPaused)
      yield* client.says("43", "44", "45")
      assert.isTrue(client.isPaused)
      assert.deepStrictEqual(client.unread, ["44", "45"])
      const received: Array<unknown> = []
      for (let i = 0; i < 5; i++) received.push(yield* Socket.receive(client.socket))
      assert.deepStrictEqual(received, ["1", "2", "3", "4", "5"])
      yield* settled
      assert.isFalse(client.isPaused)
    }))

  it.effect("so many bytes wait, where a message counts 256 beside its own", () =>
    serving({ receiveBuffer: { bytes: 1_200 } }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says(`4${"x".repeat(344)}`, Uint8Array.from({ length: 344 }))
      assert.isFalse(client.isPaused)
      yield* client.says("4")
      assert.isTrue(client.isPaused)
      yield* Socket.receive(client.socket)
      yield* settled
      assert.isFalse(client.isPaused)
    }))

  it.effect("to keep it just short of full costs by the message, however many wait", () =>
    serving({ receiveBuffer: { messages: 200_000, bytes: 100_000 * 257 } }, function*(server) {
      const client = yield* server.connect("websocket")
      const thousand = Array.from({ length: 1_000 }, () => "4x")
      for (let n = 0; n < 100; n++) yield* client.says(...thousand)
      assert.isFalse(client.isPaused)
      // Looking through all that waits for each of them would take longer than a test has.
      for (let n = 0; n < 5_000; n++) {
        yield* Socket.receive(client.socket)
        client.unread.push("4x")
        client.read()
      }
    }))

  it.effect("an empty buffer takes one message of any size", () =>
    serving({ receiveBuffer: { bytes: 10 } }, function*(server) {
      const client = yield* server.connect("websocket")
      for (const message of ["x".repeat(1_000), "y".repeat(1_000)]) {
        yield* client.says(`4${message}`)
        assert.isFalse(client.isPaused)
        assert.strictEqual(yield* Socket.receive(client.socket), message)
      }
    }))

  it.effect("the one that found no room is let in when there is room for it, and not when there is some", () =>
    serving({ receiveBuffer: { bytes: 1_000 } }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("41", "42", "43", `4${"x".repeat(700)}`)
      assert.isTrue(client.isPaused)
      for (let left = 3; left > 1; left--) {
        yield* Socket.receive(client.socket)
        yield* settled
        assert.isTrue(client.isPaused)
      }
      yield* Socket.receive(client.socket)
      yield* settled
      assert.isFalse(client.isPaused)
    }))

  const takers: Readonly<
    Record<string, (socket: Socket.Socket, take: (message: Packet.Message) => void) => Effect.Effect<unknown, unknown>>
  > = {
    "receive": (socket, take) => Effect.forever(Effect.map(Socket.receive(socket), take)),
    "receiveAll": (socket, take) => Effect.forever(Effect.map(Socket.receiveAll(socket), (all) => all.forEach(take))),
    "forEach": (socket, take) => Socket.forEach(socket, (message) => Effect.sync(() => take(message))),
    "messages": (socket, take) => Stream.runForEach(Socket.messages(socket), (it) => Effect.sync(() => take(it))),
    "Queue.take": (socket, take) => Effect.forever(Effect.map(Queue.take(Socket.incoming(socket)), take)),
    "Queue.takeAll": (socket, take) =>
      Effect.forever(Effect.map(Queue.takeAll(Socket.incoming(socket)), (all) => all.forEach(take))),
    "Queue.takeBetween": (socket, take) =>
      Effect.forever(Effect.map(Queue.takeBetween(Socket.incoming(socket), 1, 2), (some) => some.forEach(take))),
    "Stream.fromQueue": (socket, take) =>
      Stream.runForEach(Stream.fromQueue(Socket.incoming(socket)), (it) => Effect.sync(() => take(it)))
  }
  const numbers = Array.from({ length: 20 }, (_, n) => String(n))
  for (const [how, take] of Object.entries(takers)) {
    for (const receiveBuffer of [{ messages: 3 }, { bytes: 900 }]) {
      it.effect(`whoever takes makes room, and misses nothing: ${how}, ${JSON.stringify(receiveBuffer)}`, () =>
        serving({ receiveBuffer }, function*(server) {
          const client = yield* server.connect("websocket")
          yield* client.says(...numbers.map((number) => `4${number}`))
          assert.isTrue(client.isPaused)
          const taken: Array<Packet.Message> = []
          yield* start(take(client.socket, (message) => taken.push(message)))
          for (let i = 0; i < 10; i++) yield* settled
          assert.deepStrictEqual(taken, numbers)
          assert.isFalse(client.isPaused)
        }))
    }
  }

  it.effect("who waits for a message is woken once for all that arrive together", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const all = yield* start(Socket.receiveAll(client.socket))
      yield* client.says("41", "42", "43")
      assert.deepStrictEqual(yield* Fiber.join(all), ["1", "2", "3"])
    }))

  it.effect("who gives up waiting for a message takes none", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const receiving = yield* start(Socket.receive(client.socket))
      yield* Fiber.interrupt(receiving)
      yield* client.says("41")
      assert.strictEqual(yield* Socket.receive(client.socket), "1")
    }))

  it.effect("R63: a session that closes reads on, and drops what comes", () =>
    serving({ receiveBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.says("41", "42", "43")
      assert.isTrue(client.isPaused)
      yield* Socket.close(client.socket)
      yield* settled
      assert.deepStrictEqual([client.isPaused, client.unread], [false, []])
      assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["1", "2"])
      yield* Socket.close(client.socket, { discard: true })
      yield* settled
      assert.deepStrictEqual(server.left, nothing)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Socket.receive(client.socket))))
    }))

  it.effect("a session that ends while it is behind leaves nothing but what had arrived", () =>
    serving({ receiveBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("41", "42", "43")
      yield* Socket.close(client.socket, { discard: true })
      yield* settled
      assert.deepStrictEqual(server.left, nothing)
      assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["1", "2"])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Socket.receive(client.socket))))
    }))
})
