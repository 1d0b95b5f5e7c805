/**
 * Sessions against a model of them: any sequence of what can happen, with what must come of it. `MODEL_RUNS=1000` tries
 * more of them, `MODEL_SEED` and the path that a failure prints try one again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { sink, TestServer } from "../kit/server.ts"
import * as commands from "./commands.ts"
import { initial, Real } from "./session.ts"

const runs = Number(process.env["MODEL_RUNS"] ?? 300)
const seed = process.env["MODEL_SEED"]

const middle = [
  fc.integer({ min: 1, max: 3 }).map(commands.send),
  fc.integer({ min: 1, max: 3 }).map(commands.post),
  ...[
    commands.poll,
    commands.poll,
    commands.frame,
    commands.frame,
    commands.openCandidate,
    commands.openCandidate,
    commands.probe,
    commands.probe,
    commands.swap,
    commands.swap,
    commands.abandon,
    commands.spoil,
    commands.late
  ].map((command) => fc.constant(command))
]

const reconnects = Array.from({ length: 4 }, () => fc.constant(commands.connect))

const ends = [
  commands.closeByClient,
  commands.closeByServer,
  commands.discard,
  commands.abortPoll,
  commands.abortPost,
  commands.overlap,
  commands.garbage,
  commands.heartbeat,
  commands.reset
].map((command) => fc.constant(command))

const sequences = (...last: ReadonlyArray<fc.Arbitrary<fc.AsyncCommand<ReturnType<typeof initial>, Real>>>) =>
  fc.commands([...reconnects, ...middle, ...middle, ...last], { maxCommands: 40, size: "max" })

const check = async (
  sequence: ReturnType<typeof sequences>,
  numRuns: number,
  heartbeat: { readonly pingInterval: number; readonly pingTimeout: number }
): Promise<void> => {
  const server = await TestServer.start({ ...heartbeat, application: sink, upgradeTimeout: 60_000 })
  try {
    await fc.assert(
      fc.asyncProperty(sequence, async (commands) => {
        await fc.asyncModelRun(async () => {
          const real = new Real(server)
          await real.connect()
          return { model: { ...initial(), state: "open" as const }, real }
        }, commands)
        for (const connection of server.connections) connection.socket.destroy()
      }),
      { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }), interruptAfterTimeLimit: 300_000 }
    )
    assert.isAbove(server.opened.all.length, 0)
  } finally {
    await server.stop()
  }
}

describe("a session and its model", () => {
  it("agree on every message, its order, and the reason of the end", async () => {
    await check(sequences(...ends), runs, { pingInterval: 300_000, pingTimeout: 300_000 })
  }, 300_000)

  it("agree on the end of a client that falls silent, wherever it was", async () => {
    const silent = fc.constant(commands.timeout)
    const sequence = sequences(silent, silent, silent, silent)
    await check(sequence, Math.ceil(runs / 100), { pingInterval: 500, pingTimeout: 500 })
  }, 300_000)
})
