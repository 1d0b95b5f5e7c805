/**
 * The examples, each started with its command, used through the real client, and stopped with a signal. The chat is in
 * `test/browser/`.
 */
import { Socket } from "engine.io-client"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { EngineClient, modes } from "../kit/client.ts"
import { within } from "../kit/events.ts"
import { type Program, root, withProgram } from "../kit/program.ts"

const read = (name: string) => readFileSync(join(root, name), "utf8")

/** What Effect's runtime ends with when a signal interrupts a program. */
const interrupted = 130

const example = (name: string, body: (program: Program) => Promise<void>) =>
  withProgram([`examples/${name}.ts`], body, { PORT: "0" })

describe("the examples", () => {
  it("are all in the list, with their commands", () => {
    const list = read("examples/README.md")
    const files = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"))
    assert.include(files, "echo.ts")
    for (const name of files) assert.include(list, `npx node examples/${name}\``)
  })

  it("begin with the program of the front page", () => {
    const [, program] = /```ts\n([^]*?)```/.exec(read("README.md"))!
    assert.strictEqual(read("examples/echo.ts"), program)
  })

  // The same text, but for the port, which may be taken.
  const echo = read("examples/echo.ts").replace("port: 3000", "port: 0")
  it(
    "echo",
    withProgram(["--input-type=module-typescript", "--eval", echo], async (program) => {
      const server = await program.listening()
      for (const mode of modes) {
        const client = await EngineClient.connect(server, mode)
        assert.strictEqual(await client.exchange("hello"), "hello")
        await client.close()
      }
      await program.printed(/left: TransportClose/)
      assert.strictEqual(await program.end("SIGTERM"), interrupted)
    })
  )

  it(
    "metrics",
    example("metrics", async (program) => {
      const server = await program.listening()
      const client = await EngineClient.connect(server, "upgrade")
      await client.exchange("hello")
      await client.exchange("HELLO")
      const response = await fetch(`http://127.0.0.1:${server.port}/metrics`)
      assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/)
      const lines = (await response.text()).split("\n")
      assert.include(lines, "engineio_sessions{transport=\"websocket\"} 1")
      assert.include(lines, "engineio_received_messages_total{transport=\"websocket\"} 2")
      assert.include(lines, "engineio_upgrades_total 1")
      assert.include(lines, "# HELP app_shouts_total Messages in capitals")
      assert.include(lines, "app_shouts_total 1")
      assert.strictEqual(await program.end("SIGTERM"), interrupted)
      assert.strictEqual((await client.closed).reason, "transport close")
    })
  )

  it(
    "express",
    example("express", async (program) => {
      const server = await program.listening()
      const url = `http://127.0.0.1:${server.port}`
      const clients = [await EngineClient.connect(server, "polling"), await EngineClient.connect(server, "websocket")]
      assert.strictEqual(await (await fetch(url)).text(), "2 connected")
      const headers = { "content-type": "text/plain" }
      const sent = await fetch(`${url}/news`, { method: "POST", body: "rain", headers })
      assert.deepStrictEqual(await sent.json(), { sent: 2 })
      for (const client of clients) {
        assert.strictEqual(await client.messages.next(), "rain")
        assert.strictEqual(await client.exchange("hello"), "hello")
      }
      assert.strictEqual(await program.end("SIGTERM"), interrupted)
      for (const client of clients) await client.closed
    })
  )

  describe("auth", () => {
    /** Connects with these headers: gives what a message comes back as, or the status that refused it. */
    const visit = (port: number, transport: string, extraHeaders: Record<string, string>) => {
      const socket = new Socket(`ws://127.0.0.1:${port}`, { transports: [transport], extraHeaders })
      return within(
        new Promise<string>((resolve) => {
          socket.on("open", () => socket.send("hello"))
          socket.on("message", resolve)
          // The client has the status as its XMLHttpRequest or its WebSocket gives it.
          socket.on("error", (error) => {
            const { description } = error as { readonly description?: number | { readonly message: string } }
            resolve(typeof description === "object" ? description.message : String(description))
          })
        }),
        "an answer"
      ).finally(() => socket.close())
    }

    const post = (port: number, path: string, password: string) =>
      fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        body: JSON.stringify({ name: "ada", password }),
        headers: { "content-type": "application/json" }
      })

    it(
      "lets in who has a cookie or a token, and tells the others why not",
      example("auth", async (program) => {
        const { port } = await program.listening()
        assert.strictEqual((await post(port, "/session", "byron")).status, 401)
        assert.strictEqual((await post(port, "/token", "byron")).status, 401)
        const signedIn = await post(port, "/session", "lovelace")
        assert.strictEqual(signedIn.status, 204)
        const [cookie, ...attributes] = signedIn.headers.getSetCookie()[0]!.split("; ")
        assert.sameMembers(attributes, ["Max-Age=3600", "Path=/", "HttpOnly", "SameSite=Strict"])
        const { token } = await (await post(port, "/token", "lovelace")).json() as { readonly token: string }
        const forged = token.replace(/^ada/, "alan")

        for (const transport of ["polling", "websocket"]) {
          const status = (it: number) => transport === "polling" ? `${it}` : `Unexpected server response: ${it}`
          assert.strictEqual(await visit(port, transport, { cookie: cookie! }), "ada: hello")
          assert.strictEqual(await visit(port, transport, { authorization: `Bearer ${token}` }), "ada: hello")
          assert.strictEqual(await visit(port, transport, {}), status(401))
          assert.strictEqual(await visit(port, transport, { cookie: "session=guess" }), status(403))
          assert.strictEqual(await visit(port, transport, { authorization: `Bearer ${forged}` }), status(403))
          assert.strictEqual(
            await visit(port, transport, { cookie: cookie!, origin: "http://evil.example" }),
            status(403)
          )
        }

        const socket = new Socket(`ws://127.0.0.1:${port}`, { extraHeaders: { cookie: cookie! } })
        const closed = new Promise((resolve) => socket.on("close", resolve))
        await within(new Promise<void>((resolve) => socket.on("open", () => resolve())), "a connection")
        const signedOut = await fetch(`http://127.0.0.1:${port}/session`, {
          method: "DELETE",
          headers: { cookie: cookie! }
        })
        assert.strictEqual(signedOut.status, 204)
        await within(closed, "the end of what was signed out")
        assert.strictEqual(await visit(port, "polling", { cookie: cookie! }), "403")
        assert.strictEqual(await program.end("SIGTERM"), interrupted)
      })
    )
  })
})
