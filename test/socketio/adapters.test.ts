/**
 * Socket.IO's adapters: in memory, in Node's cluster, over Redis.
 */
import { createAdapter } from "@socket.io/redis-adapter"
import { io as connect, type Socket as Client } from "socket.io-client"
import { assert, describe, it } from "vitest"
import { FakeRedis } from "../kit/fakeRedis.ts"
import { eventually, Mailbox } from "../kit/events.ts"
import { withProgram } from "../kit/program.ts"
import { type Kind, next, Site, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

describe("the adapter in memory", () => {
  onBoth("knows one server", {}, async (site) => {
    assert.strictEqual(await site.io.of("/").adapter.serverCount(), 1)
  })
})

const kinds: ReadonlyArray<Kind> = ["engine.io", "ours"]

describe("the adapter of Node's cluster", () => {
  for (const kind of kinds) {
    it(
      `joins two workers (${kind})`,
      withProgram(["test/socketio/fixtures/cluster.ts", kind], async (program) => {
        const ports = await eventually(
          "two workers",
          () => Array.from(program.output.matchAll(/worker on :(\d+)/g), ([, port]) => port!),
          ({ length }) => length === 2,
          20_000
        )
        const clients = ports.map((port) =>
          connect(`http://127.0.0.1:${port}`, { forceNew: true, transports: ["websocket"] })
        ) as [Client, Client]
        const [first, second] = clients
        try {
          for (const [n, client] of clients.entries()) client.on("who", (answer) => answer(n))
          await Promise.all(clients.map((client) => client.connected || next(client, "connect")))
          // The workers learn of each other a little later.
          await eventually("two sockets", () => first.emitWithAck("count"), (count) => count === 2)
          const heard = clients.map((client) => next(client, "heard"))
          first.emit("shout", "hello", Buffer.from([1, 2]))
          for (const [text, bytes] of await Promise.all(heard)) {
            assert.strictEqual(text, "hello")
            assert.deepStrictEqual([...bytes as Buffer], [1, 2])
          }
          const whispered = value(second, "heard")
          first.emit("whisper", second.id, "psst")
          assert.strictEqual(await whispered, "psst")
          assert.deepStrictEqual((await second.emitWithAck("ask") as Array<number>).sort(), [0, 1])
          assert.strictEqual((await first.emitWithAck("servers") as Array<number>).length, 1)
          const dropped = clients.map((client) => value(client, "disconnect"))
          first.emit("drop")
          assert.deepStrictEqual(await Promise.all(dropped), ["io server disconnect", "io server disconnect"])
        } finally {
          for (const client of clients) client.disconnect()
        }
      }),
      40_000
    )
  }
})

describe("the adapter of Redis", () => {
  for (const kind of kinds) {
    it(`joins two servers (${kind})`, async () => {
      const redis = new FakeRedis()
      const start = () => Site.start(kind, { adapter: createAdapter(redis.client(), redis.client()) })
      const sites = [await start(), await start()] as const
      try {
        const [[socket, client], [, other]] = [await sites[0].pair(), await sites[1].pair()]
        await socket.join("a")
        assert.strictEqual(await sites[0].io.of("/").adapter.serverCount(), 2)
        const [here] = sites.map(({ io }) => io)
        const heard = Promise.all([next(client, "heard"), next(other, "heard")])
        here!.emit("heard", "hello", Buffer.from([7]))
        for (const [text, bytes] of await heard) {
          assert.strictEqual(text, "hello")
          assert.deepStrictEqual([...bytes as Buffer], [7])
        }
        const toRoom = value(client, "room")
        sites[1].io.to("a").emit("room", 1)
        assert.strictEqual(await toRoom, 1)
        assert.strictEqual((await here!.fetchSockets()).length, 2)
        client.on("who", (answer) => answer("first"))
        other.on("who", (answer) => answer("second"))
        const who = await here!.timeout(5000).emitWithAck("who") as Array<string>
        assert.deepStrictEqual(who.sort(), ["first", "second"])
        const told = new Mailbox<unknown>("an event between servers")
        sites[1].io.on("between", (...args) => {
          told.put(args[0])
          args.at(-1)("answer")
        })
        assert.deepStrictEqual(await here!.serverSideEmitWithAck("between", 7), ["answer"])
        assert.strictEqual(await told.next(), 7)
        sites[1].io.in("a").socketsLeave("a")
        await eventually("an empty room", () => socket.rooms.size, (size) => size === 1)
        const dropped = value(other, "disconnect")
        here!.disconnectSockets()
        assert.strictEqual(await dropped, "io server disconnect")
      } finally {
        for (const site of sites) await site.stop()
      }
      assert.deepStrictEqual([...redis.subscribers].map(({ channels, prefixes }) => channels.size + prefixes.size), [
        0,
        0,
        0,
        0
      ])
    })
  }
})
