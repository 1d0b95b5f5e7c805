/**
 * Members that know each other by their addresses, from a list or from DNS: real servers in one process, on real sockets.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { HttpRouter } from "effect/http"
import { createServer } from "node:http"
import { type AddressInfo, createServer as createNetServer } from "node:net"
import { afterEach, assert, describe, it } from "vitest"
import { membersAt } from "../../src/internal/node/listedMembers.ts"
import type { Members } from "../../src/internal/node/memberSockets.ts"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, within } from "../kit/events.ts"
import { Connection } from "../kit/http.ts"
import { portOf, type Target, unwatched } from "../kit/server.ts"
import { certificate } from "../kit/tls.ts"
import { WebSocketClient } from "../kit/ws.ts"
import { open } from "./requests.ts"

const shared = { secret: "secret", listen: { host: "127.0.0.1", port: 0 } }

/** Ports that are free, each for a member that others have to know before it listens. */
const freePorts = async (count: number): Promise<ReadonlyArray<number>> => {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createNetServer>>((resolve) => {
        const server = createNetServer().listen(0, "127.0.0.1", () => resolve(server))
      }))
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  for (const server of servers) server.close()
  return ports
}

let answered = 0

// Members know a handler by the same name.
const handler = EngineIO.handler((socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) =>
      Effect.andThen(Socket.send(socket, message), Effect.sync(() => void answered++)))
  })
)

interface Server {
  readonly target: Target
  readonly logs: ReadonlyArray<string>
  readonly stop: () => Promise<void>
}

const running = new Set<Server>()
afterEach(async () => {
  await Promise.all(Array.from(running, ({ stop }) => stop()))
})

const start = async (
  options: Partial<EngineIOCluster.MembersOptions>,
  engine: EngineIO.Options = { drainTimeout: "100 millis" }
): Promise<Server> => {
  const http = createServer()
  const scope = Scope.makeUnsafe()
  const logs: Array<string> = []
  const program = HttpRouter.serve(HttpRouter.add("*", "/engine.io/", handler), {
    disableLogger: true,
    disableListenLog: true
  }).pipe(
    Layer.provide(EngineIO.layer(engine)),
    Layer.provide(NodeHttpServer.layer(() => http, { host: "127.0.0.1", port: 0 })),
    Layer.provide(EngineIOCluster.layerMembers({ ...shared, members: [], ...options })),
    Layer.provide(Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))]))
  )
  await Effect.runPromise(Layer.buildWithScope(program, scope))
  const server: Server = {
    target: unwatched(portOf(http)),
    logs,
    stop: async () => {
      running.delete(server)
      for (const { socket } of server.target.connections) socket.destroy()
      await within(Effect.runPromise(Scope.close(scope, Exit.void)), "the end of a server")
    }
  }
  running.add(server)
  return server
}

/** What a client gets that says something at a member. */
const said = async ({ target }: Server, url: string, message: string): Promise<string> => {
  const connection = await Connection.open(target)
  const { text } = await connection.exchange("POST", url, { body: `4${message}` })
  return text === "ok" ? (await connection.exchange("GET", url)).text : text
}

const knows = (server: Server, url: string) =>
  eventually("a known member", () => said(server, url, "hello"), (text) => text === "4hello")

const unknown = "{\"code\":1,\"message\":\"Session ID unknown\"}"

describe("members of a list", () => {
  it("find each other, and one that comes back at its address with a new name", async () => {
    const ports = await freePorts(3)
    const members = ports.map((port) => `127.0.0.1:${port}`)
    // Nobody waits for the next look.
    const startAt = (i: number) => start({ members, listen: { host: "127.0.0.1", port: ports[i] }, interval: "1 hour" })
    const [a, b] = [await startAt(0), await startAt(1)]
    let c = await startAt(2)
    for (const owner of [a, b, c]) {
      const url = await open(await Connection.open(owner.target))
      for (const other of [a, b, c]) await knows(other, url)
    }
    const lost = await open(await Connection.open(c.target))
    await c.stop()
    assert.strictEqual(await said(a, lost, "gone"), unknown)
    c = await startAt(2)
    const url = await open(await Connection.open(c.target))
    for (const other of [a, b]) await knows(other, url)
    assert.strictEqual(await said(a, lost, "gone"), unknown)
    assert.strictEqual(await said(c, await open(await Connection.open(a.target)), "hello"), "4hello")
  })

  /** Two members, and a WebSocket that goes through the second to the first. */
  const piped = async (options: Partial<EngineIOCluster.MembersOptions>, engine?: EngineIO.Options) => {
    const ports = await freePorts(2)
    const members = ports.map((port) => `localhost:${port}`)
    const [owner, other] = await Promise.all(
      ports.map((port) => start({ members, listen: { host: "127.0.0.1", port }, ...options }, engine))
    ) as [Server, Server]
    const url = await open(await Connection.open(owner.target))
    await knows(other, url)
    const webSocket = await WebSocketClient.open(other.target, { sid: new URLSearchParams(url).get("sid")! })
    webSocket.send("2probe")
    assert.strictEqual(await webSocket.next(), "3probe")
    webSocket.send("5")
    return { other, webSocket }
  }

  it("pass on requests and WebSockets in TLS", async () => {
    const { cert, key } = certificate()
    const { webSocket } = await piped({ tls: { key, cert, ca: cert } })
    const large = `4${"x".repeat(500_000)}`
    webSocket.send(large)
    assert.strictEqual(await webSocket.next(), large)
    await webSocket.close()
  })

  it("close a WebSocket that goes through one that ends, after what its owner has accepted, and do not hold up the end", async () => {
    // Longer than a test waits.
    const { other, webSocket } = await piped({}, { drainTimeout: "1 minute" })
    const large = `4${"x".repeat(900_000)}`
    webSocket.socket.pause()
    const before = answered
    for (let i = 0; i < 10; i++) webSocket.send(large)
    await eventually("the owner's answers", () => answered - before, (count) => count === 10)
    const stopped = other.stop()
    webSocket.socket.resume()
    for (let i = 0; i < 10; i++) assert.strictEqual(await webSocket.next(), large)
    assert.strictEqual((await within(webSocket.closed, "the end of the WebSocket")).code, 1005)
    await stopped
  })

  it("look again and again for those that are not there, and keep one that is listed no more until it goes", () =>
    Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      let listed: ReadonlyArray<number> = []
      const addresses = Effect.sync(() => listed.map((port) => ({ host: "127.0.0.1", port })))
      const self = yield* membersAt(shared, addresses, "10 millis")
      const portOf = (members: Members) => (members.address as AddressInfo).port
      const scope = yield* Scope.fork(yield* Effect.scope)
      // It knows nobody, and so cannot be seen to come.
      const other = yield* Scope.provide(membersAt(shared, Effect.succeed([]), "1 hour"), scope)
      listed = [portOf(self), portOf(other)]
      const names = () => Array.from(self.others.keys())
      const are = (what: string, expected: ReadonlyArray<string>) =>
        Effect.promise(() => eventually(what, names, (all) => all.join() === expected.join()))
      yield* are("the other", [other.self])
      listed = []
      yield* Effect.sleep("50 millis")
      yield* are("the other", [other.self])
      yield* Scope.close(scope, Exit.void)
      yield* are("nobody", [])
    }))))

  for (
    const [what, options] of [
      ["members", { members: undefined as never }],
      ["members", { members: null as never }],
      ["members", { members: 7000 as never }],
      ["members", { members: "127.0.0.1:7000" as never }],
      ["members", { members: [7000 as never] }],
      ["members", { members: {} as never }],
      ["members", { members: { dns: "localhost" } as never }],
      ["members", { members: { dns: "", port: 7000 } }],
      ["members", { members: ["127.0.0.1"] }],
      ["members", { members: ["127.0.0.1:0"] }],
      ["members", { members: ["::1:7000"] }],
      ["members", { members: { dns: "localhost", port: 70_000 } }],
      ["listen", { members: [], listen: undefined as never }],
      ["listen", { members: [], listen: "127.0.0.1" as never }],
      ["listen", { members: [], listen: { port: 7000 } as never }],
      ["listen", { members: [], listen: { host: "", port: 7000 } }],
      ["listen", { members: [], listen: { host: 1, port: 7000 } as never }],
      ["listen", { members: [], listen: { host: "127.0.0.1" } }],
      ["listen", { members: [], listen: { host: "127.0.0.1", port: 70_000 } }],
      ["tls", { members: [], tls: "no" as never }],
      ["tls", { members: [], tls: { key: "", cert: "" } as never }],
      ["tls", { members: [], tls: { key: "", cert: "no certificate", ca: "" } }],
      ["secret", { members: [], secret: "" }],
      ["secret", { members: [], secret: undefined as never }],
      ["interval", { members: [], interval: 0 }],
      ["interval", { members: [], interval: "soon" as never }],
      ["name", { members: [], name: 7 as never }],
      ["name", { members: [], name: "a-b" }],
      ["name", { members: [], name: "a".repeat(65) }],
      ["nobody", { members: [], nobody: "knows" } as never]
    ] as const
  ) {
    it(`are refused with ${JSON.stringify(options)}`, async () => {
      const error = await Effect.runPromise(
        Effect.flip(Effect.scoped(Layer.build(EngineIOCluster.layerMembers({ ...shared, ...options }))))
      )
      assert.instanceOf(error, EngineIO.OptionsError)
      assert.match(error.message, new RegExp(`^${what}: |at \\["${what}"\\]`))
    })
  }

  it("are refused where they cannot listen, with the address and why", async () => {
    const taken = createNetServer()
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve))
    const { port } = taken.address() as AddressInfo
    // No name is so long, so nobody is asked.
    const nowhere = "x".repeat(64)
    for (const [host, code] of [["127.0.0.1", "EADDRINUSE"], [nowhere, "ENOTFOUND"]] as const) {
      const layer = EngineIOCluster.layerMembers({ ...shared, members: [], listen: { host, port } })
      const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(layer))))
      assert.instanceOf(error, EngineIO.OptionsError)
      assert.include(error.message, `listen: ${host}, port ${port}, cannot be listened on (${code})`)
    }
    taken.close()
  })
})

describe("members in DNS", () => {
  it("find each other at all addresses of a name", async () => {
    const [a, b] = await freePorts(2) as [number, number]
    // One machine, so that each listens where the other looks.
    const startAt = (port: number, other: number) =>
      start({ members: { dns: "localhost", port: other }, listen: { host: "127.0.0.1", port } })
    const servers = [await startAt(a, b), await startAt(b, a)] as const
    const url = await open(await Connection.open(servers[0].target))
    await knows(servers[1], url)
    await knows(servers[0], await open(await Connection.open(servers[1].target)))
  })

  it("begin where the name cannot be found, with a warning", async () => {
    // No name is so long, so nobody is asked.
    const server = await start({ members: { dns: "x".repeat(64), port: 7000 } })
    assert.match(server.logs.join(), /^The addresses of the members cannot be found/)
    await knows(server, await open(await Connection.open(server.target)))
  })
})
