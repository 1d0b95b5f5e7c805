/**
 * Clients that take their time, and what is said of all clients in logs.
 */
import { assert, describe, it } from "@effect/vitest"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Logger, References } from "effect"
import { HttpRouter } from "effect/http"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import * as Net from "node:net"
import { EngineIO, EngineIOLive, Socket } from "../../src/index.ts"
import { eventually, pause, pending, within } from "../kit/events.ts"
import { Connection, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { type AppFactory, idle, portOf, sink, type Target, unwatched, withServer } from "../kit/server.ts"
import { refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

describe("slow clients", () => {
  const large = "x".repeat(20_000_000)
  const speaks: AppFactory = (socket) => Effect.as(Socket.send(socket, large), { app: Effect.never })

  for (
    const [what, headers] of [["", {}], [
      ", also where it offers another protocol",
      upgradeHeaders({ Upgrade: "h2c" })
    ]] as const
  ) {
    it(
      `a GET whose answer is not read ends with its session, and its connection soon after${what}`,
      withServer({ application: speaks, pingInterval: 100, pingTimeout: 100, closeTimeout: 300 }, async (server) => {
        const client = await PollingClient.connect(server)
        const taken = new Promise<void>((resolve) =>
          server.http.once("connection", (socket) => void socket.once("close", resolve))
        )
        const connection = await Connection.open(server)
        connection.socket.pause()
        connection.send("GET", client.url(), { headers })
        assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
        await within(taken, "the end of a connection that is not read")
      })
    )
  }

  it(
    "a client that asks again while the answer before is not read waits for that, and costs no more memory",
    withServer({ application: speaks, httpCompression: false }, async (server) => {
      const client = await PollingClient.connect(server)
      const first = Net.connect({ host: "127.0.0.1", port: server.port })
      const url = client.url()
      first.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await server.settled(url)
      await server.run(Socket.send(await server.socket(client.sid), "next"))
      const second = await client.park()
      assert.isTrue(await pending(second.response))
      first.resume()
      assert.strictEqual((await second.response).text, "4next")
      first.destroy()
    })
  )

  for (const attached of [true, false]) {
    it(
      `a GET behind a large answer that was read has all its time, ${attached ? "attached" : "on a router"}`,
      withServer({ attached, application: idle, closeTimeout: 100, httpCompression: false }, async (server) => {
        const client = await PollingClient.connect(server)
        const socket = await server.socket(client.sid)
        await server.run(Socket.send(socket, "x".repeat(40_000)))
        const connection = await Connection.open(server)
        connection.send("GET", client.url())
        connection.send("GET", client.url())
        assert.lengthOf((await connection.response()).text, 40_001)
        await pause(400)
        await server.run(Socket.send(socket, "after"))
        assert.strictEqual((await connection.response()).text, "4after")
      })
    )
  }

  it(
    "of two large answers one behind the other, a second that is not read ends the connection",
    withServer({
      application: speaks,
      pingInterval: 100,
      pingTimeout: 100,
      closeTimeout: 300,
      httpCompression: false
    }, async (server) => {
      const [first, second] = await Promise.all([1, 2].map(() => PollingClient.connect(server)))
      const taken = new Promise<void>((resolve) =>
        server.http.once("connection", (socket) => void socket.once("close", resolve))
      )
      const connection = await Connection.open(server)
      connection.send("GET", first!.url())
      connection.send("GET", second!.url())
      let count = 0
      connection.socket.on("data", (chunk) => {
        count += chunk.length
        if (count > large.length + 1_000) connection.socket.pause()
      })
      await connection.response()
      await within(taken, "the end of a connection that is not read")
    })
  )

  it(
    "a GET whose answer is read slowly, but read, is answered whole; the connection goes on",
    withServer({ application: speaks, closeTimeout: 1_500, httpCompression: false }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = Net.connect({ host: "127.0.0.1", port: server.port })
      const request = `GET ${client.url()} HTTP/1.1\r\nHost: x\r\n\r\n`
      let count = 0
      let last = ""
      socket.on("data", (chunk) => {
        count += chunk.length
        last = chunk.toString("latin1")
        socket.pause()
        setTimeout(() => socket.resume(), 8)
      })
      const begun = performance.now()
      socket.write(request)
      await eventually("the whole answer", () => count, (count) => count > large.length, 18_000)
      assert.isAbove(performance.now() - begun, 1_500)
      const before = server.requests.all.length
      socket.write(request)
      await server.requests.reached(before + 1)
      await pause(1_700)
      await server.run(Effect.flatMap(Effect.promise(() => server.socket(client.sid)), Socket.send("after")))
      await eventually("another answer", () => last, (text) => text.endsWith("\r\n\r\n4after"))
      socket.destroy()
    })
  )

  it(
    "slowloris: a POST whose body comes byte by byte ends within bodyTimeout, whatever the heartbeat says",
    withServer({ application: sink, bodyTimeout: 300, pingInterval: 50, pingTimeout: 5_000 }, async (server) => {
      const slow = await PollingClient.connect(server)
      const connection = await slow.beginPost("4", 1_000)
      const trickle = setInterval(() => connection.socket.destroyed || connection.write("x"), 20)
      const response = await connection.response()
      clearInterval(trickle)
      assert.strictEqual(response.status, 408)
      assert.strictEqual(await server.reasonText(slow.sid), "transport error")
      assert.deepStrictEqual(server.received.all, [])
    })
  )
})

describe("compression", () => {
  it(
    "a hundred clients that ask for large answers, compressed, and leave, hold nobody up, and nothing of it goes on",
    withServer({ application: idle }, async (server) => {
      const clients = []
      for (let n = 0; n < 100; n++) {
        const client = await PollingClient.connect(server)
        clients.push({ ...(await client.park({ headers: { "Accept-Encoding": "gzip" } })), sid: client.sid })
      }
      const bystander = await PollingClient.connect(server)
      const socket = await server.socket(bystander.sid)
      const large = randomBytes(3_400_000).toString("ucs2").replaceAll("\x1e", "")
      // By the thread's own clock, which others on the machine do not add to.
      const spent = () => process.threadCpuUsage().user / 1_000
      let longest = 0
      let last = spent()
      const watch = setInterval(() => {
        longest = Math.max(longest, spent() - last)
        last = spent()
      })
      await server.run(EngineIO.broadcast(large, { filter: ({ id }) => id !== bystander.sid }))
      await pause(10)
      for (const { connection } of clients) connection.socket.resetAndDestroy()
      await server.ended.reached(100)
      await server.run(Socket.send(socket, "x".repeat(2_000)))
      const answer = await bystander.get({ headers: { "Accept-Encoding": "gzip" } })
      assert.strictEqual(answer.header("content-encoding"), "gzip")
      clearInterval(watch)
      assert.isBelow(longest, 600)
    })
  )
})

describe("logs", () => {
  it("no session id, cookie or payload stands whole in any line, at any level", async () => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>((options) => {
      lines.push(Logger.formatJson.log(options), Logger.formatLogFmt.log(options))
    })
    const http = createServer()
    const application = EngineIO.handler((socket) =>
      Effect.succeed({
        app: Socket.forEach(socket, (it) => it === "fail" ? Effect.die("oh") : Socket.send(socket, it))
      })
    )
    const layer = HttpRouter.serve(HttpRouter.add("*", "/engine.io/", application)).pipe(
      Layer.provideMerge(EngineIO.layer({
        cookie: true,
        cors: true,
        pingInterval: 200,
        pingTimeout: 200,
        maxPayload: 100,
        allowEIO3: true,
        generateId: (request) => request.url.includes("refuse") ? Effect.fail("no id") : Effect.sync(() => secret())
      })),
      Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })),
      Layer.provide(Logger.layer([logger])),
      Layer.provide(Layer.succeed(References.MinimumLogLevel, "All"))
    )
    const secrets: Array<string> = []
    const secret = () => {
      secrets.push(`secret-${String(secrets.length).padStart(3, "0")}-session`)
      return secrets.at(-1)!
    }
    const program = Effect.gen(function*() {
      yield* Layer.build(layer)
      yield* Effect.promise(() => everything(unwatched(portOf(http))))
      yield* EngineIO.drain({ timeout: 100 })
    })
    const everything = async (target: Target) => {
      const headers = { Cookie: "token=crumb-of-a-cookie", Authorization: "Bearer bear-of-a-token" }
      const connect = () => PollingClient.connect(target, { headers })
      const client = await connect()
      await client.post("4text of a message")
      await client.poll()
      await client.post("4".repeat(200))
      await client.post("xyz of a bad packet")
      await client.get()
      await (await connect()).post("4fail")
      await (await connect()).post("4hello", { "Content-Type": "application/octet-stream" })
      const overlapping = await connect()
      await overlapping.park()
      await overlapping.get()
      const aborting = await connect()
      await (await aborting.park()).connection.reset()
      const upgrading = await connect()
      const candidate = await WebSocketClient.open(target, { sid: upgrading.sid }, { headers })
      candidate.send("2probe")
      candidate.send("5")
      candidate.send("4text of a message")
      await candidate.messages(2)
      await upgrading.get()
      const webSocket = await WebSocketClient.connect(target, {}, { headers })
      webSocket.send("4".repeat(200))
      await webSocket.closed
      await refusedUpgrade(target, { sid: "secret-unknown-session" })
      await fetchRaw(target, "GET", `${polling}&refuse`, { headers })
      await fetchRaw(target, "GET", engineTarget({ EIO: "4", transport: "polling", sid: "secret-unknown-session" }))
      await fetchRaw(target, "DELETE", client.url())
      const silent = await connect()
      await pause(600)
      assert.strictEqual((await silent.get()).status, 400)
    }
    await Effect.runPromise(Effect.scoped(Effect.provide(program, EngineIOLive)))
    http.closeAllConnections()
    assert.isAbove(secrets.length, 6)
    assert.isAbove(lines.length, 20)
    assert.isTrue(lines.some((line) => line.includes("Session opened")))
    for (
      const hidden of [...secrets, "secret-unknown-session", "crumb", "bear-of", "text of a message", "bad packet"]
    ) {
      assert.deepStrictEqual(lines.filter((line) => line.includes(hidden)), [], hidden)
    }
  })
})
