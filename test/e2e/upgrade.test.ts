/**
 * Messages both ways before, while and after a client upgrades: each arrives once, in order. `STRESS=1` repeats it a
 * hundred times.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Socket } from "../../src/index.ts"
import { EngineClient } from "../kit/client.ts"
import { pause, within } from "../kit/events.ts"
import { type AppFactory, withServer } from "../kit/server.ts"

const repetitions = process.env["STRESS"] === undefined ? 10 : 100
const clients = 50
/** How many messages each side sends once it knows of the upgrade. */
const afterwards = 20

/** Sends numbered messages until it is over WebSocket and some more, then how many they were. */
const chatter: AppFactory = (socket, server) =>
  Effect.succeed({
    app: Effect.gen(function*() {
      yield* Effect.forkScoped(
        Socket.forEach(socket, (message) => Effect.sync(() => server.received.put({ sid: socket.id, message })))
      )
      let sent = 0
      let rest = afterwards
      while (rest > 0) {
        yield* Socket.send(socket, `${sent++}`)
        if (yield* Socket.upgraded(socket)) rest--
        if (sent % 3 !== 0) yield* Effect.sleep(sent % 4)
      }
      yield* Socket.send(socket, `end ${sent}`)
      return yield* Effect.never
    })
  })

/** The same from the client's side. */
const converse = async (client: EngineClient): Promise<void> => {
  let upgraded = false
  client.upgraded.then(() => {
    upgraded = true
  })
  let sent = 0
  let rest = afterwards
  while (rest > 0) {
    client.send(`${sent++}`)
    if (upgraded) rest--
    if (sent % 3 !== 0) await pause(sent % 4)
  }
  client.send(`end ${sent}`)
}

const isWhole = (messages: ReadonlyArray<unknown>): void => {
  const last = messages.at(-1)
  assert.match(String(last), /^end \d+$/)
  const count = Number(String(last).slice(4))
  assert.isAbove(count, afterwards)
  assert.deepStrictEqual(messages.slice(0, -1), Array.from({ length: count }, (_, i) => `${i}`))
}

describe("upgrade under load", () => {
  it(
    `${repetitions} times ${clients} clients: every message arrives once, in order`,
    { timeout: repetitions * 10_000 },
    async () => {
      for (let repetition = 0; repetition < repetitions; repetition++) {
        await withServer({ application: chatter }, async (server) => {
          await Promise.all(Array.from({ length: clients }, async () => {
            const client = await EngineClient.connect(server, "upgrade", { awaitUpgrade: false })
            await converse(client)
            await client.messages.find((message) => String(message).startsWith("end"))
            const ofThis = () => server.messagesOf(client.sid)
            await server.received.find((it) => it.sid === client.sid && String(it.message).startsWith("end"))
            isWhole(client.messages.all)
            isWhole(ofThis())
            const socket = await server.socket(client.sid)
            assert.strictEqual(await server.run(Socket.transport(socket)), "websocket")
          }))
          await within(Promise.all([...server.clients].map((client) => client.close())), "the end of all clients")
        })()
      }
    }
  )
})
