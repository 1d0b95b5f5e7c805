/**
 * The end of a session by itself, on the test's clock: why, in which order, in how much time, and what is left (rules
 * R-C1 to R-C10). A client has 30 seconds to take a close, and an application to take what had arrived.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, Option, Queue, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import { CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { type App, type Client, nothing, type Server, serving, settled } from "../kit/inMemory.ts"
import { takers } from "../kit/takers.ts"

const forced: CloseReason.CloseReason = { _tag: "ForcedClose" }
const left: CloseReason.CloseReason = { _tag: "TransportClose" }

/** Runs on its own until it has to wait. */
const start = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(effect, { startImmediately: true }), () => settled)

/** What something that waits will fail with. */
const failure = <E>(effect: Effect.Effect<unknown, E>) =>
  start(Effect.match(effect, { onFailure: (error) => error, onSuccess: () => undefined }))

describe("its reason", () => {
  const aborted = CloseReason.transportError(new CloseReason.Aborted({ method: "GET" }))
  const causes: ReadonlyArray<
    readonly [how: string, end: (client: Client) => Effect.Effect<unknown, unknown>, tag: string, text: string]
  > = [
    ["the client closes its connection", (client) => client.leaves, "TransportClose", "transport close"],
    ["the client sends a close packet", (client) => client.says("1"), "TransportClose", "transport close"],
    ["the transport fails", (client) => client.loses(aborted), "TransportError", "transport error"],
    [
      "a write throws",
      (client) => Effect.andThen(client.breaks, Effect.andThen(Socket.send(client.socket, "1"), client.polls)),
      "TransportError",
      "transport error"
    ],
    ["a packet is none", (client) => client.says("4fine", "9"), "ParseError", "parse error"],
    ["a pong is missing", () => TestClock.adjust("45 seconds"), "PingTimeout", "ping timeout"],
    ["it is closed", ({ polls, socket }) => Effect.andThen(Socket.close(socket), polls), "ForcedClose", "forced close"],
    [
      "it is closed, discarding",
      ({ socket }) => Socket.close(socket, { discard: true }),
      "ForcedClose",
      "forced close"
    ]
  ]
  for (const [how, end, tag, text] of causes) {
    for (const transport of ["polling", "websocket"] as const) {
      it.effect(`R-C1, R-C10: ${how}, ${transport}: ${tag}, and nothing is left`, () =>
        serving({}, function*(server) {
          const reasons: Array<CloseReason.CloseReason> = []
          const client = yield* server.connect(transport, {
            app: (socket) => Socket.forEach(socket, () => Effect.void),
            onDisconnect: (reason) => Effect.sync(() => void reasons.push(reason))
          })
          yield* end(client)
          const reason = yield* client.reason
          assert.strictEqual(reason?._tag, tag)
          assert.strictEqual(CloseReason.message(reason!), text)
          assert.deepStrictEqual(reasons, [reason])
          assert.isTrue(client.isClosed)
          assert.deepStrictEqual(server.left, nothing)
        }))
    }
  }

  for (
    const [how, app, tag] of [
      ["ends", Effect.void, "ForcedClose"],
      ["fails", Effect.fail("out of ideas"), "AppFailed"],
      ["dies", Effect.die("out of ideas"), "AppFailed"]
    ] as const
  ) {
    it.effect(`R-C1, R-C4: an application that ${how} closes its session, after what it sent: ${tag}`, () =>
      serving({}, function*(server) {
        const client = yield* server.connect("websocket", {
          app: (socket) => Effect.andThen(Socket.sendAll(socket, ["one", "two"]), app)
        })
        assert.deepStrictEqual(client.take(), ["4one", "4two"])
        assert.strictEqual((yield* client.reason)?._tag, tag)
        assert.deepStrictEqual(server.left, nothing)
      }))
  }

  it.effect("the first cause wins", () =>
    serving({}, function*(server) {
      const reasons: Array<CloseReason.CloseReason> = []
      const client = yield* server.connect("websocket", {
        onDisconnect: (reason) => Effect.sync(() => void reasons.push(reason))
      })
      yield* client.says("9", "1")
      yield* client.leaves
      yield* Socket.close(client.socket)
      yield* Socket.close(client.socket, { discard: true })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(reasons.map(({ _tag }) => _tag), ["ParseError"])
      assert.strictEqual((yield* client.reason)?._tag, "ParseError")
    }))

  it.effect("that of a close that waits stays, whatever ends the wait, except a heartbeat", () =>
    serving({ closeTimeout: "1 hour" }, function*(server) {
      const leaving = yield* server.connect("polling")
      const silent = yield* server.connect("polling")
      for (const { socket } of [leaving, silent]) yield* Socket.close(socket)
      yield* leaving.leaves
      assert.deepStrictEqual(yield* leaving.reason, forced)
      yield* TestClock.adjust("45 seconds")
      assert.deepStrictEqual(yield* silent.reason, { _tag: "PingTimeout" })
    }))
})

describe("its order", () => {
  it.effect("R-C2: when it is told, the session is closed, unknown, and takes nothing more", () =>
    serving({}, function*(server) {
      const seen: Array<unknown> = []
      const engine = yield* EngineIO.EngineIO
      const client: Client = yield* server.connect("polling", {
        onDisconnect: () =>
          Effect.gen(function*() {
            const { socket } = client
            seen.push(yield* Socket.state(socket))
            seen.push(yield* Socket.closed(socket))
            seen.push(Option.isSome(yield* EngineIO.socket(socket.id)), yield* EngineIO.count)
            seen.push(
              (yield* Effect.flip(Socket.send(socket, "too late")))._tag,
              yield* Socket.offer(socket, "too late")
            )
          }).pipe(Effect.orDie, Effect.provideService(EngineIO.EngineIO, engine))
      })
      yield* client.leaves
      assert.deepStrictEqual(seen, ["closed", left, false, 0, "SocketClosed", false])
    }))

  it.effect("R-C2: events end with one Closed, and whoever waits is told", () =>
    serving({ sendBuffer: { messages: 1 } }, function*(server) {
      const { leaves, socket } = yield* server.connect("polling")
      const events = yield* start(Stream.runCollect(Socket.events(socket)))
      yield* Socket.send(socket, "fills the buffer")
      const waiting = [
        yield* failure(Socket.send(socket, "waits")),
        yield* failure(Socket.flushed(socket)),
        yield* failure(Socket.receive(socket)),
        yield* failure(Socket.receiveAll(socket)),
        yield* failure(Queue.take(Socket.incoming(socket)))
      ]
      const closed = yield* start(Socket.closed(socket))
      yield* leaves
      assert.deepStrictEqual(yield* Fiber.join(closed), left)
      for (const fiber of waiting) {
        const error = yield* Fiber.join(fiber)
        assert.isTrue(error?._tag === "SocketClosed" && error.reason._tag === "TransportClose")
      }
      const tags = (yield* Fiber.join(events)).map(({ _tag }) => _tag)
      assert.deepStrictEqual(tags.filter((tag) => tag === "Closed"), ["Closed"])
      assert.strictEqual(tags.at(-1), "Closed")
    }))

  it.effect("the application ends, then onDisconnect runs, then the scope is closed", () =>
    serving({}, function*(server) {
      const steps: Array<string> = []
      const step = (name: string) => Effect.sync(() => void steps.push(name))
      const client = yield* server.connect("websocket", {
        app: () =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => step("finalizer"))
            yield* Effect.forkScoped(Effect.onInterrupt(Effect.never, () => step("fiber")), { startImmediately: true })
            yield* Effect.onInterrupt(Effect.never, () => Effect.andThen(Effect.sleep("1 second"), step("app")))
          }),
        onDisconnect: () => Effect.andThen(Effect.sleep("1 second"), step("onDisconnect"))
      })
      yield* client.leaves
      assert.deepStrictEqual(steps, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps, ["app"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps.slice(0, 2), ["app", "onDisconnect"])
      assert.sameMembers(steps.slice(2), ["finalizer", "fiber"])
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("onDisconnect that hangs delays neither the wire nor the registry, and is cut off after ten seconds", () => {
    const warned: Array<unknown> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      if (logLevel === "Warn") warned.push([String(message), fiber.getRef(References.CurrentLogAnnotations)["session"]])
    })
    let interrupted = 0
    const hanging = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
    return serving({}, function*(server) {
      const released = yield* Deferred.make<void>()
      const held = yield* server.connect("websocket", {
        onDisconnect: () => Effect.uninterruptible(Deferred.await(released))
      })
      const client = yield* server.connect("polling", { onDisconnect: () => hanging })
      yield* held.leaves
      yield* client.polls
      yield* client.says("1")
      assert.deepStrictEqual(client.take(), ["6"])
      assert.strictEqual(yield* EngineIO.count, 0)
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual([interrupted, warned], [0, []])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(interrupted, 1)
      assert.deepStrictEqual(
        warned,
        [held, client].map(({ socket }) => [
          "onDisconnect is interrupted: it takes more than 10 seconds (see effect-engine.io/docs/errors.md#ondisconnect-interrupted)",
          `${socket.id.slice(0, 6)}…`
        ])
      )
      yield* Deferred.succeed(released, undefined)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("sessions that end each other all end, each with one onDisconnect", () =>
    serving({}, function*(server) {
      const sockets: Array<Socket.Socket> = []
      let ends = 0
      const onDisconnect = () =>
        Effect.suspend(() => {
          ends++
          return Effect.forEach(sockets.splice(0, 1), (next) => Socket.close(next, { discard: true }))
        })
      for (let i = 0; i < 1_000; i++) sockets.push((yield* server.connect("polling", { onDisconnect })).socket)
      yield* Socket.close(sockets.shift()!, { discard: true })
      yield* settled
      assert.strictEqual(ends, 1_000)
      assert.deepStrictEqual(server.left, nothing)
    }))
})

describe("a close", () => {
  it.effect("R-C3: with nothing to send is at once: a GET that waits gets a close packet", () =>
    serving({}, function*(server) {
      const polling = yield* server.connect("polling")
      yield* polling.polls
      const webSocket = yield* server.connect("websocket")
      for (const { socket } of [polling, webSocket]) {
        yield* Socket.close(socket)
        assert.strictEqual(yield* Socket.state(socket), "closed")
      }
      yield* settled
      assert.deepStrictEqual([polling.take(), webSocket.take()], [["1"], []])
      assert.deepStrictEqual([polling.isClosed, webSocket.isClosed], [true, true])
    }))

  for (const transport of ["polling", "websocket"] as const) {
    it.effect(`R-C4: delivers what was accepted, and accepts nothing more: ${transport}`, () =>
      serving({}, function*(server) {
        const client = yield* server.connect(transport)
        const { socket } = client
        yield* client.sticks
        yield* Socket.send(socket, "one")
        yield* client.polls
        yield* Socket.send(socket, "two")
        yield* Socket.close(socket)
        assert.strictEqual(yield* Socket.state(socket), "closing")
        const refused = yield* Effect.flip(Socket.send(socket, "too late"))
        assert.isTrue(refused._tag === "SocketClosed" && refused.reason._tag === "ForcedClose")
        assert.isFalse(yield* Socket.offer(socket, "too late"))
        yield* client.flows
        yield* client.polls
        yield* client.polls
        assert.deepStrictEqual(client.take().filter((packet) => packet !== "1"), ["4one", "4two"])
        assert.deepStrictEqual(yield* client.reason, forced)
        assert.deepStrictEqual(server.left, nothing)
      }))
  }

  it.effect("R-C4, R63: what a client says while its session closes is dropped", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.says("4before")
      yield* Socket.close(client.socket)
      yield* client.says("4after", "9")
      assert.isDefined(yield* client.reason)
      assert.deepStrictEqual(yield* Socket.receiveAll(client.socket), ["before"])
    }))

  it.effect("R-C4: goes on where the client moves to another transport before it is told", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      const candidate = yield* client.tries("websocket")
      yield* candidate.sticks
      yield* candidate.says("2probe")
      yield* Socket.close(client.socket)
      yield* candidate.says("5")
      assert.isTrue(client.isClosed)
      assert.strictEqual(yield* Socket.state(client.socket), "closing")
      yield* candidate.flows
      assert.deepStrictEqual(yield* client.reason, forced)
    }))

  it.effect("changes nothing once more, while the session closes and after its end", () =>
    serving({}, function*(server) {
      const { socket } = yield* server.connect("polling")
      yield* Socket.close(socket)
      const { left } = server
      yield* Socket.close(socket)
      assert.deepStrictEqual(server.left, left)
      yield* Socket.close(socket, { discard: true })
      yield* Socket.close(socket)
      assert.strictEqual(yield* Socket.state(socket), "closed")
    }))

  it.effect("R-C5: that discards drops what waits, and is at once", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.sendAll(client.socket, ["dropped", "too"])
      yield* Socket.close(client.socket, { discard: true })
      assert.strictEqual(yield* Socket.state(client.socket), "closed")
      yield* client.polls
      assert.deepStrictEqual(client.take(), [])
      assert.deepStrictEqual(yield* Socket.buffered(client.socket), { messages: 0, bytes: 0 })
      const parked = yield* server.connect("polling")
      yield* parked.polls
      yield* Socket.close(parked.socket, { discard: true })
      assert.deepStrictEqual(parked.take(), ["1"])
    }))

  it.effect("R-C6: waits closeTimeout for the next GET, and no longer", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "never taken")
      yield* Socket.close(client.socket)
      yield* TestClock.adjust("29999 millis")
      assert.strictEqual(yield* EngineIO.count, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* client.reason, forced)
      assert.strictEqual(yield* EngineIO.count, 0)
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("R-C6: has that wait cut short by one that discards", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.send(client.socket, "never taken")
      yield* Socket.close(client.socket)
      yield* Socket.close(client.socket, { discard: true })
      assert.strictEqual(yield* Socket.state(client.socket), "closed")
      yield* settled
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("R-C8: a client given up after a missed pong is told so on its transport", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* client.polls
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(client.take(), ["2"])
      yield* client.polls
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(client.take(), ["1"])
    }))
})

describe("the end of the server", () => {
  it.effect("R-C9: delivers what was accepted to those who take it, and reports what nobody took", () =>
    serving({}, function*(server) {
      const webSocket = yield* server.connect("websocket")
      const polling = yield* server.connect("polling")
      const stuck = yield* server.connect("websocket")
      yield* stuck.sticks
      yield* Socket.sendAll(stuck.socket, ["on the connection", "too"])
      yield* settled
      for (const { socket } of [webSocket, polling, stuck]) yield* Socket.sendAll(socket, ["1", "2", "3"])
      const draining = yield* start(EngineIO.drain({ timeout: "5 seconds" }))
      assert.deepStrictEqual(webSocket.take(), ["41", "42", "43"])
      assert.deepStrictEqual(yield* webSocket.reason, { _tag: "ServerShutdown", undelivered: 0 })
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(yield* EngineIO.count, 2)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(draining)
      assert.deepStrictEqual(yield* polling.reason, { _tag: "ServerShutdown", undelivered: 3 })
      assert.deepStrictEqual(yield* stuck.reason, { _tag: "ServerShutdown", undelivered: 5 })
    }))

  it.effect("R-C9: a client that comes for the rest in time has all of it", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling")
      yield* Socket.sendAll(client.socket, ["1", "2"])
      const draining = yield* start(EngineIO.drain({ timeout: "5 seconds" }))
      yield* TestClock.adjust("4 seconds")
      yield* client.polls
      yield* client.polls
      yield* Fiber.join(draining)
      assert.deepStrictEqual(client.take().slice(0, 2), ["41", "42"])
      assert.deepStrictEqual(yield* client.reason, { _tag: "ServerShutdown", undelivered: 0 })
    }))

  it.effect("R-C9: applications have drainTimeout for what had arrived, not closeTimeout", () =>
    serving({ drainTimeout: "4 seconds", closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("websocket", {
        app: (socket) => Socket.forEach(socket, () => Effect.never)
      })
      yield* client.says("4hello")
      yield* start(EngineIO.drain())
      assert.deepStrictEqual(yield* client.reason, { _tag: "ServerShutdown", undelivered: 0 })
      yield* TestClock.adjust("3999 millis")
      assert.isAbove(server.left.fibers, 0)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("R-C9: they have it too where only the handler of their sessions ends", () =>
    serving({ drainTimeout: "4 seconds", closeTimeout: "1 hour" }, function*(server) {
      const client = yield* server.connect("websocket", {
        app: (socket) => Socket.forEach(socket, () => Effect.never)
      })
      const other = yield* server.connect("websocket")
      yield* client.says("4hello")
      server.leave(client)
      assert.deepStrictEqual(yield* client.reason, { _tag: "ServerShutdown", undelivered: 0 })
      assert.isUndefined(yield* other.reason)
      yield* TestClock.adjust("3999 millis")
      const { fibers } = server.left
      yield* TestClock.adjust("1 millis")
      assert.isBelow(server.left.fibers, fibers)
    }))
})

describe("R-C10: nothing is left of a session", () => {
  const states: Readonly<Record<string, (server: Server, app: App) => Effect.Effect<Client>>> = {
    "polling": (server, app) => server.connect("polling", app),
    "on a WebSocket": (server, app) => server.connect("websocket", app),
    "upgrading": (server, app) =>
      Effect.tap(
        server.connect("polling", app),
        (client) => Effect.flatMap(client.tries("websocket"), (candidate) => candidate.says("2probe"))
      ),
    "upgraded": (server, app) =>
      Effect.tap(
        server.connect("polling", app),
        (client) => Effect.flatMap(client.tries("websocket"), (candidate) => candidate.says("2probe", "5"))
      ),
    "pinged": (server, app) => Effect.tap(server.connect("websocket", app), () => TestClock.adjust("25 seconds")),
    "watched": (server, app) =>
      Effect.tap(server.connect("websocket", app), ({ socket }) => start(Stream.runDrain(Socket.events(socket)))),
    "behind": (server, app) =>
      Effect.tap(server.connect("websocket", app), (client) => client.says(..."abc".split("").map((it) => `4${it}`))),
    "full": (server, app) =>
      Effect.tap(
        server.connect("polling", app),
        ({ socket }) => start(Effect.ignore(Socket.sendAll(socket, "abc".split(""))))
      ),
    "closing": (server, app) => Effect.tap(server.connect("polling", app), ({ socket }) => Socket.close(socket))
  }
  for (const [state, open] of Object.entries(states)) {
    it.effect(`that ends while it is ${state}`, () =>
      serving({ receiveBuffer: { messages: 1 }, sendBuffer: { messages: 1 } }, function*(server) {
        const closed = yield* Deferred.make<void>()
        const client = yield* open(server, {
          app: () => Effect.andThen(Effect.addFinalizer(() => Deferred.succeed(closed, undefined)), Effect.never)
        })
        yield* Socket.close(client.socket, { discard: true })
        yield* settled
        assert.deepStrictEqual(server.left, nothing)
        assert.isTrue(Deferred.isDoneUnsafe(closed))
      }))
  }
})

describe("what had arrived", () => {
  const ends: Readonly<Record<string, (client: Client) => Effect.Effect<void, never, EngineIO.EngineIO>>> = {
    "the client leaves": (client) => client.leaves,
    "somebody else closes the session": ({ socket }) => Socket.close(socket, { discard: true }),
    "the server ends": () => Effect.asVoid(start(EngineIO.drain()))
  }
  const numbers = Array.from({ length: 12 }, (_, n) => String(n))
  for (const [how, take] of Object.entries(takers)) {
    for (const [who, end] of Object.entries(ends)) {
      it.effect(`is dealt with to the last step before onDisconnect: ${how}, where ${who}`, () =>
        serving({ drainTimeout: "30 seconds" }, function*(server) {
          const steps: Array<string> = []
          const client = yield* server.connect("websocket", {
            app: (socket) =>
              take(
                socket,
                (message) =>
                  Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void steps.push(String(message))))
              ),
            onDisconnect: () => Effect.sync(() => void steps.push("onDisconnect"))
          })
          yield* client.says(...numbers.map((number) => `4${number}`))
          yield* end(client)
          assert.isDefined(yield* client.reason)
          assert.deepStrictEqual(steps, [])
          yield* TestClock.adjust("15 seconds")
          assert.deepStrictEqual(steps, [...numbers, "onDisconnect"])
        }))
    }

    it.effect(`is awaited by nobody where there is none: ${how}`, () =>
      serving({}, function*(server) {
        const client = yield* server.connect("websocket", { app: (socket) => take(socket, () => Effect.void) })
        yield* client.says("4the only one")
        yield* client.leaves
        assert.deepStrictEqual(server.left, nothing)
      }))
  }

  it.effect("is there for whoever asks after the end", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("41", "42", "43")
      yield* client.leaves
      assert.strictEqual(yield* Socket.receive(client.socket), "1")
      assert.deepStrictEqual(yield* Queue.takeAll(Socket.incoming(client.socket)), ["2", "3"])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Socket.receive(client.socket))))
    }))
})

describe("an application", () => {
  /** How long after its client's leave it is interrupted; it says one message before. */
  const interruptedAfter = (app: App["app"], options: EngineIO.Options, millis: number) =>
    serving(options, function*(server) {
      let isRunning = true
      const client = yield* server.connect("websocket", {
        app: (socket) =>
          Effect.ensuring(
            app!(socket),
            Effect.sync(() => {
              isRunning = false
            })
          )
      })
      yield* client.says("4hello")
      yield* client.leaves
      if (millis > 0) {
        yield* TestClock.adjust(millis - 1)
        assert.isTrue(isRunning)
        yield* TestClock.adjust(1)
      }
      assert.isFalse(isRunning)
      assert.deepStrictEqual(server.left, nothing)
    })

  it.effect("that takes nothing of what had arrived is interrupted after closeTimeout", () =>
    interruptedAfter(() => Effect.never, {}, 30_000))

  it.effect("that goes on to something else is interrupted after closeTimeout", () =>
    interruptedAfter((socket) => Effect.andThen(Socket.receive(socket), Effect.never), {}, 30_000))

  it.effect("whose step takes longer than closeTimeout is interrupted in it", () =>
    interruptedAfter((socket) => Socket.forEach(socket, () => Effect.sleep("1 hour")), {}, 30_000))

  it.effect("that asks again and again is interrupted at once", () =>
    interruptedAfter((socket) => Effect.forever(Effect.ignore(Socket.receive(socket))), {}, 0))

  it.effect("that asks the queue again and again is interrupted after closeTimeout", () =>
    interruptedAfter(
      (socket) =>
        Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.exit(Queue.take(Socket.incoming(socket))))),
      {},
      30_000
    ))

  it.effect("that goes on to something else after its loop has ended with the session is interrupted at once", () =>
    interruptedAfter(
      (socket) => Effect.andThen(Effect.ignore(Socket.forEach(socket, () => Effect.void)), Effect.never),
      {},
      0
    ))

  it.effect("that gave its loop up in a step, and asks once more, is interrupted at once", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket", {
        app: (socket) =>
          Effect.gen(function*() {
            yield* Effect.timeoutOption(Socket.forEach(socket, () => Effect.never), "1 second")
            yield* Effect.ignore(Socket.receive(socket))
            return yield* Effect.never
          })
      })
      yield* client.says("4hello")
      yield* TestClock.adjust("1 second")
      yield* client.leaves
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("that waits for something else, with nothing to take, is interrupted at once", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.leaves
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("that takes nothing is not waited for where the server's side ends its session", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      yield* client.says("4never taken")
      yield* Socket.close(client.socket, { discard: true })
      yield* settled
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("that closes its own session in a step finishes the step, and then what had arrived", () =>
    serving({}, function*(server) {
      const steps: Array<unknown> = []
      const client = yield* server.connect("websocket", {
        app: (socket) =>
          Socket.forEach(socket, (message) =>
            Effect.gen(function*() {
              if (message === "1") yield* Socket.close(socket)
              yield* Effect.sleep("1 second")
              steps.push(message)
            }))
      })
      yield* client.says("41", "42")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps, ["1"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps, ["1", "2"])
      assert.deepStrictEqual(server.left, nothing)
    }))

  it.effect("that closes its own session outside a step is interrupted when it has ended", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket", {
        app: (socket) => Effect.andThen(Socket.receive(socket), Effect.andThen(Socket.close(socket), Effect.never))
      })
      yield* client.says("4hello")
      assert.deepStrictEqual(yield* client.reason, forced)
      assert.deepStrictEqual(server.left, nothing)
    }))
})
