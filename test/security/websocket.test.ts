/**
 * What befell WebSocket servers, one test each.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { createServer } from "node:http"
import { EngineIO } from "../../src/index.ts"
import { eventually } from "../kit/events.ts"
import { Connection, engineTarget, introduce, PollingClient } from "../kit/http.ts"
import { portOf, type Target, unwatched, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const isAlive = async (server: Target): Promise<void> => {
  const client = await PollingClient.connect(server)
  await client.post("1")
}

const upgradeTarget = (query: Readonly<Record<string, string>> = {}) =>
  engineTarget({ EIO: "4", transport: "websocket", ...query })

const garbage: ReadonlyArray<readonly [name: string, bytes: Buffer]> = [
  ["bytes of no meaning", Buffer.from("f1f2f3f4f5f6f7f8", "hex")],
  ["a frame without a mask", encodeFrame(Opcode.text, "4hello", { masked: false })],
  ["a reserved bit", encodeFrame(Opcode.text, "4hello", { rsv: 4 })],
  ["an unknown opcode", encodeFrame(5, "4hello")],
  ["a length of 2^63", encodeFrame(Opcode.binary, "", { length: 2 ** 53 })],
  ["text that is not UTF-8", encodeFrame(Opcode.text, Buffer.from([0x34, 0xff, 0xfe]))],
  ["a continuation of nothing", encodeFrame(Opcode.continuation, "4hello")],
  ["half a frame", encodeFrame(Opcode.text, "4hello").subarray(0, 3)]
]

describe("garbage behind the head of a handshake", () => {
  for (const [name, bytes] of garbage) {
    it(`CVE-2022-21676: ${name}, while the id is being made, in the same packet or a later one`, async () => {
      const gates: Array<Deferred.Deferred<string>> = []
      const generateId = () => {
        const gate = Deferred.makeUnsafe<string>()
        gates.push(gate)
        return Deferred.await(gate)
      }
      await withServer({ generateId }, async (server) => {
        await introduce(server)
        for (const together of [true, false]) {
          const connection = await Connection.open(server)
          const request = Buffer.from(
            `GET ${upgradeTarget()} HTTP/1.1\r\nHost: x\r\n${
              Object.entries(upgradeHeaders()).map(([key, value]) => `${key}: ${value}`).join("\r\n")
            }\r\n\r\n`
          )
          if (together) connection.write(Buffer.concat([request, bytes]))
          else connection.write(request)
          await eventually("a handshake", () => gates.length, (length) => length > 0)
          if (!together) connection.write(bytes)
          await server.barrier()
          Deferred.doneUnsafe(gates.pop()!, Effect.succeed(`late ${together}`))
          await connection.response()
          if (name === "half a frame") await connection.reset()
          assert.include(["transport error", "transport close"], await server.reasonText(`late ${together}`))
        }
        assert.strictEqual(await server.count(), 0)
      })()
    })
  }

  it(
    "CVE-2022-21676: the same behind an upgrade, which fails while its session goes on",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const [name, bytes] of garbage) {
        const raw = await RawWebSocket.open(server, { sid: client.sid }, { early: bytes })
        if (name === "half a frame") await raw.connection.reset()
        else await raw.closed
        await server.barrier()
      }
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
    })
  )
})

describe("heads of handshakes", () => {
  const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [`a${n}`, "b"]))

  it("CVE-2024-37890: more headers than maxHeadersCount before Upgrade are refused, and nothing crashes", async () => {
    const http = createServer({ maxHeaderSize: 1 << 20 })
    const program = Effect.gen(function*() {
      yield* EngineIO.attach(http, () => Effect.succeed({ app: Effect.never }))
      yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
      const target = unwatched(portOf(http))
      for (const limit of [2_000, 10]) {
        http.maxHeadersCount = limit
        for (const count of [limit - 10, limit - 1, limit]) {
          const some = Object.fromEntries(Object.entries(many).slice(0, count))
          for (const headers of [{ ...some, ...upgradeHeaders() }, { ...upgradeHeaders(), ...some }]) {
            const connection = yield* Effect.promise(() => Connection.open(target))
            connection.send("GET", upgradeTarget(), { headers })
            const response = yield* Effect.promise(() => connection.outcome())
            // Node refuses them itself with 431, or leaves the rest of the headers out.
            assert.include(count < limit - 5 ? [101] : [101, 400, 431], response?.status)
            yield* Effect.promise(() => connection.close())
          }
        }
      }
      yield* Effect.promise(() => isAlive(target))
      http.closeAllConnections()
      http.close()
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIO.layer())))
  })

  it("CVE-2021-32640: 64 KB of Sec-WebSocket-Protocol are read in no time", async () => {
    const http = createServer({ maxHeaderSize: 1 << 20 })
    const program = Effect.gen(function*() {
      yield* EngineIO.attach(http, () => Effect.succeed({ app: Effect.never }))
      yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
      const target = unwatched(portOf(http))
      for (
        const value of [
          "b" + " ".repeat(65_536) + "x",
          "a,".repeat(32_768),
          "a ,".repeat(20_000) + "a",
          "\t ".repeat(32_768)
        ]
      ) {
        const connection = yield* Effect.promise(() => Connection.open(target))
        connection.send("GET", upgradeTarget(), { headers: upgradeHeaders({ "Sec-WebSocket-Protocol": value }) })
        const response = yield* Effect.promise(() => connection.outcome())
        assert.include([101, 400], response?.status)
        yield* Effect.promise(() => connection.reset())
      }
      http.closeAllConnections()
      http.close()
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIO.layer())))
  })

  it("ws 2017: extensions named like properties of objects, or with bad parameters, are refused or ignored", async () => {
    const offers = [
      "constructor",
      "__proto__",
      "hasOwnProperty; a=1",
      "permessage-deflate; constructor",
      "permessage-deflate; __proto__=1",
      "permessage-deflate; server_max_window_bits=7",
      "permessage-deflate; client_max_window_bits=99999999999999999999",
      "permessage-deflate; server_no_context_takeover=1",
      "permessage-deflate; server_max_window_bits",
      ";;;",
      "a=\"",
      "permessage-deflate; x=\"\\\""
    ]
    for (const perMessageDeflate of [true, false]) {
      await withServer({ perMessageDeflate }, async (server) => {
        for (const offer of offers) {
          const connection = await Connection.open(server)
          connection.send("GET", upgradeTarget(), { headers: upgradeHeaders({ "Sec-WebSocket-Extensions": offer }) })
          const response = await connection.response()
          assert.include([101, 400], response.status, offer)
          assert.isUndefined(response.header("sec-websocket-extensions"), offer)
          if (perMessageDeflate && offer.startsWith("permessage-deflate; ")) {
            assert.strictEqual(response.status, 400, offer)
          }
          await connection.reset()
        }
        await isAlive(server)
      })()
    }
  })

  it(
    "CVE-2022-21676: what is no WebSocket handshake is refused, and leaves no session",
    withServer({}, async (server) => {
      const wrong: ReadonlyArray<Readonly<Record<string, string | undefined>>> = [
        { "Sec-WebSocket-Key": undefined },
        { "Sec-WebSocket-Key": "short" },
        { "Sec-WebSocket-Key": "x".repeat(10_000) },
        { "Sec-WebSocket-Version": "99" },
        { "Sec-WebSocket-Version": undefined },
        { "Sec-WebSocket-Protocol": "a,,b" },
        { "Sec-WebSocket-Protocol": "\u00e9" }
      ]
      for (const headers of wrong) {
        assert.strictEqual((await refusedUpgrade(server, {}, { headers })).response.status, 400)
      }
      assert.strictEqual(await server.count(), 0)
      await isAlive(server)
    })
  )
})
