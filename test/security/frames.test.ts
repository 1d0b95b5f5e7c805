/**
 * What befell WebSocket servers by messages too large, and by too many of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { deflateRawSync } from "node:zlib"
import { PollingClient } from "../kit/http.ts"
import { sink, type Target, type TestServer, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket } from "../kit/ws.ts"

const isAlive = async (server: Target): Promise<void> => {
  const client = await PollingClient.connect(server)
  await client.post("1")
}

/** The id of a session on a raw WebSocket. */
const sidOf = async (raw: RawWebSocket): Promise<string> =>
  (JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }).sid

/** What a session's transport failed with. */
const failure = async (server: TestServer, sid: string): Promise<string> => {
  const reason = await server.reason(sid)
  return reason._tag === "TransportError" ? reason.error._tag : reason._tag
}

describe("sizes", () => {
  it(
    "CVE-2016-10542: a message of maxPayload bytes arrives, one byte more is answered 1009",
    withServer({ application: sink, maxPayload: 1_000 }, async (server) => {
      const fragmented = (raw: RawWebSocket, size: number) => {
        raw.write(Opcode.binary, Buffer.alloc(600), { fin: false })
        raw.write(Opcode.continuation, Buffer.alloc(size - 600))
      }
      const whole = (raw: RawWebSocket, size: number) => raw.write(Opcode.binary, Buffer.alloc(size))
      for (const write of [whole, fragmented]) {
        const raw = await RawWebSocket.open(server)
        const sid = await sidOf(raw)
        write(raw, 1_000)
        await server.received.find((it) => it.sid === sid)
        write(raw, 1_001)
        assert.strictEqual(await raw.closeCode(), 1009)
        assert.strictEqual(await failure(server, sid), "PayloadTooLarge")
        assert.lengthOf(server.messagesOf(sid), 1)
      }
    })
  )

  it(
    "CVE-2016-10542: a length is refused before a byte of its message came",
    withServer({ application: sink }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const sid = await sidOf(raw)
      raw.write(Opcode.binary, "", { length: 1_000_001 })
      assert.strictEqual(await raw.closeCode(), 1009)
      assert.strictEqual(await failure(server, sid), "PayloadTooLarge")
    })
  )

  it("CVE-2016-10542: a bomb is cut at maxPayload when it is inflated, whole or in fragments", async () => {
    const bomb = deflateRawSync(Buffer.alloc(200_000_000)).subarray(0, -1)
    await withServer({ application: sink, perMessageDeflate: true }, async (server) => {
      const before = process.memoryUsage().rss
      for (let round = 0; round < 5; round++) {
        const raw = await RawWebSocket.open(server, {}, {
          headers: { "Sec-WebSocket-Extensions": "permessage-deflate" }
        })
        assert.strictEqual(raw.response.header("sec-websocket-extensions"), "permessage-deflate")
        const sid = await sidOf(raw)
        if (round % 2 === 0) {
          raw.write(Opcode.binary, bomb, { rsv: 4 })
        } else {
          raw.write(Opcode.binary, bomb.subarray(0, 1_000), { rsv: 4, fin: false })
          raw.write(Opcode.continuation, bomb.subarray(1_000))
        }
        assert.strictEqual(await raw.closeCode(), 1009)
        assert.strictEqual(await failure(server, sid), "PayloadTooLarge")
      }
      assert.deepStrictEqual(server.received.all, [])
      assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
    })()
  })
})

describe("counts", () => {
  it(
    "CVE-2026-48779: hundreds of thousands of fragments of one byte are answered 1008, in bounded memory",
    withServer({ application: sink }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const sid = await sidOf(raw)
      const before = process.memoryUsage().rss
      raw.write(Opcode.binary, "x", { fin: false })
      const many = Buffer.concat(
        Array.from({ length: 10_000 }, () => encodeFrame(Opcode.continuation, "x", { fin: false }))
      )
      for (let n = 0; n < 20; n++) raw.connection.write(many)
      assert.strictEqual(await raw.closeCode(), 1008)
      const reason = await server.reason(sid)
      assert.isTrue(
        reason._tag === "TransportError" && reason.error._tag === "WebSocketProtocol" && reason.error.code === 1008
      )
      assert.isBelow(process.memoryUsage().rss - before, 150_000_000)
      await isAlive(server)
    })
  )

  it(
    "CVE-2026-48802: 1e5 pongs that nobody asked for make no timers, no fibers and no garbage that stays",
    withServer({ application: sink }, async (server) => {
      const raw = await RawWebSocket.open(server)
      const sid = await sidOf(raw)
      const client = await PollingClient.connect(server)
      const pongs = Buffer.concat(Array.from({ length: 1_000 }, () => encodeFrame(Opcode.text, "3")))
      const controls = Buffer.concat(Array.from({ length: 1_000 }, () => encodeFrame(Opcode.pong, "")))
      const flood = async (rounds: number) => {
        for (let round = 0; round < rounds; round++) raw.connection.write(round % 10 === 9 ? controls : pongs)
        assert.strictEqual((await client.post("3\x1e".repeat(rounds * 1_000) + "3")).text, "ok")
        const count = server.received.all.length
        raw.write(Opcode.text, "4done")
        await server.received.reached(count + 1)
      }
      const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length
      await flood(10)
      const before = { timers: timers(), heap: process.memoryUsage().heapUsed }
      await flood(100)
      assert.isAtMost(timers(), before.timers + 2)
      assert.isBelow(process.memoryUsage().heapUsed - before.heap, 100_000_000)
      assert.strictEqual(await server.count(), 2)
      assert.deepStrictEqual(server.messagesOf(sid), ["done", "done"])
    })
  )
})
