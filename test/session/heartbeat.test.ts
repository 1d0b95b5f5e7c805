/**
 * The heartbeat of a session by itself, on the test's clock (rules R-H1 to R-H7). Where nothing else is said, there are 25
 * seconds between a pong and the next ping, and 20 for a pong.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { type Client, nothing, serving, settled } from "../kit/inMemory.ts"

/** Goes on to a time, in seconds since the session opened. */
const at = (seconds: number) => TestClock.setTime(Duration.toMillis(Duration.seconds(seconds)))

const pingTimeout = { _tag: "PingTimeout" } as const

/** Whether the client is blamed for having taken the server's part. */
const isInvalid = (reason: CloseReason.CloseReason | undefined) =>
  reason?._tag === "TransportError" && reason.error._tag === "InvalidHeartbeat"

/** Completes an upgrade. */
const upgrade = (client: Client) =>
  Effect.gen(function*() {
    const candidate = yield* client.tries("websocket")
    yield* candidate.says("2probe", "5")
    assert.deepStrictEqual(candidate.take(), ["3probe"])
    assert.strictEqual(yield* Socket.transport(client.socket), "websocket")
    return candidate
  })

describe("revision 4", () => {
  it.effect("R-H1: a ping goes out pingInterval after the session opened, and not before", () =>
    serving({}, function*(server) {
      const webSocket = yield* server.connect("websocket")
      const polling = yield* server.connect("polling")
      yield* polling.polls
      yield* at(24.999)
      assert.deepStrictEqual([webSocket.take(), polling.take()], [[], []])
      yield* at(25)
      assert.deepStrictEqual([webSocket.take(), polling.take()], [["2"], ["2"]])
    }))

  it.effect("R-H1: the next ping comes pingInterval after the pong, not after the ping", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* at(25)
      yield* at(37)
      yield* client.pong
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(61.999)
      assert.deepStrictEqual(client.take(), [])
      yield* at(62)
      assert.deepStrictEqual(client.take(), ["2"])
    }))

  it.effect("R-H1: pings go out as far apart as the sessions were opened", () =>
    serving({}, function*(server) {
      const clients: Array<Client> = []
      for (let i = 0; i < 100; i++) {
        yield* TestClock.setTime(i)
        clients.push(yield* server.connect("websocket"))
      }
      for (const [i, client] of clients.entries()) {
        yield* TestClock.setTime(25_000 + i)
        assert.deepStrictEqual(clients.filter((other) => other.take().length > 0), [client])
      }
    }))

  it.effect("R-H1: the heartbeat goes on for as long as every ping is answered", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      for (let minute = 1; minute <= 60; minute++) {
        yield* TestClock.adjust("25 seconds")
        yield* TestClock.adjust("19999 millis")
        yield* client.pong
        assert.deepStrictEqual(client.take(), ["2"])
      }
      assert.strictEqual(yield* EngineIO.count, 1)
    }))

  it.effect("R-H1: a pong's data is ignored", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      for (const pong of ["3", "3probe", "3whatever"]) {
        yield* TestClock.adjust("25 seconds")
        yield* client.says(pong)
      }
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(client.take(), ["2", "2", "2", "2"])
    }))

  it.effect("R-H1: a client that does not answer is given up pingTimeout after the ping, and not before", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* at(44.999)
      assert.isUndefined(yield* client.reason)
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
      assert.isTrue(client.isClosed)
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("R-H1: the time for the pong runs although no GET took the ping", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* at(44.999)
      assert.isUndefined(yield* client.reason)
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
      assert.deepStrictEqual(client.take(), [])
    }))

  it.effect("R-H1: a ping that waits for a GET is not repeated, and may be answered late", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* at(44)
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["2"])
      yield* client.pong
      yield* client.polls
      yield* at(44 + 24.999)
      assert.deepStrictEqual(client.take(), [])
      yield* at(44 + 25)
      assert.deepStrictEqual(client.take(), ["2"])
    }))

  it.effect("R-H1: a pong that nobody asked for begins the interval anew", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* at(10)
      yield* client.pong
      yield* at(34.999)
      assert.deepStrictEqual(client.take(), [])
      yield* at(35)
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(54.999)
      assert.isUndefined(yield* client.reason)
      yield* at(55)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H1: it can be observed, and the round trip is the time from the ping to its pong", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const tags: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(Socket.events(client.socket), ({ _tag }) => Effect.sync(() => void tags.push(_tag))),
        { startImmediately: true }
      )
      assert.isTrue(Option.isNone(yield* Socket.rtt(client.socket)))
      yield* at(25)
      yield* at(28)
      yield* client.pong
      assert.deepStrictEqual(yield* Socket.rtt(client.socket), Option.some(Duration.seconds(3)))
      assert.deepStrictEqual(tags, ["PacketCreated", "Flushed", "Drained", "PacketReceived", "Heartbeat"])
      yield* at(53)
      yield* at(53.25)
      yield* client.pong
      assert.deepStrictEqual(yield* Socket.rtt(client.socket), Option.some(Duration.millis(250)))
    }))

  it.effect("R-H1, R62: a ping is the server's part, and ends the session of a client that sends one", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("2")
      assert.isTrue(isInvalid(yield* client.reason))
    }))

  it.effect("R-H2: only a pong answers a ping, whatever else the client says", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      for (let second = 25; second < 45; second++) {
        yield* at(second)
        yield* client.says("4busy")
      }
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H2: with anyPacketIsAlive any packet extends the wait for the pong", () =>
    serving({ anyPacketIsAlive: true }, function*(server) {
      const client = yield* server.connect("websocket")
      for (const second of [25, 44, 63, 82]) {
        yield* at(second)
        yield* client.says("4busy")
      }
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(101.999)
      assert.isUndefined(yield* client.reason)
      yield* at(102)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H2: with anyPacketIsAlive what comes before the ping neither delays it nor the end", () =>
    serving({ anyPacketIsAlive: true }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* at(24)
      yield* client.says("4busy")
      yield* at(25)
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H1: a client that takes nothing of a full buffer is pinged, and given up like any other", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.sticks
      const sending = yield* Effect.forkChild(Effect.flip(Socket.sendAll(client.socket, ["1", "2", "3"])), {
        startImmediately: true
      })
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
      assert.strictEqual((yield* Fiber.join(sending))._tag, "SocketClosed")
    }))

  it.effect("R-H4: with 300 and 200 ms silence is punished at 500 ms", () =>
    serving({ pingInterval: 300, pingTimeout: 200 }, function*(server) {
      const client = yield* server.connect("polling")
      for (let i = 0; i < 3; i++) {
        yield* client.polls
        yield* TestClock.adjust(300)
        assert.deepStrictEqual(client.take(), ["2"])
        yield* client.pong
      }
      yield* TestClock.adjust(499)
      assert.isUndefined(yield* client.reason)
      yield* TestClock.adjust(1)
      assert.isTrue(Option.isNone(yield* EngineIO.socket(client.socket.id)))
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H5: ten thousand unasked pongs start no timer and no fiber", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { left } = server
      yield* client.says(...Array.from({ length: 10_000 }, () => "3"))
      assert.deepStrictEqual(server.left, left)
      yield* at(25)
      assert.deepStrictEqual(client.take(), ["2"])
    }))

  it.effect("R-H5: a second pong for one ping changes nothing but the interval", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* at(25)
      yield* client.says("3", "3")
      yield* at(30)
      yield* client.pong
      yield* at(54.999)
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(55)
      assert.deepStrictEqual(client.take(), ["2"])
    }))

  it.effect("R-H6: a closing session is sent no ping", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.close(client.socket)
      yield* at(29)
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["1"])
      assert.deepStrictEqual(yield* client.reason, { _tag: "ForcedClose" })
    }))

  it.effect("R-H6: a closing session's client still owes the answer to a ping it was sent", () =>
    serving({ closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* at(25)
      assert.deepStrictEqual(client.take(), ["2"])
      yield* Socket.close(client.socket)
      yield* at(44.999)
      assert.strictEqual(yield* Socket.state(client.socket), "closing")
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H6: an unresponsive client of a closing session times out although it was not pinged", () =>
    serving({ closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.close(client.socket)
      yield* at(44.999)
      assert.isUndefined(yield* client.reason)
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H6: a closing session lives while pongs come", () =>
    serving({ closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "last words")
      yield* Socket.close(client.socket)
      for (const second of [40, 80, 120]) {
        yield* at(second)
        yield* client.pong
      }
      assert.isUndefined(yield* client.reason)
      yield* client.polls
      assert.deepStrictEqual(client.take()[0], "4last words")
    }))

  it.effect("R-H6: a closing session that nobody collects ends with closeTimeout where that comes first", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.close(client.socket)
      yield* at(29.999)
      assert.isUndefined(yield* client.reason)
      yield* at(30)
      assert.deepStrictEqual(yield* client.reason, { _tag: "ForcedClose" })
    }))

  it.effect("R-H7, R82: a ping sent before an upgrade is still to be answered after it", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* at(25)
      assert.deepStrictEqual(client.take(), ["2"])
      yield* at(30)
      const webSocket = yield* upgrade(client)
      yield* at(44.999)
      assert.isUndefined(yield* client.reason)
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
      assert.deepStrictEqual(webSocket.take(), [])
      assert.isTrue(webSocket.isClosed)
    }))

  it.effect("R82: the time to the next ping runs on through an upgrade", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* at(15)
      const webSocket = yield* upgrade(client)
      yield* at(24.999)
      assert.deepStrictEqual(webSocket.take(), [])
      yield* at(25)
      assert.deepStrictEqual(webSocket.take(), ["2"])
    }))

  it.effect("R82: a ping that no GET took goes out on the new transport, and its time does not begin anew", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* at(30)
      const webSocket = yield* client.tries("websocket")
      yield* webSocket.says("2probe", "5")
      assert.deepStrictEqual(webSocket.take(), ["3probe", "2"])
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R83: while an upgrade lasts pings go through the old transport, and the new one brings the pong", () =>
    serving({ upgradeTimeout: "1 minute" }, function*(server) {
      const client = yield* server.connect("polling")
      yield* at(20)
      const webSocket = yield* client.tries("websocket")
      yield* webSocket.says("2probe")
      yield* at(24.95)
      yield* client.polls
      yield* at(25)
      assert.strictEqual(client.take().at(-1), "2")
      assert.deepStrictEqual(webSocket.take(), ["3probe"])
      yield* webSocket.says("5", "3")
      yield* at(50)
      assert.deepStrictEqual(webSocket.take(), ["2"])
    }))
})

describe("revision 3", () => {
  const options = { allowEIO3: true }

  it.effect("R-H3: a client's ping is answered, and the server sends none itself", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket", {}, 3)
      for (let i = 0; i < 4; i++) {
        yield* TestClock.adjust("44 seconds")
        assert.deepStrictEqual(client.take(), [])
        yield* client.says("2")
        assert.deepStrictEqual(client.take(), ["3"])
      }
    }))

  it.effect("R-H3: a client that does not ping is given up after pingInterval + pingTimeout", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket", {}, 3)
      yield* at(10)
      yield* client.says("2")
      yield* at(50)
      yield* client.says("4not a ping")
      yield* at(54.999)
      assert.isUndefined(yield* client.reason)
      yield* at(55)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H3: with anyPacketIsAlive any packet is as good as a ping", () =>
    serving({ ...options, anyPacketIsAlive: true }, function*(server) {
      const client = yield* server.connect("websocket", {}, 3)
      yield* at(44)
      yield* client.says("4hello")
      yield* at(88.999)
      assert.isUndefined(yield* client.reason)
      yield* at(89)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H3, R62: a pong is the server's part, and ends the session of a client that sends one", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket", {}, 3)
      yield* client.pong
      assert.isTrue(isInvalid(yield* client.reason))
    }))

  it.effect("R-H7, R82: a client that upgrades and falls silent is given up all the same", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("polling", {}, 3)
      yield* at(30)
      const webSocket = yield* upgrade(client)
      yield* at(44.999)
      assert.isUndefined(yield* client.reason)
      yield* at(45)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
      assert.isTrue(webSocket.isClosed)
    }))
})

describe("while the server does not read", () => {
  /** A client whose pong waits behind messages that nobody takes. */
  const unread = (client: Client) =>
    Effect.tap(client.says("4one", "4two", "3", "4three"), () => Effect.sync(() => assert.isTrue(client.isPaused)))
  /** A client that takes nothing any more: one message is on its connection, another waits behind it. */
  const stuck = Effect.fnUntraced(function*(client: Client) {
    yield* client.sticks
    yield* Socket.send(client.socket, "on the connection")
    yield* settled
    yield* Socket.send(client.socket, "in the buffer")
  })
  const options = { receiveBuffer: { messages: 1 } }

  it.effect("the missing pong is not held against the client", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket")
      yield* unread(client)
      yield* at(600)
      assert.isUndefined(yield* client.reason)
    }))

  it.effect("it is so in revision 3", () =>
    serving({ ...options, allowEIO3: true }, function*(server) {
      const client = yield* server.connect("websocket", {}, 3)
      yield* client.says("4one", "4two", "2")
      yield* at(600)
      assert.isUndefined(yield* client.reason)
    }))

  it.effect("it writes to the client instead, but where something waits for it", () =>
    serving({ ...options, allowEIO3: true }, function*(server) {
      const webSocket = yield* server.connect("websocket")
      const polling = yield* server.connect("polling")
      const old = yield* server.connect("websocket", {}, 3)
      for (const client of [webSocket, polling, old]) yield* client.says("4one", "4two")
      yield* at(25)
      assert.deepStrictEqual([webSocket.take(), old.take()], [["2"], []])
      for (const second of [45, 65, 85]) {
        yield* at(second)
        yield* settled
        assert.deepStrictEqual([webSocket.take(), old.take()], [["2"], ["6"]])
      }
      yield* polling.polls
      assert.deepStrictEqual(polling.take(), ["2"])
    }))

  it.effect("a client that takes nothing of what waits for it is given up", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket")
      yield* unread(client)
      yield* client.sticks
      yield* Socket.send(client.socket, "on the connection")
      yield* Effect.yieldNow
      yield* Socket.send(client.socket, "in the buffer")
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("it is given up pingInterval + pingTimeout after that was noticed, and not before", () =>
    serving({ ...options, pingInterval: "20 seconds" }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* unread(client)
      yield* stuck(client)
      // It is noticed when the pong is missing.
      yield* at(40)
      yield* at(79.999)
      assert.isUndefined(yield* client.reason)
      yield* at(80)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("with anyPacketIsAlive, the time in which it is read from does not count", () =>
    serving({ ...options, anyPacketIsAlive: true }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("4one", "4two")
      yield* stuck(client)
      yield* at(45)
      yield* at(50)
      yield* Socket.receiveAll(client.socket)
      for (const second of [60, 75, 85]) {
        yield* at(second)
        assert.isFalse(client.isPaused)
        yield* Socket.receiveAll(client.socket)
        yield* client.says("4busy")
      }
      yield* client.says("4busy")
      assert.isTrue(client.isPaused)
      // It is noticed anew 20 seconds after the second message.
      yield* at(144.999)
      assert.isUndefined(yield* client.reason)
      yield* at(145)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("with anyPacketIsAlive it is given up too, although messages of it that came before are still read", () =>
    serving({ ...options, anyPacketIsAlive: true }, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says(...Array.from({ length: 100 }, () => "4before"))
      yield* client.sticks
      yield* Socket.send(client.socket, "on the connection")
      yield* Effect.yieldNow
      yield* Socket.send(client.socket, "waiting")
      for (let second = 10; second <= 150; second += 10) {
        yield* at(second)
        if ((yield* client.reason) !== undefined) break
        yield* Socket.receive(client.socket)
      }
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("R-H6: so it has when it is read from again because its session closes", () =>
    serving({ ...options, closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.says("4one", "4two")
      yield* at(44)
      yield* Socket.close(client.socket)
      yield* at(63.999)
      assert.isUndefined(yield* client.reason)
      yield* at(64)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))

  it.effect("once it reads again the client has pingTimeout for its pong, counted from then", () =>
    serving(options, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("4one", "4two")
      yield* at(600)
      yield* Socket.receiveAll(client.socket)
      yield* at(601)
      assert.isFalse(client.isPaused)
      yield* at(619.999)
      assert.isUndefined(yield* client.reason)
      yield* at(620)
      assert.deepStrictEqual(yield* client.reason, pingTimeout)
    }))
})
