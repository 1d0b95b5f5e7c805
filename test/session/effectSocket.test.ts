/**
 * A session as a socket of `effect/socket`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { Socket as EffectSocket } from "effect/socket"
import { TestClock } from "effect/testing"
import { CloseReason, Packet, Socket } from "../../src/index.ts"
import { type Client, nothing, serving, settled } from "../kit/inMemory.ts"

/** Runs on its own until it has to wait. */
const start = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), () => settled)

const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

/** The two halves of a client's session, with the scope of the reader. */
const open = Effect.fnUntraced(function*({ socket }: Client) {
  const scope = yield* Scope.make()
  const { reader, writer } = Socket.toEffectSocket(socket)
  const { pull, upgrade } = yield* Scope.provide(reader, scope)
  const { write, writeAll } = yield* Scope.provide(writer, scope)
  return { pull, upgrade, write, writeAll, close: Scope.close(scope, Exit.void) }
})

/** The reason that an effect fails for. */
const reasonOf = (effect: Effect.Effect<unknown, EffectSocket.SocketError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const closeOf = (effect: Effect.Effect<unknown, EffectSocket.SocketError>) =>
  Effect.map(reasonOf(effect), (reason) => {
    assert.strictEqual(reason._tag, "SocketCloseError")
    const { closeReason, code } = reason as EffectSocket.SocketCloseError
    return [code, closeReason]
  })

describe("the reader", () => {
  it.effect("gives what had arrived, then what comes together, as text and as bytes", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("4one")
      yield* client.says("4two")
      const { pull } = yield* open(client)
      assert.deepStrictEqual(yield* pull, ["one", "two"])
      const pulling = yield* start(pull)
      assert.isTrue(isWaiting(pulling))
      yield* client.says("4three", Uint8Array.of(4))
      assert.deepStrictEqual(yield* Fiber.join(pulling), ["three", Uint8Array.of(4)])
    }))

  it.effect("makes room by what it takes: a client is read no further than receiveBuffer", () =>
    serving({ receiveBuffer: { messages: 2 } }, function*(server) {
      const client = yield* server.connect("websocket")
      const { pull } = yield* open(client)
      yield* client.says("40", "41", "42", "43", "44")
      assert.isTrue(client.isPaused)
      assert.deepStrictEqual(client.unread, ["43", "44"])
      const all: Array<Packet.Message> = []
      while (all.length < 5) {
        all.push(...yield* pull)
        yield* settled
      }
      assert.deepStrictEqual(all, ["0", "1", "2", "3", "4"])
    }))

  it.effect("interrupted while it waits, takes nothing", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { pull } = yield* open(client)
      yield* Fiber.interrupt(yield* start(pull))
      yield* client.says("4kept")
      assert.deepStrictEqual(yield* pull, ["kept"])
    }))

  it.effect("lets several wait: each gets what comes for it, or the end, and one that gives up takes no other with it", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { close, pull } = yield* open(client)
      const pulls = [yield* start(pull), yield* start(pull), yield* start(pull), yield* start(pull)] as const
      yield* Fiber.interrupt(pulls[0])
      yield* client.says("4one")
      yield* client.says("4two")
      assert.sameDeepMembers(
        pulls.flatMap((pull) => {
          const exit = pull.pollUnsafe()
          return exit?._tag === "Success" ? exit.value : []
        }),
        ["one", "two"]
      )
      yield* close
      assert.deepStrictEqual(pulls.filter(isWaiting), [])
    }))

  it.effect("gives what had arrived before the end, then fails with the end, again and again", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket", { app: () => Effect.never })
      const { pull } = yield* open(client)
      yield* client.says("4last")
      yield* client.loses(CloseReason.transportClose({ code: 4001, reason: "bye" }))
      assert.deepStrictEqual(yield* pull, ["last"])
      assert.deepStrictEqual(yield* closeOf(pull), [4001, "bye"])
      assert.deepStrictEqual(yield* closeOf(pull), [4001, "bye"])
    }))

  const ends: ReadonlyArray<readonly [CloseReason.CloseReason, code: number, text: string]> = [
    [CloseReason.transportClose(), 1005, "transport close"],
    [CloseReason.pingTimeout, 1006, "ping timeout"],
    [
      CloseReason.parseError(new Packet.PacketError({ reason: "Empty" })),
      1002,
      "an empty text or an empty frame is no packet"
    ],
    [CloseReason.forcedClose, 1000, "forced close"],
    [CloseReason.serverShutdown(), 1001, "forced close"],
    [CloseReason.transportError(new CloseReason.PayloadTooLarge({ limit: 1 })), 1009, "Max payload size exceeded"],
    [CloseReason.transportError(new CloseReason.Overlap({ method: "GET" })), 1002, "overlap from client"],
    [CloseReason.transportError(new CloseReason.WriteFailed({ cause: "?" })), 1006, "write error"],
    [
      CloseReason.transportError(new CloseReason.WebSocketProtocol({ code: 1007, message: "no UTF-8" })),
      1007,
      "no UTF-8"
    ]
  ]
  for (const [reason, code, text] of ends) {
    it.effect(`fails with ${code} "${text}" at the end by ${reason._tag}`, () =>
      serving({}, function*(server) {
        const client = yield* server.connect("websocket")
        const { pull } = yield* open(client)
        const pulling = yield* start(closeOf(pull))
        yield* client.loses(reason)
        assert.deepStrictEqual(yield* Fiber.join(pulling), [code, text])
      }))
  }

  it.effect("closes the session with its scope, delivers what was written, and fails whoever waits", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      const { close, pull, write } = yield* open(client)
      yield* write("answer")
      yield* settled
      yield* write("farewell")
      const pulling = yield* start(closeOf(pull))
      yield* close
      assert.deepStrictEqual(yield* Fiber.join(pulling), [1000, "forced close"])
      assert.deepStrictEqual(yield* closeOf(pull), [1000, "forced close"])
      yield* client.polls
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["4answer", "4farewell", "1"])
      assert.deepStrictEqual(yield* client.reason, CloseReason.forcedClose)
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("knows no TLS", () =>
    serving({}, function*(server) {
      const { upgrade } = yield* open(yield* server.connect("websocket"))
      assert.strictEqual((yield* reasonOf(upgrade()))._tag, "SocketUpgradeError")
    }))
})

describe("the writer", () => {
  it.effect("sends text and bytes, one by one and together", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { write, writeAll } = yield* open(client)
      yield* write("one")
      yield* writeAll(["two", Uint8Array.of(3)])
      yield* settled
      assert.deepStrictEqual(client.take(), ["4one", "4two", "bAw=="])
    }))

  it.effect("waits while the send buffer is full", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      const { write, writeAll } = yield* open(client)
      yield* write("one")
      const writing = yield* start(writeAll(["two", "three"]))
      assert.isTrue(isWaiting(writing))
      for (let poll = 0; poll < 3; poll++) yield* client.polls
      yield* Fiber.join(writing)
      assert.deepStrictEqual(client.take(), ["4one", "4two", "4three"])
    }))

  it.effect("fails with what Socket.send fails with", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const { write, writeAll } = yield* open(client)
      const cause = (effect: Effect.Effect<void, EffectSocket.SocketError>) =>
        Effect.map(reasonOf(effect), (reason) => reason._tag === "SocketWriteError" && reason.cause)
      assert.instanceOf(yield* cause(write("a\x1eb")), Socket.InvalidMessage)
      yield* client.leaves
      assert.instanceOf(yield* cause(write("late")), Socket.SocketClosed)
      assert.instanceOf(yield* cause(writeAll(["late"])), Socket.SocketClosed)
    }))

  it.effect("closes the session by a CloseEvent, with which the reader fails", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { pull, write } = yield* open(client)
      yield* write("last words")
      yield* write(new EffectSocket.CloseEvent(1009, "too much"))
      yield* settled
      assert.deepStrictEqual(client.take(), ["4last words"])
      assert.isTrue(client.isClosed)
      assert.deepStrictEqual(yield* closeOf(pull), [1009, "too much"])
      assert.deepStrictEqual(yield* client.reason, CloseReason.forcedClose)
    }))
})

describe("an app that reads by it", () => {
  it.effect("finishes with what it took, and ends by itself when its session does", () =>
    serving({}, function*(server) {
      const seen: Array<unknown> = []
      const app = (socket: Socket.Socket) =>
        Effect.gen(function*() {
          const { pull } = yield* Socket.toEffectSocket(socket).reader
          while (true) {
            const batch = yield* pull
            yield* Effect.sleep("1 second")
            seen.push(...batch)
          }
        }).pipe(
          Effect.scoped,
          Effect.catchReason("SocketError", "SocketCloseError", ({ code }) => Effect.sync(() => seen.push(code))),
          Effect.onInterrupt(() => Effect.sync(() => seen.push("interrupted")))
        )
      const client = yield* server.connect("websocket", { app })
      // Nothing more waits when the client leaves: it is known by its having asked that it deals with these.
      yield* client.says("41", "42")
      yield* client.loses(CloseReason.transportClose({ code: 1001 }))
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, ["1", "2", 1001])
      assert.deepStrictEqual(server.left, nothing)
    }))
})
