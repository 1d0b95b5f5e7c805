import { assert, describe, it } from "@effect/vitest"
import { runFuzz } from "./fuzz.ts"
import { Random } from "./random.ts"

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
