/**
 * What Socket.IO gains on our engine, and what is ours alone to get right: mounting, options, the end.
 */
import { assert, describe, it } from "@effect/vitest"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { HttpRouter } from "effect/http"
import express from "express"
import { createServer } from "node:http"
import { Server, type Socket } from "socket.io"
import { io as connect, type Socket as Client } from "socket.io-client"
import { EngineIO, Socket as EngineSocket } from "../../src/index.ts"
import * as SocketIO from "../../src/SocketIO.ts"
import { EngineClient } from "../kit/client.ts"
import { eventually, within } from "../kit/events.ts"
import { grown, listeners, resources } from "../kit/leaks.ts"
import { portOf, unwatched } from "../kit/server.ts"
import { next, value } from "../kit/socketIO.ts"
import { frames, MemoryClient } from "../kit/webTransport.ts"
import { run } from "./both.ts"

const clientOf = (port: number, path: string, options: object = {}): Client =>
  connect(`http://127.0.0.1:${port}`, {
    path,
    forceNew: true,
    reconnection: false,
    transports: ["websocket"],
    ...options
  })

/** A server with these routes, until the body is over. */
const serving = <E>(
  routes: Layer.Layer<never, E, HttpRouter.HttpRouter | HttpRouter.Request<"Requires", EngineIO.EngineIO>>,
  engine: Layer.Layer<EngineIO.EngineIO, unknown>,
  body: (
    port: number,
    end: () => Promise<void>,
    run: <A>(effect: Effect.Effect<A, never, EngineIO.EngineIO>) => Promise<A>
  ) => Promise<void>
) =>
async () => {
  const http = createServer()
  const scope = Scope.makeUnsafe()
  const end = () => within(Effect.runPromise(Scope.close(scope, Exit.void)), "the end of the server")
  try {
    const context = await Effect.runPromise(Layer.buildWithScope(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(engine),
        Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
      ),
      scope
    ))
    await body(portOf(http), end, (effect) => Effect.runPromise(Effect.provideContext(effect, context)))
  } finally {
    http.closeAllConnections()
    await end()
  }
}

describe("the options of `new Server`", () => {
  it.effect("that are wrong fail the layer, and name themselves", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(SocketIO.layer(new Server({ pingInterval: -1 }))))
      assert.include(String(exit), "pingInterval")
    }))

  it.effect("do not go with a Node server, which brings an engine of its own", () =>
    Effect.gen(function*() {
      const io = new Server(createServer())
      SocketIO.route(io)
      const error = yield* Effect.flip(Layer.build(SocketIO.layer(io)))
      assert.match(error.message, /`new Server\(options\)`$/)
      yield* Effect.promise(() => io.close())
    }))

  it("may have others of the engine beside them", () => {
    const io = new Server({ pingInterval: 1000 })
    return serving(SocketIO.route(io), SocketIO.layer(io, { maxSessions: 1 }), async (port) => {
      const first = clientOf(port, "/socket.io")
      await next(first, "connect")
      await next(clientOf(port, "/socket.io"), "connect_error")
      first.disconnect()
    })()
  })
})

describe("a route", () => {
  it("may be on a path of its own, beside other handlers of the engine", () => {
    const [io, other] = [new Server({ serveClient: false }), new Server()]
    const echo = EngineIO.route(
      "/engine.io/",
      (socket) => Effect.succeed({ app: EngineSocket.forEach(socket, (message) => EngineSocket.send(socket, message)) })
    )
    const routes = Layer.mergeAll(SocketIO.route("/live/", io), SocketIO.route("/other", other), echo)
    return serving(routes, EngineIO.layer(), async (port, _, runEffect) => {
      const [one, two] = [clientOf(port, "/live"), clientOf(port, "/other")]
      await Promise.all([next(one, "connect"), next(two, "connect")])
      const target = unwatched(port)
      const plain = await EngineClient.connect(target, "websocket")
      assert.strictEqual(await plain.exchange("hello"), "hello")
      assert.strictEqual(io.engine.clientsCount, 1)
      assert.strictEqual(await runEffect(EngineIO.count), 3)
      // A session belongs to the handler that opened it.
      const sid = (two.io.engine as unknown as { id: string }).id
      const foreign = await fetch(`http://127.0.0.1:${port}/live/?EIO=4&transport=polling&sid=${sid}`)
      assert.deepStrictEqual(await foreign.json(), { code: 1, message: "Session ID unknown" })
      assert.strictEqual((await fetch(`http://127.0.0.1:${port}/live/socket.io.js`)).status, 400)
      assert.strictEqual((await fetch(`http://127.0.0.1:${port}/other/socket.io.js`)).status, 200)
      await plain.close()
      one.disconnect()
      two.disconnect()
      await eventually("no session", () => runEffect(EngineIO.count), (count) => count === 0)
    })()
  })
})

describe("attach", () => {
  it("may take the whole of a server", () =>
    run("ours, attached", { path: "/" }, undefined, async (site) => {
      const [, client] = await site.pair("/", { path: "/" })
      assert.isTrue(client.connected)
      assert.strictEqual((await fetch(`${site.url}/socket.io.js`)).status, 200)
    }))

  it("stands next to Express, and leaves nothing behind", async () => {
    const app = express()
    app.get("/", (_, response) => void response.send("express"))
    const http = createServer(app)
    const before = listeners(http)
    const [io, other] = [new Server(), new Server()]
    const scope = Scope.makeUnsafe()
    const context = await Effect.runPromise(Layer.buildWithScope(SocketIO.layer(io), scope))
    const attached = Scope.makeUnsafe()
    await Effect.runPromise(
      Effect.all([
        SocketIO.attach(http, io),
        SocketIO.attach(http, other, {
          path: "/other",
          middleware: [(_, response, next) => {
            response.setHeader("x-middleware", "1")
            next()
          }]
        })
      ]).pipe(Effect.provideService(Scope.Scope, attached), Effect.provideContext(context))
    )
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
    const port = portOf(http)
    const clients = [clientOf(port, "/socket.io"), clientOf(port, "/other", { transports: ["polling"] })]
    await Promise.all(clients.map((client) => next(client, "connect")))
    assert.strictEqual(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "express")
    const poll = await fetch(`http://127.0.0.1:${port}/other/?EIO=4&transport=polling`)
    assert.strictEqual(poll.headers.get("x-middleware"), "1")
    await poll.text()
    const ended = clients.map((client) => next(client, "disconnect"))
    await Effect.runPromise(Scope.close(attached, Exit.void))
    await Promise.all(ended)
    await Effect.runPromise(Scope.close(scope, Exit.void))
    assert.isTrue(http.listening)
    assert.deepStrictEqual(grown(before, listeners(http)), {})
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  })
})

describe("a listener of the end that throws", () => {
  it("leaves nothing of its session, and does not stop the end of the server", async () => {
    const listeners = process.listeners("uncaughtException")
    const thrown: Array<string> = []
    process.removeAllListeners("uncaughtException")
    process.on("uncaughtException", (error) => thrown.push(error.message))
    try {
      await run("ours", {}, undefined, async (site) => {
        site.io.on("connection", (socket) => {
          socket.on("disconnect", (reason) => {
            throw new Error(reason)
          })
        })
        await site.pair()
        const [socket] = await site.pair()
        socket.conn.close()
        await eventually("one", () => site.io.engine.clientsCount, (count) => count === 1)
      })
      assert.strictEqual(thrown.length, 2)
      assert.strictEqual(thrown[0], "forced close")
    } finally {
      process.removeAllListeners("uncaughtException")
      for (const listener of listeners) process.on("uncaughtException", listener)
    }
  })
})

describe("an io that was closed", () => {
  it("goes on when its Node server listens again", () =>
    run("ours, attached", {}, undefined, async (site) => {
      const { port } = site
      const connected = value<Socket>(site.io, "connection")
      const client = site.client("/", { reconnection: true, reconnectionDelay: 5, reconnectionDelayMax: 5 })
      await connected
      await site.io.close()
      const again = value<Socket>(site.io, "connection")
      await new Promise<void>((resolve) => site.http.listen(port, "127.0.0.1", resolve))
      const socket = await again
      socket.on("twice", (n: number, answer: (n: number) => void) => answer(2 * n))
      assert.strictEqual(await client.timeout(5000).emitWithAck("twice", 4), 8)
    }))
})

describe("toNodeHandlers", () => {
  it("are for routes of one's own, with the middlewares of the engine", async () => {
    const io = new Server({ serveClient: false })
    const scope = Scope.makeUnsafe()
    const context = await Effect.runPromise(Layer.buildWithScope(SocketIO.layer(io), scope))
    const { handleRequest, handleUpgrade } = await Effect.runPromise(
      SocketIO.toNodeHandlers(io).pipe(Effect.provideService(Scope.Scope, scope), Effect.provideContext(context))
    )
    const seen: Array<string | undefined> = []
    io.engine.use((request: { method: string }, _: unknown, next: () => void) => {
      seen.push(request.method)
      next()
    })
    const http = createServer(handleRequest).on("upgrade", handleUpgrade)
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
    for (const transports of [["polling"], ["websocket"]]) {
      const client = clientOf(portOf(http), "/any", { transports })
      await next(client, "connect")
      client.disconnect()
    }
    assert.include(seen, "POST")
    await Effect.runPromise(Scope.close(scope, Exit.void))
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  })
})

describe("acceptWebTransport", () => {
  it("serves a session as Socket.IO, secure and without a request of Node", async () => {
    const io = new Server({ transports: ["polling", "websocket", "webtransport"] })
    const scope = Scope.makeUnsafe()
    const context = await Effect.runPromise(Layer.buildWithScope(SocketIO.layer(io), scope))
    const client = new MemoryClient()
    client.openStream()
    const accepted = SocketIO.acceptWebTransport(client.session, io, {
      url: "/socket.io/?q=1",
      headers: { "x-name": "bob" }
    })
    await Effect.runPromise(
      accepted.pipe(Effect.provideService(Scope.Scope, scope), Effect.provideContext(context))
    )
    const connected = value<Socket>(io, "connection")
    void client.write(frames("0", "40"))
    assert.match(await client.handshake(), /^[\w-]{20}$/)
    const socket = await connected
    assert.strictEqual(await client.packets.next(), `40{"sid":"${socket.id}"}`)
    const { handshake } = socket
    assert.isTrue(handshake.secure)
    assert.strictEqual(handshake.headers["x-name"], "bob")
    assert.strictEqual(handshake.query["q"], "1")
    assert.strictEqual(socket.conn.transport.name as string, "webtransport")
    const event = value<Buffer>(socket, "event")
    void client.write(frames("451-[\"event\",{\"_placeholder\":true,\"num\":0}]", Uint8Array.of(1, 2)))
    assert.deepStrictEqual([...await event], [1, 2])
    io.emit("answer", 1)
    assert.strictEqual(await client.packets.next(), "42[\"answer\",1]")
    await Effect.runPromise(Scope.close(scope, Exit.void))
  })
})

describe("the end of the layer", () => {
  it("delivers what was sent, and tells sockets that the server shuts down", () => {
    const io = new Server()
    return serving(SocketIO.route(io), SocketIO.layer(io), async (port, end) => {
      const sockets: Array<Socket> = []
      const reasons: Array<string> = []
      io.on("connection", (socket) => {
        sockets.push(socket)
        socket.on("disconnect", (reason) => reasons.push(reason))
      })
      const clients = [clientOf(port, "/socket.io"), clientOf(port, "/socket.io", { transports: ["polling"] })]
      await eventually("two sockets", () => sockets.length, (count) => count === 2)
      await Promise.all(clients.map((client) => client.connected || next(client, "connect")))
      // A client between two polls could not come back.
      await eventually("two that listen", () => sockets.every(({ conn }) => conn.transport.writable), (ready) => ready)
      const last = clients.map((client) => value(client, "last"))
      io.emit("last", "x".repeat(100_000))
      await end()
      for (const text of await Promise.all(last)) assert.strictEqual((text as string).length, 100_000)
      assert.deepStrictEqual(reasons, ["server shutting down", "server shutting down"])
      assert.strictEqual(io.engine.clientsCount, 0)
    })()
  })

  it("comes after a drain, which delivers too", () => {
    const io = new Server()
    return serving(SocketIO.route(io), SocketIO.layer(io), async (port, _, runEffect) => {
      const connected = value<Socket>(io, "connection")
      const client = clientOf(port, "/socket.io")
      const socket = await connected
      const received: Array<number> = []
      client.on("n", (n: number) => received.push(n))
      const [ended, reason] = [next(client, "disconnect"), value(socket, "disconnect")]
      for (let n = 0; n < 1000; n++) socket.emit("n", n)
      await runEffect(EngineIO.drain())
      await ended
      assert.deepStrictEqual(received, Array.from({ length: 1000 }, (_, n) => n))
      assert.strictEqual(await reason, "server shutting down")
    })()
  })
})

describe("a client that reads slowly", () => {
  it("loses no event, however much waits for it", () => {
    const io = new Server()
    const engine = SocketIO.layer(io, { sendBuffer: { messages: 10, bytes: 1000 } })
    return serving(SocketIO.route(io), engine, async (port) => {
      const connected = value<Socket>(io, "connection")
      const client = clientOf(port, "/socket.io", { transports: ["polling"] })
      const socket = await connected
      const received: Array<number> = []
      const all = new Promise<void>((resolve) =>
        client.on("n", (n: number) => {
          if (received.push(n) === 500) resolve()
        })
      )
      for (let n = 0; n < 500; n++) socket.emit("n", n, "x".repeat(100))
      await within(all, "all events")
      assert.deepStrictEqual(received, Array.from({ length: 500 }, (_, n) => n))
      client.disconnect()
    })()
  })

  it("misses volatile events", () =>
    run("ours", {}, undefined, async (site) => {
      const [socket, client] = await site.pair()
      const { _socket: raw } =
        (client.io.engine.transport as unknown as { ws: { _socket: { pause(): void; resume(): void } } }).ws
      raw.pause()
      let count = 0
      client.on("volatile", () => count++)
      // Until the connection takes no more.
      for (let n = 0; n < 100; n++) {
        socket.volatile.emit("volatile", Buffer.alloc(200_000))
        await new Promise(setImmediate)
      }
      assert.isFalse(socket.conn.transport.writable)
      const end = next(client, "end")
      socket.emit("end")
      raw.resume()
      await end
      assert.isBelow(count, 100)
      assert.isAbove(count, 0)
    }))
})

describe("two hundred clients that come and go", () => {
  it("leave nothing behind", () => {
    const io = new Server({ allowEIO3: true })
    return serving(SocketIO.route(io), SocketIO.layer(io), async (port, _, runEffect) => {
      io.on("connection", (socket) => {
        void socket.join("room")
        socket.conn.on("packet", () => {})
        socket.on("echo", (value, answer) => answer(value))
      })
      const before = resources()
      const one = async (n: number) => {
        const transports = [["websocket"], ["polling"], ["polling", "websocket"]][n % 3]!
        const client = clientOf(port, "/socket.io", { transports })
        assert.strictEqual(await client.timeout(8000).emitWithAck("echo", n), n)
        if (n % 2 === 0) client.disconnect()
        else client.io.engine.close()
      }
      for (let n = 0; n < 200; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => one(n + i)))
      await eventually("no session", () => runEffect(EngineIO.count), (count) => count === 0)
      await eventually("no client", () => io.engine.clientsCount, (count) => count === 0)
      const { adapter, sockets } = io.of("/")
      assert.deepStrictEqual([sockets.size, adapter.rooms.size, adapter.sids.size], [0, 0, 0])
      await eventually("no more resources", () => grown(before, resources()), (more) => Object.keys(more).length === 0)
    })()
  })
})

describe("a session", () => {
  it("is counted in the engine's metrics and events like any other", () => {
    const io = new Server()
    return serving(SocketIO.route(io), SocketIO.layer(io), async (port, _, runEffect) => {
      const client = clientOf(port, "/socket.io")
      await next(client, "connect")
      const sockets = await runEffect(EngineIO.sockets)
      assert.deepStrictEqual([...sockets.keys()], [(client.io.engine as unknown as { id: string }).id])
      const [socket] = sockets.values()
      const closed = await runEffect(Effect.forkDetach(EngineSocket.closed(socket!)))
      client.disconnect()
      assert.strictEqual((await Effect.runPromise(Fiber.join(closed)))._tag, "TransportClose")
    })()
  })
})
