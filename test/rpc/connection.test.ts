/**
 * What becomes of the programs that run over a connection when it moves, breaks, or is taken up again; and of a server
 * of sockets when nobody runs it.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Queue, Schedule, Scope, Stream } from "effect"
import { DevToolsClient, DevToolsServer } from "effect/devtools"
import { HttpRouter, HttpServer } from "effect/http"
import { type Socket as EffectSocket, SocketServer } from "effect/socket"
import { createServer } from "node:http"
import { EngineIO } from "../../src/index.ts"
import * as EngineIOClient from "../../src/EngineIOClient.ts"
import { eventually } from "../kit/events.ts"
import { installWebTransport, loadMoq, QuicServer } from "../kit/quic.ts"
import { connect, portOf, server } from "./api.ts"

const moq = await loadMoq()
const quic = typeof moq === "string" ? undefined : await QuicServer.start(moq)
if (typeof moq !== "string" && quic !== undefined) installWebTransport(moq, quic)

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

describe("a stream", () => {
  for (const better of ["websocket", "webtransport"] as const) {
    const isMissing = better === "webtransport" && quic === undefined
    for (const serialization of ["JSON", "MessagePack"] as const) {
      it.live.skipIf(isMissing)(
        `goes on from polling to ${better}, in ${serialization}${isMissing ? ` (skipped: ${moq})` : ""}`,
        () =>
          Effect.gen(function*() {
            // The upgrade waits until the stream has begun, and the stream until it is done.
            const begun = yield* Deferred.make<void>()
            const served = yield* Layer.build(server({
              serialization,
              quic,
              transports: ["polling", better],
              allowRequest: ({ url }) => url.includes(`transport=${better}`) ? Deferred.await(begun) : Effect.void
            }))
            yield* Effect.gen(function*() {
              const upgraded = yield* EngineIO.events.pipe(
                Stream.filter(({ _tag }) => _tag === "Upgraded"),
                Stream.runHead,
                Effect.forkScoped({ startImmediately: true })
              )
              const client = yield* connect(yield* portOf, { transports: ["polling", better] }, serialization)
              const seen = yield* client.Count({ to: 500 }, { streamBufferSize: 8 }).pipe(
                Stream.rechunk(1),
                Stream.tap((number) =>
                  number === 100
                    ? Effect.andThen(Deferred.succeed(begun, undefined), Fiber.join(upgraded))
                    : Effect.void
                ),
                Stream.runCollect
              )
              assert.deepStrictEqual(seen, numbers(1, 500))
            }).pipe(Effect.provide(served))
          }).pipe(Effect.scoped)
      )
    }
  }
})

describe("a client", () => {
  for (const transport of ["polling", "websocket"] as const) {
    it.live(`goes on with the next server when its own is replaced (${transport})`, () =>
      Effect.gen(function*() {
        const start = (port: number) =>
          Effect.gen(function*() {
            const scope = yield* Scope.make()
            const context = yield* Layer.buildWithScope(server({ port }), scope)
            return { port: yield* Effect.provide(portOf, context), stop: Scope.close(scope, Exit.void), context }
          })
        const first = yield* start(0)
        const client = yield* connect(first.port, { transports: [transport] })
        assert.strictEqual(yield* client.Echo({ text: "first" }), "first")
        const seen: Array<number> = []
        const hanging = yield* Effect.forkChild(client.Hang({ name: "call" }))
        const streaming = yield* Effect.forkChild(
          Stream.runForEach(client.Forever({ name: "stream" }), (number) => Effect.sync(() => seen.push(number)))
        )
        yield* client.Echo({ text: "both are under way" })
        yield* Effect.promise(() => eventually("the stream", () => seen.length, (length) => length > 0))
        yield* first.stop
        for (const fiber of [hanging, streaming]) {
          const exit = yield* Fiber.await<unknown, { readonly _tag: string }>(fiber)
          const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
          assert.include(String(error), "RpcClientError")
        }
        const second = yield* start(first.port)
        const retried = Effect.retry(client.Echo({ text: "second" }), Schedule.spaced("10 millis"))
        assert.strictEqual(yield* retried, "second")
        assert.deepStrictEqual(yield* Stream.runCollect(client.Count({ to: 10 })), numbers(1, 10))
        yield* second.stop
      }).pipe(Effect.scoped))
  }
})

describe("a server of sockets", () => {
  const logs: Array<unknown> = []
  const logger = Logger.make<unknown, void>(({ message }) => void logs.push(...[message].flat()))

  const layer = HttpRouter.serve(EngineIO.layerSocketServer("/sockets/"), {
    disableLogger: true,
    disableListenLog: true
  }).pipe(
    Layer.provideMerge(EngineIO.layer()),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provideMerge(Logger.layer([logger]))
  )

  const test = (
    name: string,
    body: (url: string) => Effect.Effect<void, unknown, SocketServer.SocketServer | EngineIO.EngineIO | Scope.Scope>
  ) =>
    it.live(name, () =>
      Effect.flatMap(portOf, (port) => body(`http://127.0.0.1:${port}/sockets/`)).pipe(
        Effect.scoped,
        Effect.provide(layer)
      ))

  const run = (handler: (socket: EffectSocket.Socket) => Effect.Effect<unknown, unknown>) =>
    SocketServer.SocketServer.use((server) => server.run(handler))

  const echo = (socket: EffectSocket.Socket) =>
    Effect.scoped(Effect.gen(function*() {
      const { pull } = yield* socket.reader
      const { writeAll } = yield* socket.writer
      while (true) yield* writeAll(yield* pull)
    }))

  test("is where the HTTP server is", (url) =>
    Effect.gen(function*() {
      const { address } = yield* SocketServer.SocketServer
      assert.strictEqual(`${HttpServer.formatAddress(address)}/sockets/`, url)
    }))

  test("has sessions wait until somebody runs it, and closes them when nobody does any more", (url) =>
    Effect.gen(function*() {
      const client = yield* EngineIOClient.connect(url)
      yield* EngineIOClient.send(client, "early")
      const running = yield* Effect.forkChild(run(echo))
      assert.strictEqual(yield* EngineIOClient.receive(client), "early")
      yield* Fiber.interrupt(running)
      assert.strictEqual((yield* EngineIOClient.closed(client)).reason._tag, "SocketCloseError")

      const late = yield* EngineIOClient.connect(url)
      yield* EngineIOClient.send(late, "late")
      yield* Effect.forkChild(run(echo))
      assert.strictEqual(yield* EngineIOClient.receive(late), "late")
    }))

  test("runs the handler it was given last, and the one before when that is over", (url) =>
    Effect.gen(function*() {
      const greet = (greeting: string) => (socket: EffectSocket.Socket) =>
        Effect.scoped(Effect.gen(function*() {
          const { write } = yield* socket.writer
          yield* write(greeting)
          return yield* Effect.never
        }))
      const greeting = Effect.flatMap(EngineIOClient.connect(url), EngineIOClient.receive)
      const first = yield* Effect.forkChild(run(greet("first")), { startImmediately: true })
      const second = yield* Effect.forkChild(run(greet("second")), { startImmediately: true })
      assert.strictEqual(yield* greeting, "second")
      yield* Fiber.interrupt(second)
      assert.strictEqual(yield* greeting, "first")
      yield* Fiber.interrupt(first)
    }))

  test("ends a session with its handler, after what that wrote is delivered", (url) =>
    Effect.gen(function*() {
      yield* Effect.forkChild(run((socket) =>
        Effect.scoped(Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const { write } = yield* socket.writer
          if ((yield* pull)[0] === "fail") return yield* Effect.fail("as it was told")
          yield* write("farewell")
        }))
      ))
      for (const transport of ["polling", "websocket"] as const) {
        const client = yield* EngineIOClient.connect(url, { transports: [transport] })
        yield* EngineIOClient.send(client, "hello")
        assert.strictEqual(yield* EngineIOClient.receive(client), "farewell")
        assert.strictEqual((yield* EngineIOClient.closed(client)).reason._tag, "SocketCloseError")
      }
      const client = yield* EngineIOClient.connect(url)
      yield* EngineIOClient.send(client, "fail")
      yield* EngineIOClient.closed(client)
      assert.deepStrictEqual(logs, ["Unhandled error in SocketServer"])
    }))

  test("gives a handler the services of who runs it, and each session its own socket", (url) =>
    Effect.gen(function*() {
      const seen = new Set<EffectSocket.Socket>()
      const handler = (socket: EffectSocket.Socket) => {
        seen.add(socket)
        return Effect.flatMap(EngineIO.count, (count) =>
          Effect.scoped(Effect.flatMap(socket.writer, ({ write }) =>
            Effect.andThen(write(`${count}`), Effect.never))))
      }
      yield* Effect.forkChild(SocketServer.SocketServer.use((server) =>
        server.run(handler)
      ))
      for (const count of ["1", "2", "3"]) {
        const client = yield* EngineIOClient.connect(url)
        assert.strictEqual(yield* EngineIOClient.receive(client), count)
      }
      assert.strictEqual(seen.size, 3)
    }))

  test("serves Effect's devtools", (url) =>
    Effect.gen(function*() {
      const spans = yield* Queue.unbounded<string>()
      yield* Effect.forkChild(DevToolsServer.run(({ queue }) =>
        Effect.forever(Effect.flatMap(
          Queue.take(queue),
          (request) => request._tag === "Span" ? Queue.offer(spans, request.name) : Effect.void
        ))
      ))
      const name = yield* Effect.withSpan(Effect.void, "work").pipe(
        Effect.andThen(Queue.take(spans)),
        Effect.provide(DevToolsClient.layerTracer),
        Effect.provide(EngineIOClient.layerSocket(url))
      )
      assert.strictEqual(name, "work")
    }))
})
