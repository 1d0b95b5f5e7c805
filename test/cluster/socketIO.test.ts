/**
 * Socket.IO on several workers, with its own adapter: what one client says, those of all workers hear, without stickiness.
 */
import { io, type Socket } from "socket.io-client"
import { assert, it } from "vitest"
import { eventually, within } from "../kit/events.ts"
import { withProgram } from "../kit/program.ts"

it(
  "Socket.IO reaches the clients of all workers by its own adapter",
  withProgram(["test/cluster/fixtures/socketIO.ts"], async (program) => {
    const { port } = await program.listening()
    await eventually("two workers", () => program.output.match(/listening/g)?.length, (count) => count === 2)
    const modes = [["polling"], ["websocket"], ["polling", "websocket"]]
    const clients = Array.from(
      { length: 12 },
      (_, i) => io(`http://127.0.0.1:${port}`, { transports: modes[i % 3]!, forceNew: true, reconnection: false })
    )
    try {
      const next = <A>(client: Socket, event: string) =>
        within(new Promise<A>((resolve) => client.once(event, resolve)), event)
      await Promise.all(clients.map((client) => next(client, "connect")))
      const pids = await Promise.all(clients.map((client) => client.emitWithAck("worker") as Promise<number>))
      assert.strictEqual(new Set(pids).size, 2)
      for (const [i, client] of clients.entries()) {
        const heard = Promise.all(clients.map((it) => next<string>(it, "said")))
        client.emit("say", `${i}`)
        assert.deepStrictEqual(new Set(await heard), new Set([`${i}`]))
      }
    } finally {
      for (const client of clients) client.close()
    }
  }),
  30_000
)
