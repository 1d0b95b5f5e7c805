/**
 * Connection state recovery: a client that was away for a moment goes on as if it had not been.
 */
import type { Socket } from "socket.io"
import type { Socket as Client } from "socket.io-client"
import { assert, describe } from "vitest"
import { next, type Site, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

const recovery = { connectionStateRecovery: {} }

/** A socket with rooms and data that has sent an event, so that the client knows where it stands. */
const known = async (site: Site): Promise<[Socket, Client]> => {
  const [socket, client] = await site.pair()
  await socket.join("room")
  socket.data.name = "bob"
  const event = value(client, "event")
  socket.emit("event", 0)
  await event
  return [socket, client]
}

/** Loses the client's connection, does something, and has it come back. */
const lose = async (site: Site, [socket, client]: [Socket, Client], meanwhile: () => void): Promise<Socket> => {
  const ended = next(socket, "disconnect")
  client.io.engine.close()
  await ended
  meanwhile()
  const connected = value<Socket>(site.io, "connection")
  client.connect()
  return await connected
}

describe("a client that comes back", () => {
  onBoth("has its id, rooms and data, and gets what it has missed, in order", recovery, async (site) => {
    const pair = await known(site)
    const [socket, client] = pair
    const received: Array<unknown> = []
    client.on("event", (n) => received.push(n))
    const last = next(client, "last")
    const back = await lose(site, pair, () => {
      site.io.emit("event", 1)
      site.io.to("room").emit("event", 2)
      site.io.to("elsewhere").emit("event", "not mine")
      site.io.to(socket.id).emit("event", Buffer.from([3]))
      site.io.emit("last")
    })
    await last
    assert.isTrue(back.recovered)
    assert.isTrue(client.recovered)
    assert.strictEqual(back.id, socket.id)
    assert.deepStrictEqual(back.data, { name: "bob" })
    assert.isTrue(back.rooms.has("room"))
    assert.deepStrictEqual(received.slice(0, 2), [1, 2])
    assert.deepStrictEqual([...received[2] as Buffer], [3])
    assert.strictEqual(received.length, 3)
  })

  onBoth("passes no middleware again, unless the server wants it", recovery, async (site) => {
    let passes = 0
    site.io.use((_, next) => {
      passes++
      next()
    })
    await lose(site, await known(site), () => {})
    assert.strictEqual(passes, 1)
  })

  onBoth(
    "passes them where the server wants it",
    { connectionStateRecovery: { skipMiddlewares: false } },
    async (site) => {
      let passes = 0
      site.io.use((_, next) => {
        passes++
        next()
      })
      await lose(site, await known(site), () => {})
      assert.strictEqual(passes, 2)
    }
  )

  onBoth("too late is a new one", { connectionStateRecovery: { maxDisconnectionDuration: -1 } }, async (site) => {
    const pair = await known(site)
    const back = await lose(site, pair, () => {})
    assert.isFalse(back.recovered)
    assert.notStrictEqual(back.id, pair[0].id)
    assert.deepStrictEqual(back.data, {})
  })

  onBoth("after it was sent away is a new one", recovery, async (site) => {
    const [socket, client] = await known(site)
    const ended = next(client, "disconnect")
    socket.disconnect()
    await ended
    const connected = value<Socket>(site.io, "connection")
    client.connect()
    assert.isFalse((await connected).recovered)
  })
})
