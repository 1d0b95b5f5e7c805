/**
 * The move of a session to another transport by itself, on the test's clock (rules R76 to R84). A client has ten seconds
 * for it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EngineIO, Socket } from "../../src/index.ts"
import { type Client, nothing, serving } from "../kit/inMemory.ts"

/** Asks to move to a WebSocket, and is told that it may. */
const probe = (client: Client) =>
  Effect.gen(function*() {
    const candidate = yield* client.tries("websocket")
    yield* candidate.says("2probe")
    assert.deepStrictEqual(candidate.take(), ["3probe"])
    return candidate
  })

const upgrade = (client: Client) => Effect.tap(probe(client), (candidate) => candidate.says("5"))

/** A session stayed where it was, and works. */
const isPolling = (client: Client) =>
  Effect.gen(function*() {
    const { socket } = client
    assert.strictEqual(yield* Socket.transport(socket), "polling")
    assert.isFalse(yield* Socket.upgraded(socket))
    client.take()
    yield* Socket.send(socket, "over polling")
    yield* client.polls
    assert.include(client.take(), "4over polling")
  })

const isUpgraded = (client: Client) =>
  Effect.gen(function*() {
    assert.strictEqual(yield* Socket.transport(client.socket), "websocket")
    assert.isTrue(yield* Socket.upgraded(client.socket))
    assert.isUndefined(yield* client.reason)
  })

describe("its start", () => {
  it.effect("R76: the time for an upgrade runs from its acceptance, not from the probe", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* client.tries("websocket")
      yield* TestClock.adjust("9 seconds")
      yield* candidate.says("2probe")
      yield* TestClock.adjust("999 millis")
      assert.isFalse(candidate.isClosed)
      yield* TestClock.adjust("1 millis")
      assert.isTrue(candidate.isClosed)
      yield* isPolling(client)
    }))

  it.effect("R76: there is one candidate at a time, and the second is closed", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const first = yield* probe(client)
      const second = yield* client.tries("websocket")
      assert.deepStrictEqual([first.isClosed, second.isClosed], [false, true])
      yield* first.says("5")
      yield* isUpgraded(client)
    }))

  it.effect("R76: a session that has upgraded, or began where there is nothing better, stays there", () =>
    serving({}, function*(server) {
      const upgraded = yield* server.connect("polling")
      yield* upgrade(upgraded)
      assert.isTrue((yield* upgraded.tries("websocket")).isClosed)
      const webSocket = yield* server.connect("websocket")
      assert.isTrue((yield* webSocket.tries("websocket")).isClosed)
      assert.strictEqual(yield* EngineIO.count, 2)
    }))

  it.effect("R77: a probe is answered at once, and so is the GET that waits, with a noop", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* probe(client)
      assert.deepStrictEqual(client.take(), ["6"])
    }))

  it.effect("R77: a GET that comes before the client has its answer gets a noop too, and every later one", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* probe(client)
      for (const wait of [10, 100, 100, 100]) {
        client.take()
        yield* client.polls
        yield* TestClock.adjust(wait - 1)
        assert.deepStrictEqual(client.take(), [])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(client.take(), ["6"])
      }
    }))

  it.effect("R77: before the probe no GET is answered for the upgrade's sake", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* client.tries("websocket")
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(client.take(), [])
      assert.isTrue(client.isPolling)
    }))

  it.effect("R77, R78: who watches learns of the probe and of the move", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const tags: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(Socket.events(client.socket), ({ _tag }) => Effect.sync(() => void tags.push(_tag))),
        { startImmediately: true }
      )
      const candidate = yield* probe(client)
      assert.deepStrictEqual(tags, ["Upgrading"])
      yield* candidate.says("5")
      assert.deepStrictEqual(tags, ["Upgrading", "Upgraded"])
    }))
})

describe("its completion", () => {
  it.effect("R78: an upgrade packet moves the session, and what waited goes out there", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* probe(client)
      yield* Socket.sendAll(client.socket, ["one", "two"])
      yield* candidate.says("5")
      assert.deepStrictEqual([client.take(), candidate.take()], [[], ["4one", "4two"]])
      assert.isTrue(client.isClosed)
      yield* isUpgraded(client)
    }))

  it.effect("R78: an upgrade packet without a probe is accepted", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* client.tries("websocket")
      yield* candidate.says("5")
      yield* isUpgraded(client)
    }))

  it.effect("R78: what arrives with the upgrade packet, behind it, is the session's", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* client.tries("websocket")
      yield* candidate.says("2probe", "5", "4one", "4two")
      assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["one", "two"])
    }))

  it.effect("R78: a session that was closing when the upgrade came closes on the new transport", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* probe(client)
      yield* Socket.send(client.socket, "last words")
      yield* Socket.close(client.socket)
      assert.strictEqual(yield* Socket.state(client.socket), "closing")
      yield* candidate.says("5")
      assert.deepStrictEqual(candidate.take(), ["4last words"])
      assert.isTrue(candidate.isClosed)
      assert.deepStrictEqual(yield* client.reason, { _tag: "ForcedClose" })
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("R78: a session that was waiting to tell of its close tells it on the new transport", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* probe(client)
      const tags: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(EngineIO.events, ({ _tag }) => Effect.sync(() => void tags.push(_tag))),
        { startImmediately: true }
      )
      yield* Socket.close(client.socket)
      yield* candidate.says("5")
      assert.isTrue(candidate.isClosed)
      assert.deepStrictEqual(yield* client.reason, { _tag: "ForcedClose" })
      // Behind its end, the move would be counted for a session that is none.
      assert.deepStrictEqual(tags, ["Upgraded", "Closed"])
    }))

  it.effect("R78: it leaves no timer and no fiber, and no noops", () =>
    serving({ pingInterval: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      const { left } = server
      const candidate = yield* upgrade(client)
      assert.deepStrictEqual(server.left, left)
      yield* TestClock.adjust("30 minutes")
      assert.deepStrictEqual([client.take(), candidate.take()], [[], []])
      yield* isUpgraded(client)
    }))
})

describe("its failure", () => {
  const packets = ["4early", "0", "1", "2", "2probeX", "3", "3probe", "6", "bAQID", "", "9", Uint8Array.of(1, 2, 3)]
  for (const packet of packets) {
    it.effect(`R79: another packet closes the candidate, and is not delivered: ${JSON.stringify(packet)}`, () =>
      serving({ pingInterval: "1 hour" }, function*(server) {
        const client = yield* server.connect("polling")
        const { left } = server
        for (const afterProbe of [false, true]) {
          const candidate = yield* afterProbe ? probe(client) : client.tries("websocket")
          yield* candidate.says(packet, "4behind")
          assert.isTrue(candidate.isClosed)
          assert.deepStrictEqual(candidate.take(), [])
          yield* isPolling(client)
          assert.deepStrictEqual(server.left, left)
        }
        yield* client.says("4after")
        assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["after"])
      }))
  }

  it.effect("R79: a second probe closes the candidate, without an answer", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* probe(client)
      yield* candidate.says("2probe")
      assert.deepStrictEqual([candidate.isClosed, candidate.take()], [true, []])
      yield* isPolling(client)
    }))

  it.effect("R79: a candidate that leaves changes nothing, and a later one may succeed", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* (yield* client.tries("websocket")).leaves
      yield* isPolling(client)
      yield* (yield* probe(client)).leaves
      yield* isPolling(client)
      yield* upgrade(client)
      yield* isUpgraded(client)
    }))

  for (const [packet, words] of [["3probe", "the answer to its probe"], ["6", "the noop of its poll"]]) {
    it.effect(`R79: a session that is closed in the step in which its client gets ${words} leaves nothing`, () =>
      serving({}, function*(server) {
        const client = yield* server.connect("polling")
        yield* client.polls
        const candidate = yield* client.tries("websocket")
        for (const one of [client, candidate]) {
          one.write = (written) => {
            if (written === packet) Effect.runSync(Socket.close(client.socket, { discard: true }))
          }
        }
        yield* candidate.says("2probe")
        assert.strictEqual((yield* client.reason)?._tag, "ForcedClose")
        assert.isTrue(candidate.isClosed)
        assert.deepStrictEqual(server.left, nothing)
      }))
  }

  it.effect("R79: a poll that cannot be answered is no failure of the upgrade", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      client.write = () => {
        throw new Error("the response is broken")
      }
      const candidate = yield* probe(client)
      yield* candidate.says("5")
      yield* isUpgraded(client)
    }))

  it.effect("R79: after upgradeTimeout the candidate is closed, the noops end, and the client may try again", () =>
    serving({ pingInterval: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      const { left } = server
      const candidate = yield* probe(client)
      yield* TestClock.adjust("9999 millis")
      assert.isFalse(candidate.isClosed)
      yield* TestClock.adjust("1 millis")
      assert.isTrue(candidate.isClosed)
      assert.deepStrictEqual(server.left, left)
      yield* client.polls
      client.take()
      yield* client.polls
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(client.take(), [])
      yield* upgrade(client)
      yield* TestClock.adjust("10 minutes")
      yield* isUpgraded(client)
    }))

  const ends: Readonly<Record<string, (client: Client) => Effect.Effect<void>>> = {
    "the client's close": (client) => client.says("1"),
    "a packet that is none": (client) => client.says("9"),
    "a discarding close": ({ socket }) => Socket.close(socket, { discard: true }),
    "a missing pong": () => TestClock.adjust("45 seconds")
  }
  for (const [how, end] of Object.entries(ends)) {
    it.effect(`R79: the end of the session closes the candidate, and nothing is left: ${how}`, () =>
      serving({ upgradeTimeout: "1 hour" }, function*(server) {
        for (const afterProbe of [false, true]) {
          const client = yield* server.connect("polling")
          const candidate = yield* afterProbe ? probe(client) : client.tries("websocket")
          yield* end(client)
          assert.isDefined(yield* client.reason)
          assert.isTrue(candidate.isClosed)
          assert.deepStrictEqual(server.left, nothing)
        }
      }))
  }
})

describe("a candidate", () => {
  it.effect("R79: is closed when the session ends, not when its application has", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling", { onDisconnect: () => Effect.sleep("5 seconds") })
      const candidate = yield* probe(client)
      yield* client.leaves
      assert.isTrue(candidate.isClosed)
    }))
})

describe("messages", () => {
  it.effect("R80: while it lasts a GET takes what waits, and the rest goes to the new transport, in order", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const { socket } = client
      const candidate = yield* client.tries("websocket")
      yield* Socket.sendAll(socket, ["1", "2"])
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["41", "42"])
      yield* candidate.says("2probe")
      yield* Socket.send(socket, "3")
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["43"])
      yield* Socket.sendAll(socket, ["4", "5"])
      yield* candidate.says("5")
      yield* Socket.send(socket, "6")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(candidate.take(), ["3probe", "44", "45", "46"])
      assert.deepStrictEqual(client.take(), [])
    }))

  it.effect("R80: what the client says on the old transport comes before what it says on the new", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.says("41")
      const candidate = yield* probe(client)
      yield* client.says("42", "43")
      yield* candidate.says("5", "44")
      assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["1", "2", "3", "4"])
    }))

  it.effect("R81: a GET that still waits when the upgrade completes gets a close packet", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* probe(client)
      yield* client.polls
      yield* candidate.says("5")
      assert.deepStrictEqual(client.take(), ["1"])
      yield* isUpgraded(client)
    }))

  it.effect("R84: the old transport is closed, and its end is not the session's", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* upgrade(client)
      assert.isTrue(client.isClosed)
      yield* client.leaves
      yield* candidate.says("4still here")
      assert.strictEqual(yield* Socket.receive(client.socket), "still here")
    }))

  it.effect("a sender that waits for room finds it on the new transport", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "1")
      const sending = yield* Effect.forkChild(Socket.sendAll(client.socket, ["2", "3"]), { startImmediately: true })
      const candidate = yield* upgrade(client)
      yield* Fiber.join(sending)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(candidate.take(), ["41", "42", "43"])
    }))

  it.effect("the application that is behind stays behind: the new transport is not read until it has caught up", () =>
    serving({ receiveBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.says("41", "42")
      assert.isTrue(client.isPaused)
      const candidate = yield* probe(client)
      yield* candidate.says("5", "43")
      assert.isTrue(candidate.isPaused)
      assert.deepStrictEqual(candidate.unread, ["43"])
      const received: Array<unknown> = []
      for (let i = 0; i < 3; i++) received.push(yield* Socket.receive(client.socket))
      assert.deepStrictEqual(received, ["1", "2", "3"])
    }))
})
