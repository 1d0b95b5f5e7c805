/**
 * The whole server: its end, and the program that watches it.
 */
import { instrument } from "@socket.io/admin-ui"
import { assert, describe } from "vitest"
import { eventually } from "../kit/events.ts"
import { next, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

describe("io.close()", () => {
  onBoth("ends all sockets, and calls back", {}, async (site) => {
    site.io.of("/other")
    const [, client] = await site.pair()
    const [, polling] = await site.pair("/other", { transports: ["polling"] })
    const ended = Promise.all([next(client, "disconnect"), next(polling, "disconnect")])
    const closed = site.io.close()
    await ended
    assert.strictEqual(site.io.engine.clientsCount, 0)
    assert.strictEqual(site.io.of("/").sockets.size, 0)
    site.http.closeAllConnections()
    await closed
  })

  onBoth("closes the Node server that it was attached to", { attached: true }, async (site) => {
    await site.pair()
    const called = new Promise((resolve) => void site.io.close(resolve as never))
    assert.isUndefined(await called)
    assert.isFalse(site.http.listening)
  })
})

describe("serverSideEmit", () => {
  onBoth("has nobody to tell where there is one server", {}, async (site) => {
    const { warn } = console
    const warnings: Array<unknown> = []
    console.warn = (text) => warnings.push(text)
    try {
      site.io.serverSideEmit("hello")
    } finally {
      console.warn = warn
    }
    assert.match(String(warnings[0]), /does not support the serverSideEmit/)
  })
})

describe("the admin UI", () => {
  onBoth("sees sockets, rooms, events and connections, and acts on them", {
    prepare: (io) => instrument(io, { auth: false, mode: "development" })
  }, async (site) => {
    const admin = site.client("/admin")
    const [config, all] = await Promise.all([
      value<{ supportedFeatures: Array<string> }>(admin, "config"),
      value<Array<unknown>>(admin, "all_sockets")
    ])
    assert.includeMembers(config.supportedFeatures, ["EMIT", "JOIN", "DISCONNECT", "ALL_EVENTS"])
    assert.isAtMost(all.length, 1)
    type Connected = { id: string; transport: string; clientId: string; handshake: { address: string } }
    const told: Array<Connected> = []
    admin.on("socket_connected", (it: Connected) => told.push(it))
    const upgraded = value<{ transport: string }>(admin, "socket_updated")
    const [socket, client] = await site.pair("/", { transports: ["polling", "websocket"] })
    await eventually("the news", () => told.find(({ id }) => id === socket.id), (it) => it !== undefined)
    const news = told.find(({ id }) => id === socket.id)!
    assert.strictEqual(news.transport, "polling")
    assert.strictEqual(news.handshake.address, "127.0.0.1")
    assert.strictEqual((await upgraded).transport, "websocket")
    const received = next(admin, "event_received")
    client.emit("hello", 1)
    assert.deepStrictEqual((await received).slice(0, 3), ["/", socket.id, ["hello", 1]])
    const joined = next(admin, "room_joined")
    admin.emit("join", "/", "r", socket.id)
    assert.deepStrictEqual((await joined).slice(0, 3), ["/", "r", socket.id])
    type Stats = { clientsCount: number; pollingClientsCount: number; aggregatedEvents: Array<{ type: string }> }
    const stats = await value<Stats>(admin, "server_stats")
    assert.strictEqual(stats.clientsCount, 2)
    assert.strictEqual(stats.pollingClientsCount, 0)
    const types = stats.aggregatedEvents.map(({ type }) => type)
    assert.includeMembers(types, ["rawConnection", "packetsIn", "packetsOut", "bytesIn", "bytesOut"])
    const ended = value(client, "disconnect")
    admin.emit("_disconnect", "/", false, socket.id)
    assert.strictEqual(await ended, "io server disconnect")
  })
})
