/**
 * `bench`, in a process of its own.
 */
import { assert, describe, it } from "vitest"
import { Program } from "../kit/program.ts"
import { withReference } from "../kit/reference.ts"
import { idle, type Target, withServer } from "../kit/server.ts"
import { command, ends, file } from "./command.ts"

const bench = ({ port }: Target, flags: ReadonlyArray<string>, body: (program: Program) => void) =>
  command(["bench", `127.0.0.1:${port}`, ...flags], async (program) => {
    assert.strictEqual(await program.end(), 0, program.output)
    body(program)
  })()

describe("bench", () => {
  it(
    "shows how long a server takes to answer",
    withServer({}, (server) =>
      bench(server, ["-c", "3", "-n", "7", "--size", "200"], (program) => {
        assert.match(program.stdout, /^21 messages of 200 characters in [\d.]+ s, \d+ a second\n/)
        assert.match(program.stdout, /\n +count +p50 +p90 +p99 +max\n/)
        assert.match(program.stdout, /\nconnect +3( +[\d.]+ ms){4}\n/)
        assert.match(program.stdout, /\nround trip +21( +[\d.]+ ms){4}\n/)
        assert.strictEqual(program.output, program.stdout)
        assert.strictEqual(server.received.all.length, 21)
      }))
  )

  it("measures the reference too, by polling, and prints JSON", () =>
    withReference(
      {},
      (server) =>
        bench(server, ["-c", "2", "-n", "5", "--transports", "polling", "--json"], (program) => {
          const { connections, failures, messages } = JSON.parse(program.stdout)
          assert.strictEqual(connections.count, 2)
          assert.deepInclude(messages, { count: 10, size: 64 })
          const { max, p50, p90, p99 } = messages.millis
          assert.deepStrictEqual([p50, p90, p99, max].sort((a, b) => a - b), [p50, p90, p99, max])
          assert.deepStrictEqual(failures, [])
        })
    ))

  it(
    "says which connections failed, and exits with the code of connect",
    withServer(
      { maxSessions: 2 },
      ({ port }) =>
        command(["bench", `127.0.0.1:${port}`, "-c", "3", "-n", "2"], async (program) => {
          assert.strictEqual(await program.end(), 2)
          assert.match(program.stdout, /\nconnect +2 /)
          assert.include(program.output, "1 of 3 connections failed: no connection: Unexpected server response: 503")
        })()
    )
  )

  it("refuses to do nothing", ends(["bench", "localhost", "-c", "0"], 1, "a number from 1 on"))

  it(
    "draws its progress on a terminal",
    withServer({ application: idle }, async ({ port }) => {
      const line = `${process.execPath} ${file} bench 127.0.0.1:${port}`
      const program = new Program(["-qec", line, "/dev/null"], { TERM: "xterm" }, "script")
      await program.printed(/\[={0,30} *\] \d+ %/)
      program.process.kill()
      await program.exitCode
    })
  )
})
