/**
 * What an engine leaves of the servers of its process: those that do not carry it as they are, and the others, when it
 * leaves, as they were.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { createServer, type Server } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { EngineIO } from "../../src/index.ts"
import { eventually } from "../kit/events.ts"
import { Connection, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { listeners } from "../kit/leaks.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { type Target, unwatched, withServer } from "../kit/server.ts"
import { upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const theirs = () => createServer((_request, response) => void response.end("theirs"))

/** All that can be changed about a server. */
const state = (server: Server) => ({
  ...listeners(server),
  methods: ["emit", "close", "on", "listen"].filter((name) => Object.hasOwn(server, name))
})

const knock = async (target: Target): Promise<Connection> => {
  const connection = await Connection.open(target)
  connection.send("GET", engineTarget({ EIO: "4", transport: "websocket" }), { headers: upgradeHeaders() })
  return connection
}

/** A request to upgrade is a plain one for a server that accepts none, and its connection is Node's to look after. */
const acceptsNoUpgrade = async (target: Target): Promise<void> => {
  const answered = await knock(target)
  assert.strictEqual((await answered.response()).text, "theirs")
  await (await knock(target)).reset()
  await answered.reset()
  assert.strictEqual((await fetchRaw(target, "GET", "/")).text, "theirs")
}

/** A WebSocket server of another library comes, is used, and goes. */
const comesAndGoes = async (server: Server, target: Target): Promise<void> => {
  const webSockets = new WebSocketServer({ server })
  webSockets.on("connection", (webSocket) => webSocket.send("welcome"))
  const client = await WebSocketClient.open(target)
  assert.strictEqual(await client.next(), "welcome")
  client.socket.terminate()
  await new Promise((resolve) => webSockets.close(resolve))
}

describe("a server that does not carry the engine", () => {
  for (const attached of [true, false]) {
    it(
      `is as it is without one, before, under and after another library's WebSockets; the engine ${
        attached ? "attached elsewhere" : "on a router"
      }`,
      withServer({ attached }, async (engine) => {
        const server = theirs()
        await listening(server, async (target) => {
          const before = state(server)
          await PollingClient.connect(engine)
          await acceptsNoUpgrade(target)
          await comesAndGoes(server, target)
          assert.deepStrictEqual(state(server), before)
          await acceptsNoUpgrade(target)
          assert.deepStrictEqual(state(server), before)
        })
      })
    )
  }
})

describe("a server that carries the engine", () => {
  it("attached: is as it was when the last mount is gone, and takes no upgrade any more", async () => {
    const server = theirs()
    const before = state(server)
    const engines = [await Mounted.attach(server, { path: "/a" }), await Mounted.attach(server, { path: "/b" })]
    await listening(server, async (target) => {
      const listened = listeners(server)["connection"] ?? 0
      for (const path of ["/a/", "/b/"]) {
        await PollingClient.connect(target, { path })
        const client = await WebSocketClient.connect(target, {}, { path })
        client.send("4hello")
        assert.strictEqual(await client.next(), "4hello")
      }
      for (const engine of engines) await engine.release()
      assert.deepStrictEqual<object>(state(server), { ...before, connection: listened })
      await acceptsNoUpgrade(target)
      await comesAndGoes(server, target)
      await acceptsNoUpgrade(target)
    })
  })

  it("attached: loses nothing that others have wrapped since, and can be mounted again", async () => {
    const server = theirs()
    for (let round = 0; round < 3; round++) {
      const mounted = await Mounted.attach(server)
      const { emit } = server
      let seen = 0
      server.emit = function(this: Server, ...args: Parameters<typeof emit>) {
        seen++
        return emit.apply(this, args)
      } as typeof emit
      await listening(server, async (target) => {
        const client = await WebSocketClient.connect(target)
        client.send("4hello")
        assert.strictEqual(await client.next(), "4hello")
        await mounted.release()
        await acceptsNoUpgrade(target)
        assert.isAbove(seen, 0)
      })
    }
  })

  it("on a router: is as it was when the router leaves, though the engine and the server go on", async () => {
    const http = createServer()
    const program = Effect.gen(function*() {
      const server = yield* NodeHttpServer.make(() => http, {
        port: 0,
        host: "127.0.0.1",
        disablePreemptiveShutdown: true
      })
      const { address } = server
      const target = unwatched("port" in address ? address.port : 0)
      for (let round = 0; round < 2; round++) {
        const before = state(http)
        const serving = yield* Scope.make()
        yield* Scope.provide(server.serve(EngineIO.handler(() => Effect.succeed({ app: Effect.never }))), serving)
        yield* Effect.promise(async () => {
          await PollingClient.connect(target)
          await WebSocketClient.connect(target).then((client) => client.close())
        })
        yield* Scope.close(serving, Exit.void)
        assert.deepStrictEqual(state(http), before)
      }
      const onRequest = (_request: unknown, response: { readonly end: (text: string) => void }) =>
        response.end("theirs")
      http.on("request", onRequest)
      yield* Effect.promise(async () => {
        await acceptsNoUpgrade(target)
        await comesAndGoes(http, target)
        await acceptsNoUpgrade(target)
        for (const connection of target.connections) connection.socket.destroy()
      })
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIO.layer())))
  })

  it("has one listener of all its engines, only while others accept upgrades", async () => {
    const engines = await Promise.all(Array.from({ length: 12 }, () => Mounted.make()))
    const server = createServer().setMaxListeners(20)
    const onUpgrade = () => undefined
    const ours = () => [server.listenerCount("upgrade"), server.listenerCount("removeListener")]
    for (const [index, engine] of engines.entries()) {
      const { handleRequest } = await engine.handlers()
      server.on("request", (request, response) => {
        if (request.url?.startsWith(`/${index}/`) === true) handleRequest(request, response)
      })
    }
    await listening(server, async (target) => {
      await PollingClient.connect(target, { path: "/0/" })
      assert.deepStrictEqual(ours(), [0, 1])
      server.on("upgrade", onUpgrade)
      for (const index of engines.keys()) await PollingClient.connect(target, { path: `/${index}/` })
      assert.deepStrictEqual(ours(), [2, 1])
      server.off("upgrade", onUpgrade)
      assert.deepStrictEqual(ours(), [0, 1])
      server.prependListener("upgrade", onUpgrade)
      assert.deepStrictEqual(ours(), [2, 1])
      for (const engine of engines.slice(1)) await engine.release()
      assert.deepStrictEqual(ours(), [2, 1])
      await engines[0]!.release()
      assert.deepStrictEqual(ours(), [1, 0])
    })
  })
})

describe("a connection that was upgraded", () => {
  for (const attached of [true, false]) {
    it(
      `keeps the listeners of others, and none of Effect's; ${attached ? "attached" : "on a router"}`,
      withServer({ attached }, async (server) => {
        const ends: Array<string> = []
        const sockets: Array<Duplex> = []
        const listen = (who: string) => (socket: Duplex) => {
          sockets.push(socket)
          socket.on("close", () => ends.push(who))
        }
        server.http.on("connection", listen("a listener for connections"))
        // Where the engine is attached, others are not told of its upgrades.
        server.http.on("upgrade", (_request, socket) => listen("a listener for upgrades")(socket))
        await PollingClient.connect(server)
        const client = await WebSocketClient.connect(server)
        client.send("4hello")
        assert.strictEqual(await client.next(), "4hello")
        const socket = sockets.at(-1)!
        const text = (listener: unknown) => String(listener).replace(/\s/g, "")
        assert.notInclude(socket.listeners("close").map(text).join(), "ClientAbort")
        assert.notInclude(socket.listeners("error").map(text), "()=>{}")
        await client.close()
        const told = attached
          ? ["a listener for connections"]
          : ["a listener for connections", "a listener for upgrades"]
        await eventually("the close", () => told.every((who) => ends.includes(who)), (all) => all)
      })
    )
  }
})
