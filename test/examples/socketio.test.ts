/**
 * The example of Socket.IO, and the program of its guide, before and after.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { io as connect, type Socket } from "socket.io-client"
import { assert, describe, it } from "vitest"
import { Mailbox } from "../kit/events.ts"
import { type Program, root, withProgram } from "../kit/program.ts"
import { next, value } from "../kit/socketIO.ts"

const clientOf = (port: number, transports = ["polling", "websocket"]): Socket =>
  connect(`http://127.0.0.1:${port}`, { forceNew: true, reconnection: false, transports })

describe("the example of Socket.IO", () => {
  it(
    "counts votes while their sockets are there, and refuses as data",
    withProgram(["examples/socketio/main.ts"], async (program) => {
      const { port } = await program.listening()
      const page = await (await fetch(`http://127.0.0.1:${port}/`)).text()
      assert.include(page, "/socket.io/socket.io.min.js")
      const clients = [clientOf(port), clientOf(port, ["websocket"])] as const
      const [first, second] = clients
      const changes = new Mailbox<object>("a change")
      second.on("changed", (tally: object) => changes.put(tally))
      await Promise.all(clients.map((client) => next(client, "connect")))
      assert.deepStrictEqual(await changes.next(), { Tea: 0, Coffee: 0, Water: 0 })
      assert.deepStrictEqual(await first.timeout(5000).emitWithAck("vote", "Tea"), { _tag: "Success", success: 1 })
      assert.deepStrictEqual(await changes.next(), { Tea: 1, Coffee: 0, Water: 0 })
      assert.deepStrictEqual(await first.timeout(5000).emitWithAck("vote", "Tea"), {
        _tag: "Failure",
        failure: { _tag: "SameVote", choice: "Tea" }
      })
      const { failure } = await second.timeout(5000).emitWithAck("vote", "Beer") as { failure: { _tag: string } }
      assert.strictEqual(failure._tag, "InvalidPayload")
      const people = value(second, "people")
      first.disconnect()
      assert.strictEqual(await people, 1)
      assert.deepStrictEqual(await changes.next(), { Tea: 0, Coffee: 0, Water: 0 })
      const ended = next(second, "disconnect")
      assert.strictEqual(await program.end("SIGTERM"), 0)
      await ended
    }, { PORT: "0" })
  )
})

describe("the guide from `new Server(httpServer)`", () => {
  const [, diff] = /```diff\n([^]*?)```/.exec(readFileSync(join(root, "examples/socketio/README.md"), "utf8"))!
  const lines = diff!.split("\n").filter((line) => line !== "")
  const version = (dropped: string) =>
    lines.filter((line) => !line.startsWith(dropped)).map((line) => line.slice(1)).join("\n").replace(
      "listen(3000)",
      "listen(0, () => console.log(`Listening on http://localhost:${httpServer.address().port}`))"
    )

  it("changes five lines", () => {
    assert.strictEqual(lines.filter((line) => line.startsWith("+")).length, 5)
    assert.strictEqual(lines.filter((line) => line.startsWith("-")).length, 1)
  })

  for (const [name, code] of [["before", version("+")], ["after", version("-")]] as const) {
    it(
      `has a program that runs ${name}`,
      withProgram(["--input-type=module", "--eval", code], async (program: Program) => {
        const { port } = await program.listening()
        const client = clientOf(port)
        assert.strictEqual(await client.timeout(5000).emitWithAck("hello", "bob"), "hello bob")
        const ended = value(client, "disconnect")
        await program.end("SIGTERM")
        assert.strictEqual(await ended, "transport close")
      })
    )
  }
})
