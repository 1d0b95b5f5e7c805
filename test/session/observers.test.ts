/**
 * Those who watch what happens: what waits for one that is slow, and what is left when they look away.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Logger, Stream } from "effect"
import { end, observe, type Observed, publish, watch } from "../../src/internal/session/observers.ts"
import { settled } from "../kit/inMemory.ts"

const MiB = 2 ** 20

/** What happens from now on, and is seen while the latch is open; with what the log has. */
const look = Effect.fnUntraced(function*(observed: Observed<string>, isOver = false) {
  const seen: Array<string> = []
  const logs: Array<string> = []
  const latch = Latch.makeUnsafe(true)
  const fiber = yield* observe(observed, () => isOver).pipe(
    Stream.runForEach((event) => {
      seen.push(event)
      return latch.await
    }),
    Effect.provide(Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* settled
  return { fiber, latch, logs, seen }
})

/** One that has taken a first event, and takes no more until its latch opens. */
const lookSlowly = Effect.fnUntraced(function*(observed: Observed<string>) {
  const observer = yield* look(observed)
  observer.latch.closeUnsafe()
  publish(observed.observers!, "first", 0)
  yield* settled
  assert.deepStrictEqual(observer.seen.splice(0), ["first"])
  return observer
})

const nobody = (): Observed<string> => ({ observers: undefined })

describe("an observer", () => {
  it.effect("acts in a turn of its own, and a watcher on the stack of what happens", () =>
    Effect.gen(function*() {
      const observed = nobody()
      const watched: Array<string> = []
      watch(observed, (event) => watched.push(event))
      const { seen } = yield* look(observed)
      publish(observed.observers!, "one", 0)
      assert.deepStrictEqual([watched, seen], [["one"], []])
      yield* settled
      assert.deepStrictEqual(seen, ["one"])
    }))

  it.effect("goes on when another looks away; nothing is left of the last, and of none where there is a watcher", () =>
    Effect.gen(function*() {
      const observed = nobody()
      const [one, other] = [yield* look(observed), yield* look(observed)]
      yield* Fiber.interrupt(one.fiber)
      publish(observed.observers!, "one", 0)
      yield* settled
      assert.deepStrictEqual([one.seen, other.seen], [[], ["one"]])
      yield* Fiber.interrupt(other.fiber)
      assert.isUndefined(observed.observers)
      const watched: Array<string> = []
      watch(observed, (event) => watched.push(event))
      yield* Fiber.interrupt((yield* look(observed)).fiber)
      assert.isUndefined(observed.observers!.pubsub)
      publish(observed.observers!, "two", 0)
      end(observed.observers!)
      assert.deepStrictEqual(watched, ["two"])
    }))

  it.effect("sees the end after what happened before, and at once where it comes later", () =>
    Effect.gen(function*() {
      const observed = nobody()
      const { fiber, seen } = yield* look(observed)
      publish(observed.observers!, "one", 0)
      end(observed.observers!)
      yield* Fiber.join(fiber)
      yield* Fiber.join((yield* look(observed, true)).fiber)
      assert.deepStrictEqual(seen, ["one"])
    }))
})

describe("for an observer that is slow", () => {
  it.effect("4096 events wait, and then the oldest is lost, which the log tells", () =>
    Effect.gen(function*() {
      const events = Array.from({ length: 4096 }, (_, n) => String(n))
      for (const others of [[], ["last"]]) {
        const observed = nobody()
        const { fiber, latch, logs, seen } = yield* lookSlowly(observed)
        for (const event of [...events, ...others]) publish(observed.observers!, event, 0)
        end(observed.observers!)
        yield* latch.open
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(seen, [...events, ...others].slice(-4096))
        assert.lengthOf(logs, others.length)
        assert.isTrue(logs.every((text) => text.includes("missed 1 events")))
      }
    }))

  it.effect("16 MiB wait, and then the oldest are lost, without what was taken before", () =>
    Effect.gen(function*() {
      const observed = nobody()
      const { latch, logs, seen } = yield* look(observed)
      publish(observed.observers!, "taken", 10 * MiB)
      yield* settled
      latch.closeUnsafe()
      publish(observed.observers!, "taken too", 10 * MiB)
      yield* settled
      for (const event of ["1", "2"]) publish(observed.observers!, event, 8 * MiB)
      yield* latch.open
      yield* settled
      assert.deepStrictEqual([seen.splice(0), logs], [["taken", "taken too", "1", "2"], []])
      latch.closeUnsafe()
      publish(observed.observers!, "taken", 0)
      yield* settled
      for (const event of ["1", "2"]) publish(observed.observers!, event, 8 * MiB)
      publish(observed.observers!, "3", 1)
      yield* latch.open
      yield* settled
      assert.deepStrictEqual(seen, ["taken", "2", "3"])
    }))

  it.effect("one event of any size waits, which one without data does not push out", () =>
    Effect.gen(function*() {
      const observed = nobody()
      const { latch, seen } = yield* lookSlowly(observed)
      for (const [event, size] of [["lost", 1], ["large", 20 * MiB], ["none", 0]] as const) {
        publish(observed.observers!, event, size)
      }
      yield* latch.open
      yield* settled
      assert.deepStrictEqual(seen, ["large", "none"])
    }))
})
