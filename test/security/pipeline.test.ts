/**
 * Requests sent without waiting for answers, on a connection that closes before their turn. Behind a request to upgrade
 * Node does not tell their responses: their polls stayed parked, and answers that the router waits to have written kept
 * the server from its end.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createServer } from "node:http"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, PollingClient } from "../kit/http.ts"
import { type AppFactory, idle, portOf, type TestServer, unwatched, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, upgradeHeaders } from "../kit/ws.ts"

const nowhere = "/engine.io/?EIO=4&transport=pigeon"

const upgradeTarget = (query: Readonly<Record<string, string>> = {}) =>
  engineTarget({ EIO: "4", transport: "websocket", ...query })

/** Sends requests and one to upgrade in one piece, and resets the connection when the server has them all. */
const abandon = async (server: TestServer, requests: ReadonlyArray<readonly [method: string, url: string]>) => {
  const connection = await Connection.open(server)
  const upgrade = encodeRequest("GET", nowhere, { headers: upgradeHeaders() })
  connection.write(Buffer.concat([...requests.map(([method, url]) => encodeRequest(method, url)), upgrade]))
  for (const [, url] of requests) await server.settled(url)
  connection.socket.destroy()
}

describe("a pipeline that breaks", () => {
  it(
    "R37: a poll that waits behind another for its turn is given up with it",
    withServer({ application: idle }, async (server) => {
      const [first, second] = [await PollingClient.connect(server), await PollingClient.connect(server)]
      await abandon(server, [["GET", first.url()], ["GET", second.url()]])
      for (const { sid } of [first, second]) {
        const reason = await server.reason(sid)
        assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
      }
    })
  )

  it("R37: on an attached server as well", async () => {
    const http = createServer()
    const program = Effect.gen(function*() {
      yield* EngineIO.attach(http, () => Effect.succeed({ app: Effect.never }))
      yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
      const target = unwatched(portOf(http))
      const clients = yield* Effect.promise(() => Promise.all([1, 2, 3].map(() => PollingClient.connect(target))))
      const connection = yield* Effect.promise(() => Connection.open(target))
      const upgrade = encodeRequest("GET", nowhere, { headers: upgradeHeaders() })
      connection.write(Buffer.concat([...clients.map((client) => encodeRequest("GET", client.url())), upgrade]))
      yield* Effect.promise(() => target.settled(""))
      connection.socket.destroy()
      const { engine } = yield* EngineIO.EngineIO
      yield* Effect.promise(() => eventually("an empty registry", () => engine.registry.count, (count) => count === 0))
      http.closeAllConnections()
      http.close()
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIO.layer())))
  })

  it(
    "an OPTIONS request to upgrade behind another is refused, and its connection ends",
    withServer({ cors: true }, async (server) => {
      const connection = await Connection.open(server)
      connection.write(Buffer.concat([
        encodeRequest("GET", nowhere),
        encodeRequest("OPTIONS", "/engine.io/?EIO=4&transport=websocket", { headers: upgradeHeaders() })
      ]))
      connection.socket.end()
      await within(connection.closed, "the end of the connection")
      assert.strictEqual(connection.responses.all[0]?.status, 400)
    })
  )

  it("answers that nobody can get any more do not keep the server from its end", async () => {
    const large: AppFactory = (socket) => Effect.as(Socket.send(socket, "x".repeat(2_000_000)), { app: Effect.never })
    await withServer({ application: large, pingInterval: 200, pingTimeout: 200 }, async (server) => {
      for (let round = 0; round < 5; round++) {
        const [first, second] = [await PollingClient.connect(server), await PollingClient.connect(server)]
        // Taken already: the next waits.
        await first.poll()
        await abandon(server, [["GET", first.url()], ["HEAD", `${second.url()}&sid=x`], ["GET", second.url()]])
      }
      await eventually("the end of all sessions", () => server.count(), (count) => count === 0)
      // The end of the test waits for that of the server.
    })()
  })
})

describe("an upgrade in a pipeline", () => {
  for (const attached of [true, false]) {
    const where = attached ? "attached" : "on a router"

    it(
      `R35: waits for the answer to the poll before it, ${where}`,
      withServer({ attached }, async (server) => {
        const client = await PollingClient.connect(server)
        const connection = await Connection.open(server)
        const [poll, later] = [client.url(), client.url()]
        const webSocket = encodeRequest("GET", upgradeTarget(), { headers: upgradeHeaders() })
        connection.write(Buffer.concat([encodeRequest("GET", poll), webSocket]))
        await server.barrier()
        assert.deepStrictEqual([connection.responses.all.length, await server.count()], [0, 1])
        await client.post("4first")
        assert.strictEqual((await connection.response()).text, "4first")
        assert.strictEqual((await connection.response()).status, 101)
        assert.include(String(await connection.upgraded.next()), "\"sid\"")
        // The poll's session goes on.
        const parked = client.request("GET", {}, later)
        await client.post("4second")
        assert.strictEqual((await parked).text, "4second")
      })
    )

    it(
      `R77: of the same session, it goes on when the poll is answered, with the frames behind it, ${where}`,
      withServer({ attached }, async (server) => {
        const client = await PollingClient.connect(server)
        const connection = await Connection.open(server)
        const webSocket = encodeRequest("GET", upgradeTarget({ sid: client.sid }), { headers: upgradeHeaders() })
        const probe = encodeFrame(Opcode.text, "2probe")
        connection.write(Buffer.concat([encodeRequest("GET", client.url()), webSocket, probe.subarray(0, 3)]))
        await server.barrier()
        connection.write(probe.subarray(3))
        await client.post("4first")
        assert.strictEqual((await connection.response()).text, "4first")
        assert.strictEqual((await connection.response()).status, 101)
        assert.include(String(await connection.upgraded.next()), "3probe")
      })
    )

    it(
      `R26: a request that only asks for another protocol keeps its turn as well, ${where}`,
      withServer({ attached }, async (server) => {
        const [first, second] = [await PollingClient.connect(server), await PollingClient.connect(server)]
        const connection = await Connection.open(server)
        const headers = upgradeHeaders({ Upgrade: "h2c" })
        connection.write(Buffer.concat([
          encodeRequest("GET", first.url()),
          encodeRequest("GET", second.url(), { headers })
        ]))
        await server.barrier()
        await second.post("4second")
        await first.post("4first")
        assert.strictEqual((await connection.response()).text, "4first")
        assert.strictEqual((await connection.response()).text, "4second")
      })
    )

    it(
      `R37: a client that leaves while it waits gives up its poll, and gets no session, ${where}`,
      withServer({ attached, application: idle }, async (server) => {
        const client = await PollingClient.connect(server)
        const connection = await Connection.open(server)
        const webSocket = encodeRequest("GET", upgradeTarget(), { headers: upgradeHeaders() })
        connection.write(Buffer.concat([encodeRequest("GET", client.url()), webSocket]))
        await server.barrier()
        connection.socket.end()
        await within(connection.closed, "the end of the connection")
        const reason = await server.reason(client.sid)
        assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
        assert.deepStrictEqual([await server.count(), server.opened.all.length], [0, 1])
      })
    )
  }
})
