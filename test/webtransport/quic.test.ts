/**
 * The real client over real QUIC: WebTransport alone, and after an upgrade.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Socket } from "../../src/index.ts"
import { eventually, pause, within } from "../kit/events.ts"
import { withProgram } from "../kit/program.ts"
import {
  clientSessions,
  hash,
  installWebTransport,
  loadMoq,
  moqEnvironment,
  QuicClient,
  QuicServer,
  trust
} from "../kit/quic.ts"
import { type Config, type TestServer, withServer } from "../kit/server.ts"
import { frame } from "../kit/webTransport.ts"

const moq = await loadMoq()
const quic = typeof moq === "string" ? undefined : await QuicServer.start(moq)
if (typeof moq !== "string" && quic !== undefined) installWebTransport(moq, quic)

const name = typeof moq === "string" ? `skipped, no QUIC here: ${moq}` : "WebTransport over QUIC"

const ways = [
  ["webtransport only", ["webtransport"]],
  ["polling, then webtransport", ["polling", "webtransport"]]
] as const

type Body = (client: QuicClient, server: TestServer) => Promise<void>

describe.skipIf(typeof moq === "string")(name, () => {
  for (const [way, transports] of ways) {
    const test = (name: string, config: Config, body: Body) =>
      it(
        `${name} (${way})`,
        withServer({ transports: ["polling", "websocket", "webtransport"], ...config }, async (server) => {
          quic!.server = server
          await body(await QuicClient.connect(server, ...transports), server)
        })
      )

    test("R76–R78, R85: connects, and the session is on webtransport", {}, async (client, server) => {
      assert.strictEqual(await client.exchange("hello"), "hello")
      const socket = await server.socket(client.sid)
      assert.strictEqual(await server.run(Socket.transport(socket)), "webtransport")
      assert.strictEqual(socket.handshake.transport, transports[0])
      assert.match(socket.handshake.url, /^\/engine\.io\//)
    })

    test("R85: text and binary of every size up to maxPayload come back as they were", {}, async (client) => {
      for (const size of [1, 2, 123, 124, 125, 126, 127, 65_533, 65_534, 65_535, 65_536, 300_000, 999_999]) {
        const text = "x".repeat(size)
        assert.isTrue(await client.exchange(text) === text, `text of ${size}`)
        const bytes = new Uint8Array(size).map((_, index) => index)
        const echo = await client.exchange(bytes)
        assert.strictEqual(Buffer.compare(echo as Buffer, bytes), 0, `binary of ${size}`)
      }
      const largest = new Uint8Array(1_000_000).fill(7)
      assert.strictEqual(Buffer.compare(await client.exchange(largest) as Buffer, largest), 0)
      assert.strictEqual(await client.exchange("grüße €😀\x1e"), "grüße €😀\x1e")
    })

    test("R87: one byte more than maxPayload ends the session", { maxPayload: 1000 }, async (client, server) => {
      client.socket.send(new Uint8Array(1001))
      const reason = await server.reason(client.sid)
      assert.strictEqual(reason._tag === "TransportError" && reason.error._tag, "PayloadTooLarge")
      assert.strictEqual(await within(client.closed, "the end of the client"), "transport close")
    })

    test("R89: a thousand messages arrive in order, both ways", {}, async (client, server) => {
      const messages = Array.from({ length: 1000 }, (_, index) => `${index}`)
      for (const message of messages) client.socket.send(message)
      assert.deepStrictEqual(await client.messages.take(1000), messages)
      assert.deepStrictEqual(server.messagesOf(client.sid), messages)
    })

    test("R-H1: heartbeats keep it alive", { pingInterval: 30, pingTimeout: 300 }, async (client, server) => {
      await pause(400)
      assert.strictEqual(await client.exchange("still"), "still")
      const rtt = await server.run(Socket.rtt(await server.socket(client.sid)))
      assert.strictEqual(rtt._tag, "Some")
    })

    test("R87: closed by the client", {}, async (client, server) => {
      client.socket.close()
      assert.strictEqual((await server.reason(client.sid))._tag, "TransportClose")
      assert.strictEqual(await within(client.closed, "the end of the client"), "forced close")
    })

    test("R87: closed by the server, after the client has everything", {
      application: (socket) =>
        Effect.succeed({
          app: Effect.gen(function*() {
            yield* Socket.receive(socket)
            for (let index = 0; index < 10; index++) yield* Socket.send(socket, new Uint8Array(300_000))
            yield* Socket.send(socket, "last")
          })
        })
    }, async (client, server) => {
      client.socket.send("go")
      const messages = await client.messages.take(11)
      assert.strictEqual(messages.at(-1), "last")
      assert.strictEqual(await within(client.closed, "the end of the client"), "transport close")
      assert.strictEqual((await server.reason(client.sid))._tag, "ForcedClose")
    })

    test("R87: killed at the client while both sides write", {
      application: (socket) =>
        Effect.succeed({ app: Effect.forever(Socket.send(socket, new Uint8Array(50_000)), { disableYield: true }) })
    }, async (client, server) => {
      await client.messages.reached(20)
      client.socket.send(new Uint8Array(500_000))
      clientSessions.at(-1)!.close({ closeCode: 42, reason: "killed" })
      const reason = await server.reason(client.sid)
      assert.deepStrictEqual(reason, { _tag: "TransportClose", code: 42, reason: "killed" })
      await within(client.closed, "the end of the client")
      assert.strictEqual(await server.count(), 0)
    })

    test("R87: killed at the server's end", {}, async (client, server) => {
      quic!.sessions.all.at(-1)!.close({ closeCode: 1, reason: "killed" })
      assert.include(["TransportClose", "TransportError"], (await server.reason(client.sid))._tag)
      assert.strictEqual(await within(client.closed, "the end of the client"), "transport close")
    })
  }

  it("R87: a client whose process is killed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "web-transport-"))
    const args = ["test/webtransport/fixtures/client.ts", `https://127.0.0.1:${quic!.port}/`, hash.toString("hex")]
    const killed = async (server: TestServer): Promise<void> => {
      quic!.server = server
      await withProgram(args, async (program) => {
        await program.printed(/"sid"/)
        const { id } = await server.opened.next()
        await program.end("SIGKILL")
        assert.include(["PingTimeout", "TransportClose"], (await server.reason(id))._tag)
        assert.strictEqual(await server.count(), 0)
      }, moqEnvironment(folder))()
    }
    await withServer({ transports: ["webtransport"], pingInterval: 100, pingTimeout: 400 }, killed)()
    rmSync(folder, { recursive: true })
  })

  it(
    "R87: a client that takes nothing holds the server back, until it does",
    withServer({
      transports: ["webtransport"],
      sendBuffer: { bytes: 100_000 },
      application: (socket, server) =>
        Effect.succeed({
          app: Effect.forever(
            Effect.andThen(
              Socket.send(socket, new Uint8Array(10_000)),
              Effect.sync(() => server.received.put({ sid: socket.id, message: "" }))
            ),
            { disableYield: true }
          )
        })
    }, async (server) => {
      if (typeof moq === "string") return
      quic!.server = server
      const session = new moq.default(`https://127.0.0.1:${quic!.port}/`, trust)
      const stream = await session.createBidirectionalStream()
      await stream.writable.getWriter().write(frame("0"))
      const { id } = await server.opened.next()
      // The network takes some megabytes on the way.
      const sent = () => server.received.all.length
      let before = -1
      await eventually("a server that waits", async () => {
        before = sent()
        await pause(100)
        return sent() - before
      }, (more) => more === 0)
      const { bytes } = await server.run(Socket.buffered(await server.socket(id)))
      assert.isAtMost(bytes, 100_000)
      const reader = stream.readable.getReader()
      for (let read = 0; read < 5_000_000;) read += (await reader.read()).value!.byteLength
      await eventually("more", sent, (count) => count > before + 100)
      session.close()
      assert.strictEqual((await server.reason(id))._tag, "TransportClose")
    })
  )
})
