import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { runFuzz } from "./fuzz.ts"
import { intents } from "./intents.ts"
import { Random } from "./random.ts"
import { Siege } from "./siege.ts"

describe("the fuzzer", () => {
  it("makes the same choices from the same seed", () => {
    const choices = (seed: number) => {
      const random = new Random(seed)
      return Array.from({ length: 100 }, () => random.fork().below(1_000))
    }
    assert.deepStrictEqual(choices(7), choices(7))
    assert.notDeepEqual(choices(7), choices(8))
  })

  it("finds nothing: the server lives, its registry is right, and bystanders miss no message", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000)
    const report = await runFuzz({ seed, seconds: 6, rounds: Infinity, count: 80 })
    assert.isAbove(report.inputs, 50)
    assert.isAbove(report.messages, 50)
  }, 60_000)
})

describe("memory and the turns of the event loop stay within bounds, and bystanders and neighbours notice nothing of", () => {
  const seed = 1
  let siege: Siege
  beforeAll(async () => {
    siege = await Siege.begin(seed)
  }, 60_000)
  afterAll(() => siege.stop())

  for (const name of Object.keys(intents)) {
    it(name, async () => {
      await siege.run(name, seed, 0.4)
    }, 60_000)
  }

  it(
    "all of these: nothing is left of them, and nobody who holds on to the servers keeps them from their end",
    async () => {
      assert.isAbove((await siege.end(seed)).messages, 50)
    },
    60_000
  )
})
