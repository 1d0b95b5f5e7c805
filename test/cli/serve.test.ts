/**
 * The command, and `serve`.
 */
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert, describe, it } from "vitest"
import { EngineClient } from "../kit/client.ts"
import { Connection } from "../kit/http.ts"
import { root } from "../kit/program.ts"
import { portOf, unwatched } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"
import { command, ends, file, isPlain, version } from "./command.ts"

const serve = (flags: ReadonlyArray<string>, body: Parameters<typeof command>[1]) => command(["serve", ...flags], body)

describe("the command", () => {
  it("is one that a shell can start", () => {
    assert.match(readFileSync(file, "utf8"), /^#!\/usr\/bin\/env node\n/)
  })

  it("--help names the commands, and shows them", ends(["--help"], 0, /^ {2}serve {6}A server/m, "EXAMPLES\n  # "))
  it("--help of a command names its flags", async () => {
    const flags = {
      serve: "host port path transports ping-interval ping-timeout eio3 cors verbose json",
      connect: "transports header binary wait latency json",
      bench: "connections messages size transports header json"
    }
    const page = readFileSync(join(root, "docs/cli.md"), "utf8")
    for (const [name, names] of Object.entries(flags)) {
      const section = page.split(`## ${name}\n`)[1]!.split("\n## ")[0]!
      const cells = Array.from(section.matchAll(/^\| (`--.*?) \|/gm), ([, cell]) => cell).join()
      assert.sameMembers(Array.from(cells.matchAll(/--([\w-]+)/g), ([, flag]) => flag), names.split(" "))
      await ends([name, "--help"], 0, "EXAMPLES\n  # ", ...names.split(" ").map((flag) => `  --${flag}`))()
    }
  })
  it("completes commands and flags in a shell", ends(["--completions", "bash"], 0, "connect", "--ping-interval"))
  it("--version", ends(["--version"], 0, `effect-engine.io v${version}\n`))
  it(
    "guesses what a misspelt flag was to be",
    ends(["serve", "--prot", "1"], 1, "--prot", /Did you mean.*\n\s+--port\n/)
  )
  it("refuses a port that is none", ends(["serve", "--port", "65536"], 1, "a port from 0 to 65535"))
  it("refuses a path without a slash", ends(["serve", "--path", "socket"], 1, "a path that begins with a slash"))
  it("refuses a path with a pattern", ends(["serve", "--path", "/:room/"], 1, "letters, digits, and"))
  it(
    "refuses an unknown transport",
    ends(["serve", "--transports", "polling,pigeon"], 1, "polling, websocket, or both")
  )
  it("refuses a duration of nothing", ends(["serve", "--ping-interval", "0s"], 1, "a duration above zero"))
  it(
    "refuses a duration without a unit",
    ends(["serve", "--ping-interval", "10"], 1, "with its unit, such as 500ms, 10s")
  )
  it(
    "passes on what the server says of an option",
    ends(["serve", "--ping-timeout", "99999m"], 1, "pingTimeout", "24 days")
  )

  it("says that a port is taken", async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, resolve))
    const port = portOf(other)
    await ends(["serve", "--port", `${port}`], 1, `port ${port} is taken`)()
    other.close()
  })

  it(
    "echoes, shows who comes and goes, and ends on SIGINT",
    serve(["--port", "0"], async (program) => {
      const server = await program.listening()
      const client = await EngineClient.connect(server, "upgrade")
      assert.strictEqual(await client.exchange("a secret"), "a secret")
      const { sid } = client
      await client.close()
      await program.printed(/closed after \d+\.\d s: transport close \(TransportClose/)
      const refused = await fetch(`http://127.0.0.1:${server.port}/engine.io/?EIO=4&transport=polling&sid=${sid}`)
      assert.strictEqual(refused.status, 400)
      await program.printed(/refused {2}code 1, Session ID unknown, sid "[\w-]{6}"…/)
      assert.strictEqual((await fetch(`http://127.0.0.1:${server.port}/`)).status, 404)
      assert.strictEqual(await program.end("SIGINT"), 0)
      const lines = program.output.split("\n").slice(1).map((line) => line.replace(/^\d\d:\d\d:\d\d\.\d{3} {2}/, ""))
      assert.match(lines[0]!, new RegExp(`^${sid.slice(0, 6)}  opened over polling, revision 4, from `))
      assert.strictEqual(lines[1], `${sid.slice(0, 6)}  upgraded to websocket`)
      assert.notInclude(program.output, sid)
      assert.notInclude(program.output, "secret")
    })
  )

  it(
    "--verbose shows requests and packets, and lets no client at the terminal",
    serve(["--port", "0", "--verbose", "--ping-interval", "100ms"], async (program) => {
      const server = await program.listening()
      const client = await EngineClient.connect(server, "websocket")
      await client.exchange("red \u001b[31m, \u009b31m and \u202eback")
      await client.exchange(new Uint8Array([1, 2, 255]))
      await program.printed(/<- pong\n/)
      const { sid } = client
      assert.strictEqual(await program.end("SIGTERM"), 0)
      assert.strictEqual((await client.closed).reason, "transport close")
      const { output } = program
      const id = sid.slice(0, 6)
      assert.include(output, `${id}    GET "/engine.io/?EIO=4&transport=websocket"\n`)
      assert.include(output, `${id}    upgrade: "websocket"\n`)
      const text = "message \"red \\u001b[31m, \\u009b31m and \\u202eback\"\n"
      assert.include(output, `${id}  <- ${text}`)
      assert.include(output, `${id}  -> ${text}`)
      assert.include(output, `${id}  <- message 3 bytes: 01 02 ff\n`)
      assert.include(output, `${id}  -> ping\n`)
      assert.match(output, new RegExp(`${id}  closed after \\d\\.\\d s: forced close \\(ServerShutdown\\)\n`))
      for (const character of "\u001b\u009b\u202e") assert.notInclude(output, character)
      assert.notInclude(output, sid)
    })
  )

  it(
    "prints nothing of a client as it came",
    serve(["--port", "0", "--verbose", "--log-level", "debug"], async (program) => {
      const server = await program.listening()
      const target = (query: string) => `/engine.io/?EIO=4&${query}`
      const refused = await Connection.open(server)
      // A clear screen in both spellings, a second line, marks that turn the direction of text, and one from beyond U+FFFF.
      const all = "%1b%5b2J%c2%9b2J%0a%d8%9c%e2%80%ae%e2%80%a8%f3%a0%81%81"
      for (const query of [`transport=polling&sid=${all}`, `transport=${all}`]) {
        assert.strictEqual((await refused.exchange("GET", target(query))).status, 400)
      }
      await refused.exchange("GET", "/engine.io/?EIO=4&sid=2", { headers: { "x-\u001b": "1" } })
      const headers = { origin: "\u009b2J", "user-agent": "\u009b2J\u00ad", "x-!#$%&'*+.^_`|~": "\u0085" }
      const client = await WebSocketClient.connect(server, { "\u001b[2J": "\u202e" }, { headers })
      for (const text of ["4\u001b[2J\u009b\u200f\u2069\u061c", "6\u001b[2J"]) client.socket.send(text)
      await client.next()
      client.socket.close(4000, "\u001b[2J\u2067")
      await program.printed(/closed after/)
      const polling = await Connection.open(server)
      const { sid } = JSON.parse((await polling.exchange("GET", target("transport=polling"))).text.slice(1)) as {
        readonly sid: string
      }
      await polling.exchange("POST", target(`transport=polling&sid=${sid}`), { body: "\u001b[2J" })
      await program.printed(new RegExp(`${sid.slice(0, 6)} {2}closed after`))
      assert.strictEqual(await program.end("SIGTERM"), 0)
      assert.match(program.output, /sid "\\u001b\[2J\\u009b2"…/)
      assert.match(program.output, /, transport "\\u001b\[2J\\u009b2J\\n\\u061c\\u202e\\u2028\\udb40\\udc41"\n/)
      isPlain(program.output)
    })
  )

  it(
    "--json prints a value in each line, and lets no client at the terminal either",
    serve(["--port", "0", "--json", "--verbose"], async (program) => {
      const [, port] = await program.printed(/^\{"event":"listening","url":"http:\/\/localhost:(\d+)\/engine.io\/"\}\n/)
      const server = unwatched(Number(port))
      const client = await EngineClient.connect(server, "websocket")
      const { sid } = client
      const session = sid.slice(0, 6)
      const text = "red \u001b[31m\u009b31m\u202e\n\u2028"
      await client.exchange(text)
      await client.exchange(new Uint8Array([1, 2, 255]))
      await client.close()
      await program.printed(/"event":"close"/)
      await fetch(`http://127.0.0.1:${port}/engine.io/?EIO=4&transport=polling&sid=${sid}`)
      await program.printed(/"event":"refused"/)
      assert.strictEqual(await program.end("SIGTERM"), 0)
      const values = program.stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)
      const includes = (expected: object) =>
        assert.isTrue(
          values.some((value) => isDeepStrictEqual({ ...value, ...expected }, value)),
          JSON.stringify(expected)
        )
      includes({ event: "open", session, transport: "websocket", revision: 4, remoteAddress: "::ffff:127.0.0.1" })
      includes({ event: "header", session, name: "upgrade", value: "websocket" })
      includes({ event: "received", session, type: "message", text })
      includes({ event: "sent", session, type: "message", base64: "AQL/" })
      includes({ event: "close", session, reason: "TransportClose" })
      includes({ event: "refused", code: 1, message: "Session ID unknown", sid: session })
      assert.strictEqual(program.output, program.stdout)
      isPlain(program.output)
      assert.notInclude(program.output, sid)
    })
  )

  it(
    "--host listens on that address alone",
    serve(["--port", "0", "--host", "127.0.0.1"], async (program) => {
      const { port } = await program.listening()
      assert.include(program.output, `http://127.0.0.1:${port}/engine.io/`)
      assert.strictEqual((await fetch(`http://127.0.0.1:${port}/`)).status, 404)
      const refused = await fetch(`http://127.0.0.2:${port}/`).catch((error: TypeError) => error.cause)
      assert.strictEqual((refused as NodeJS.ErrnoException).code, "ECONNREFUSED")
    })
  )

  it(
    "says of a request without a transport that it has none",
    serve(["--port", "0"], async (program) => {
      const { port } = await program.listening()
      await fetch(`http://127.0.0.1:${port}/engine.io/`)
      await program.printed(/refused {2}code 0, Transport unknown, no transport\n/)
    })
  )

  it(
    "ends without a word when nobody reads what it prints, and tells its clients",
    serve(["--port", "0", "--verbose"], async (program) => {
      const server = await program.listening()
      const client = await EngineClient.connect(server, "websocket")
      program.process.stdout!.destroy()
      await client.send("one line too many")
      assert.strictEqual((await client.closed).reason, "transport close")
      assert.strictEqual(await program.end(), 0)
      assert.notInclude(program.output, "EPIPE")
    })
  )

  it(
    "serves what its flags say",
    serve(["--port", "0", "--path", "/socket", "--transports", "polling", "--cors", "--eio3"], async (program) => {
      const { port } = await program.listening()
      const url = `http://127.0.0.1:${port}/socket/`
      const response = await fetch(`${url}?EIO=3&transport=polling`, { headers: { origin: "http://a.example" } })
      assert.strictEqual(response.headers.get("access-control-allow-origin"), "*")
      assert.match(
        await response.text(),
        /^\d+:0\{"sid":"[^"]+","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000/
      )
      assert.strictEqual((await fetch(`${url}?EIO=4&transport=websocket`)).status, 400)
      assert.strictEqual(await program.end("SIGTERM"), 0)
    })
  )
})
