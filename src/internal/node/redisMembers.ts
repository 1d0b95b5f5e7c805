/**
 * The members of a cluster on many machines, of which each knows by Redis. Nothing of a session goes through it.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { isText } from "../protocol/expectation.ts"
import type { OptionsError } from "../protocol/optionsError.ts"
import { see } from "../protocol/see.ts"
import { Others } from "../server/cluster.ts"
import { checker, structOf } from "../server/optionsSchema.ts"
import type { Members } from "./memberSockets.ts"
import {
  duration,
  hasHost,
  isPort,
  makeNetworkMembers,
  neededOptions,
  type NetworkOptions,
  networkOptions,
  Port
} from "./networkMembers.ts"

/**
 * Options of `layerRedis`.
 *
 * @category models
 * @since 0.2.0
 */
export interface RedisOptions extends NetworkOptions {
  /** Where the others reach it, if that is not where it listens: behind a translation of addresses, say. */
  readonly advertise?: { readonly host: string; readonly port?: number | undefined } | undefined
  /** What the names of its keys in Redis begin with. Default: `"engine.io"`. */
  readonly prefix?: string | undefined
  /** How long a member is known that is heard of no more. Default: 5 seconds. */
  readonly timeToLive?: Duration.Input | undefined
}

const Entry = Schema.fromJsonString(
  Schema.Struct({ self: Schema.NonEmptyString, host: Schema.NonEmptyString, port: Port })
)
const decode = Schema.decodeUnknownOption(Entry)

/** Notes a member until its time is over, forgets those whose time is, and returns the rest. */
const note = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)`

/** A member that was not listed so often is gone: after a time without Redis, all have to be noted anew. */
const mostMisses = 3

const check = checker(
  "layerRedis",
  "layerRedis",
  structOf({
    ...networkOptions,
    advertise: { expects: "{ host: text, port?: number }", check: hasHost("host", isPort) },
    prefix: { expects: "text", check: isText },
    timeToLive: duration
  }, neededOptions),
  {}
)

export const redisMembers = Effect.fnUntraced(function*(
  options: RedisOptions
): Effect.fn.Return<Members, OptionsError, Redis.Redis | Scope.Scope> {
  yield* check(options)
  const { advertise, listen, prefix = "engine.io", timeToLive = "5 seconds" } = options
  const redis = yield* Redis.Redis
  const millis = Duration.toMillis(timeToLive)
  const others = new Others<Net.NetConnectOpts>()
  const members = yield* makeNetworkMembers(options, others)
  const { self } = members
  const { port } = members.address
  const entry = JSON.stringify({ self, host: advertise?.host ?? listen.host, port: advertise?.port ?? port })
  const key = `${prefix}:members`
  const channel = `${prefix}:joined`

  const misses = new Map<string, number>()
  const malformed = new Set<string>()
  const learn = Effect.fnUntraced(function*(text: string) {
    const found = decode(text)
    if (Option.isNone(found)) {
      if (malformed.has(text)) return undefined
      malformed.add(text)
      yield* Effect.logWarning(
        `What stands in Redis for a member of the cluster is none${see("redis-of-a-cluster")}`,
        text
      )
      return undefined
    }
    const { host, port, self: other } = found.value
    if (other === self) return undefined
    others.set(other, { host, port })
    misses.delete(other)
    return other
  })
  const learnAll = Effect.fnUntraced(function*(all: ReadonlyArray<string>) {
    const listed = new Set(yield* Effect.forEach(all, learn))
    for (const text of malformed) if (!all.includes(text)) malformed.delete(text)
    for (const other of others.keys()) {
      const missed = listed.has(other) ? 0 : (misses.get(other) ?? 0) + 1
      misses.set(other, missed)
      if (missed < mostMisses) continue
      others.delete(other)
      misses.delete(other)
    }
  })
  const pause = millis / 3
  let isLate = false
  const complain = (error: Redis.RedisError | "no answer yet"): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (isLate) return Effect.void
      isLate = true
      return Effect.logWarning(`The members of the cluster cannot be asked for${see("redis-of-a-cluster")}`, error)
    })

  // However late an answer is, it is used: where all of them are, they come as far apart, and members are noted as much longer.
  let took = 0
  const refresh = Effect.fnUntraced(function*(connection: Redis.Connection) {
    const asking = connection.send<ReadonlyArray<string>>("EVAL", note, "1", key, entry, `${millis + took}`)
    const [duration, all] = yield* Effect.timed(
      Effect.raceFirst(asking, Effect.delay(Effect.andThen(complain("no answer yet"), Effect.never), pause))
    )
    yield* learnAll(all)
    took = Math.round(Duration.toMillis(duration))
    if (!isLate || took > pause) return
    isLate = false
    yield* Effect.logInfo("The members of the cluster can be asked for again")
  })

  // What Redis does not answer must not hold up the end: not on the connection that others wait for when they close, nor
  // given up, since Effect's pool then waits for another connection.
  const aside = (
    work: Effect.Effect<void, Redis.RedisError>,
    end: (fiber: Fiber.Fiber<void, unknown>) => Effect.Effect<unknown>
  ) =>
    Effect.acquireRelease(
      Effect.forkDetach(work),
      (fiber) => Effect.timeoutOption(Effect.interruptible(end(fiber)), "1 second")
    )

  // Who joins after the first look at the list is heard of.
  const hears = yield* Deferred.make<void>()
  const heed = Effect.scoped(Effect.gen(function*() {
    const heard = yield* redis.subscribe(channel)
    yield* Deferred.succeed(hears, undefined)
    while (true) {
      const { message } = yield* Queue.take(heard)
      yield* learn(message)
    }
  }))
  yield* aside(Effect.retry(heed, Schedule.spaced("1 second")), Fiber.interrupt)
  yield* Deferred.await(hears)

  const known = yield* Deferred.make<void>()
  const over = yield* Deferred.make<void>()
  const stay = Effect.scoped(Effect.gen(function*() {
    const connection = yield* redis.reserve
    yield* refresh(connection)
    // Nor need the others wait for their next look.
    yield* connection.send("PUBLISH", channel, entry)
    yield* Deferred.succeed(known, undefined)
    while (Option.isNone(yield* Effect.timeoutOption(Deferred.await(over), pause))) yield* refresh(connection)
    yield* connection.send("ZREM", key, entry)
  }))
  const staying = Effect.retry(Effect.tapError(stay, complain), {
    schedule: Schedule.spaced(pause),
    while: () => !Deferred.isDoneUnsafe(over)
  })
  yield* aside(staying, (fiber) => Effect.andThen(Deferred.succeed(over, undefined), Fiber.await(fiber)))
  // Clients come only when this member knows the others.
  yield* Deferred.await(known)
  return members
})
