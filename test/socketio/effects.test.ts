/**
 * Events of Socket.IO as Effects.
 */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Layer, Logger, Schema, Scope } from "effect"
import { createServer } from "node:http"
import { Server, type Socket } from "socket.io"
import { io as connect } from "socket.io-client"
import * as SocketIO from "../../src/SocketIO.ts"
import { eventually, within } from "../kit/events.ts"
import { portOf } from "../kit/server.ts"
import { next, type Site, value } from "../kit/socketIO.ts"
import { run } from "./both.ts"

class RoomFull extends Schema.TaggedError<RoomFull>()("RoomFull", { most: Schema.Int }) {}
class Users extends Context.Service<Users, { readonly nameOf: (id: string) => Effect.Effect<string> }>()("Users") {}

const Join = SocketIO.event("join", { payload: Schema.String, success: Schema.Int, error: RoomFull })
const Twice = SocketIO.event("twice", { payload: Schema.Int, success: Schema.Int })
const Joined = SocketIO.event("joined", { payload: Schema.Struct({ id: Schema.String, at: Schema.Date }) })
const Hello = SocketIO.event("hello")

/** Runs an Effect on a server of ours; its scope and its log are the test's. */
const running = async (
  body: (
    site: Site,
    start: <A>(effect: Effect.Effect<A, unknown, Scope.Scope | Users>) => Promise<A>,
    end: () => Promise<void>,
    logs: Array<string>
  ) => Promise<void>
) => {
  const scope = Scope.makeUnsafe()
  const logs: Array<string> = []
  const logger = Logger.make<unknown, void>(({ cause, message }) => void logs.push([message, cause].flat().join(" ")))
  const end = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const start = <A>(effect: Effect.Effect<A, unknown, Scope.Scope | Users>) =>
    within(
      Effect.runPromise(effect.pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.provideService(Users, { nameOf: (id) => Effect.succeed(`user ${id}`) }),
        Effect.provide(Logger.layer([logger]))
      )),
      "the end of the effect"
    )
  await run("ours", {}, undefined, (site) => body(site, start, end, logs).finally(end))
}

describe("connections", () => {
  it("runs a program for each socket, in a scope that closes when it disconnects", () =>
    running(async (site, start) => {
      const events: Array<string> = []
      await start(SocketIO.connections(site.io, (socket) =>
        Effect.gen(function*() {
          events.push(`hello ${yield* (yield* Users).nameOf(socket.handshake.auth["name"] as string)}`)
          yield* Effect.addFinalizer(() => Effect.sync(() => events.push("goodbye")))
          yield* Effect.forkScoped(Effect.map(SocketIO.disconnected(socket), (reason) => events.push(reason)))
        })))
      const [, client] = await site.pair("/", { auth: { name: "bob" } })
      assert.deepStrictEqual(events, ["hello user bob"])
      client.disconnect()
      await eventually("the end", () => events.length, (length) => length === 3)
      assert.deepStrictEqual(events, ["hello user bob", "client namespace disconnect", "goodbye"])
    }))

  it("ends a program that goes on, and leaves the socket alone when its own scope closes", () =>
    running(async (site, start, end) => {
      let running = 0
      const program = SocketIO.connections(site.io.of("/a"), () =>
        Effect.gen(function*() {
          running++
          yield* Effect.addFinalizer(() => Effect.sync(() => running--))
          return yield* Effect.never
        }))
      await start(program)
      const [, client] = await site.pair("/a")
      await site.pair("/a")
      assert.strictEqual(running, 2)
      client.disconnect()
      await eventually("the end of one", () => running, (count) => count === 1)
      await end()
      assert.strictEqual(running, 0)
      const [socket] = await site.pair("/a")
      assert.isTrue(socket.connected)
      assert.strictEqual(running, 0)
      assert.strictEqual(site.io.of("/a").listenerCount("connection"), 0)
    }))

  it("ends a program that disconnects its socket in its first step", () =>
    running(async (site, start) => {
      const events: Array<string> = []
      await start(SocketIO.connections(site.io, (socket) =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Effect.sync(() => events.push("goodbye")))
          socket.disconnect(true)
          events.push("told it to go")
        })))
      site.client()
      await eventually("the end", () => events.length, (length) => length === 2)
      assert.deepStrictEqual(events, ["told it to go", "goodbye"])
    }))

  it("logs the failure of a program, and disconnects its socket", () =>
    running(async (site, start, _, logs) => {
      await start(SocketIO.connections(site.io, () => Effect.andThen(Effect.yieldNow, Effect.fail("no database"))))
      const client = site.client()
      assert.strictEqual(await value(client, "disconnect"), "io server disconnect")
      assert.match(logs.join("\n"), /The program of a socket failed[^]*no database/)
    }))
})

describe("use", () => {
  it("lets in whom it succeeds for, and refuses the others with a message and data", () =>
    running(async (site, start) => {
      await start(SocketIO.use(site.io, (socket) =>
        Effect.gen(function*() {
          const { token } = socket.handshake.auth
          yield* Effect.yieldNow
          if (token === undefined) return yield* new SocketIO.Refused({ message: "Sign in first" })
          if (token === "old") return yield* new SocketIO.Refused({ message: "Sign in again", data: { token } })
          socket.data.user = yield* (yield* Users).nameOf(token as string)
        })))
      const [socket] = await site.pair("/", { auth: { token: "bob" } })
      assert.strictEqual(socket.data.user, "user bob")
      type Refusal = Error & { readonly data?: unknown }
      const none = await value<Refusal>(site.client(), "connect_error")
      assert.deepStrictEqual([none.message, none.data], ["Sign in first", undefined])
      const old = await value<Refusal>(site.client("/", { auth: { token: "old" } }), "connect_error")
      assert.deepStrictEqual([old.message, old.data], ["Sign in again", { token: "old" }])
    }))

  it("refuses, and logs, where it dies, and lets nobody in when its scope has closed", () =>
    running(async (site, start, end, logs) => {
      await start(SocketIO.use(site.io.of("/a"), () => Effect.die(new Error("no database"))))
      assert.strictEqual((await value<Error>(site.client("/a"), "connect_error")).message, "Internal error")
      assert.match(logs.join("\n"), /no database/)
      let isAsked = false
      await start(SocketIO.use(site.io.of("/b"), () =>
        Effect.suspend(() => {
          isAsked = true
          return Effect.never
        })))
      const waiting = value<Error>(site.client("/b"), "connect_error")
      await eventually("the client", () => isAsked, (asked) => asked)
      await end()
      assert.strictEqual((await waiting).message, "Server shutting down")
      assert.strictEqual((await value<Error>(site.client("/a"), "connect_error")).message, "Server shutting down")
    }))
})

describe("on", () => {
  it("answers with a value, where the event has no error", () =>
    running(async (site, start) => {
      await start(SocketIO.connections(site.io, (socket) =>
        Effect.all([
          SocketIO.on(socket, Twice, (n) => Effect.delay(Effect.succeed(2 * n), 1)),
          SocketIO.on(socket, Hello, () => Effect.void)
        ])))
      const [, client] = await site.pair()
      assert.strictEqual(await client.timeout(5000).emitWithAck("twice", 21), 42)
      assert.isNotOk(await client.timeout(5000).emitWithAck("hello"))
    }))

  it("answers with a success or a failure as data, where it has", () =>
    running(async (site, start) => {
      await start(SocketIO.connections(site.io, (socket) =>
        SocketIO.on(socket, Join, (room) =>
          room === "full" ? Effect.fail(new RoomFull({ most: 10 })) : Effect.succeed(room.length))))
      const [, client] = await site.pair()
      const ask = (room: unknown) =>
        client.timeout(5000).emitWithAck("join", room)
      assert.deepStrictEqual(await ask("lobby"), { _tag: "Success", success: 5 })
      assert.deepStrictEqual(await ask("full"), { _tag: "Failure", failure: { _tag: "RoomFull", most: 10 } })
      const { _tag, failure } = await ask(7) as { _tag: string; failure: { _tag: string; message: string } }
      assert.deepStrictEqual([_tag, failure._tag], ["Failure", "InvalidPayload"])
      assert.match(failure.message, /string/i)
    }))

  it("logs what it cannot answer, and goes on", () =>
    running(async (site, start, _, logs) => {
      await start(SocketIO.connections(site.io, (socket) =>
        Effect.all([
          SocketIO.on(socket, Twice, (n) => n === 13 ? Effect.die(new Error("thirteen")) : Effect.succeed(2 * n)),
          SocketIO.on(socket, Join, () => Effect.fail(new RoomFull({ most: 1 })))
        ])))
      const [, client] = await site.pair()
      client.emit("join", "nobody listens to the answer")
      client.emit("twice", "not a number", () => assert.fail("answered"))
      client.emit("twice", 13, () => assert.fail("answered"))
      assert.strictEqual(await client.timeout(5000).emitWithAck("twice", 1), 2)
      assert.strictEqual(logs.length, 2)
      assert.match(logs[0]!, /An event was not handled[^]*InvalidPayload/)
      assert.match(logs[1]!, /An event was not handled[^]*thirteen/)
    }))

  it("interrupts a handler, and hears no more, when its scope closes", () =>
    running(async (site, start) => {
      const begun = Deferred.makeUnsafe<void>()
      const interrupted = Deferred.makeUnsafe<void>()
      await start(SocketIO.connections(site.io, (socket) =>
        SocketIO.on(socket, Hello, () =>
          Effect.onInterrupt(
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
            () => Deferred.succeed(interrupted, undefined)
          ))))
      const [socket, client] = await site.pair()
      client.emit("hello")
      await Effect.runPromise(Deferred.await(begun))
      client.disconnect()
      await within(Effect.runPromise(Deferred.await(interrupted)), "the interruption")
      assert.strictEqual(socket.listenerCount("hello"), 0)
    }))
})

describe("emit", () => {
  it("sends to a socket and to rooms, in the form of JSON", () =>
    running(async (site, start) => {
      const [socket, client] = await site.pair()
      await socket.join("room")
      for (const to of [socket, site.io, site.io.to("room"), site.io.of("/").except("none")]) {
        const joined = value(client, "joined")
        await start(SocketIO.emit(to, Joined, { id: "x", at: new Date(0) }))
        assert.deepStrictEqual(await joined, { id: "x", at: "1970-01-01T00:00:00.000Z" })
      }
      const hello = next(client, "hello")
      await start(SocketIO.emit(socket, Hello, undefined))
      assert.deepStrictEqual(await hello, [])
    }))

  it("sends to a socket of fetchSockets, and events that may be missed", () =>
    running(async (site, start) => {
      const [, client] = await site.pair("/", { transports: ["polling"] })
      const [remote] = await site.io.fetchSockets()
      const [socket] = site.io.of("/").sockets.values()
      await eventually("a poll", () => socket!.conn.transport.writable, (ready) => ready)
      const received: Array<string> = []
      client.onAny((event) => received.push(event))
      const hello = next(client, "hello")
      await start(Effect.gen(function*() {
        // Made before, and run after, another event.
        const volatile = SocketIO.emit(socket!, Twice, 1, { volatile: true, compress: false })
        yield* SocketIO.emit(remote!, Joined, { id: "", at: new Date() })
        yield* volatile
        yield* SocketIO.emit(site.io, Hello, undefined)
      }))
      await hello
      assert.deepStrictEqual(received, ["joined", "hello"])
    }))

  it("fails where the payload is none of the event", () =>
    running(async (site, start) => {
      const exit = await start(Effect.exit(SocketIO.emit(site.io, Twice, 0.5)))
      assert.isTrue(Exit.isFailure(exit))
    }))

  it("waits while too much waits for the client", async () => {
    const io = new Server()
    const Bulk = SocketIO.event("bulk", { payload: Schema.String })
    const scope = Scope.makeUnsafe()
    const http = createServer()
    const engine = SocketIO.layer(io, { sendBuffer: { messages: 10 } })
    await Effect.runPromise(
      Layer.buildWithScope(Layer.provideMerge(Layer.effectDiscard(SocketIO.attach(http, io)), engine), scope)
    )
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
    const connected = value<Socket>(io, "connection")
    const client = connect(`http://127.0.0.1:${portOf(http)}`, { transports: ["polling"], reconnection: false })
    const socket = await connected
    let sent = 0
    let received = 0
    let most = 0
    client.on("bulk", () => {
      most = Math.max(most, sent - ++received)
    })
    await within(
      Effect.runPromise(Effect.forEach(
        Array.from({ length: 300 }, String),
        (n) => Effect.tap(SocketIO.emit(socket, Bulk, n), () => Effect.sync(() => sent++)),
        { discard: true }
      )),
      "all events"
    )
    await eventually("all events", () => received, (count) => count === 300)
    assert.isBelow(most, 40)
    client.disconnect()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  })
})

describe("ask", () => {
  it("gives the client's answer, or its failure", () =>
    running(async (site, start) => {
      const [socket, client] = await site.pair()
      client.on("twice", (n: number, answer: (n: number) => void) => answer(2 * n))
      client.on("join", (room: string, answer: (result: object) => void) =>
        answer(
          room === "full"
            ? { _tag: "Failure", failure: { _tag: "RoomFull", most: 3 } }
            : { _tag: "Success", success: 1 }
        ))
      assert.strictEqual(await start(SocketIO.ask(socket, Twice, 4)), 8)
      assert.strictEqual(await start(SocketIO.ask(socket, Join, "lobby")), 1)
      const failure = await start(Effect.flip(SocketIO.ask(socket, Join, "full")))
      assert.instanceOf(failure, RoomFull)
      assert.strictEqual(failure.most, 3)
    }))

  it("waits as long as it has to where the time is longer than any timer", () =>
    running(async (site, start) => {
      const [socket, client] = await site.pair()
      client.on("twice", (n: number, answer: (n: number) => void) => void setTimeout(answer, 20, 2 * n))
      for (const timeout of ["30 days", "Infinity"] as const) {
        assert.strictEqual(await start(SocketIO.ask(socket, Twice, 4, { timeout })), 8)
      }
    }))

  it("fails where the client does not answer, or answers something else", () =>
    running(async (site, start) => {
      const [socket, client] = await site.pair()
      client.on("hello", (answer: (value: unknown) => void) => answer("what?"))
      client.on("twice", (_: number, answer: (value: unknown) => void) => answer("what?"))
      const none = await start(Effect.flip(SocketIO.ask(socket, Join, "x", { timeout: "5 millis" })))
      assert.deepStrictEqual([none._tag, none.message], ["NoAnswer", "no answer to join"])
      assert.strictEqual((await start(Effect.flip(SocketIO.ask(socket, Twice, 1))))._tag, "SchemaError")
    }))
})

describe("types", () => {
  it("take servers and sockets with events of their own", () => {
    interface FromClient {
      readonly say: (text: string, answer: (n: number) => void) => void
    }
    interface ToClient {
      readonly said: (text: string) => void
    }
    const io: Server<FromClient, ToClient, { readonly ping: () => void }, { readonly name: string }> = new Server()
    SocketIO.handler(io)
    const program = SocketIO.connections(io, (socket) => SocketIO.on(socket, Join, () => Effect.succeed(1)))
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<void, never, Scope.Scope>>()
    const guarded = SocketIO.use(io, () => new SocketIO.Refused({ message: "no" }))
    expectTypeOf(guarded).toEqualTypeOf<Effect.Effect<void, never, Scope.Scope>>()
    // @ts-expect-error a failure that says nothing to the client
    SocketIO.use(io, () => Effect.fail("no"))
    const emitted = SocketIO.emit(io.to("room"), Joined, { id: "", at: new Date() })
    expectTypeOf(emitted).toEqualTypeOf<Effect.Effect<void, Schema.SchemaError>>()
    io.on("connection", (socket) => {
      const asked = SocketIO.ask(socket, Join, "room")
      expectTypeOf<Effect.Error<typeof asked>>().toEqualTypeOf<
        RoomFull | SocketIO.InvalidPayload | SocketIO.NoAnswer | Schema.SchemaError
      >()
      SocketIO.on(socket, Join, () => Effect.fail(new RoomFull({ most: 1 })))
      // @ts-expect-error an error that the event does not have
      SocketIO.on(socket, Join, () => Effect.fail(new Error()))
      // @ts-expect-error an event without errors
      SocketIO.on(socket, Twice, () => Effect.fail(new RoomFull({ most: 1 })))
    })
    assert.isTrue(Effect.isEffect(program))
  })
})
