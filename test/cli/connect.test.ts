/**
 * `connect`, in a process of its own, against servers of ours and of the reference.
 */
import { Effect } from "effect"
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { EngineIO, Socket } from "../../src/index.ts"
import { Program, root, withProgram } from "../kit/program.ts"
import { FaultProxy } from "../kit/proxy.ts"
import { withReference } from "../kit/reference.ts"
import { idle, portOf, sink, type Target, TestServer, withServer } from "../kit/server.ts"
import { command, ends, file, isPlain } from "./command.ts"

const connect = (
  { port }: Target | FaultProxy,
  flags: ReadonlyArray<string>,
  body: (program: Program) => Promise<void>
) => command(["connect", `127.0.0.1:${port}`, ...flags], body)()

const valuesOf = ({ stdout }: Program) =>
  stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)

const refused = Effect.fail(new EngineIO.Forbidden({ message: "no" }))

/** What a terminal would act on. */
const steering = "\u001b[2J\u009b2J\u202e\n\u2028\t"

/** Sends lines, and ends stdin when all have come back. */
const converse = async (program: Program, lines: ReadonlyArray<string>): Promise<void> => {
  program.say(...lines)
  await program.printed(new RegExp(lines.at(-1)!))
  program.process.stdin!.end()
  assert.strictEqual(await program.end(), 0, program.output)
}

describe("connect", () => {
  for (const transports of ["polling", "websocket", "polling,websocket"]) {
    it(`sends lines to engine.io, and prints what comes back (${transports})`, () =>
      withReference({}, (server) =>
        connect(server, ["--transports", transports, "--wait", "1ms"], async (program) => {
          await converse(program, ["hello", "", "grüße €", "last"])
          assert.strictEqual(program.stdout, "hello\n\ngrüße €\nlast\n")
          assert.match(program.output, /^[\w-]{6} {2}open over \w+ after [\d.]+ ms; .*; at most \d+ bytes\n/)
          assert.match(program.output, /\nclosed after \d\.\d s: stdin has ended\n$/)
        })))
  }

  it(
    "--json prints what happens, with times",
    withServer({}, (server) =>
      connect(server, ["--json", "--latency", "--wait", "1ms"], async (program) => {
        await program.printed(/"event":"upgrade"/)
        await converse(program, ["hello"])
        const values = valuesOf(program)
        assert.deepStrictEqual(values.map(({ event }) => event), ["open", "upgrade", "message", "close"])
        const [opened, upgraded, message, closed] = values
        assert.deepInclude(opened, { transport: "polling", upgrades: ["websocket"], pingInterval: 25_000 })
        assert.strictEqual(upgraded!["transport"], "websocket")
        assert.strictEqual(message!["text"], "hello")
        assert.strictEqual(closed!["why"], "stdin has ended")
        for (const { millis } of values) assert.isAbove(millis as number, 0)
        assert.strictEqual(program.output, program.stdout)
      }))
  )

  it(
    "--binary sends and prints bytes, and --latency says how long each message took",
    withServer({}, (server) =>
      connect(server, ["--binary", "--latency", "--wait", "1ms"], async (program) => {
        program.say("%%")
        await converse(program, ["AQL/"])
        assert.strictEqual(program.stdout, "AQL/\n")
        assert.include(program.output, "not sent: no base64\n")
        assert.match(program.output, /^after [\d.]+ ms$/m)
      }))
  )

  it(
    "--header goes with every request",
    withServer(
      { allowRequest: ({ headers }) => headers["x-a"] === "b: c" && headers["x-d"] === "e" ? Effect.void : refused },
      (server) =>
        connect(server, ["--header", "x-a: b: c", "-H", "x-d:e", "--wait", "1ms"], async (program) => {
          await program.printed(/upgraded to websocket/)
          await converse(program, ["hello"])
        })
    )
  )

  it(
    "delivers all that was sent before stdin ended",
    withServer(
      { application: sink },
      (server) =>
        connect(server, ["--wait", "1ms", "--transports", "polling"], async (program) => {
          const lines = Array.from({ length: 1000 }, (_, index) => String(index))
          program.say(...lines)
          program.process.stdin!.end()
          assert.strictEqual(await program.end(), 0)
          const { id } = await server.opened.next()
          assert.strictEqual(await server.reasonText(id), "transport close")
          assert.deepStrictEqual(server.messagesOf(id), lines)
        })
    )
  )

  it(
    "tells the server when it is interrupted",
    withServer({}, async (server) => {
      for (const transports of ["polling", "websocket"]) {
        await connect(server, ["--transports", transports], async (program) => {
          await program.printed(/open over/)
          assert.strictEqual(await program.end("SIGINT"), 0)
          const { id } = await server.opened.next()
          assert.strictEqual(await server.reasonText(id), "transport close")
        })
      }
    })
  )

  it(
    "ends without a word when nobody reads what it prints",
    withServer({}, (server) =>
      connect(server, [], async (program) => {
        await program.printed(/open over/)
        program.process.stdout!.destroy()
        program.say("one", "two")
        assert.strictEqual(await program.end(), 0)
        assert.notInclude(program.output, "EPIPE")
      }))
  )

  it(
    "shows nothing of a server as it came",
    withServer({ application: (socket) => Effect.succeed({ app: Socket.send(socket, steering) }) }, async (server) => {
      for (const flags of [[], ["--json"]]) {
        await connect(server, flags, async (program) => {
          assert.strictEqual(await program.end(), 3)
          isPlain(program.output)
          if (flags.length === 0) {
            assert.strictEqual(program.stdout, "\\u001b[2J\\u009b2J\\u202e\\n\\u2028\\t\n")
          } else assert.strictEqual(valuesOf(program).find(({ event }) => event === "message")!["text"], steering)
        })
      }
    })
  )

  it("shows nothing of an answer that is no Engine.IO as it came", async () => {
    const http = createServer(({ url }, response) => {
      if (url!.startsWith("/refused")) response.writeHead(403).end(steering)
      else response.end(`0{${steering}`)
    })
    await new Promise<void>((resolve) => http.listen(0, resolve))
    const says = (path: string, code: number, text: string) =>
      command(["connect", `localhost:${portOf(http)}${path}`], async (program) => {
        assert.strictEqual(await program.end(), code, program.output)
        assert.include(program.output, text)
        isPlain(program.output)
      })()
    await says("/refused", 2, "status 403, \"\\u001b[2J")
    await says("/", 2, "no connection: server error")
    http.close()
  })

  describe("exits with", () => {
    it(
      "1 for a URL that is none",
      ends(["connect", "ftp://localhost"], 1, "an http, https, ws or wss URL", "docs/errors.md")
    )
    it("1 for a header that is none", ends(["connect", "localhost", "--header", "x"], 1, "a name and a value"))

    for (const transports of ["polling", "websocket"]) {
      it(`2 when nobody listens (${transports})`, async () => {
        const server = await TestServer.start()
        const { port } = server
        await server.stop()
        await ends(
          ["connect", `127.0.0.1:${port}`, "--transports", transports],
          2,
          `connect ECONNREFUSED 127.0.0.1:${port}`
        )()
      })

      it(
        `2 when it is refused (${transports})`,
        withServer(
          { allowRequest: () => refused },
          ({ port }) =>
            ends(["connect", `127.0.0.1:${port}`, "--transports", transports], 2, "no connection: ", "403")()
        )
      )
    }

    it(
      "3 when the server closes",
      withServer(
        { application: () => Effect.succeed({ app: Effect.void }) },
        (server) =>
          connect(server, [], async (program) => {
            assert.strictEqual(await program.end(), 3)
            assert.match(program.output, /closed after \d\.\d s: transport closed by the server\n$/)
          })
      )
    )

    it(
      "4 when the server falls silent",
      withServer({ application: idle, pingInterval: "50 millis", pingTimeout: "100 millis" }, async (server) => {
        const proxy = await FaultProxy.start(server)
        await connect(proxy, [], async (program) => {
          await program.printed(/open over/)
          proxy.fault = "silence"
          assert.strictEqual(await program.end(), 4)
          assert.match(program.output, /closed after \d\.\d s: ping timeout, code 1006\n$/)
        })
        await proxy.stop()
      })
    )
  })

  it("says what to install where the client is missing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "effect-engine.io-"))
    try {
      for (const name of ["dist", "package.json"]) cpSync(join(root, name), join(folder, name), { recursive: true })
      mkdirSync(join(folder, "node_modules"))
      for (const name of ["effect", "@effect", "ws", "negotiator"]) {
        symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name))
      }
      await withProgram([join(folder, "dist/internal/cli/main.js"), "connect", "localhost"], async (program) => {
        assert.strictEqual(await program.end(), 1)
        assert.include(program.output, "connect needs the package engine.io-client: npm install engine.io-client")
      })()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it(
    "has colours on a terminal alone, and none with NO_COLOR",
    withServer({}, async ({ port }) => {
      for (const [noColor, hasColours] of [["", true], ["1", false]] as const) {
        // Node gives no colours where CI is set.
        const line = `env -u CI ${process.execPath} ${file} connect 127.0.0.1:${port} --wait 1ms </dev/null`
        const program = new Program(
          ["-qec", line, "/dev/null"],
          { NO_COLOR: noColor, TERM: "xterm-256color" },
          "script"
        )
        assert.strictEqual(await program.end(), 0, program.output)
        assert.include(program.output, "stdin has ended")
        assert.strictEqual(program.output.includes("\u001b["), hasColours)
      }
    })
  )
})
