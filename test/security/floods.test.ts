/**
 * Payloads made to cost more than they weigh (CVE-2020-36048 and after): the time they take grows with their size and
 * no faster, and the server goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { Socket as TcpSocket } from "node:net"
import { Payload } from "../../src/index.ts"
import { eventually } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { idle, sink, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket } from "../kit/ws.ts"

const repeated = (bytes: ReadonlyArray<number>, size: number) =>
  Buffer.alloc(Math.floor(size / bytes.length) * bytes.length, Buffer.from(bytes))

interface Flood {
  readonly name: string
  readonly revision: 3 | 4
  readonly make: (size: number) => string | Uint8Array
}

const floods: ReadonlyArray<Flood> = [
  { name: "empty messages", revision: 4, make: (size) => "4\x1e".repeat(size / 2 - 1) + "4" },
  { name: "noops", revision: 4, make: (size) => "6\x1e".repeat(size / 2 - 1) + "6" },
  { name: "empty binary messages", revision: 4, make: (size) => "b\x1e".repeat(size / 2 - 1) + "b" },
  { name: "separators", revision: 4, make: (size) => "\x1e".repeat(size) },
  { name: "one message without end", revision: 4, make: (size) => "4".repeat(size) },
  { name: "base64 that is none", revision: 4, make: (size) => "b" + "=".repeat(size - 1) },
  { name: "pings", revision: 3, make: (size) => "1:2".repeat(size / 3) },
  { name: "characters of two bytes", revision: 3, make: (size) => "2:4\u00bc".repeat(size / 5) },
  { name: "entries of no length", revision: 3, make: (size) => "0:".repeat(size / 2) },
  { name: "a length without end", revision: 3, make: (size) => "9".repeat(size) },
  { name: "lengths that are too long", revision: 3, make: (size) => "99999999:4".repeat(size / 10) },
  { name: "colons", revision: 3, make: (size) => ":".repeat(size) },
  { name: "binary headers without a length", revision: 3, make: (size) => repeated([0, 255], size) },
  { name: "binary entries of no length", revision: 3, make: (size) => repeated([0, 0, 255], size) },
  { name: "binary packets of one byte", revision: 3, make: (size) => repeated([1, 1, 255, 4], size) },
  { name: "text packets of one byte", revision: 3, make: (size) => repeated([0, 1, 255, 0x34], size) },
  { name: "a binary length without end", revision: 3, make: (size) => repeated([9], size) },
  { name: "zeros", revision: 3, make: (size) => Buffer.alloc(size) }
]

// Three million bytes: what took quadratic time would not come to an end within the time a test has.
describe("CVE-2020-36048: a payload of any shape is read to its end, or to its first error:", () => {
  for (const { make, name, revision } of floods) {
    it(`${name}, revision ${revision}`, () => {
      const parsed = Payload.parse(make(3_000_000), revision)
      assert.isTrue(Result.isSuccess(parsed) || parsed.failure._tag === "PayloadError")
    })
  }
})

describe("CVE-2020-36048: a server gets through", () => {
  it(
    "every such payload of maxPayload bytes, and ends the session or goes on with it",
    withServer({ application: sink, allowEIO3: true, receiveBuffer: { messages: 1_000_000 } }, async (server) => {
      for (const { make, name, revision } of floods) {
        const client = await PlainPollingClient.connect(server, { EIO: String(revision) })
        const { status } = await client.post(make(960_000))
        assert.include([200, 400], status, name)
        if (status === 400) await server.reason(client.sid)
        server.received.all.length = 0
      }
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4still there")).text, "ok")
    })
  )

  it(
    "an application that does not listen: no more than one POST is taken beyond receiveBuffer",
    withServer({ application: idle, closeTimeout: 300 }, async (server) => {
      const client = await PollingClient.connect(server)
      const flood = client.post("4\x1e".repeat(499_999) + "4")
      flood.catch(() => undefined)
      await eventually("the POST", () => server.requests.all.length, (length) => length >= 2)
      const second = await fetchRaw(server, "POST", client.url(), { body: "4x" })
      assert.strictEqual(second.status, 400)
      assert.strictEqual(await server.reasonText(client.sid), "transport error")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "thousands of fields of a query and of a form",
    withServer({ application: sink }, async (server) => {
      const query = `${engineTarget({ EIO: "4", transport: "polling", j: "1" })}&${"a=%41&".repeat(2_000)}`
      const response = await fetchRaw(server, "GET", query)
      const sid = /sid\\":\\"([^\\]+)/.exec(response.text)![1]!
      const target = engineTarget({ EIO: "4", transport: "polling", j: "1", sid })
      const headers = { "Content-Type": "application/x-www-form-urlencoded" }
      for (
        const body of [
          "a&".repeat(480_000),
          `d=${"\\n".repeat(480_000)}`,
          `d=${"%".repeat(900_000)}`,
          "=&".repeat(480_000)
        ]
      ) {
        assert.include([200, 400], (await fetchRaw(server, "POST", target, { body, headers })).status)
      }
    })
  )
})

describe("candidates of an upgrade that read nothing cannot fill the memory", () => {
  for (const perMessageDeflate of [false, true]) {
    it(
      `R79: many at a time, with probes without end, ${perMessageDeflate ? "deflated" : "plain"}`,
      withServer({ perMessageDeflate, closeTimeout: 60_000 }, async (server) => {
        const connections: Array<TcpSocket> = []
        server.http.on("connection", (socket: TcpSocket) => connections.push(socket))
        const headers = perMessageDeflate ? { "Sec-WebSocket-Extensions": "permessage-deflate" } : {}
        const client = await PollingClient.connect(server)
        const candidates = await Promise.all(
          Array.from({ length: 20 }, () => RawWebSocket.open(server, { sid: client.sid }, { headers }))
        )
        const probes = Buffer.concat(Array.from({ length: 10_000 }, () => encodeFrame(Opcode.text, "2probe")))
        for (const { connection } of candidates) {
          connection.socket.pause()
          connection.write(probes)
        }
        const read = () => connections.filter(({ bytesRead }) => bytesRead > probes.length).length
        await eventually("all the probes", read, (count) => count === candidates.length)
        assert.isBelow(Math.max(...connections.map(({ bytesWritten }) => bytesWritten)), 1_000)
        for (const candidate of candidates) candidate.connection.socket.resume()
        for (const candidate of candidates) assert.isUndefined(await candidate.closeCode())
        const answers = candidates.flatMap(({ frames }) => frames.all.filter(({ opcode }) => opcode === Opcode.text))
        assert.deepStrictEqual(answers.map(({ payload }) => payload.toString()), ["3probe"])
        assert.strictEqual((await client.post("4hello")).text, "ok")
      })
    )
  }
})
