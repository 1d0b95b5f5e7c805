/**
 * Rooms, and what is done with many sockets at once.
 */
import type { Server, Socket } from "socket.io"
import type { Socket as Client } from "socket.io-client"
import { assert, describe } from "vitest"
import { within } from "../kit/events.ts"
import { next, type Site, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

/** Three sockets: the first in room a, the second in a and b, the third in none. Each notes the events it gets. */
const three = async (site: Site) => {
  const sockets: Array<Socket> = []
  const clients: Array<Client> = []
  const received: Array<Array<unknown>> = [[], [], []]
  for (let index = 0; index < 3; index++) {
    const [socket, client] = await site.pair()
    sockets.push(socket)
    clients.push(client)
    client.onAny((event) => received[index]!.push(event))
  }
  const [first, second, third] = sockets as [Socket, Socket, Socket]
  await first.join("a")
  await second.join(["a", "b"])
  /** Who got which events, once all have what was sent. */
  const got = async () => {
    const ends = clients.map((client) => next(client, "end"))
    site.io.emit("end")
    await Promise.all(ends)
    return received.map((events) => events.filter((event) => event !== "end").join(" "))
  }
  return { first, second, third, clients, got }
}

type Case = (io: Server, sockets: { first: Socket; second: Socket; third: Socket }) => unknown

const cases: ReadonlyArray<[name: string, send: Case, expected: ReadonlyArray<string>]> = [
  ["io.emit reaches all", (io) => io.emit("x"), ["x", "x", "x"]],
  ["io.send sends a message", (io) => io.send("hello"), ["message", "message", "message"]],
  ["io.to reaches a room", (io) => io.to("a").emit("x"), ["x", "x", ""]],
  ["io.in is the same", (io) => io.in("b").emit("x"), ["", "x", ""]],
  ["a socket in two of the rooms gets one", (io) => io.to("a").to("b").emit("x"), ["x", "x", ""]],
  ["rooms may be a list", (io) => io.to(["a", "b"]).emit("x"), ["x", "x", ""]],
  ["io.except leaves a room out", (io) => io.except("b").emit("x"), ["x", "", "x"]],
  ["to and except together", (io) => io.to("a").except("b").emit("x"), ["x", "", ""]],
  ["the id of a socket is a room", (io, { third }) => io.to(third.id).emit("x"), ["", "", "x"]],
  ["socket.broadcast reaches all others", (_, { first }) => first.broadcast.emit("x"), ["", "x", "x"]],
  ["socket.to reaches a room but for the socket", (_, { first }) => first.to("a").emit("x"), ["", "x", ""]],
  ["socket.except leaves a room and the socket out", (_, { third }) => third.except("b").emit("x"), ["x", "", ""]],
  ["local stays on this server", (io) => io.local.to("a").emit("x"), ["x", "x", ""]],
  ["socket.emit reaches the socket alone", (_, { second }) => second.emit("x"), ["", "x", ""]],
  ["an empty room reaches nobody", (io) => io.to("none").emit("x"), ["", "", ""]]
]

describe("rooms", () => {
  for (const [name, send, expected] of cases) {
    onBoth(name, {}, async (site) => {
      const { got, ...sockets } = await three(site)
      send(site.io, sockets)
      assert.deepStrictEqual(await got(), expected)
    })
  }

  onBoth("know their sockets, and sockets their rooms", {}, async (site) => {
    const { first, second } = await three(site)
    const { rooms, sids } = site.io.of("/").adapter
    assert.deepStrictEqual(second.rooms, new Set([second.id, "a", "b"]))
    assert.deepStrictEqual(rooms.get("a"), new Set([first.id, second.id]))
    assert.strictEqual(sids.size, 3)
    await second.leave("b")
    assert.deepStrictEqual(second.rooms, new Set([second.id, "a"]))
    assert.isFalse(rooms.has("b"))
  })

  onBoth("are left at the end, which disconnecting still sees", {}, async (site) => {
    const { clients, first } = await three(site)
    let before: Set<string> | undefined
    first.on("disconnecting", () => {
      before = new Set(first.rooms)
    })
    const ended = next(first, "disconnect")
    clients[0]!.disconnect()
    await ended
    assert.deepStrictEqual(before, new Set([first.id, "a"]))
    assert.strictEqual(first.rooms.size, 0)
    assert.strictEqual(site.io.of("/").adapter.rooms.get("a")!.size, 1)
  })

  onBoth("tell of what happens to them", {}, async (site) => {
    const events: Array<string> = []
    const { adapter } = site.io.of("/")
    for (const name of ["create-room", "join-room", "leave-room", "delete-room"]) {
      adapter.on(name, (room: string) => {
        if (room === "r") events.push(name)
      })
    }
    const [socket] = await site.pair()
    await socket.join("r")
    await socket.leave("r")
    assert.deepStrictEqual(events, ["create-room", "join-room", "leave-room", "delete-room"])
  })
})

describe("many sockets at once", () => {
  onBoth("are fetched, with what is known of them", {}, async (site) => {
    const { first, second } = await three(site)
    first.data.name = "first"
    const all = await site.io.fetchSockets()
    assert.strictEqual(all.length, 3)
    const [one, ...others] = await site.io.in("a").except("b").fetchSockets()
    assert.strictEqual(others.length, 0)
    assert.strictEqual(one!.id, first.id)
    assert.strictEqual(one!.handshake.address, "127.0.0.1")
    assert.strictEqual(one!.data.name, "first")
    assert.deepStrictEqual(one!.rooms, new Set([first.id, "a"]))
    assert.deepStrictEqual(await site.io.in("b").allSockets(), new Set([second.id]))
  })

  onBoth("join and leave", {}, async (site) => {
    const { got, ...sockets } = await three(site)
    site.io.in("a").socketsJoin(["c", "d"])
    site.io.in("b").socketsLeave("c")
    site.io.to("c").emit("c")
    site.io.to("d").emit("d")
    assert.deepStrictEqual(await got(), ["c d", "d", ""])
    assert.isTrue(sockets.first.rooms.has("c"))
  })

  onBoth("are disconnected, from the namespace or for good", {}, async (site) => {
    const { clients } = await three(site)
    const [first, second, third] = clients.map((client) => value(client, "disconnect"))
    site.io.in("b").disconnectSockets()
    assert.strictEqual(await second, "io server disconnect")
    site.io.disconnectSockets(true)
    assert.deepStrictEqual(await Promise.all([first, third]), ["io server disconnect", "io server disconnect"])
    assert.strictEqual((await site.io.fetchSockets()).length, 0)
  })

  onBoth("get two hundred broadcasts in order, over every transport", {}, async (site) => {
    const lists = [["polling"], ["websocket"], ["polling", "websocket"]]
    const clients = await Promise.all(lists.map(async (transports) => (await site.pair("/", { transports }))[1]))
    const received = clients.map((client) => {
      const numbers: Array<number> = []
      return within(
        new Promise<Array<number>>((resolve) =>
          client.on("n", (n: number) => {
            if (numbers.push(n) === 200) resolve(numbers)
          })
        ),
        "two hundred events"
      )
    })
    for (let n = 0; n < 200; n++) {
      site.io.emit("n", n)
      if (n % 20 === 0) await new Promise(setImmediate)
    }
    const expected = Array.from({ length: 200 }, (_, n) => n)
    for (const numbers of received) assert.deepStrictEqual(await numbers, expected)
  })
})
