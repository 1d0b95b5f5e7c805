/**
 * Clients of Socket.IO 2, which speak revision 3 of Engine.IO.
 */
import type { Socket } from "socket.io"
import type { Socket as Client } from "socket.io-client"
import { assert, describe } from "vitest"
import { within } from "../kit/events.ts"
import { next, type Site, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

const allowed = { allowEIO3: true }

const pair = async (site: Site, options: object = {}): Promise<[Socket, Client]> => {
  const connected = value<Socket>(site.io, "connection")
  const client = site.client2("/", options)
  const [socket] = await Promise.all([connected, next(client, "connect")])
  return [socket, client]
}

describe("a client of Socket.IO 2", () => {
  onBoth("is refused where the server was not told of it", {}, async (site) => {
    const client = site.client2("/", { transports: ["polling"] })
    const error = await value<{ description: number }>(client, "connect_error")
    assert.strictEqual(error.description, 400)
  })

  for (
    const [name, transports] of [
      ["polling", ["polling"]],
      ["a WebSocket", ["websocket"]],
      ["an upgrade", ["polling", "websocket"]]
    ] as const
  ) {
    onBoth(`exchanges events, answers and bytes over ${name}`, allowed, async (site) => {
      const [socket, client] = await pair(site, { transports })
      assert.strictEqual(socket.conn.protocol, 3)
      assert.strictEqual(socket.id, client.id)
      socket.on("add", (a: number, b: number, answer: (sum: number) => void) => answer(a + b))
      client.on("twice", (n: number, answer: (n: number) => void) => answer(2 * n))
      const sum = new Promise((resolve) => client.emit("add", 1, 2, resolve))
      assert.strictEqual(await within(sum, "the answer"), 3)
      assert.strictEqual(await socket.emitWithAck("twice", 4), 8)
      const received = value<{ bytes: Buffer }>(socket, "bytes")
      client.emit("bytes", { bytes: Buffer.from([1, 2, 3]) })
      assert.deepStrictEqual([...(await received).bytes], [1, 2, 3])
      const sent = value<Buffer>(client, "bytes")
      socket.emit("bytes", Buffer.from([4, 5]))
      assert.deepStrictEqual([...await sent], [4, 5])
    })
  }

  onBoth("gets the same broadcasts as one of Socket.IO 4", allowed, async (site) => {
    const [, old] = await pair(site)
    const [, polling] = await pair(site, { transports: ["polling"] })
    const [, client] = await site.pair()
    const received = [old, polling, client].map((it) => next(it, "event"))
    site.io.emit("event", "to all 👋", { n: 1 })
    for (const args of await Promise.all(received)) assert.deepStrictEqual(args, ["to all 👋", { n: 1 }])
  })

  onBoth("joins a namespace, whose query is its auth", allowed, async (site) => {
    const connected = value<Socket>(site.io.of("/other"), "connection")
    site.client2("/other?token=abc")
    const socket = await connected
    assert.strictEqual(socket.nsp.name, "/other")
    assert.deepInclude({ ...socket.handshake.auth }, { token: "abc" })
  })

  onBoth("leaves, and is sent away, with the same reasons", allowed, async (site) => {
    const [socket, client] = await pair(site)
    const reason = value(socket, "disconnect")
    client.disconnect()
    assert.strictEqual(await reason, "client namespace disconnect")
    const [other, otherClient] = await pair(site)
    const ended = value(otherClient, "disconnect")
    other.disconnect(true)
    assert.strictEqual(await ended, "io server disconnect")
  })
})
