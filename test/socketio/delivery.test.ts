/**
 * Ten thousand events through whatever may happen to a connection: none is lost, repeated or out of order.
 */
import { Effect, Exit, Layer, Scope } from "effect"
import { createServer } from "node:http"
import { Server, type Socket } from "socket.io"
import { io as connect, type Socket as Client } from "socket.io-client"
import { assert, describe, it } from "vitest"
import { EngineIO } from "../../src/index.ts"
import * as SocketIO from "../../src/SocketIO.ts"
import { eventually, turn, within } from "../kit/events.ts"
import { portOf } from "../kit/server.ts"
import { next, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

const count = 10_000
const expected = Array.from({ length: count }, (_, n) => n)

/** The numbers that arrive, once there are as many as were sent. */
const received = (target: { on(event: string, listener: (n: number) => void): unknown }): Promise<Array<number>> => {
  const numbers: Array<number> = []
  return within(
    new Promise((resolve) => {
      target.on("n", (n) => {
        if (numbers.push(n) === count) resolve(numbers)
      })
    }),
    `${count} events`,
    15_000,
    () => `${numbers.length}`
  )
}

/** Sends the numbers, some in each turn of the event loop; `at` may do something between. */
const send = async (emit: (n: number) => void, perTurn: number, at?: (n: number) => Promise<void> | undefined) => {
  for (let n = 0; n < count; n++) {
    emit(n)
    if (n % perTurn === perTurn - 1) await turn()
    await at?.(n)
  }
}

describe("ten thousand events", () => {
  onBoth("pass an upgrade, in both directions", {}, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    const client = site.client("/", { transports: ["polling", "websocket"] })
    const atClient = received(client)
    const socket = await connected
    assert.strictEqual(socket.conn.transport.name, "polling")
    const atServer = received(socket)
    await Promise.all([
      send((n) => socket.emit("n", n), 25),
      send((n) => client.emit("n", n), 25)
    ])
    assert.deepStrictEqual(await atClient, expected)
    assert.deepStrictEqual(await atServer, expected)
    assert.strictEqual(socket.conn.transport.name, "websocket")
  })

  onBoth(
    "pass the loss of the connection, where its state is recovered",
    { connectionStateRecovery: {} },
    async (site) => {
      const connected = value<Socket>(site.io, "connection")
      const client = site.client("/", { reconnection: true, reconnectionDelay: 5, reconnectionDelayMax: 5 })
      const atClient = received(client)
      const { id } = await connected
      const recovered: Array<boolean> = []
      site.io.on("connection", (socket) => recovered.push(socket.recovered))
      const ends: Array<Promise<unknown>> = []
      await send((n) => site.io.to(id).emit("n", n), 50, async (n) => {
        if (n % 2500 !== 1250) return
        // It may not be back from the last time.
        await Promise.all(ends)
        // Mid-way, and while the client is away.
        if (n % 5000 < 2500) client.io.engine.close()
        else (client.io.engine.transport as unknown as { ws: { terminate(): void } }).ws.terminate()
        ends.push(next(client, "connect"))
        if (n % 5000 < 2500) await turn()
        else await ends.at(-1)
      })
      assert.deepStrictEqual(await atClient, expected)
      await Promise.all(ends)
      assert.deepStrictEqual(recovered, [true, true, true, true])
      assert.strictEqual(client.id, id)
    }
  )

  it("pass a drain, and the replacement of the server", async () => {
    const begin = async (port: number) => {
      const [io, http, scope] = [new Server(), createServer(), Scope.makeUnsafe()]
      const context = await Effect.runPromise(Layer.buildWithScope(
        Layer.provideMerge(Layer.effectDiscard(SocketIO.attach(http, io)), SocketIO.layer(io)),
        scope
      ))
      await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve))
      const end = async () => {
        await Effect.runPromise(Effect.provideContext(EngineIO.drain(), context))
        await Effect.runPromise(Scope.close(scope, Exit.void))
        http.closeAllConnections()
        await new Promise((resolve) => http.close(resolve))
      }
      return { io, end, port: portOf(http) }
    }
    const first = await begin(0)
    const clients: Array<Client> = [["websocket"], ["polling"], ["polling", "websocket"]].map((transports) =>
      connect(`http://127.0.0.1:${first.port}`, {
        forceNew: true,
        reconnectionDelay: 5,
        reconnectionDelayMax: 5,
        transports
      })
    )
    try {
      const arrived = clients.map(received)
      await eventually("all clients", () => first.io.of("/").sockets.size, (size) => size === clients.length)
      for (let n = 0; n < count; n++) first.io.emit("n", n)
      await first.end()
      const second = await begin(first.port)
      for (const numbers of await Promise.all(arrived)) assert.deepStrictEqual(numbers, expected)
      await eventually("all clients again", () => second.io.of("/").sockets.size, (size) => size === clients.length)
      for (const client of clients) client.disconnect()
      await second.end()
    } finally {
      for (const client of clients) client.disconnect()
    }
  })
})
