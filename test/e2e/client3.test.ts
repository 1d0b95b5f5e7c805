import { assert, describe, it } from "@effect/vitest"
import { Socket } from "../../src/index.ts"
import { EngineClient3, modes3 } from "../kit/client3.ts"
import { type Config, type TestServer, withServer } from "../kit/server.ts"

const withServer3 = (config: Config, body: (server: TestServer) => Promise<void>) =>
  withServer({ allowEIO3: true, ...config }, body)

// No lone carriage return: a page that posts a form cannot send one.
const texts = [
  "",
  "hello",
  "€",
  "😀é\u0000\u001e\u2028\u2029",
  "a\nb\n\n\n\nc",
  JSON.stringify({ text: "two\nlines \\n \"quoted\" </script> ;alert(1)//" }),
  "line\\\\n",
  "1:23:4",
  "%41+&d=x",
  "x".repeat(50_000),
  "é😀".repeat(5_000)
]

const binaries = [0, 1, 4, 256, 50_000].map((size) => Buffer.from(Array.from({ length: size }, (_, i) => i & 255)))

describe("engine.io-client 3.5", () => {
  for (const mode of modes3) {
    it(
      `R65, R66, ${mode}: texts and bytes come back as they were`,
      withServer3({}, async (server) => {
        const client = await EngineClient3.connect(server, mode)
        assert.strictEqual((await server.socket(client.sid)).protocol, 3)
        for (const text of texts) {
          client.send(text)
          assert.strictEqual(await client.messages.next(), text)
        }
        for (const binary of binaries) {
          client.send(binary)
          const message = await client.messages.next()
          assert.isTrue(binary.equals(message as Buffer), `${binary.length} bytes`)
        }
        const transport = mode.startsWith("upgrade") || mode.startsWith("websocket") ? "websocket" : "polling"
        assert.strictEqual(await server.run(Socket.transport(await server.socket(client.sid))), transport)
      })
    )

    it(
      `R89, ${mode}: a hundred messages, text and bytes in turns, keep their order both ways`,
      withServer3({}, async (server) => {
        const client = await EngineClient3.connect(server, mode)
        const sent = Array.from({ length: 100 }, (_, i) => i % 2 === 0 ? `message ${i}` : Buffer.from([i]))
        for (const message of sent) client.send(message)
        assert.deepStrictEqual(await client.messages.take(100), sent)
        const seen = (message: string | Uint8Array) => typeof message === "string" ? message : message[0]
        assert.deepStrictEqual(server.messagesOf(client.sid).map(seen), sent.map(seen))
      })
    )

    it(
      `R-H3, ${mode}: its pings are answered, and keep the session`,
      withServer3({ pingInterval: 150, pingTimeout: 2_000 }, async (server) => {
        const client = await EngineClient3.connect(server, mode)
        await client.pongs.reached(3)
        client.send("still here")
        assert.strictEqual(await client.messages.next(), "still here")
      })
    )

    it(
      `R47, R71, ${mode}: either side can end the session`,
      withServer3({}, async (server) => {
        const leaving = await EngineClient3.connect(server, mode)
        const { sid } = leaving
        await leaving.close()
        assert.strictEqual(await server.reasonText(sid), "transport close")
        const sentAway = await EngineClient3.connect(server, mode)
        const socket = await server.socket(sentAway.sid)
        await server.run(Socket.send(socket, "last words"))
        await server.run(Socket.close(socket))
        assert.strictEqual(await sentAway.messages.next(), "last words")
        assert.strictEqual(await sentAway.closed, "transport close")
        assert.strictEqual(await server.reasonText(socket.id), "forced close")
        assert.strictEqual(await server.count(), 0)
      })
    )
  }

  it(
    "R13: without allowEIO3 the client is refused on every transport",
    withServer({}, async (server) => {
      for (const mode of modes3) {
        const outcome = await EngineClient3.connect(server, mode).then(
          () => "connected",
          (error: Error) => error.message
        )
        assert.include(outcome, "not connected", mode)
      }
      assert.strictEqual(await server.count(), 0)
    })
  )
})
