import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch, Layer, Logger, Stream } from "effect"
import { HttpEffect, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { CloseReason, EngineIO, EngineIOLive, Socket } from "../../src/index.ts"
import { eventually, Mailbox, turn } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient, textHeaders } from "../kit/http.ts"
import { memory } from "../kit/memory.ts"
import { portOf, unwatched, withServer } from "../kit/server.ts"

describe("on HttpRouter", () => {
  it(
    "of the first request nothing is kept",
    withServer({}, async (server) => {
      const first = new Promise<WeakRef<object>>((resolve) =>
        server.http.once("request", (request) => resolve(new WeakRef(request)))
      )
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "none" }))
      const request = await first
      await eventually("the collection of the request", async () => {
        await memory()
        return request.deref()
      }, (it) => it === undefined)
    })
  )

  it.live("what the application's middlewares make of a response is what a poll and a post get", () =>
    Effect.gen(function*() {
      const http = createServer()
      const handler = EngineIO.handler((socket) =>
        Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
      )
      const withHooks = HttpEffect.withPreResponseHandler(
        Effect.map(handler, HttpServerResponse.setHeader("x-mapped", "yes")),
        (_request, response) => Effect.succeed(HttpServerResponse.setHeader(response, "x-hooked", "yes"))
      )
      yield* Layer.build(
        HttpRouter.serve(
          Layer.merge(
            HttpRouter.add("*", "/engine.io/", withHooks),
            HttpRouter.middleware(HttpMiddleware.cors({ allowedOrigins: ["http://a.example"] }), { global: true })
          ),
          { disableLogger: true, disableListenLog: true }
        ).pipe(
          Layer.provide(EngineIOLive),
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        )
      )
      yield* Effect.promise(async () => {
        const headers = { Origin: "http://a.example" }
        const client = await PollingClient.connect(unwatched(portOf(http)), { headers })
        const posted = await client.post("4hello", { ...textHeaders, ...headers })
        const polled = await client.get({ headers })
        assert.strictEqual(polled.text, "4hello")
        for (const response of [client.handshake, posted, polled]) {
          assert.strictEqual(response.header("x-mapped"), "yes")
          assert.strictEqual(response.header("x-hooked"), "yes")
          assert.strictEqual(response.header("access-control-allow-origin"), "http://a.example")
        }
        await client.post("1", textHeaders)
      })
    }))

  it.live("a middleware that adds what no header can carry gets 500, and leaves no session", () =>
    Effect.gen(function*() {
      const http = createServer()
      const spoiling = HttpRouter.middleware(
        (app) => Effect.map(app, HttpServerResponse.setHeader("x-name", "€")),
        { global: true }
      )
      const ended = new Mailbox<CloseReason.CloseReason>("the end of the session")
      const route = EngineIO.route(
        "/engine.io",
        () => Effect.succeed({ app: Effect.never, onDisconnect: (reason) => Effect.sync(() => ended.put(reason)) })
      )
      yield* Layer.build(
        HttpRouter.serve(Layer.merge(route, spoiling), { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(EngineIOLive),
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        )
      )
      yield* Effect.promise(async () => {
        const target = unwatched(portOf(http))
        const answer = await fetchRaw(target, "GET", engineTarget({ EIO: "4", transport: "polling" }))
        assert.strictEqual(answer.status, 500)
        assert.strictEqual(CloseReason.message(await ended.next()), "transport error")
      })
    }))

  it.live("a poll that a middleware gives up ends its session, and loses nothing without a word", () =>
    Effect.gen(function*() {
      const http = createServer()
      const hurry = Latch.makeUnsafe()
      const answer = Latch.makeUnsafe()
      const polled = new Mailbox<void>("a poll")
      const impatient = HttpRouter.middleware(
        (app) =>
          Effect.gen(function*() {
            const request = yield* HttpServerRequest.HttpServerRequest
            if (request.headers["x-hurry"] === undefined) return yield* app
            yield* Effect.raceFirst(app, Effect.andThen(Effect.sync(() => polled.put()), hurry.await))
            yield* answer.await
            return HttpServerResponse.empty()
          }),
        { global: true }
      )
      const sockets = new Mailbox<Socket.Socket>("a socket")
      const route = EngineIO.route("/engine.io", (socket) =>
        Effect.sync(() => {
          sockets.put(socket)
          return { app: Effect.never }
        }))
      yield* Layer.build(
        HttpRouter.serve(Layer.merge(route, impatient), { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(EngineIOLive),
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        )
      )
      yield* Effect.promise(async () => {
        const client = await PollingClient.connect(unwatched(portOf(http)))
        const socket = await sockets.next()
        const response = client.get({ headers: { "X-Hurry": "yes" } })
        await polled.next()
        await turn()
        hurry.openUnsafe()
        const reason = await Effect.runPromise(Socket.closed(socket))
        assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
        assert.isFalse(await Effect.runPromise(Socket.offer(socket, "lost")))
        answer.openUnsafe()
        assert.strictEqual((await response).status, 204)
      })
    }))

  for (const [way, read] of [["as text", true], ["as a stream", false]] as const) {
    it.live(`a body that a middleware has read ${way} is ${read ? "taken from there" : "missed at once"}`, () =>
      Effect.gen(function*() {
        const http = createServer()
        const reading = HttpRouter.middleware(
          (app) =>
            Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
              request.method === "GET"
                ? app
                : Effect.andThen(
                  Effect.orDie(read ? Effect.asVoid(request.text) : Stream.runDrain(request.stream)),
                  app
                )),
          { global: true }
        )
        const route = EngineIO.route(
          "/engine.io",
          (socket) => Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
        )
        yield* Layer.build(
          HttpRouter.serve(Layer.merge(route, reading), { disableLogger: true, disableListenLog: true }).pipe(
            Layer.provide(EngineIOLive),
            Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
          )
        )
        yield* Effect.promise(async () => {
          const client = await PollingClient.connect(unwatched(portOf(http)))
          const posted = await client.post("4hello")
          assert.strictEqual(posted.status, read ? 200 : 500)
          if (read) assert.strictEqual((await client.get()).text, "4hello")
          else assert.include(posted.text, "read before it came to the engine")
          await client.request("POST", { body: "1" })
        })
      }))
  }

  it.live("the paths with and without a trailing slash are one route, and everything else is 501 with `serve`", () =>
    Effect.gen(function*() {
      const http = createServer()
      yield* Layer.build(
        EngineIO.serve("/engine.io", (_socket) => Effect.succeed({ app: Effect.never })).pipe(
          Layer.provide(EngineIOLive),
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        )
      )
      const origin = `http://127.0.0.1:${portOf(http)}`
      yield* Effect.promise(async () => {
        for (const path of ["/engine.io", "/engine.io/"]) {
          const response = await fetch(`${origin}${path}?EIO=4&transport=polling`)
          assert.strictEqual(response.status, 200)
          assert.match(await response.text(), /^0\{/)
        }
        const other = await fetch(`${origin}/elsewhere`)
        assert.strictEqual(other.status, 501)
        assert.strictEqual(await other.text(), "Not Implemented")
      })
    }))

  it.live("`serve` says where it listens, the port that 0 became too", () =>
    Effect.gen(function*() {
      const http = createServer()
      const lines: Array<unknown> = []
      yield* Layer.build(
        EngineIO.serve("/engine.io", (_socket) => Effect.succeed({ app: Effect.never })).pipe(
          Layer.provide(EngineIOLive),
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })),
          Layer.provide(Logger.layer([Logger.make(({ message }) => lines.push(message))]))
        )
      )
      assert.deepStrictEqual(lines, [[`Listening on http://127.0.0.1:${portOf(http)}`]])
    }))

  it("served by a web handler, a session whose POST breaks off ends, and says so", async () => {
    const reasons: Array<CloseReason.CloseReason> = []
    const { dispose, handler } = HttpRouter.toWebHandler(
      Layer.provideMerge(
        EngineIO.route("/engine.io", () =>
          Effect.succeed({
            app: Effect.never,
            onDisconnect: (reason) => Effect.sync(() => void reasons.push(reason))
          })),
        EngineIOLive
      ),
      { disableLogger: true }
    )
    const url = "http://localhost/engine.io/?EIO=4&transport=polling"
    const opened = await handler(new Request(url))
    const { sid } = JSON.parse((await opened.text()).slice(1)) as { readonly sid: string }
    const body = new ReadableStream({
      pull: (controller) => controller.error(new Error("gone"))
    })
    const refused = await handler(new Request(`${url}&sid=${sid}`, { method: "POST", body, duplex: "half" }))
    assert.strictEqual(refused.status, 400)
    await eventually("the end of the session", () => reasons.length, (count) => count === 1)
    assert.strictEqual(CloseReason.message(reasons[0]!), "transport error")
    await dispose()
  })
})
