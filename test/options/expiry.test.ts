/**
 * The one fiber that keeps the time of all bodies, of all upgrades, or of all windows, on the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Expiry } from "../../src/internal/server/expiry.ts"

/** What is due a second after it began, and what has expired. */
const make = Effect.fnUntraced(function*(expire: (item: string) => void = () => {}) {
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const expired: Array<string> = []
  let fibers = 0
  const expiry = new Expiry<string>(1_000, {
    now: () => clock.currentTimeMillisUnsafe(),
    fork: (effect) => {
      fibers++
      return fork(Effect.ensuring(effect, Effect.sync(() => fibers--)))
    }
  }, (item) => {
    expired.push(item)
    expire(item)
  })
  /** What has expired since the last time, and how many fibers there are. */
  const look = () => [expired.splice(0), fibers] as const
  return { expiry, look }
})

describe("what is due", () => {
  it.effect("expires when its time is over, and not before, what began together in that order", () =>
    Effect.gen(function*() {
      const { expiry, look } = yield* make()
      for (const item of ["a", "b"]) expiry.add(item)
      yield* TestClock.setTime(1)
      expiry.add("c")
      yield* TestClock.setTime(999)
      assert.deepStrictEqual(look(), [[], 1])
      yield* TestClock.setTime(1_000)
      assert.deepStrictEqual(look(), [["a", "b"], 1])
      yield* TestClock.setTime(1_001)
      assert.deepStrictEqual(look(), [["c"], 0])
      expiry.add("d")
      yield* TestClock.setTime(2_001)
      assert.deepStrictEqual(look(), [["d"], 0])
    }))

  it.effect("does not expire once it is cancelled; after it has, to cancel it changes nothing", () =>
    Effect.gen(function*() {
      const { expiry, look } = yield* make()
      const [a, , c] = ["a", "b", "c"].map((item) => expiry.add(item))
      a!.cancel()
      yield* TestClock.setTime(1_000)
      assert.deepStrictEqual(look(), [["b", "c"], 0])
      expiry.add("d")
      c!.cancel()
      yield* TestClock.setTime(2_000)
      assert.deepStrictEqual(look(), [["d"], 0])
    }))

  it.effect("may cancel what is due at once with it", () =>
    Effect.gen(function*() {
      const { expiry, look } = yield* make(() => b.cancel())
      expiry.add("a")
      const b = expiry.add("b")
      yield* TestClock.setTime(1_000)
      assert.deepStrictEqual(look(), [["a"], 0])
    }))

  it.effect("can be first made to expire early, which the rest does not notice", () =>
    Effect.gen(function*() {
      const { expiry, look } = yield* make()
      expiry.expireFirst()
      expiry.add("a")
      expiry.add("b")
      yield* TestClock.setTime(500)
      expiry.expireFirst()
      assert.deepStrictEqual(look(), [["a"], 1])
      expiry.add("c")
      yield* TestClock.setTime(1_000)
      assert.deepStrictEqual(look(), [["b"], 1])
      yield* TestClock.setTime(1_500)
      assert.deepStrictEqual(look(), [["c"], 0])
    }))

  it.effect("does not take the others with it where it fails, which the log tells", () => {
    const logs: Array<string> = []
    return Effect.gen(function*() {
      const { expiry, look } = yield* make((item) => {
        if (item === "a") throw new Error("no")
      })
      for (const item of ["a", "b"]) expiry.add(item)
      yield* TestClock.setTime(1_000)
      assert.deepStrictEqual(look(), [["a", "b"], 0])
      assert.lengthOf(logs, 1)
      assert.include(logs[0], "What was due failed")
      assert.include(logs[0], "Error: no")
    }).pipe(
      Effect.provide(
        Logger.layer([Logger.make(({ cause, message }) => void logs.push(`${message} ${Cause.pretty(cause)}`))])
      )
    )
  })
})
