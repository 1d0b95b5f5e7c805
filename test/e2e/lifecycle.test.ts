/**
 * Clients that vanish while nobody reads, buffers that fill, servers that come and go.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Effect, Exit, Fiber, Layer, Scheduler, Scope } from "effect"
import { HttpRouter, HttpServerRequest } from "effect/http"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, ServerResponse } from "node:http"
import type { Socket as TcpSocket } from "node:net"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, pause, turn, within } from "../kit/events.ts"
import {
  Connection,
  encodeRequest,
  engineTarget,
  fetchRaw,
  introduce,
  PollingClient,
  type RequestOptions
} from "../kit/http.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { idle, TestServer, withServer } from "../kit/server.ts"
import { isReadingPaused, unsentBytes } from "../kit/session.ts"
import { encodeFrame, Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

describe("sessions", () => {
  for (const [much, size] of [["little", 10], ["much", 10_000]] as const) {
    it(
      `whose client vanishes while nobody takes its messages, and ${much} is unread, end all the same`,
      withServer({
        application: idle,
        receiveBuffer: { messages: 1 },
        pingInterval: 100,
        pingTimeout: 100,
        closeTimeout: 100
      }, async (server) => {
        const client = await WebSocketClient.connect(server)
        const socket = await server.socket(client.sid)
        for (let i = 0; i < 500; i++) client.send(`4${"x".repeat(size)}`)
        await eventually("the limit", () => isReadingPaused(socket), (paused) => paused)
        // A chunk on its way when reading stops comes in all the same.
        await pause(20)
        client.socket.close()
        await pause(20)
        client.socket.terminate()
        assert.strictEqual((await server.reason(client.sid))._tag, "TransportError")
      })
    )
  }

  it("whose client vanishes behind an application that is slow end before all is dealt with", async () => {
    let taken = 0
    await withServer({
      application: (socket) =>
        Effect.succeed({
          app: Socket.forEach(socket, () => Effect.andThen(Effect.sync(() => taken++), Effect.sleep(50)))
        }),
      receiveBuffer: { messages: 4 },
      pingInterval: 100,
      pingTimeout: 200,
      closeTimeout: 100
    }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await Connection.open(server)
      const target = engineTarget({ EIO: "4", transport: "polling", sid: client.sid })
      connection.write(encodeRequest("POST", target, { body: Array.from({ length: 2_000 }, () => "4").join("\x1e") }))
      await eventually("a message", () => taken, (count) => count > 0)
      await connection.reset()
      // All of it would take a hundred seconds.
      assert.strictEqual((await server.reason(client.sid))._tag, "PingTimeout")
    })()
  })

  it("closed by their function accept nothing more", async () => {
    const offered: Array<boolean> = []
    await withServer({
      application: (socket) =>
        Effect.gen(function*() {
          yield* Socket.send(socket, "before")
          yield* Socket.close(socket)
          offered.push(yield* Socket.offer(socket, "after"))
          return { app: Effect.never }
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["4before", "1"])
      assert.deepStrictEqual(offered, [false])
    })()
  })

  it("a step of forEach that asks for more is told that there is none", async () => {
    const told: Array<string> = []
    await withServer({
      application: (socket) =>
        Effect.succeed({
          app: Socket.forEach(socket, () =>
            Effect.catchTag(Socket.receive(socket), "SocketClosed", () =>
              Effect.sync(() => void told.push("closed"))))
        })
    }, async (server) => {
      const client = await WebSocketClient.connect(server)
      client.send("4question")
      await client.close()
      await server.reason(client.sid)
      await eventually("the end of the step", () => told.length, (count) => count === 1)
    })()
  })

  it(
    "data that cannot be inflated is the client's mistake",
    withServer({ perMessageDeflate: true, application: idle }, async (server) => {
      const headers = { "Sec-WebSocket-Extensions": "permessage-deflate" }
      const raw = await RawWebSocket.open(server, {}, { headers })
      const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
      raw.connection.write(Buffer.from([0xc1, 0x85, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]))
      const reason = await server.reason(sid)
      assert.strictEqual(reason._tag, "TransportError")
      if (reason._tag === "TransportError") assert.include(reason.error, { _tag: "WebSocketProtocol", code: 1007 })
    })
  )
})

describe("what throws", () => {
  // As by a middleware that fails.
  const { writeHead } = ServerResponse.prototype
  beforeAll(() => {
    ServerResponse.prototype.writeHead = function(this: ServerResponse, ...args: Parameters<typeof writeHead>) {
      if (this.req.headers["x-break"] !== undefined) throw new Error("a broken response")
      return writeHead.apply(this, args)
    } as typeof writeHead
  })
  afterAll(() => {
    ServerResponse.prototype.writeHead = writeHead
  })
  const broken = { headers: { "x-break": "" } }

  /** Parks a GET, and comes back when it is there. */
  const park = async (server: TestServer, client: PollingClient, options?: RequestOptions) => {
    const response = client.get(options)
    response.catch(() => undefined)
    await server.barrier()
    return { response }
  }

  const isLogged = (server: TestServer, text: string) =>
    eventually(
      "the log",
      () => server.logs,
      (logs) => logs.some((line) => line.level === "Error" && line.text.includes(text))
    )

  it(
    "at the end of one session leaves the ends of others alone, one after the other",
    withServer({ attached: true, application: idle }, async (server) => {
      const first = await PollingClient.connect(server)
      const second = await PollingClient.connect(server)
      await park(server, first, broken)
      const parked = await park(server, second)
      const drained = server.run(EngineIO.drain({ timeout: "300 millis" }))
      assert.strictEqual((await parked.response).text, "1")
      await drained
      await server.ended.reached(2)
      await isLogged(server, "a broken response")
    })
  )

  it("at the end of one session leaves the ends of others alone, one within the other", async () => {
    const sockets: Array<Socket.Socket> = []
    await withServer({
      attached: true,
      application: (socket) =>
        Effect.sync(() => {
          sockets.push(socket)
          return {
            app: Effect.never,
            onDisconnect: () => Effect.forEach(sockets.splice(0), (other) => Socket.close(other, { discard: true }))
          }
        })
    }, async (server) => {
      await PollingClient.connect(server)
      await park(server, await PollingClient.connect(server), broken)
      const parked = await park(server, await PollingClient.connect(server))
      await server.run(Socket.close(sockets.shift()!, { discard: true }))
      assert.strictEqual((await parked.response).text, "1")
      await server.ended.reached(3)
      await isLogged(server, "a broken response")
    })()
  })

  it(
    "when one deadline is due leaves others alone",
    withServer({ attached: true, bodyTimeout: 100 }, async (server) => {
      const first = await Connection.open(server)
      const clients = await Promise.all([1, 2].map(() => PollingClient.connect(server)))
      first.send("POST", clients[0]!.url(), { body: "4", headers: { "Content-Length": "10", "x-break": "" } })
      const second = await Connection.open(server)
      second.send("POST", clients[1]!.url(), { body: "4", headers: { "Content-Length": "10" } })
      assert.strictEqual((await second.response()).status, 408)
      await server.ended.reached(2)
      await isLogged(server, "a broken response")
    })
  )

  it(
    "when one session is flushed leaves others alone",
    withServer({ application: idle, sendBuffer: { messages: 1 } }, async (server) => {
      const clients = await Promise.all([1, 2].map(() => PollingClient.connect(server)))
      const [first, second] = await Promise.all(clients.map(({ sid }) => server.socket(sid)))
      const parked = await Promise.all(clients.map((client) => client.park()))
      const waiting = Effect.sync(() =>
        Effect.runCallback(Socket.send(first!, "waits for room"), {
          onExit: () => {
            throw new Error("a broken callback")
          }
        })
      )
      await server.run(Effect.andThen(
        Effect.andThen(Socket.send(first!, "one"), waiting),
        Socket.send(second!, "two")
      ))
      const texts = await Promise.all(parked.map(async ({ response }) => (await response).text))
      assert.deepStrictEqual(texts, ["4one", "4two"])
      await isLogged(server, "a broken callback")
    })
  )
})

describe("handshakes", () => {
  // Between any two steps of a request's fiber others run, and it may be interrupted.
  const references = Layer.succeed(Scheduler.MaxOpsBeforeYield, 3)
  const webSocket = encodeRequest("GET", engineTarget({ EIO: "4", transport: "websocket" }), {
    headers: upgradeHeaders()
  })

  it(
    "that are broken off at any moment leave no session and no place taken",
    withServer({ maxSessions: 100, pingInterval: 100, pingTimeout: 100, references }, async (server) => {
      for (let i = 0; i < 300; i++) {
        const connection = await Connection.open(server)
        connection.write(i % 2 === 0 ? webSocket : encodeRequest("GET", polling))
        await new Promise((resolve) => setTimeout(resolve, (i % 7) / 3))
        await connection.reset()
      }
      // A polling session outlives its connection until its heartbeat ends.
      await eventually("an empty registry", () => server.count(), (count) => count === 0)
      const opened = await Promise.all(Array.from({ length: 100 }, () => fetchRaw(server, "GET", polling)))
      assert.deepStrictEqual(new Set(opened.map(({ status }) => status)), new Set([200]))
    })
  )

  it(
    "lose no early frame, however long they take",
    withServer({ references }, async (server) => {
      await introduce(server)
      for (let i = 0; i < 10; i++) {
        const connection = await Connection.open(server)
        connection.write(Buffer.concat([webSocket, encodeFrame(Opcode.text, "4early")]))
        await server.received.reached(i + 1)
        await connection.close()
      }
    })
  )

  it("leave the listeners of others on their connection", async () => {
    let closed = 0
    await withServer({
      application: () =>
        Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
          const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
          socket.on("close", () => closed++)
          return { app: Effect.never }
        })
    }, async (server) => {
      const client = await WebSocketClient.connect(server)
      await client.close()
      await eventually("the close", () => closed, (count) => count === 1)
    })()
  })
})

describe("sending", () => {
  it(
    "goes on when the connection has taken what there was no room for, and not at the next heartbeat",
    withServer({ application: idle, sendBuffer: { bytes: 10_000 }, pingInterval: "1 hour" }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const socket = await server.socket(client.sid)
      client.socket.pause()
      // More than the network takes, and less than what a connection would tell of when it is gone.
      while (unsentBytes(socket) === 0) {
        await server.run(Socket.send(socket, "x".repeat(8_000)))
        await turn()
      }
      assert.isFalse(await server.run(Socket.offer(socket, "x".repeat(8_000))))
      const sent = server.run(Socket.send(socket, "the last".padEnd(8_000)))
      client.socket.resume()
      await within(sent, "room")
      await client.frames.find((frame) => String(frame).startsWith("4the last"))
    })
  )

  for (const perMessageDeflate of [false, true]) {
    it(
      `is told when its session ends, not when the connection does, with ${
        perMessageDeflate ? "" : "no "
      }permessage-deflate`,
      withServer({ application: idle, perMessageDeflate, closeTimeout: "1 hour" }, async (server) => {
        const client = await WebSocketClient.connect(server, {}, { perMessageDeflate })
        client.socket.pause()
        const socket = await server.socket(client.sid)
        await server.run(Socket.send(socket, randomBytes(20_000_000)))
        const flushed = Effect.runFork(Effect.flip(Socket.flushed(socket)))
        await eventually(
          "the message on the connection",
          () => server.run(Socket.buffered(socket)),
          ({ messages }) => messages === 0
        )
        await server.run(Socket.close(socket, { discard: true }))
        const closed = await within(Effect.runPromise(Fiber.join(flushed)), "the end of the wait")
        assert.strictEqual(closed.reason._tag, "ForcedClose")
        client.socket.terminate()
      })
    )
  }

  it("is told when the connection dies while what was sent is compressed", async () => {
    await withServer({ perMessageDeflate: true, application: idle, sendBuffer: { bytes: 1e9 } }, async (server) => {
      const client = await WebSocketClient.connect(server, {}, { perMessageDeflate: true })
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, randomBytes(20_000_000)))
      const flushed = Effect.runFork(Effect.exit(Socket.flushed(socket)))
      await pause(5)
      client.socket.terminate()
      const exit = await within(Effect.runPromise(Fiber.join(flushed)), "the end of the wait")
      assert.isTrue(Exit.isFailure(exit))
    })()
  })
})

describe("hooks that never decide", () => {
  for (
    const [name, hook] of [
      ["cors", { cors: () => Effect.never }],
      ["responseHeaders", { responseHeaders: () => Effect.never }]
    ] as const
  ) {
    it(
      `${name} has handshakeTimeout`,
      withServer({ ...hook, handshakeTimeout: 50 }, async (server) => {
        const refused = await fetchRaw(server, "GET", polling)
        assert.deepStrictEqual([refused.status, refused.text], [503, "{\"code\":3,\"message\":\"Handshake timeout\"}"])
        assert.strictEqual((await refusedUpgrade(server, {})).response.text, "Handshake timeout")
        assert.strictEqual(await server.count(), 0)
      })
    )
  }

  it(
    "responseHeaders has it on every poll",
    withServer({
      handshakeTimeout: 50,
      responseHeaders: ({ initial }) => initial ? Effect.succeed({}) : Effect.never
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.get()).text, "{\"code\":3,\"message\":\"Handshake timeout\"}")
      assert.strictEqual(await server.count(), 1)
    })
  )
})

describe("middlewares of the router", () => {
  it("may read the body of a POST", async () => {
    const reading = HttpRouter.middleware((handler) =>
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        if (request.method === "POST") yield* Effect.orDie(request.text)
        return yield* handler
      }), { global: true })
    await withServer({ routes: () => reading }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4hello")).text, "ok")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
    })()
  })
})

describe("servers that come and go", () => {
  // With `cors` each request has a fiber, which ends with the attachment.
  it.each([{}, { cors: true }])("whose attachment ends have their sessions ended: %o", async (options) => {
    const server = createServer()
    const mounted = await Mounted.make(options)
    const scope = Scope.makeUnsafe()
    const reasons: Array<string> = []
    const app = () =>
      Effect.succeed({
        app: Effect.never,
        onDisconnect: ({ _tag }: { readonly _tag: string }) => Effect.sync(() => void reasons.push(_tag))
      })
    await mounted.run(Scope.provide(EngineIO.attach(server, app), scope))
    await listening(server, async (target) => {
      const parked = await (await PollingClient.connect(target)).park()
      const webSocket = await WebSocketClient.connect(target)
      await PollingClient.connect(target)
      await Effect.runPromise(Scope.close(scope, Exit.void))
      assert.strictEqual((await parked.response).text, "1")
      assert.strictEqual((await webSocket.closed).code, 1005)
      await eventually("three ends", () => reasons, ({ length }) => length === 3)
      assert.deepStrictEqual(new Set(reasons), new Set(["ServerShutdown"]))
      assert.strictEqual(await mounted.count(), 0)
    })
    await mounted.release()
  })

  for (const how of ["an attachment that ends leaves", "listeners that end leave"]) {
    for (const what of ["is being decided", "waits for an answer before it"]) {
      it(`R21: ${how} no connection of an upgrade that ${what}, whose client reads nothing`, async () => {
        const server = createServer()
        const mounted = await Mounted.make()
        const scope = Scope.makeUnsafe()
        const app = () => Effect.as(Effect.never, { app: Effect.never })
        if (how.startsWith("an attachment")) await mounted.run(Scope.provide(EngineIO.attach(server, app), scope))
        else {
          const handlers = await mounted.run(Scope.provide(EngineIO.toNodeHandlers(app), scope))
          server.on("request", handlers.handleRequest).on("upgrade", handlers.handleUpgrade)
        }
        await listening(server, async (target) => {
          const connected = once(server, "connection") as Promise<[TcpSocket]>
          const connection = await Connection.open(target)
          const [socket] = await connected
          const closed = once(socket, "close")
          connection.socket.pause()
          if (what !== "is being decided") connection.send("GET", polling)
          const url = engineTarget({ EIO: "4", transport: "websocket" })
          connection.send("GET", url, { headers: upgradeHeaders() })
          await target.settled(url)
          await Effect.runPromise(Scope.close(scope, Exit.void))
          await within(closed, "the end of the connection")
        })
        await mounted.release()
      })
    }
  }

  it("one that listens again keeps its new sessions, whatever the old clients do", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { engine: { drainTimeout: "200 millis" } })
    await listening(server, async (target) => {
      // It never answers the close it gets.
      await RawWebSocket.open(target)
      const closed = new Promise((resolve) => server.close(resolve))
      await new Promise<void>((resolve) => server.listen(target.port, "127.0.0.1", resolve))
      const client = await PollingClient.connect(target)
      await pause(400)
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      await mounted.release()
      void closed
    })
  })

  it("a new one on an engine whose last one has stopped is served", async () => {
    const mounted = await Mounted.make()
    for (let round = 0; round < 2; round++) {
      const server = createServer()
      const scope = Scope.makeUnsafe()
      const app = () => Effect.succeed({ app: Effect.never })
      await mounted.run(Scope.provide(EngineIO.attach(server, app), scope))
      await listening(server, async (target) => {
        assert.strictEqual((await fetchRaw(target, "GET", polling)).status, 200)
      })
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
    await mounted.release()
  })

  it("one whose engines are replaced for ever, the new before the old, keeps one close", async () => {
    const server = createServer()
    const { close } = server
    let mounted = await Mounted.attach(server)
    const wrapped = server.close
    for (let i = 0; i < 20; i++) {
      const next = await Mounted.attach(server)
      await mounted.release()
      mounted = next
    }
    assert.strictEqual(server.close, wrapped)
    await mounted.release()
    assert.strictEqual(server.close, close)
  })

  it("one with two mounts of an engine is watched until both are gone", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server)
    const scope = Scope.makeUnsafe()
    const app = () => Effect.succeed({ app: Effect.never })
    await mounted.run(Scope.provide(EngineIO.attach(server, app, { path: "/other" }), scope))
    await listening(server, async (target) => {
      const client = await PollingClient.connect(target)
      await Effect.runPromise(Scope.close(scope, Exit.void))
      const parked = await client.park()
      server.close()
      assert.strictEqual((await parked.response).text, "1")
    })
    await mounted.release()
  })

  it("the end of the engine cuts who was given up meanwhile and does not answer", async () => {
    const server = createServer()
    const engine = { closeTimeout: "1 hour", drainTimeout: "600 millis", pingInterval: 50, pingTimeout: 150 } as const
    const mounted = await Mounted.attach(server, {
      engine,
      application: (socket) =>
        Effect.succeed({
          app: Effect.andThen(Effect.ignore(Socket.send(socket, randomBytes(20_000_000))), Effect.never)
        })
    })
    await listening(server, async (target) => {
      const raw = await RawWebSocket.open(target)
      // What was sent waits, so that there is no orderly close before its heartbeat fails.
      raw.connection.socket.pause()
      await mounted.release()
      assert.deepStrictEqual(mounted.ended.all.map(({ _tag }) => _tag), ["ServerShutdown"])
      raw.connection.socket.resume()
      await within(raw.closed, "the end of the connection")
    })
  })

  const hanging = Effect.uninterruptible(Effect.never)
  for (
    const [what, app] of [
      ["an application", { app: hanging }],
      ["a finalizer", { app: Effect.andThen(Effect.addFinalizer(() => hanging), Effect.never) }],
      ["onDisconnect", { app: Effect.never, onDisconnect: () => hanging }]
    ] as const
  ) {
    it(`${what} that cannot be interrupted holds their end up no longer than drainTimeout, and is warned of`, async () => {
      const server = await TestServer.start({
        drainTimeout: "300 millis",
        application: () => Effect.succeed(app)
      })
      const hung = await WebSocketClient.connect(server)
      await hung.close()
      const { sid } = await WebSocketClient.connect(server)
      await server.release()
      const warned = server.logs.filter(({ level }) => level === "Warn").map(({ annotations }) =>
        annotations?.["session"]
      )
      assert.deepStrictEqual(warned, [hung.sid, sid].map((id) => `${id.slice(0, 6)}…`))
      await server.stop()
    })
  }

  it("what a session does at its end has the last tenth of drainTimeout, also where it was cut", async () => {
    const done: Array<string> = []
    const server = await TestServer.start({
      drainTimeout: "2 seconds",
      closeTimeout: "1 hour",
      application: (socket) =>
        Effect.succeed({
          app: Effect.andThen(Effect.ignore(Socket.send(socket, randomBytes(20_000_000))), Effect.never),
          onDisconnect: ({ _tag }) => Effect.andThen(Effect.sleep("20 millis"), Effect.sync(() => void done.push(_tag)))
        })
    })
    const client = await WebSocketClient.connect(server)
    client.socket.pause()
    await server.release()
    assert.deepStrictEqual(done, ["ServerShutdown"])
    client.socket.terminate()
  })

  it("the end of the engine cuts who does not answer their close, after drainTimeout", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { engine: { closeTimeout: "1 hour", drainTimeout: "100 millis" } })
    await listening(server, async (target) => {
      const raw = await RawWebSocket.open(target)
      await mounted.release()
      await within(raw.closed, "the end of the connection")
    })
  })
})
