/**
 * The client as a socket of `effect/socket`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Queue, Schedule, Scope, Stream } from "effect"
import { Socket as EffectSocket } from "effect/socket"
import { Socket } from "../../src/index.ts"
import * as EngineIOClient from "../../src/EngineIOClient.ts"
import { type Config, idle, type TestServer, withServer } from "../kit/server.ts"

const withSocket = (
  config: Config,
  body: (
    socket: EffectSocket.Socket,
    server: TestServer
  ) => Generator<Effect.Effect<unknown, unknown, Scope.Scope>, void, never>
) =>
  withServer(config, async (server) => {
    const socket = EngineIOClient.makeSocket(`http://127.0.0.1:${server.port}`, { transports: ["websocket"] })
    await Effect.runPromise(Effect.scoped(Effect.flatMap(socket, (it) => Effect.gen(() => body(it, server)))))
  })

const opened = (server: TestServer) => Effect.promise(() => server.opened.next())

const closeOf = <A>(effect: Effect.Effect<A, EffectSocket.SocketError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag === "SocketCloseError" ? reason.code : reason._tag)

describe("a socket", () => {
  it(
    "connects when it is read, and has those wait who write before",
    withSocket({}, function*(socket, server) {
      const { write, writeAll } = yield* socket.writer
      const writing = yield* Effect.forkChild(
        Effect.andThen(write("early"), writeAll(["one", Uint8Array.of(2)])),
        { startImmediately: true }
      )
      yield* Effect.sleep("20 millis")
      assert.strictEqual(server.opened.all.length, 0)
      const { pull } = yield* socket.reader
      yield* Fiber.join(writing)
      const messages: Array<string | Uint8Array> = []
      while (messages.length < 3) messages.push(...yield* pull)
      assert.deepStrictEqual(
        messages.map((it) => Buffer.from(it)),
        ["early", "one", "\u0002"].map((it) => Buffer.from(it))
      )
    })
  )

  it(
    "gives all that arrived together",
    withSocket({ application: idle }, function*(socket, server) {
      const { pull } = yield* socket.reader
      const session = yield* opened(server)
      yield* Socket.sendAll(session, ["1", "2", "3"])
      assert.deepStrictEqual(yield* pull, ["1", "2", "3"])
    })
  )

  it(
    "closes with the scope of its reader, and fails whoever waits",
    withSocket({}, function*(socket, server) {
      const scope = yield* Scope.make()
      const { pull } = yield* Scope.provide(socket.reader, scope)
      const session = yield* opened(server)
      const pulling = yield* Effect.forkChild(closeOf(pull), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(pulling), 1000)
      assert.strictEqual((yield* Socket.closed(session))._tag, "TransportClose")
    })
  )

  it(
    "closes by a CloseEvent, with which its reader fails",
    withSocket({}, function*(socket, server) {
      const { pull } = yield* socket.reader
      const { write } = yield* socket.writer
      const session = yield* opened(server)
      yield* write(new EffectSocket.CloseEvent(4000, "enough"))
      assert.strictEqual(yield* closeOf(pull), 4000)
      assert.strictEqual((yield* Socket.closed(session))._tag, "TransportClose")
    })
  )

  it(
    "keeps what is written between two connections for the next",
    withServer({}, async (server) => {
      const clients = Effect.runSync(Queue.unbounded<EngineIOClient.Client>())
      const connect = EngineIOClient.connect(`http://127.0.0.1:${server.port}`, { transports: ["websocket"] }).pipe(
        Effect.tap((client) => Queue.offer(clients, client)),
        Effect.catchTag("OptionsError", Effect.die)
      )
      const program = Effect.gen(function*() {
        const socket = yield* EngineIOClient.fromClient(connect)
        const { write } = yield* socket.writer
        const received = yield* Queue.unbounded<string | Uint8Array>()
        yield* Effect.forkScoped(Effect.retry(
          Effect.scoped(Effect.gen(function*() {
            const { pull } = yield* socket.reader
            while (true) yield* Queue.offerAll(received, yield* pull)
          })),
          Schedule.spaced("10 millis")
        ))
        yield* write("first")
        assert.strictEqual(yield* Queue.take(received), "first")
        const first = yield* Queue.take(clients)
        yield* Socket.close(yield* opened(server))
        yield* EngineIOClient.closed(first)
        yield* write("second")
        assert.strictEqual(yield* Queue.take(received), "second")
        assert.notStrictEqual(yield* Queue.take(clients), first)
      })
      await Effect.runPromise(Effect.scoped(program))
    })
  )

  it(
    "is made of connections that somebody watches, with the services of who made it",
    withServer({}, async (server) => {
      const seen: Array<string> = []
      const connect = EngineIOClient.connect(`http://127.0.0.1:${server.port}`).pipe(
        Effect.tap((client) =>
          Effect.forkScoped(
            Stream.runForEach(EngineIOClient.transports(client), (name) => Effect.sync(() => seen.push(name)))
          )
        ),
        Effect.catchTag("OptionsError", Effect.die)
      )
      const program = Effect.gen(function*() {
        const { pull } = yield* (yield* EffectSocket.Socket).reader
        const { write } = yield* (yield* EffectSocket.Socket).writer
        while (!seen.includes("websocket")) yield* Effect.sleep("2 millis")
        yield* write("hello")
        assert.deepStrictEqual(yield* pull, ["hello"])
        assert.deepStrictEqual(seen, ["polling", "websocket"])
      })
      const layer = Layer.effect(EffectSocket.Socket, EngineIOClient.fromClient(connect))
      await Effect.runPromise(Effect.scoped(Effect.provide(program, layer)))
    })
  )
})
