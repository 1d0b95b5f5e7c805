/**
 * The built package under runtimes other than Node, driven by real clients on Node.
 */
import { join } from "node:path"
import { gunzipSync, inflateRawSync } from "node:zlib"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { EngineClient, modes } from "../kit/client.ts"
import { EngineClient3 } from "../kit/client3.ts"
import { eventually, pause, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { Program, root } from "../kit/program.ts"
import type { Target } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

/** How they run a program. By our own `tsconfig.json` Bun would find the package's sources, not what was built. */
const runtimes = { bun: ["--tsconfig-override=package.json"], deno: ["run", "--allow-net", "--allow-env"] }

/** What Effect's runtime ends with when a signal interrupts a program. */
const interrupted = 130

const sessions = async (server: Target): Promise<number> => Number((await fetchRaw(server, "GET", "/")).text)

const numbers = (count: number): Array<string> => Array.from({ length: count }, (_, i) => `${i}`)

/** Runs the server of this suite: on a router or attached, perhaps with more options. */
const start = (runtime: keyof typeof runtimes, ...args: ReadonlyArray<string>): Program =>
  new Program(
    [...runtimes[runtime], "test/runtimes/server.ts", ...args],
    {},
    join(root, "node_modules/.bin", runtime)
  )

/** Why a session ended. */
const reasonOf = async (program: Program, sid: string) => (await program.printed(new RegExp(`${sid} left: (\\w+)`)))[1]

for (const runtime of ["bun", "deno"] as const) {
  for (const way of ["router", "attached"]) {
    describe(`${runtime}, ${way}`, () => {
      let program: Program
      let server: Target

      beforeAll(async () => {
        program = start(runtime, way)
        server = await program.listening()
      })

      const left = (sid: string) => reasonOf(program, sid)

      afterAll(() => void program.process.kill("SIGKILL"))

      for (const mode of modes) {
        it(`${mode}: texts and bytes come back, large ones too, and the end is seen`, async () => {
          const client = await EngineClient.connect(server, mode)
          for (const text of ["hello", "€😀\u0000", "é".repeat(400_000)]) {
            assert.strictEqual(await client.exchange(text), text)
          }
          for (const size of [0, 3, 1_000_000]) {
            const bytes = Buffer.from(Array.from({ length: size }, (_, i) => i % 251))
            assert.isTrue(bytes.equals(await client.exchange(bytes) as Buffer), `${size} bytes`)
          }
          const { sid } = client
          await client.close()
          assert.strictEqual(await left(sid), "TransportClose")
        })

        it(`${mode}: a burst of 10 000 messages arrives in order`, async () => {
          const client = await EngineClient.connect(server, mode)
          client.send("burst")
          assert.deepStrictEqual(await client.messages.take(10_000), numbers(10_000))
          await client.close()
        })
      }

      it("an upgrade between messages loses and reorders none, either way", async () => {
        const client = await EngineClient.connect(server, "upgrade", { awaitUpgrade: false })
        let upgraded = false
        client.upgraded.then(() => {
          upgraded = true
        })
        let sent = 0
        for (let rest = 50; rest > 0; rest -= upgraded ? 1 : 0) {
          client.send(`${sent++}`)
          if (sent % 3 === 0) await pause(1)
        }
        assert.deepStrictEqual(await client.messages.take(sent), numbers(sent))
        await client.close()
      })

      for (const mode of ["polling", "websocket", "upgrade"] as const) {
        it(`engine.io-client 3.5, ${mode}`, async () => {
          const client = await EngineClient3.connect(server, mode)
          const bytes = Buffer.from([0, 128, 255])
          client.send("h€llo")
          client.send(bytes)
          assert.deepStrictEqual(await client.messages.take(2), ["h€llo", bytes])
          const { sid } = client
          await client.close()
          assert.strictEqual(await left(sid), "TransportClose")
        })
      }

      it("answers to polls are compressed", async () => {
        const client = await PollingClient.connect(server)
        await client.post(`4${"a".repeat(5_000)}`)
        const response = await client.get({ headers: { "Accept-Encoding": "gzip" } })
        assert.strictEqual(response.header("content-encoding"), "gzip")
        assert.strictEqual(gunzipSync(response.body).toString(), `4${"a".repeat(5_000)}`)
        await client.post("1")
      })

      it("messages on WebSockets are compressed", async () => {
        const raw = await RawWebSocket.open(server, {}, {
          headers: { "Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover" }
        })
        assert.match(raw.response.header("sec-websocket-extensions")!, /^permessage-deflate/)
        await raw.next()
        raw.write(Opcode.text, `4${"a".repeat(5_000)}`)
        const { payload, rsv } = await raw.next()
        assert.strictEqual(rsv, 4)
        const whole = Buffer.concat([payload, Buffer.from([0, 0, 255, 255])])
        assert.strictEqual(inflateRawSync(whole, { finishFlush: 2 }).toString(), `4${"a".repeat(5_000)}`)
        raw.connection.socket.destroy()
      })

      it("a cookie, CORS and headers of the application are on the answers, and on the 101", async () => {
        const headers = { Origin: "http://page.example" }
        const client = await PollingClient.connect(server, { headers })
        const raw = await RawWebSocket.open(server, {}, { headers })
        assert.strictEqual(client.handshake.header("set-cookie"), `io=${client.sid}; Path=/; HttpOnly; SameSite=Lax`)
        for (const response of [client.handshake, raw.response]) {
          assert.strictEqual(response.header("access-control-allow-origin"), "http://page.example")
          assert.strictEqual(response.header("access-control-allow-credentials"), "true")
          assert.strictEqual(response.header("x-served-by"), "effect")
        }
        const preflight = await fetchRaw(server, "OPTIONS", client.url(), {
          headers: { ...headers, "Access-Control-Request-Method": "POST" }
        })
        assert.strictEqual(preflight.status, 204)
        await client.post("1")
        raw.connection.socket.destroy()
      })

      it("refusals have their codes, and close an upgrade with the reason", async () => {
        const polling = { EIO: "4", transport: "polling" }
        const refusals = [
          ["GET", { EIO: "4", transport: "pigeon" }, 400, 0, "Transport unknown"],
          ["GET", { ...polling, sid: "unknown" }, 400, 1, "Session ID unknown"],
          ["POST", polling, 400, 2, "Bad handshake method"],
          ["GET", { EIO: "4", transport: "websocket" }, 400, 3, "Bad request"],
          ["GET", { ...polling, name: "nobody" }, 403, 4, "not you"]
        ] as const
        for (const [method, query, status, code, message] of refusals) {
          const response = await fetchRaw(server, method, engineTarget(query))
          assert.strictEqual(response.status, status)
          assert.deepStrictEqual(JSON.parse(response.text), { code, message })
        }
        for (
          const [query, status, message] of [
            [{ sid: "unknown" }, 400, "Session ID unknown"],
            [{ name: "nobody" }, 403, "not you"]
          ] as const
        ) {
          const { response } = await refusedUpgrade(server, query)
          assert.strictEqual(response.status, status)
          assert.strictEqual(response.header("connection"), "close")
          assert.strictEqual(response.text, message)
        }
      })

      it("what is too large is refused: 413, 1009", async () => {
        const client = await PollingClient.connect(server)
        assert.strictEqual((await client.post(`4${"x".repeat(2_000_000)}`)).status, 413)
        await client.post("4still here")
        assert.deepStrictEqual(await client.poll(), ["4still here"])
        await client.post("1")
        const webSocket = await WebSocketClient.connect(server)
        webSocket.send(`4${"x".repeat(2_000_000)}`)
        assert.strictEqual((await webSocket.closed).code, 1009)
        assert.strictEqual(await left(webSocket.sid), "TransportError")
      })

      it("a second GET ends the session: the first gets a close packet", async () => {
        const client = await PollingClient.connect(server)
        const first = await client.park()
        assert.strictEqual((await client.get()).status, 400)
        assert.strictEqual((await first.response).text, "1")
        assert.strictEqual(await left(client.sid), "TransportError")
      })

      it("a second POST while one is coming in ends the session: the first is dropped", async () => {
        const client = await PollingClient.connect(server)
        const first = await client.beginPost("4he", 6)
        assert.strictEqual((await client.post("4second")).status, 400)
        assert.isUndefined(await first.outcome())
        assert.strictEqual(await left(client.sid), "TransportError")
      })

      it("a client that leaves its GET, or in the middle of the answer, ends the session", async () => {
        for (const leave of ["close", "reset"] as const) {
          for (const message of ["", "large"]) {
            const client = await PollingClient.connect(server)
            const { connection } = await client.park()
            connection.socket.pause()
            if (message !== "") await client.post(`4${message}`)
            await connection[leave]()
            assert.strictEqual(await left(client.sid), "TransportError", `${leave} ${message}`)
          }
        }
      })

      it("a WebSocket that breaks off ends the session", async () => {
        for (const leave of ["close", "reset"] as const) {
          const raw = await RawWebSocket.open(server)
          const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
          await raw.connection[leave]()
          assert.strictEqual(await left(sid), "TransportClose")
        }
      })

      it("the server ends a session: what was accepted arrives first", async () => {
        for (const mode of modes) {
          const client = await EngineClient.connect(server, mode)
          const { sid } = client
          client.send("last words")
          client.send("end")
          assert.strictEqual(await client.messages.next(), "last words")
          assert.strictEqual((await client.closed).reason, "transport close")
          assert.strictEqual(await left(sid), "ForcedClose")
        }
      })

      it("frames that come with the request to upgrade are not lost", async () => {
        const raw = await RawWebSocket.open(server, {}, { early: encodeFrame(Opcode.text, "4early") })
        await raw.next()
        assert.strictEqual((await raw.next()).payload.toString(), "4early")
        raw.connection.socket.destroy()
      })

      it("an upgrade behind a poll that is not answered yet: Bun refuses it, Deno has it wait", async () => {
        const client = await PollingClient.connect(server)
        const connection = await Connection.open(server)
        connection.send("GET", client.url())
        connection.send("GET", engineTarget({ EIO: "4", transport: "websocket" }), { headers: upgradeHeaders() })
        await client.post("4hello")
        assert.strictEqual((await connection.response()).text, "4hello")
        assert.strictEqual((await connection.response()).status, runtime === "bun" ? 400 : 101)
        await connection.close()
        await client.post("1")
      })

      it("what cannot be inflated ends the session: on Deno as an empty packet", async () => {
        const headers = { "Sec-WebSocket-Extensions": "permessage-deflate" }
        const raw = await RawWebSocket.open(server, {}, { headers })
        const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
        raw.write(Opcode.text, Uint8Array.of(255, 255, 255, 255, 255), { rsv: 4 })
        assert.strictEqual(await left(sid), runtime === "deno" ? "ParseError" : "TransportError")
      })

      it("more than two thousand headers: Bun refuses them, as Node does, and Deno takes them", async () => {
        const ask = async (query: Record<string, string>, headers: Readonly<Record<string, string>>) => {
          const connection = await Connection.open(server)
          const request = encodeRequest("GET", engineTarget({ EIO: "4", name: "nobody", ...query }), { headers })
          connection.write(Buffer.concat([request.subarray(0, -2), Buffer.from(`${"a:\r\n".repeat(2_100)}\r\n`)]))
          const { status } = await connection.response()
          await connection.close()
          return status
        }
        const expected = runtime === "bun" ? 431 : 403
        assert.strictEqual(await ask({ transport: "polling" }, {}), expected)
        assert.strictEqual(await ask({ transport: "websocket" }, upgradeHeaders()), expected)
      })

      it("nothing is left; on SIGTERM clients are told, and the process ends", async () => {
        await eventually("the end of all sessions", () => sessions(server), (count) => count === 0)
        const clients = await Promise.all(modes.map((mode) => EngineClient.connect(server, mode)))
        const poll = await (await PollingClient.connect(server)).park()
        assert.strictEqual(await sessions(server), 4)
        assert.strictEqual(await program.end("SIGTERM"), interrupted)
        for (const client of clients) {
          assert.strictEqual((await within(client.closed, "the end of a client")).reason, "transport close")
        }
        assert.strictEqual((await poll.response).text, "1")
        assert.lengthOf(program.output.match(/left: ServerShutdown/g)!, 4)
        assert.notInclude(program.output, "ERROR")
      })
    })
  }

  it(`${runtime}: a client that breaks off while nobody takes its messages is noticed, at the latest by a ping`, async () => {
    const program = start(
      runtime,
      "router",
      JSON.stringify({ pingInterval: 200, pingTimeout: 200, closeTimeout: 200, receiveBuffer: { messages: 1 } })
    )
    try {
      const client = await WebSocketClient.connect(await program.listening())
      client.send("4wait")
      for (let i = 0; i < 500; i++) client.send(`4${"x".repeat(20_000)}`)
      await client.next()
      client.socket.terminate()
      assert.strictEqual(await reasonOf(program, client.sid), runtime === "bun" ? "TransportClose" : "TransportError")
    } finally {
      program.process.kill("SIGKILL")
    }
  })
}

describe("EngineIOClient", () => {
  for (const runtime of ["bun", "deno"] as const) {
    it(`${runtime}: connects over each transport, and gets everything back`, async () => {
      const server = start(runtime, "router")
      const { port } = await server.listening()
      const args = [...runtimes[runtime], "test/runtimes/client.ts", `http://127.0.0.1:${port}`]
      const client = new Program(args, {}, join(root, "node_modules/.bin", runtime))
      assert.strictEqual(await client.end(), 0)
      assert.deepStrictEqual(client.output.trimEnd().split("\n"), [
        "polling on polling, ended by SocketCloseError",
        "websocket on websocket, ended by SocketCloseError",
        "upgrade on websocket, ended by SocketCloseError"
      ])
      await server.end("SIGKILL")
    })
  }
})
