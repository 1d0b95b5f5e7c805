/**
 * A socket that is no session of this process: the functions of `Socket` ask nothing of it but its table of operations.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Option, PubSub, Queue, Stream } from "effect"
import { CloseReason, type Packet, Socket } from "../../src/index.ts"
import { broadcast } from "../../src/internal/server/broadcast.ts"
import { type Operations, TypeId } from "../../src/internal/session/model.ts"
import type { Entry } from "../../src/internal/transport/entry.ts"

/** What is sent waits in `sent`, where there is room for two messages; what arrives is put into `arrived`. */
class Elsewhere implements Socket.Socket {
  readonly id = "elsewhere"
  readonly protocol = 4
  readonly handshake: Socket.Handshake = {
    headers: {},
    url: "/",
    query: {},
    cookies: {},
    remoteAddress: undefined,
    transport: "webtransport",
    time: 0
  }
  readonly arrived: Queue.Queue<Packet.Message, Socket.SocketClosed>
  readonly sent: Queue.Queue<Entry>
  readonly happened: PubSub.PubSub<Socket.SocketEvent>
  readonly reason = Deferred.makeUnsafe<CloseReason.CloseReason>()
  taken = 0
  steps = 0
  constructor(
    arrived: Queue.Queue<Packet.Message, Socket.SocketClosed>,
    sent: Queue.Queue<Entry>,
    happened: PubSub.PubSub<Socket.SocketEvent>
  ) {
    this.arrived = arrived
    this.sent = sent
    this.happened = happened
  }

  get [TypeId](): Operations {
    return operations
  }
}

const make = Effect.gen(function*() {
  const arrived = yield* Queue.unbounded<Packet.Message, Socket.SocketClosed>()
  return new Elsewhere(arrived, yield* Queue.bounded<Entry>(2), yield* PubSub.unbounded<Socket.SocketEvent>())
})

const closedError = new Socket.SocketClosed({ reason: CloseReason.forcedClose })

const operations: Operations = {
  incoming: ({ arrived }: Elsewhere) => arrived,
  endIncoming: ({ arrived }: Elsewhere) => void Queue.failCauseUnsafe(arrived, Cause.fail(closedError)),
  take: ({ arrived }: Elsewhere) => Queue.takeUnsafe(arrived),
  awaitMessage: ({ arrived: { state } }: Elsewhere, loop) => {
    if (state._tag === "Done") loop.resume(Effect.void)
    else state.takers.add(loop)
  },
  stopAwaiting: ({ arrived: { state } }: Elsewhere, loop) => {
    if (state._tag !== "Done") state.takers.delete(loop)
  },
  noteTaken: (socket: Elsewhere) => void socket.taken++,
  beginStep: (socket: Elsewhere) => void socket.steps++,
  endStep: (socket: Elsewhere) => void socket.steps--,
  exhaust: () => {},
  accept: ({ reason, sent }: Elsewhere, entry) =>
    Deferred.isDoneUnsafe(reason) ? "Closed" : Queue.offerUnsafe(sent, entry) ? "Accepted" : "Full",
  send: ({ reason, sent }: Elsewhere, entries) =>
    Deferred.isDoneUnsafe(reason) ? Effect.fail(closedError) : Effect.asVoid(Queue.offerAll(sent, entries)),
  flushed: ({ sent }: Elsewhere) =>
    Effect.whileLoop({ while: () => Queue.sizeUnsafe(sent) > 0, body: () => Effect.yieldNow, step: () => {} }),
  close: ({ arrived, happened, reason }: Elsewhere, discard) =>
    Effect.gen(function*() {
      if (discard) yield* Effect.ignore(Queue.clear(arrived))
      yield* Queue.fail(arrived, closedError)
      yield* Deferred.succeed(reason, CloseReason.forcedClose)
      yield* PubSub.publish(happened, { _tag: "Closed", reason: CloseReason.forcedClose })
    }),
  closed: ({ reason }: Elsewhere) => Deferred.await(reason),
  transport: () => Effect.succeed("webtransport"),
  upgraded: () => Effect.succeed(true),
  state: ({ reason }: Elsewhere) => Effect.sync(() => Deferred.isDoneUnsafe(reason) ? "closed" : "open"),
  buffered: ({ sent }: Elsewhere) => Effect.sync(() => ({ messages: Queue.sizeUnsafe(sent), bytes: 0 })),
  rtt: () => Effect.succeed(Option.some(Duration.millis(7))),
  events: ({ happened }: Elsewhere) => Stream.fromPubSub(happened)
}

const dataOf = (entries: ReadonlyArray<Entry>) => entries.map(({ data }) => data)

describe("a socket whose session is elsewhere", () => {
  it.effect("gives what arrives to receive, receiveAll, incoming and messages", () =>
    Effect.gen(function*() {
      const socket = yield* make
      yield* Queue.offerAll(socket.arrived, ["a", "b", "c", "d", "e", "f"])
      assert.strictEqual(yield* Socket.receive(socket), "a")
      assert.deepStrictEqual(yield* Queue.takeN(Socket.incoming(socket), 2), ["b", "c"])
      assert.deepStrictEqual(yield* Socket.receiveAll(socket), ["d", "e", "f"])
      assert.strictEqual(socket.taken, 3)
      const waiting = yield* Effect.forkChild(Socket.receive(socket), { startImmediately: true })
      yield* Queue.offer(socket.arrived, "g")
      assert.strictEqual(yield* Fiber.join(waiting), "g")
      yield* Queue.offerAll(socket.arrived, ["h", "i"])
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(Socket.messages(socket), 2)), ["h", "i"])
    }))

  it.effect("runs the loop of forEach, a step for each message, until it is closed", () =>
    Effect.gen(function*() {
      const socket = yield* make
      const seen: Array<Packet.Message> = []
      const loop = yield* Effect.forkChild(
        Socket.forEach(socket, (message) =>
          Effect.sync(() => {
            seen.push(message)
            assert.strictEqual(socket.steps, 1)
          })),
        { startImmediately: true }
      )
      yield* Queue.offerAll(socket.arrived, ["a", "b"])
      yield* Effect.yieldNow
      yield* Queue.offer(socket.arrived, "c")
      yield* Socket.close(socket)
      assert.deepStrictEqual(yield* Fiber.await(loop), Exit.fail(closedError))
      assert.deepStrictEqual(seen, ["a", "b", "c"])
      assert.strictEqual(socket.steps, 0)
    }))

  it.effect("takes what send, sendAll and offer send, while it has room for it", () =>
    Effect.gen(function*() {
      const socket = yield* make
      yield* Socket.send(socket, "a", { compress: false })
      assert.isTrue(yield* Socket.offer(socket, new Uint8Array([1])))
      assert.isFalse(yield* Socket.offer(socket, "b"))
      assert.deepStrictEqual(yield* Socket.buffered(socket), { messages: 2, bytes: 0 })
      const waiting = yield* Effect.forkChild(Socket.sendAll(socket, ["c", "d"]), { startImmediately: true })
      const [first, second] = yield* Queue.takeN(socket.sent, 2)
      assert.deepStrictEqual([first!.data, first!.compress, first!.size], ["a", false, 1])
      assert.deepStrictEqual([second!.data, second!.compress, second!.size], [new Uint8Array([1]), true, 1])
      yield* Fiber.join(waiting)
      const flushed = yield* Effect.forkChild(Socket.flushed(socket), { startImmediately: true })
      assert.isUndefined(flushed.pollUnsafe())
      assert.deepStrictEqual(dataOf(yield* Queue.takeAll(socket.sent)), ["c", "d"])
      yield* Fiber.join(flushed)
    }))

  it.effect("takes a broadcast, while it has room for it", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* make, yield* make]
      yield* Socket.send(one, "before")
      assert.strictEqual(broadcast([one, other], "a"), 2)
      assert.strictEqual(broadcast([one, other], "b"), 1)
      assert.strictEqual(broadcast([one, other], "c", { filter: (socket) => socket === one }), 0)
      assert.deepStrictEqual(dataOf(yield* Queue.takeAll(one.sent)), ["before", "a"])
      assert.deepStrictEqual(dataOf(yield* Queue.takeAll(other.sent)), ["a", "b"])
    }))

  it.effect("is closed by close, and says so to whoever waits, watches or asks", () =>
    Effect.gen(function*() {
      const socket = yield* make
      const closed = yield* Effect.forkChild(Socket.closed(socket), { startImmediately: true })
      const event = yield* Effect.forkChild(Stream.runHead(Socket.events(socket)), { startImmediately: true })
      assert.strictEqual(yield* Socket.state(socket), "open")
      yield* Queue.offer(socket.arrived, "never taken")
      yield* Socket.close(socket, { discard: true })
      assert.deepStrictEqual(yield* Fiber.join(closed), CloseReason.forcedClose)
      assert.deepStrictEqual(
        yield* Fiber.join(event),
        Option.some({ _tag: "Closed" as const, reason: CloseReason.forcedClose })
      )
      assert.strictEqual(yield* Socket.state(socket), "closed")
      assert.deepStrictEqual(yield* Effect.exit(Socket.receive(socket)), Exit.fail(closedError))
      assert.deepStrictEqual(yield* Effect.exit(Socket.send(socket, "late")), Exit.fail(closedError))
      assert.isFalse(yield* Socket.offer(socket, "late"))
    }))

  it.effect("shows its packets, its transport and its round trip", () =>
    Effect.gen(function*() {
      const socket = yield* make
      const packet = yield* Effect.forkChild(Stream.runHead(Socket.packets(socket)), { startImmediately: true })
      yield* PubSub.publish(socket.happened, { _tag: "Heartbeat" })
      yield* PubSub.publish(socket.happened, { _tag: "PacketReceived", packet: { type: "pong" } })
      assert.deepStrictEqual(yield* Fiber.join(packet), Option.some({ type: "pong" as const }))
      assert.strictEqual(yield* Socket.transport(socket), "webtransport")
      assert.isTrue(yield* Socket.upgraded(socket))
      assert.deepStrictEqual(yield* Socket.rtt(socket), Option.some(Duration.millis(7)))
    }))
})
