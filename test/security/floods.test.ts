/**
 * Payloads made to cost more than they weigh (CVE-2020-36048 and after): the time they take grows with their size and
 * no faster, and the server goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { Socket as TcpSocket } from "node:net"
import { Payload, Socket } from "../../src/index.ts"
import { eventually, within } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { memory } from "../kit/memory.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { frames, MemoryClient } from "../kit/webTransport.ts"
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

/** Messages enough to fill a POST of `maxPayload` bytes. */
const many = 499_000

/** Ways to send that many messages of one character at once; each gives what the client is told at the end. */
const ways: Record<string, (server: TestServer) => Promise<readonly [sid: string, end: Promise<unknown>]>> = {
  "in one POST": async (server) => {
    const client = await PollingClient.connect(server)
    return [client.sid, client.post("4\x1e".repeat(many - 1) + "4").then(({ text }) => assert.strictEqual(text, "ok"))]
  },
  "in one POST of revision 3": async (server) => {
    const client = await PlainPollingClient.connect(server)
    const post = client.post(repeated([0, 1, 255, 0x34], many * 4), "application/octet-stream")
    return [client.sid, post.then(({ text }) => assert.strictEqual(text, "ok"))]
  },
  "as frames of a WebSocket": async (server) => {
    const raw = await RawWebSocket.open(server)
    const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
    raw.connection.write(Buffer.concat(Array<Buffer>(many).fill(encodeFrame(Opcode.text, "4"))))
    return [sid, Promise.resolve()]
  },
  "as frames of one chunk of WebTransport": async (server) => {
    const [client, sid] = await MemoryClient.open(server)
    return [sid, client.write(new Uint8Array(repeated([1, 0x34], many * 2)))]
  }
}

const everywhere = {
  allowEIO3: true,
  maxPayload: many * 4,
  transports: ["polling", "websocket", "webtransport"]
} as const

describe("a body in the smallest pieces", () => {
  for (const attached of [true, false]) {
    it(
      `takes the memory of its bytes while it is not at its end, ${attached ? "attached" : "on a router"}`,
      withServer({ attached, application: sink }, async (server) => {
        const client = await PollingClient.connect(server)
        const connection = await client.connection()
        const before = await memory()
        connection.write(
          `POST ${client.url()} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n`
        )
        connection.write("1\r\n4\r\n")
        for (let i = 0; i < 10; i++) {
          const isWritten = new Promise((resolve) => connection.socket.write("1\r\na\r\n".repeat(20_000), resolve))
          await within(isWritten, "more of the body")
        }
        // Each is a turn of the server's event loop at least, in which it reads more.
        for (let i = 0; i < 30; i++) await server.barrier()
        assert.isBelow(await memory() - before, 10_000_000)
        connection.write("0\r\n\r\n")
        assert.strictEqual((await connection.response()).text, "ok")
        assert.deepStrictEqual(server.messagesOf(client.sid), ["a".repeat(200_000)])
      })
    )
  }
})

describe("half a million messages of a few bytes", () => {
  for (const [way, send] of Object.entries(ways)) {
    it(
      `${way}: only so many are taken as there is room for, and all arrive`,
      withServer({ ...everywhere, application: idle, receiveBuffer: { bytes: 50_000 } }, async (server) => {
        const [sid, end] = await send(server)
        const socket = await server.socket(sid)
        let received = 0
        while (received < many) {
          const messages = await within(server.run(Socket.receiveAll(socket)), `more than ${received} messages`)
          // A message costs more than the byte it has.
          assert.isAtMost(messages.length, 400)
          received += messages.length
        }
        await end
        assert.strictEqual(received, many)
      })
    )

    it(
      `${way}: with room for all, it is the turn of others again and again`,
      withServer({ ...everywhere, application: idle, receiveBuffer: { messages: many } }, async (server) => {
        const [sid, end] = await send(server)
        const socket = await server.socket(sid)
        for (let received = 0, batch = 0; received < many; received += batch) {
          batch = (await server.run(Socket.receiveAll(socket))).length
          assert.isAtMost(batch, 5_000)
        }
        await end
      })
    )
  }

  it(
    "R46: those before a bad packet arrive, however many there are, and the POST is refused",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4\x1e".repeat(10_000) + "x")).status, 400)
      assert.strictEqual(await server.reasonText(client.sid), "parse error")
      assert.lengthOf(server.messagesOf(client.sid), 10_000)
    })
  )

  it(
    "R47: a close behind more than there is room for ends the session once they were taken",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4\x1e".repeat(10_000) + "1\x1e4late")).text, "ok")
      assert.strictEqual(await server.reasonText(client.sid), "transport close")
      assert.lengthOf(server.messagesOf(client.sid), 10_000)
    })
  )

  it(
    "a POST of which not all is taken when its session ends is not said to be",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const post = client.post("4\x1e".repeat(10_000) + "4")
      await server.requests.reached(2)
      await server.barrier()
      await server.run(Socket.close(await server.socket(client.sid), { discard: true }))
      assert.strictEqual((await post).status, 400)
    })
  )
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
    "an application that does not listen: of a POST no more is taken than receiveBuffer, and another is refused",
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

/** Ways to send a text among others of almost a megabyte. */
const amongOthers: Record<string, (server: TestServer, text: string) => Promise<unknown>> = {
  "in a POST": async (server, text) => {
    const client = await PollingClient.connect(server)
    return client.post(`4${text}\x1e6${"x".repeat(900_000)}`)
  },
  "in a POST of revision 3": async (server, text) => {
    const client = await PlainPollingClient.connect(server)
    return client.post(`${text.length + 1}:4${text}900001:6${"x".repeat(900_000)}`)
  },
  "in a form": async (server, text) => {
    const client = await PlainPollingClient.connect(server, { EIO: "4", j: "1" })
    return client.post(`d=4${text}\x1e6${"x".repeat(900_000)}`, "application/x-www-form-urlencoded")
  },
  "beside a frame of a WebSocket": async (server, text) => {
    const raw = await RawWebSocket.open(server)
    raw.connection.write(Buffer.concat([text, text].map((it) => encodeFrame(Opcode.text, `4${it}`))))
    raw.write(Opcode.text, `6${"x".repeat(900_000)}`)
  },
  "beside a frame of WebTransport": async (server, text) => {
    const [client] = await MemoryClient.open(server)
    await client.write(frames(`4${text}`, `6${"x".repeat(900_000)}`))
  }
}

describe("an application that keeps short texts", () => {
  for (const [way, send] of Object.entries(amongOthers)) {
    it(
      `keeps nothing of what came with them: ${way}`,
      withServer({ ...everywhere, application: sink }, async (server) => {
        const texts = Array.from({ length: 20 }, (_, index) => `a short text of some words, number ${index}`)
        await send(server, "not this one")
        await server.received.next()
        const before = await memory()
        for (const text of texts) {
          await send(server, text)
          await server.received.find(({ message }) => message === text)
        }
        server.connections.forEach((it) => it.socket.destroy())
        assert.isBelow(await memory() - before, 9_000_000)
      })
    )
  }
})

describe("a WebSocket that the server has closed", () => {
  it(
    "R84: cannot fill the memory with a message that it never ends, while its close frame is waited for",
    withServer({ closeTimeout: 60_000 }, async (server) => {
      const connections: Array<TcpSocket> = []
      server.http.on("connection", (socket: TcpSocket) => connections.push(socket))
      const client = await PollingClient.connect(server)
      // One may probe, the others are closed.
      await RawWebSocket.open(server, { sid: client.sid })
      const closed = await Promise.all(Array.from({ length: 50 }, () => RawWebSocket.open(server, { sid: client.sid })))
      for (const candidate of closed) assert.isUndefined(await candidate.closeCode())
      const fragment = encodeFrame(Opcode.binary, Buffer.alloc(900_000), { fin: false })
      const { arrayBuffers } = process.memoryUsage()
      for (const { connection } of closed) connection.write(fragment)
      const read = () => connections.filter(({ bytesRead }) => bytesRead > fragment.length).length
      await eventually("all of it", read, (count) => count === closed.length)
      assert.isBelow(process.memoryUsage().arrayBuffers - arrayBuffers, 20_000_000)
    })
  )
})

describe("a client that leaves behind messages for which there is no room", () => {
  it(
    "costs no more than they do: three hundred thousand in a chunk of WebTransport",
    withServer({ ...everywhere, application: idle, closeTimeout: 100 }, async (server) => {
      const [client, sid] = await MemoryClient.open(server)
      await client.write(Buffer.alloc(900_000, frames("4")))
      client.kill()
      // What took quadratic time would not come to an end within the time a test has.
      assert.strictEqual(await server.reasonText(sid), "transport close")
    })
  )
})

describe("a client that sends more than its application takes", () => {
  it(
    "costs by the message, however many wait",
    withServer({
      receiveBuffer: { messages: 50_000, bytes: 100_000_000 },
      application: (socket, server) =>
        Effect.succeed({
          app: Socket.forEach(socket, (message) =>
            Effect.andThen(
              Effect.sync(() => server.received.put({ sid: socket.id, message })),
              Effect.yieldNow
            ))
        })
    }, async (server) => {
      const raw = await RawWebSocket.open(server)
      raw.connection.write(Buffer.concat(Array<Buffer>(60_000).fill(encodeFrame(Opcode.text, "4x"))))
      // Looking through all that waits for every message that found no room would take half a minute.
      await server.received.reached(60_000)
    })
  )
})
