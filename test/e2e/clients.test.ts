import { assert, describe, it } from "@effect/vitest"
import { Socket } from "../../src/index.ts"
import { EngineClient, largest, type Mode, modes } from "../kit/client.ts"
import { idle, type TestServer, withServer } from "../kit/server.ts"

/** Text of exactly `bytes` bytes in UTF-8, of characters of one to four bytes. */
const text = (bytes: number): string => {
  const cycle = "a😀é€"
  const whole = cycle.repeat(Math.floor(bytes / Buffer.byteLength(cycle)))
  return whole + "x".repeat(bytes - Buffer.byteLength(whole))
}

const binary = (bytes: number): Buffer => Buffer.alloc(bytes, Uint8Array.from([0, 255, 30, 52, 128, 98, 10]))

const echoes = async (client: EngineClient, sizes: ReadonlyArray<number>, most: { text: number; binary: number }) => {
  for (const size of [...sizes, most.text]) {
    const message = text(size)
    assert.isTrue(await client.exchange(message) === message, `text of ${size} bytes`)
  }
  for (const size of [...sizes, most.binary]) {
    const message = binary(size)
    assert.isTrue(message.equals(await client.exchange(message) as Buffer), `binary of ${size} bytes`)
  }
}

const refuses = async (server: TestServer, mode: Mode, message: string | Buffer) => {
  const client = await EngineClient.connect(server, mode)
  const { sid } = client
  client.send(message)
  const { description, reason } = await client.closed
  assert.strictEqual(reason, mode === "polling" ? "transport error" : "transport close")
  if (mode === "polling") {
    assert.strictEqual((description as { readonly description?: unknown }).description, 413)
    assert.isFalse(server.ended.all.some((it) => it.sid === sid))
  } else {
    const ended = await server.reason(sid)
    assert.strictEqual(ended._tag === "TransportError" ? ended.error._tag : ended._tag, "PayloadTooLarge")
  }
}

describe("engine.io-client", () => {
  for (const mode of modes) {
    it(
      `two hundred clients at once, ${mode}: text and bytes of every size come back`,
      withServer({ maxPayload: 10_000 }, async (server) => {
        const clients = await Promise.all(Array.from({ length: 200 }, () => EngineClient.connect(server, mode)))
        assert.strictEqual(await server.count(), 200)
        const sizes = [1, 2, 3, 125, 126, 127, 1_000]
        await Promise.all(clients.map((client) => echoes(client, sizes, largest(mode, 10_000))))
        await Promise.all(clients.map((client) => client.close()))
        await server.ended.reached(200)
        assert.strictEqual(await server.count(), 0)
        assert.isTrue(server.ended.all.every((it) => it.reason._tag === "TransportClose"))
      })
    )

    it(
      `${mode}: the largest messages of a million bytes come back`,
      withServer({}, async (server) => {
        const client = await EngineClient.connect(server, mode)
        await echoes(client, [65_535, 65_536, 500_000], largest(mode, 1_000_000))
      })
    )

    it(
      `R44, R70, ${mode}: one byte more than fits is refused`,
      withServer({ application: idle, maxPayload: 10_000 }, async (server) => {
        const most = largest(mode, 10_000)
        await refuses(server, mode, text(most.text + 1))
        await refuses(server, mode, binary(most.binary + 1))
      })
    )
  }

  it(
    "clients of all kinds at once, and each gets what is its own",
    withServer({}, async (server) => {
      const clients = await Promise.all(
        Array.from({ length: 60 }, (_, i) => EngineClient.connect(server, modes[i % 3]!, { awaitUpgrade: false }))
      )
      await Promise.all(clients.map(async (client, i) => {
        for (let n = 0; n < 50; n++) client.send(`${i}:${n}`)
        const messages = await client.messages.take(50)
        assert.deepStrictEqual(messages, Array.from({ length: 50 }, (_, n) => `${i}:${n}`))
      }))
    })
  )

  it(
    "a client that sends and closes at once is heard to the end",
    withServer({}, async (server) => {
      for (const mode of modes) {
        for (let round = 0; round < 10; round++) {
          const client = await EngineClient.connect(server, mode)
          const { sid } = client
          for (let n = 0; n < 20; n++) client.send(`${n}`)
          await client.close()
          assert.strictEqual(await server.reasonText(sid), "transport close")
          assert.deepStrictEqual(server.messagesOf(sid), Array.from({ length: 20 }, (_, n) => `${n}`))
        }
      }
    })
  )

  it(
    "a client learns that the server closed its session",
    withServer({ application: idle }, async (server) => {
      for (const mode of modes) {
        const client = await EngineClient.connect(server, mode)
        const sid = client.sid
        await server.run(Socket.close(await server.socket(sid)))
        assert.strictEqual((await client.closed).reason, "transport close")
        assert.strictEqual(await server.reasonText(sid), "forced close")
      }
    })
  )

  it(
    "clients stay connected over many heartbeats",
    withServer({ pingInterval: 50, pingTimeout: 1_000 }, async (server) => {
      const clients = await Promise.all(modes.map((mode) => EngineClient.connect(server, mode)))
      const pings = clients.map(() => 0)
      await Promise.all(clients.map((client, i) =>
        new Promise<void>((resolve) => {
          client.socket.on("ping", () => {
            if (++pings[i]! === 8) resolve()
          })
        })
      ))
      for (const client of clients) assert.strictEqual(await client.exchange("still here"), "still here")
    })
  )
})
