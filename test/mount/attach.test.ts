import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import express from "express"
import Fastify from "fastify"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { Socket as NetSocket } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { eventually, pause, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { listeners } from "../kit/leaks.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { portOf, type Target, withServer } from "../kit/server.ts"
import { refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

/** Text and bytes come back over each transport, with the real client. */
const echoes = async (target: Target): Promise<void> => {
  for (const mode of modes) {
    const client = await EngineClient.connect(target, mode)
    assert.strictEqual(await client.exchange("hello€"), "hello€", mode)
    assert.deepStrictEqual(await client.exchange(Uint8Array.of(1, 2, 3)), Buffer.from([1, 2, 3]), mode)
    await client.close()
  }
}

/** An Express application that writes down what it is asked, and parses every body it gets. */
const makeExpress = () => {
  const seen: Array<string> = []
  const app = express()
  app.use((request, _response, next) => {
    seen.push(request.url)
    next()
  })
  app.use(express.json(), express.text({ type: "*/*" }))
  app.get("/hello", (_request, response) => void response.send("from express"))
  return { app, seen }
}

/** Sends a request to upgrade to `protocol`, somewhere. */
const knock = async (target: Target, path: string, protocol = "websocket"): Promise<Connection> => {
  const connection = await Connection.open(target)
  connection.send("GET", path, { headers: upgradeHeaders({ Upgrade: protocol }) })
  return connection
}

describe("next to Express", () => {
  it("attach: every transport works, and Express serves the rest and sees nothing of ours", async () => {
    const { app, seen } = makeExpress()
    const server = createServer(app)
    const mounted = await Mounted.attach(server)
    await listening(server, async (target) => {
      await echoes(target)
      assert.deepStrictEqual(seen, [])
      assert.strictEqual((await fetchRaw(target, "GET", "/hello")).text, "from express")
      assert.strictEqual((await fetchRaw(target, "GET", "/nothing")).status, 404)
      assert.deepStrictEqual(seen, ["/hello", "/nothing"])
      await mounted.release()
    })
  })

  it("toNodeHandlers: as a route of the application", async () => {
    const mounted = await Mounted.make()
    const { handleRequest, handleUpgrade } = await mounted.handlers()
    const app = express()
    app.use("/engine.io", (request, response) => handleRequest(request, response))
    app.get("/hello", (_request, response) => void response.send("from express"))
    const server = createServer(app)
    server.on("upgrade", handleUpgrade)
    await listening(server, async (target) => {
      await echoes(target)
      assert.strictEqual((await fetchRaw(target, "GET", "/hello")).text, "from express")
      await mounted.release()
    })
  })
})

describe("next to Fastify", () => {
  it("attach: every transport works, and Fastify serves the rest", async () => {
    const app = Fastify({ forceCloseConnections: true })
    app.get("/hello", () => "from fastify")
    const mounted = await Mounted.attach(app.server)
    await app.ready()
    await listening(app.server, async (target) => {
      await echoes(target)
      assert.strictEqual((await fetchRaw(target, "GET", "/hello")).text, "from fastify")
      assert.strictEqual((await fetchRaw(target, "GET", "/nothing")).status, 404)
      await mounted.release()
    })
  })

  it("toNodeHandlers: as a route of the application, where its body parsers are off", async () => {
    const mounted = await Mounted.make()
    const { handleRequest, handleUpgrade } = await mounted.handlers()
    const app = Fastify({ forceCloseConnections: true })
    app.get("/hello", () => "from fastify")
    await app.register((routes, _options, done) => {
      routes.removeAllContentTypeParsers()
      routes.addContentTypeParser("*", (_request, _payload, parsed) => parsed(null))
      routes.all("/engine.io/", (request, reply) => {
        reply.hijack()
        handleRequest(request.raw, reply.raw)
      })
      done()
    })
    app.server.on("upgrade", handleUpgrade)
    await app.ready()
    await listening(app.server, async (target) => {
      await echoes(target)
      assert.strictEqual((await fetchRaw(target, "GET", "/hello")).text, "from fastify")
      await mounted.release()
    })
  })
})

describe("the path", () => {
  /** Which targets are ours, of an engine with these options. */
  const ours = async (options: EngineIO.AttachOptions, targets: ReadonlyArray<string>) => {
    const server = createServer((_request, response) => void response.end("theirs"))
    const mounted = await Mounted.attach(server, options)
    const answers: Array<boolean> = []
    await listening(server, async (target) => {
      for (const path of targets) {
        const { text } = await fetchRaw(target, "GET", `${path}?EIO=4&transport=polling`)
        answers.push(text.startsWith("0{"))
      }
      await mounted.release()
    })
    return targets.filter((_target, index) => answers[index])
  }

  it("R1: by default /engine.io/ and what is below it", async () => {
    const targets = [
      "/engine.io/",
      "/engine.io/below",
      "/engine.io",
      "/engine.iox/",
      "/Engine.io/",
      "/x/engine.io/",
      "/"
    ]
    assert.deepStrictEqual(await ours({}, targets), ["/engine.io/", "/engine.io/below"])
  })

  it("R1: without a trailing slash on a boundary between segments alone", async () => {
    const targets = ["/engine.io", "/engine.io/", "/engine.io/below", "/engine.iox", "/engine.io.js"]
    assert.deepStrictEqual(await ours({ addTrailingSlash: false }, targets), targets.slice(0, 3))
  })

  it("R1: another path, with or without its slash, and the root", async () => {
    for (const path of ["/chat/v1", "/chat/v1/"]) {
      assert.deepStrictEqual(await ours({ path }, ["/chat/v1/", "/chat/", "/engine.io/"]), ["/chat/v1/"])
    }
    assert.deepStrictEqual(await ours({ path: "/" }, ["/", "/anything/"]), ["/", "/anything/"])
  })

  it("R3: no target of a request can make the server fail", async () => {
    const server = createServer((_request, response) => void response.end("theirs"))
    const mounted = await Mounted.attach(server, { path: "/" })
    await listening(server, async (target) => {
      for (const path of ["//", "//host:99999/", "/%", "/?%", "/engine.io/?sid=%ff&transport=%", "http://[::1/"]) {
        assert.isAtLeast((await fetchRaw(target, "GET", path)).status, 200)
        const connection = await knock(target, path)
        await connection.outcome()
        await connection.close()
      }
      assert.strictEqual((await fetchRaw(target, "GET", polling)).status, 200)
      await mounted.release()
    })
  })

  it("R2: other listeners never answer our requests, whether added before or after", async () => {
    const seen: Array<string> = []
    const note = (who: string) => (request: IncomingMessage, response: ServerResponse) => {
      seen.push(`${who} ${request.url}`)
      if (!response.headersSent) response.end("theirs")
    }
    const server = createServer()
    server.on("request", note("before"))
    const mounted = await Mounted.attach(server)
    server.on("request", note("after"))
    await listening(server, async (target) => {
      const client = await PollingClient.connect(target)
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      assert.deepStrictEqual(seen, [])
      await fetchRaw(target, "GET", "/other")
      assert.deepStrictEqual(seen, ["before /other", "after /other"])
      await mounted.release()
    })
  })

  it("R2: another WebSocket server on the same server has its own path", async () => {
    const server = createServer()
    const before = new WebSocketServer({ server, path: "/before" })
    before.on("connection", (it) => void it.send("before"))
    const mounted = await Mounted.attach(server)
    // This one refuses whatever is not its own, as soon as it sees it.
    await listening(server, async (target) => {
      const client = await WebSocketClient.connect(target)
      client.send("4hello")
      assert.strictEqual(await client.next(), "4hello")
      const other = await WebSocketClient.open(target, {}, { path: "/before" })
      assert.strictEqual(await other.next(), "before")
      await mounted.release()
    })
    before.close()
  })

  for (const attached of [true, false]) {
    it(
      `R10: an expectation to continue is met, ${attached ? "attached" : "on a router"}`,
      withServer({ attached }, async (server) => {
        const client = await PollingClient.connect(server)
        const connection = await Connection.open(server)
        connection.send("POST", client.url(), { headers: { Expect: "100-continue", "Content-Length": "6" } })
        assert.strictEqual((await connection.response()).status, 100)
        connection.write("4hello")
        assert.strictEqual((await connection.response()).text, "ok")
        assert.deepStrictEqual(await client.poll(), ["4hello"])
      })
    )
  }
})

describe("upgrades that are nobody's", () => {
  it("R25: are closed after destroyUpgradeTimeout", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 100 })
    await listening(server, async (target) => {
      for (const [path, protocol] of [["/other", "websocket"], ["/other", "IRC/6.9"], ["/", "h2c"]] as const) {
        const started = performance.now()
        const connection = await knock(target, path, protocol)
        await within(connection.closed, "the end of the connection")
        assert.isAtLeast(performance.now() - started, 90)
        assert.lengthOf(connection.responses.all, 0)
      }
      await mounted.release()
    })
  })

  it("R25: by default after a second", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server)
    await listening(server, async (target) => {
      const started = performance.now()
      await within((await knock(target, "/other")).closed, "the end of the connection")
      assert.isAtLeast(performance.now() - started, 950)
      await mounted.release()
    })
  })

  it("R25: are left alone where destroyUpgrade is off, or where somebody answers", async () => {
    const server = createServer()
    const quiet = await Mounted.attach(server, { destroyUpgrade: false, path: "/quiet" })
    await listening(server, async (target) => {
      const unanswered = await knock(target, "/other")
      await pause(300)
      assert.isFalse(unanswered.socket.destroyed)
      await unanswered.close()
      await quiet.release()

      const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 50 })
      server.on("upgrade", (request, socket) => {
        if (request.url === "/answered") socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n")
      })
      const answered = await knock(target, "/answered")
      assert.strictEqual((await answered.response()).status, 101)
      await pause(300)
      assert.isFalse(answered.socket.destroyed)
      await mounted.release()
    })
  })

  it("R25: another library's WebSocket is its own, however it was mounted and however long it says nothing", async () => {
    const server = createServer((_request, response) => void response.end("theirs"))
    const webSockets = new WebSocketServer({ noServer: true })
    webSockets.on("connection", (it) => it.on("message", (data) => it.send(String(data))))
    const accept = (path: string) => (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (request.url?.startsWith(path) !== true) return
      webSockets.handleUpgrade(request, socket, head, (it) => void webSockets.emit("connection", it))
    }
    server.on("upgrade", accept("/before"))
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 50 })
    server.on("upgrade", accept("/after"))
    server.prependListener("upgrade", accept("/first"))
    await listening(server, async (target) => {
      const clients: Array<WebSocketClient> = []
      for (const path of ["/before", "/after", "/first"]) clients.push(await WebSocketClient.open(target, {}, { path }))
      const unanswered = await knock(target, "/other")
      await within(unanswered.closed, "the end of the unanswered one")
      await pause(100)
      for (const client of clients) {
        client.send("hello")
        assert.strictEqual(await client.next(), "hello")
      }
      await mounted.release()
    })
  })

  it("R25: an answer to the request before is none, and a client that keeps its half is closed as well", async () => {
    const server = createServer((request, response) => {
      if (request.url === "/slow") setTimeout(() => response.end("slow"), 50)
      else response.end("theirs")
    })
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 50 })
    await listening(server, async (target) => {
      const connection = new NetSocket({ allowHalfOpen: true }).connect(target.port, "127.0.0.1")
      const upgrade = encodeRequest("GET", "/other", { headers: upgradeHeaders() })
      connection.write(Buffer.concat([encodeRequest("GET", "/slow"), upgrade]))
      connection.resume()
      await within(new Promise((resolve) => connection.once("end", resolve)), "the end of the connection")
      const count = () => new Promise<number>((resolve) => server.getConnections((_error, open) => resolve(open)))
      await eventually("no connection", count, (open) => open === 0)
      connection.destroy()
      await mounted.release()
    })
  })

  it("R25: are closed in time where the engine leaves meanwhile", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 100 })
    await listening(server, async (target) => {
      const connection = await knock(target, "/other")
      await pause(20)
      await mounted.release()
      await within(connection.closed, "the end of the connection")
    })
  })

  it("where destroyUpgrade is off, a reset harms nothing", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { destroyUpgrade: false })
    await listening(server, async (target) => {
      const connection = await knock(target, "/other")
      await pause(20)
      await connection.reset()
      await pause(20)
      assert.strictEqual((await fetchRaw(target, "GET", polling)).status, 200)
      await mounted.release()
    })
  })

  it("CVE-2022-41940: a reset before or after that time harms nothing", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { destroyUpgradeTimeout: 100 })
    await listening(server, async (target) => {
      for (const protocol of ["websocket", "IRC/6.9", "h2c"]) {
        await (await knock(target, "/other", protocol)).reset()
        const late = await knock(target, "/other", protocol)
        await pause(110)
        await late.reset()
      }
      await pause(150)
      assert.strictEqual((await fetchRaw(target, "GET", polling)).status, 200)
      await mounted.release()
    })
  })

  it("R25: without WebSocket no upgrade is listened for", async () => {
    const server = createServer((_request, response) => void response.end("theirs"))
    const mounted = await Mounted.attach(server, { engine: { transports: ["polling"] } })
    assert.strictEqual(server.listenerCount("upgrade"), 0)
    await listening(server, async (target) => {
      const connection = await knock(target, "/other")
      assert.strictEqual((await connection.response()).text, "theirs")
      await mounted.release()
    })
  })
})

describe("several engines", () => {
  it("on different paths of one server: each has its sessions and its options", async () => {
    const server = createServer()
    const chat = await Mounted.attach(server, { path: "/chat", engine: { maxPayload: 1_000 } })
    const admin = await Mounted.attach(server, { path: "/admin", engine: { maxPayload: 2_000 } })
    await listening(server, async (target) => {
      const one = await PollingClient.connect(target, { path: "/chat/" })
      const two = await PollingClient.connect(target, { path: "/admin/" })
      assert.deepStrictEqual([one.open.maxPayload, two.open.maxPayload], [1_000, 2_000])
      assert.deepStrictEqual([await chat.count(), await admin.count()], [1, 1])
      const crossed = await fetchRaw(target, "GET", one.url().replace("/chat/", "/admin/"))
      assert.strictEqual(crossed.text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
      for (const path of ["/chat/", "/admin/"]) {
        const webSocket = await WebSocketClient.connect(target, {}, { path })
        webSocket.send("4hello")
        assert.strictEqual(await webSocket.next(), "4hello")
      }
      await chat.release()
      await admin.release()
    })
  })

  it("R25: one does not close the upgrades that another is still deciding", async () => {
    const server = createServer()
    const hasty = await Mounted.attach(server, { path: "/hasty", destroyUpgradeTimeout: 20 })
    const slow = await Mounted.attach(server, {
      path: "/slow",
      destroyUpgradeTimeout: 20,
      engine: { allowRequest: () => Effect.sleep(200) }
    })
    await listening(server, async (target) => {
      const client = await WebSocketClient.connect(target, {}, { path: "/slow/" })
      client.send("4hello")
      assert.strictEqual(await client.next(), "4hello")
      await hasty.release()
      await slow.release()
    })
  })

  it("released in any order, each gives its path back and leaves the other's alone", async () => {
    for (const order of [[0, 1], [1, 0]] as const) {
      const server = createServer((_request, response) => void response.end("theirs"))
      const before = listeners(server)
      const engines = [
        await Mounted.attach(server, { path: "/a" }),
        await Mounted.attach(server, { path: "/b" })
      ] as const
      const paths = ["/a/", "/b/"] as const
      await listening(server, async (target) => {
        const [first, second] = order
        await engines[first].release()
        assert.strictEqual((await fetchRaw(target, "GET", paths[first])).text, "theirs")
        const client = await PollingClient.connect(target, { path: paths[second] })
        assert.strictEqual((await client.post("4hello")).text, "ok")
        await engines[second].release()
        assert.strictEqual((await fetchRaw(target, "GET", paths[second])).text, "theirs")
      })
      const after = listeners(server)
      assert.deepStrictEqual([after["upgrade"], after["request"]], [before["upgrade"], before["request"]])
    }
  })

  it("one engine may carry two paths; a session belongs to the one that opened it", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, { path: "/public" })
    await mounted.run(EngineIO.attach(server, () => Effect.succeed({ app: Effect.never }), { path: "/admin" }))
    await listening(server, async (target) => {
      const client = await PollingClient.connect(target, { path: "/public/" })
      const crossed = await fetchRaw(target, "GET", client.url().replace("/public/", "/admin/"))
      assert.strictEqual(crossed.text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
      assert.strictEqual(await mounted.count(), 1)
      await mounted.release()
    })
  })
})

describe("the server's end", () => {
  const stop = (server: Server) => within(new Promise((resolve) => server.close(resolve)), "the end of the server")
  const listen = (server: Server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))

  it("R-C9: a server that carries the engine no more is not waited for", async () => {
    const [first, second] = [createServer(), createServer()]
    const mounted = await Mounted.attach(second)
    const scope = Scope.makeUnsafe()
    await mounted.run(Scope.provide(EngineIO.attach(first, () => Effect.succeed({ app: Effect.never })), scope))
    await listening(first, async () => {
      await listening(second, async (target) => {
        const client = await PollingClient.connect(target)
        await Effect.runPromise(Scope.close(scope, Exit.void))
        const parked = await client.park()
        second.close()
        assert.strictEqual((await parked.response).text, "1")
        const [reason] = await mounted.ended.take(1)
        assert.strictEqual(reason?._tag, "ServerShutdown")
      })
    })
    await mounted.release()
  })

  it("R-C9: when it stops listening every session ends; when it listens again it is served again", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server)
    for (let round = 1; round <= 3; round++) {
      await listen(server)
      const target: Target = {
        port: portOf(server),
        settled: () => pause(50),
        connections: new Set(),
        webSockets: new Set(),
        clients: new Set()
      }
      const client = await PollingClient.connect(target)
      const parked = await client.park()
      const webSocket = await WebSocketClient.connect(target)
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
      const stopped = stop(server)
      assert.strictEqual((await parked.response).text, "1")
      assert.strictEqual((await webSocket.closed).code, 1005)
      await stopped
      const reasons = (await mounted.ended.reached(2 * round)).slice(-2)
      assert.deepStrictEqual(reasons.map((it) => it._tag), ["ServerShutdown", "ServerShutdown"])
      assert.deepStrictEqual(reasons.map(CloseReason.message), ["forced close", "forced close"])
      assert.strictEqual(await mounted.count(), 0)
    }
    await mounted.release()
  })

  it("R-C9: what was accepted is delivered to who can still take it, and the rest is reported", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, {
      application: (socket) =>
        Effect.succeed({ app: Effect.ignore(Effect.andThen(Socket.send(socket, "last words"), Effect.never)) })
    })
    await listening(server, async (target) => {
      const between = await PollingClient.connect(target)
      const webSocket = await WebSocketClient.connect(target)
      assert.strictEqual(await webSocket.next(), "4last words")
      const socket = [...(await mounted.run(EngineIO.sockets)).values()].find((it) => it.id === webSocket.sid)!
      await mounted.run(Effect.ignore(Socket.send(socket, "very last")))
      const stopped = stop(server)
      assert.strictEqual(await webSocket.next(), "4very last")
      const reasons = await mounted.ended.reached(2)
      assert.deepStrictEqual(reasons.map((it) => it._tag === "ServerShutdown" ? it.undelivered : -1).sort(), [0, 1])
      assert.isString(between.sid)
      await stopped
      await mounted.release()
      await listen(server)
    })
  })

  it("when the engine is released and the server goes on, its path is others' again", async () => {
    const server = createServer((_request, response) => void response.end("theirs"))
    const mounted = await Mounted.attach(server)
    await listening(server, async (target) => {
      const client = await PollingClient.connect(target)
      const parked = await client.park()
      const candidate = await WebSocketClient.open(target, { sid: client.sid })
      await mounted.release()
      assert.strictEqual((await parked.response).status, 200)
      await within(candidate.closed, "the end of the candidate")
      assert.strictEqual((await fetchRaw(target, "GET", polling)).text, "theirs")
    })
  })

  it("R21: a refused upgrade is written raw here too", async () => {
    const server = createServer()
    const mounted = await Mounted.attach(server, {
      application: () => Effect.fail(new EngineIO.Forbidden({ message: "members only" }))
    })
    await listening(server, async (target) => {
      const { raw } = await refusedUpgrade(target, {})
      assert.strictEqual(
        raw,
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 12\r\n\r\nmembers only"
      )
      await mounted.release()
    })
  })
})
