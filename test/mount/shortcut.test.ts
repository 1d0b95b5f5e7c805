/**
 * Polls and posts go straight to their sessions where nothing stands between, and nobody notices.
 */
import { NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, ErrorReporter, Exit, Layer, Logger, Metric, Scheduler, Scope, Tracer } from "effect"
import { HttpEffect, HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { createServer, type Server } from "node:http"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { Mailbox, within } from "../kit/events.ts"
import { Connection, engineTarget, fetchRaw, PollingClient, type Response, textHeaders } from "../kit/http.ts"
import { listeners } from "../kit/leaks.ts"
import { passing, portOf, type Target, unwatched } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

const echo = (socket: Socket.Socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })

const served = EngineIO.serve("/engine.io", echo)

const quiet = { disableLogger: true, disableListenLog: true }

const others = HttpRouter.add("*", "/*", Effect.succeed(HttpServerResponse.text("Not Implemented", { status: 501 })))

const routed = HttpRouter.serve(Layer.merge(EngineIO.route("/engine.io", echo), others), quiet)

/** The same behind a middleware, so that the router has all requests. */
const behind = HttpRouter.serve(
  Layer.mergeAll(EngineIO.route("/engine.io", echo), others, passing),
  quiet
)

type Serving = Layer.Layer<never, never, EngineIO.EngineIO | HttpServer.HttpServer>

interface Options {
  readonly http?: Server
  readonly engine?: EngineIO.Options
  readonly server?: Omit<NodeHttpServer.Options, "port">
}

/** Builds it on a Node server; returns the end of it. */
const start = async (serving: Serving, { engine, http = createServer(), server }: Options = {}) => {
  const scope = Scope.makeUnsafe()
  const live = serving.pipe(
    Layer.provide(EngineIO.layer(engine)),
    Layer.provide(NodeHttpServer.layer(() => http, { host: "127.0.0.1", ...server, port: 0 })),
    Layer.provide(Logger.layer([]))
  )
  await Effect.runPromise(Layer.buildWithScope(live, scope))
  const end = () => within(Effect.runPromise(Scope.close(scope, Exit.void)), "the end of the server")
  return { http, target: unwatched(portOf(http)), end }
}

const closeAll = ({ clients, connections, webSockets }: Target): void => {
  for (const client of clients) client.socket.close()
  for (const client of webSockets) client.socket.terminate()
  for (const connection of connections) connection.socket.destroy()
}

/** Whether something of ours stands before the listener of Effect's server. */
const isShort = (http: Server): boolean => {
  const [listener] = http.listeners("request").slice(-1)
  return http.rawListeners("request").at(-1) !== listener
}

/** Counts the requests that Effect's server is given, and those it is not. */
const watch = (http: Server) => {
  const count = { effect: 0, straight: 0 }
  http.prependListener("request", (_, response) =>
    process.nextTick(() => {
      const isEffects = response.listeners("finish").some((listener) => String(listener).includes("teardownBody"))
      count[isEffects ? "effect" : "straight"]++
    }))
  return count
}

/** Handshakes and polls, from the last of which on polls may go straight. */
const warmUp = async (target: Target): Promise<void> => {
  await PollingClient.connect(target)
  const client = await PollingClient.connect(target)
  await client.post("4warm")
  await client.poll()
}

/** What a client sees of a response, but for what differs each time. */
const shown = ({ headers, status, text }: Response) => ({
  status,
  headers: Object.fromEntries(
    headers.filter(([name]) => name !== "Date").map(([name, value]) => [name.toLowerCase(), value])
  ),
  text: text.replace(/"sid":"[^"]+"/, "")
})

describe("what a client sees is what it sees where the router has all requests", () => {
  const both = (title: string, body: (target: Target) => Promise<unknown>, options: Options = {}): void =>
    it(title, async () => {
      const seen: Array<unknown> = []
      for (const serving of [behind, served, routed]) {
        const { end, http, target } = await start(serving, options)
        await warmUp(target)
        const count = watch(http)
        seen.push(await body(target))
        assert.strictEqual(count.straight > 0, serving !== behind)
        closeAll(target)
        await end()
      }
      assert.deepStrictEqual(seen[1], seen[0])
      assert.deepStrictEqual(seen[2], seen[0])
    })

  both("handshakes, polls and posts", async (target) => {
    const client = await PollingClient.connect(target)
    const answers = [client.handshake, await client.post("4one\x1e4two\x1eb3q2+7w=="), await client.get()]
    const parked = await client.park()
    answers.push(await client.post("4€", { ...textHeaders, Expect: "100-continue" }))
    return [...answers, await parked.response].map(shown)
  })

  both("answers of any size, and those that are compressed", async (target) => {
    const client = await PollingClient.connect(target)
    await client.post(`4${"x".repeat(500_000)}`)
    const large = await client.get()
    await client.post(`4${"x".repeat(5_000)}`)
    return [large, await client.get({ headers: { "Accept-Encoding": "gzip" } })].map(shown)
  })

  both("old browsers, JSONP and clients of revision 3", async (target) => {
    const client = await PollingClient.connect(target)
    await client.post("4hello")
    const answers = [await client.get({ headers: { "User-Agent": "x ;MSIE 9" } })]
    const callback = await PollingClient.connect(target, { query: { j: "1" } }).catch(() => undefined)
    assert.isUndefined(callback)
    const { sid } = JSON.parse(
      /\{.*\}/.exec((await fetchRaw(target, "GET", engineTarget({ EIO: "3", transport: "polling" }))).text)![0]
    ) as { readonly sid: string }
    const url = engineTarget({ EIO: "3", transport: "polling", sid })
    answers.push(await fetchRaw(target, "POST", url, { body: "6:4hello", headers: textHeaders }))
    answers.push(await fetchRaw(target, "GET", url))
    return answers.map(shown)
  }, { engine: { allowEIO3: true } })

  both("what is refused", async (target) => {
    const client = await PollingClient.connect(target)
    const answers: Array<Response> = []
    for (const method of ["PUT", "OPTIONS", "HEAD", "DELETE"]) answers.push(await client.request(method))
    const others = [{ sid: "unknown" }, { sid: client.sid, transport: "webtransport" }]
    for (const query of others) {
      answers.push(await fetchRaw(target, "GET", engineTarget({ transport: "polling", ...query })))
    }
    answers.push(await client.request("POST", { body: "x".repeat(1_000_001), headers: textHeaders }))
    answers.push(await client.request("POST", { body: "x", headers: textHeaders }), await client.get())
    const overlapping = await PollingClient.connect(target)
    await overlapping.park()
    answers.push(await overlapping.get(), await overlapping.get())
    return answers.map(shown)
  })

  both("bodies that nobody reads", async (target) => {
    const client = await PollingClient.connect(target)
    const body = "x".repeat(300_000)
    await client.post("4hello")
    const answers = [await client.get({ body, headers: textHeaders })]
    const binary = { "Content-Type": "application/octet-stream" }
    answers.push(await client.request("POST", { body, headers: binary }))
    return answers.map(shown)
  })

  both("paths", async (target) => {
    const { sid } = await PollingClient.connect(target)
    const query = new URLSearchParams({ EIO: "4", transport: "polling", sid })
    const paths = [
      "/engine.io/?",
      "/engine.io?",
      "//engine.io//?",
      "/Engine.io/?",
      "/engine%2Eio/?",
      "/engine.io/;?",
      "/engine.io/below?",
      "/engine.iox/?",
      "/?",
      "http://127.0.0.1/engine.io/?"
    ]
    const answers: Array<unknown> = []
    for (const path of paths) {
      answers.push([
        path,
        shown(await fetchRaw(target, "POST", `${path}${query}`, { body: "3", headers: textHeaders }))
      ])
    }
    return answers
  })

  both("requests in a pipeline", async (target) => {
    const client = await PollingClient.connect(target)
    const connection = await Connection.open(target)
    connection.send("POST", client.url(), { body: "4one", headers: textHeaders })
    connection.send("GET", client.url())
    connection.send("GET", "/elsewhere")
    connection.send("GET", client.url())
    connection.send("POST", client.url(), { body: "4two", headers: textHeaders })
    const answers = [await connection.response(), await connection.response(), await connection.response()]
    await client.post("4three")
    return [...answers, await connection.response(), await connection.response()].map(shown)
  })

  for (const leave of ["close", "reset"] as const) {
    both(`a client that leaves a parked poll by a ${leave}`, async (target) => {
      const client = await PollingClient.connect(target)
      await (await client.park()).connection[leave]()
      await target.settled("")
      return shown(await client.get())
    })
  }

  both("an upgrade to a WebSocket", async (target) => {
    const client = await PollingClient.connect(target)
    const webSocket = await WebSocketClient.open(target, { sid: client.sid })
    const parked = await client.park()
    webSocket.send("2probe")
    const frames = [await webSocket.next(), (await parked.response).text]
    webSocket.send("5")
    webSocket.send("4moved")
    return [...frames, await webSocket.next()]
  })
})

describe("a poll goes through", () => {
  /** A server of Effect whose application is `change`d before it is served. */
  const changed = (
    change: (app: App, server: HttpServer.HttpServer["Service"]) => Effect.Effect<void, never, Scope.Scope>
  ) =>
    Layer.provide(
      served,
      Layer.effect(
        HttpServer.HttpServer,
        Effect.map(HttpServer.HttpServer, (server) => ({
          address: server.address,
          serve: ((app: App) => change(app, server)) as never
        }))
      )
    )
  type App = Effect.Effect<HttpServerResponse.HttpServerResponse>

  const cases: Record<string, (note: () => void, http: Server) => Serving> = {
    "a middleware of the server, in front": (note) =>
      changed((app, server) => server.serve(Effect.andThen(Effect.sync(note), app))),
    "a middleware of the server, behind": (note) =>
      changed((app, server) => server.serve(Effect.tap(app, () => Effect.sync(note)))),
    "a middleware of the server, beside": (note) =>
      changed((app, server) => server.serve(app, (app: App) => Effect.tap(app, () => Effect.sync(note)))),
    "a middleware of the server that waits": (note) =>
      changed((app, server) =>
        server.serve(Effect.callback((resume) => {
          setImmediate(() =>
            resume(Effect.suspend(() => {
              note()
              return app
            }))
          )
        }))
      ),
    "a middleware of a router that is shared": (note) =>
      Layer.provide(
        Layer.merge(
          HttpRouter.middleware((app) => Effect.andThen(Effect.sync(note), app), { global: true }),
          served
        ),
        HttpRouter.layer
      ),
    "the log of requests": (note) =>
      Layer.provide(
        HttpRouter.serve(EngineIO.route("/engine.io", echo), { disableListenLog: true }),
        Logger.layer([Logger.make<unknown, void>(({ message }) => {
          if (String(message).includes("Sent HTTP response")) note()
        })])
      ),
    "a middleware of a router that limits the time of another": (note) =>
      HttpRouter.serve(
        Layer.merge(
          EngineIO.route("/engine.io", echo),
          HttpRouter.middleware(
            (app) => Effect.andThen(Effect.sync(note), Effect.timeout(app, "10 seconds")),
            { global: true }
          )
        ),
        quiet
      ),
    "a server that has another handle the request": (note) => {
      const inner = Layer.unwrap(Effect.gen(function*() {
        const router = yield* HttpRouter.make
        yield* router.add("*", "/engine.io/", EngineIO.handler(echo))
        const scope = yield* Effect.scope
        const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope })
        return HttpRouter.add("*", "/*", (request) => {
          note()
          handler(
            NodeHttpServerRequest.toIncomingMessage(request),
            NodeHttpServerRequest.toServerResponse(request)
          )
          return Effect.never
        })
      }))
      return HttpRouter.serve(inner, quiet) as unknown as Serving
    },
    "a listener of a program that calls Effect's": (note, http) =>
      Layer.effectDiscard(Effect.gen(function*() {
        const router = yield* HttpRouter.make
        yield* router.add("*", "/engine.io/", EngineIO.handler(echo))
        const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope: yield* Effect.scope })
        http.on("request", (request, response) => {
          note()
          handler(request, response)
        })
      })) as unknown as Serving,
    "a listener that a program has wrapped around Effect's": (note, http) =>
      changed((app, server) =>
        Effect.map(server.serve(app), () => {
          const [listener] = http.listeners("request") as Array<(...args: ReadonlyArray<unknown>) => void>
          const wrapped = (...args: ReadonlyArray<unknown>) => {
            note()
            listener!(...args)
          }
          http.off("request", listener!).on("request", Object.assign(wrapped, { listener }))
        })
      ),
    "a program that runs Effect's in a fiber of its own": (note) =>
      changed((app, server) =>
        server.serve(Effect.gen(function*() {
          note()
          let answer = HttpServerResponse.empty()
          const handled = HttpEffect.toHandled(app, (_, response) => Effect.sync(() => void (answer = response)))
          yield* Effect.raceFirst(handled, Effect.never)
          return answer
        }))
      ),
    "a step of a program in the place of a router's": (note) => {
      const handler = EngineIO.handler(echo) as App
      const route = { route: { path: "/engine.io/" }, params: {} } as never
      return Layer.effectDiscard(
        Effect.flatMap(HttpServer.HttpServer, (server) =>
          server.serve(Effect.interruptibleMask(() => {
            note()
            return handler
          })))
      ).pipe(Layer.provide(Layer.succeed(HttpRouter.RouteContext, route))) as unknown as Serving
    },
    "a step of a program that says it was a router's": (note) => {
      const handler = EngineIO.handler(echo) as App
      const route = { route: { path: "/engine.io/" }, params: {} } as never
      return Layer.effectDiscard(
        Effect.flatMap(HttpServer.HttpServer, (server) =>
          server.serve(Effect.updateContext(handler, (context) => {
            note()
            return Context.add(context, HttpRouter.RouteContext, route) as never
          })))
      ) as unknown as Serving
    },
    "a middleware that yields to a scheduler that does not": (note) =>
      Layer.provide(
        HttpRouter.serve(
          Layer.merge(
            EngineIO.route("/engine.io", echo),
            HttpRouter.middleware(
              (app) => Effect.andThen(Effect.andThen(Effect.sync(note), Effect.yieldNow), app),
              { global: true }
            )
          ),
          quiet
        ),
        Layer.succeed(
          Scheduler.Scheduler,
          new Scheduler.MixedScheduler("async", (run) => {
            run()
            return () => {}
          })
        )
      ),
    "what a program does around the handler": (note) =>
      HttpRouter.serve(
        HttpRouter.add("*", "/engine.io/", Effect.onExit(EngineIO.handler(echo), () => Effect.sync(note))),
        quiet
      ),
    "a function that chooses the handler": (note) => {
      const handler = EngineIO.handler(echo)
      return HttpRouter.serve(
        HttpRouter.add("*", "/engine.io/", () => {
          note()
          return handler
        }),
        quiet
      )
    },
    "a tracer": (note) =>
      Layer.provide(
        served,
        Layer.succeed(
          Tracer.Tracer,
          Tracer.make({
            span: (options) => {
              if (options.kind === "server") note()
              return new Tracer.NativeSpan(options)
            }
          })
        )
      ),
    "who says which requests a tracer is to leave out": (note) =>
      Layer.provide(
        routed,
        Layer.merge(
          Layer.succeed(Tracer.Tracer, Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })),
          Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => {
            note()
            return true
          })
        )
      ),
    "what a program has put before the listener of Effect's server": (note, http) =>
      changed((app, server) =>
        Effect.map(server.serve(app), () => {
          const [effects] = http.listeners("request") as Array<(...args: ReadonlyArray<unknown>) => void>
          http.removeAllListeners("request").on("request", (request, response) => {
            note()
            effects!(request, response)
          })
        })
      ),
    "a listener behind that of Effect's server": (note, http) =>
      changed((app, server) => Effect.map(server.serve(app), () => void http.on("request", note)))
  }

  for (const [what, serving] of Object.entries(cases)) {
    it(what, async () => {
      let count = 0
      const http = createServer()
      const { end, target } = await start(serving(() => count++, http), { http })
      const client = await PollingClient.connect(target)
      for (const message of ["4one", "4two", "4three"]) {
        await client.post(message)
        assert.deepStrictEqual(await client.poll(), [message])
      }
      assert.strictEqual(count, 7)
      closeAll(target)
      await end()
    })
  }

  const collectors: Record<string, Layer.Layer<never>> = {
    errors: ErrorReporter.layer([ErrorReporter.make(() => {})]),
    "metrics of fibers": Metric.enableRuntimeMetricsLayer
  }

  for (const [what, collector] of Object.entries(collectors)) {
    it(`Effect's server, where somebody collects ${what}`, async () => {
      const { end, http, target } = await start(Layer.provide(routed, collector))
      const count = watch(http)
      await warmUp(target)
      await warmUp(target)
      assert.strictEqual(count.straight, 0)
      closeAll(target)
      await end()
    })
  }

  it("the route of its own path, where a path with a slash and one without are two", async () => {
    const mine = HttpRouter.add("*", "/engine.io", HttpServerResponse.text("mine"))
    const { end, target } = await start(HttpRouter.serve(
      Layer.merge(mine, HttpRouter.add("*", "/engine.io/", EngineIO.handler(echo))),
      { ...quiet, routerConfig: { ignoreTrailingSlash: false } }
    ))
    const client = await PollingClient.connect(target)
    await warmUp(target)
    await fetchRaw(target, "POST", "/engine.io/", { body: "", headers: textHeaders })
    await client.post("4hello")
    const { text } = await fetchRaw(target, "POST", client.url().replace("/?", "?"), {
      body: "3",
      headers: textHeaders
    })
    assert.strictEqual(text, "mine")
    closeAll(target)
    await end()
  })

  it("a listener that others put in the place of Effect's, and parked polls go on", async () => {
    const { end, http, target } = await start(routed)
    await warmUp(target)
    const client = await PollingClient.connect(target)
    const { response } = await client.park()
    assert.isTrue(isShort(http))
    let count = 0
    const listeners = http.listeners("request")
    http.removeAllListeners("request").on("request", (request, response) => {
      count++
      for (const listener of listeners) listener.call(http, request, response)
    })
    await client.post("4hello")
    assert.strictEqual((await response).text, "4hello")
    assert.strictEqual(count, 1)
    closeAll(target)
    await end()
  })

  it("a server that another listener tells of status 100, and ends as before", async () => {
    const { end, http, target } = await start(routed, { server: { disablePreemptiveShutdown: true } })
    await warmUp(target)
    const before = listeners(http)
    const client = await PollingClient.connect(target)
    const { response } = await client.park()
    http.removeAllListeners("checkContinue").on("checkContinue", (request, response) => {
      http.emit("request", request, response)
    })
    assert.deepStrictEqual(listeners(http), before)
    const ended = end()
    assert.strictEqual((await response).status, 503)
    closeAll(target)
    await ended
    assert.strictEqual(http.listenerCount("removeListener"), 0)
  })

  it("a listener before that has answered", async () => {
    const answers = new Set<string>()
    const http = createServer((request, response) => {
      if (request.headers["x-deny"] !== undefined) response.writeHead(401).end()
      else answers.add(request.method!)
    })
    const { end, target } = await start(routed, { http })
    await warmUp(target)
    const client = await PollingClient.connect(target)
    await client.post("4hello")
    assert.isTrue(isShort(http))
    const { status } = await client.get({ headers: { "X-Deny": "yes" } })
    assert.strictEqual(status, 401)
    assert.deepStrictEqual([...answers], ["GET", "POST"])
    closeAll(target)
    await end()
  })

  it("a route of another server, which hands requests on to it", async () => {
    const inner = await start(routed)
    let count = 0
    const gate = HttpRouter.add("*", "/engine.io/", (request) => {
      count++
      const response = NodeHttpServerRequest.toServerResponse(request)
      inner.http.emit("request", NodeHttpServerRequest.toIncomingMessage(request), response)
      return Effect.never
    })
    const outer = await start(HttpRouter.serve(Layer.merge(EngineIO.route("/other", echo), gate), quiet))
    const other = `/other/?${new URLSearchParams({ EIO: "4", transport: "polling" })}`
    // Both have a shortcut now, and the inner one has no ways.
    await PollingClient.connect(inner.target)
    await fetchRaw(outer.target, "GET", other)
    const client = await PollingClient.connect(outer.target)
    for (const message of ["4one", "4two"]) {
      await client.post(message)
      assert.deepStrictEqual(await client.poll(), [message])
    }
    assert.strictEqual(count, 5)
    for (const { end, target } of [outer, inner]) {
      closeAll(target)
      await end()
    }
  })

  it("what its route has become", async () => {
    let count = 0
    const handler = EngineIO.handler(echo)
    const route = HttpRouter.route("*", "/engine.io/", handler)
    const { end, target } = await start(HttpRouter.serve(HttpRouter.addAll([route]), quiet))
    await warmUp(target)
    Object.assign(route, { handler: Effect.tap(handler, () => Effect.sync(() => count++)) })
    const client = await PollingClient.connect(target)
    await client.post("4hello")
    assert.deepStrictEqual(await client.poll(), ["4hello"])
    assert.strictEqual(count, 3)
    closeAll(target)
    await end()
  })

  it("a middleware that only posts have", async () => {
    let count = 0
    const handler = EngineIO.handler(echo)
    const noted = Effect.tap(handler, () => Effect.sync(() => count++))
    const { end, http, target } = await start(HttpRouter.serve(
      Layer.merge(HttpRouter.add("GET", "/engine.io/", handler), HttpRouter.add("POST", "/engine.io/", noted)),
      quiet
    ))
    await warmUp(target)
    const seen = watch(http)
    const client = await PollingClient.connect(target)
    for (const message of ["4one", "4two"]) {
      await client.post(message)
      assert.deepStrictEqual(await client.poll(), [message])
    }
    assert.strictEqual(count, 3)
    assert.deepStrictEqual(seen, { effect: 3, straight: 2 })
    closeAll(target)
    await end()
  })

  it("the handler of its own path, where a server has several", async () => {
    const idle = () => Effect.succeed({ app: Effect.never })
    const handler = EngineIO.handler(idle)
    const { end, http, target: server } = await start(HttpRouter.serve(
      Layer.merge(
        EngineIO.route("/one", idle),
        HttpRouter.use((router) => router.prefixed("/below").add("*", "/two/", handler))
      ),
      quiet
    ))
    const target = (path: string) => `${path}?${new URLSearchParams({ EIO: "4", transport: "polling" })}`
    const open = async (path: string) =>
      JSON.parse((await fetchRaw(server, "GET", target(path))).text.slice(1)) as { readonly sid: string }
    const [one, two] = [await open("/one/"), await open("/below/two/")]
    const post = async (path: string, { sid }: { readonly sid: string }) =>
      (await fetchRaw(server, "POST", `${target(path)}&sid=${sid}`, { body: "4x", headers: textHeaders })).text
    const count = watch(http)
    for (let round = 0; round < 3; round++) {
      assert.strictEqual(await post("/one/", one), "ok")
      assert.strictEqual(await post("/below/two/", two), "ok")
      assert.include(await post("/one/", two), "Session ID unknown")
      assert.include(await post("/below/two/", one), "Session ID unknown")
    }
    assert.deepStrictEqual(count, { effect: 8, straight: 4 })
    closeAll(server)
    await end()
  })

  it("every listener that was there before, and comes later", async () => {
    const seen: Array<string> = []
    const http = createServer((request) => seen.push(`before ${request.method}`))
    const { end, target } = await start(served, { http })
    const client = await PollingClient.connect(target)
    assert.isTrue(isShort(http))
    http.on("request", (request) => seen.push(`later ${request.method}`))
    await client.post("4hello")
    assert.deepStrictEqual(await client.poll(), ["4hello"])
    assert.deepStrictEqual(seen, ["before GET", "before POST", "later POST", "before GET", "later GET"])
    closeAll(target)
    await end()
  })
})

describe("when the server ends", () => {
  const ends = new Mailbox<CloseReason.CloseReason>("the end of a session")
  const app = () =>
    Effect.succeed({
      app: Effect.never,
      onDisconnect: (reason: CloseReason.CloseReason) => Effect.sync(() => ends.put(reason))
    })
  const ways = {
    "serve": EngineIO.serve("/engine.io", app),
    "a router": HttpRouter.serve(EngineIO.route("/engine.io", app), { disableLogger: true, disableListenLog: true })
  }

  for (const [way, serving] of Object.entries(ways)) {
    it(`a parked poll is told, and nothing is left on the Node server: ${way}`, async () => {
      const http = createServer()
      const before = listeners(http)
      const { end, target } = await start(serving, { http })
      const client = await PollingClient.connect(target)
      const { connection, response } = await client.park()
      const ended = end()
      assert.strictEqual((await response).text, "1")
      assert.strictEqual((await ends.next())._tag, "ServerShutdown")
      await connection.close()
      await ended
      // Effect's own stays.
      const { session: _, ...left } = listeners(http)
      assert.deepStrictEqual(left, before)
      assert.isFalse(http.listening)
    })

    it(`requests that are still there when its time is over are interrupted: ${way}`, async () => {
      const { end, http, target } = await start(serving, { server: { disablePreemptiveShutdown: true } })
      const parking = await PollingClient.connect(target)
      const { response } = await parking.park()
      const posting = await PollingClient.connect(target)
      const post = await posting.beginPost("4hel", 10)
      const ended = end()
      for (const answer of [await response, await post.response()]) {
        assert.deepStrictEqual([answer.status, answer.text], [503, ""])
        await ends.next()
      }
      closeAll(target)
      await ended
      assert.deepStrictEqual(http.listenerCount("request"), 0)
    })
  }
})
