/**
 * The members of a cluster on many machines, of which each knows by Redis. Nothing of a session goes through it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { OptionsError } from "../protocol/optionsError.ts"
import { see } from "../protocol/see.ts"
import { Others } from "../server/cluster.ts"
import type { Members } from "./memberSockets.ts"
import { isPort, makeNetworkMembers, type NetworkOptions, Port } from "./networkMembers.ts"

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
const note = Redis.script((key: string, entry: string, timeToLive: number) => [key, entry, timeToLive], {
  numberOfKeys: 1,
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZRANGE', KEYS[1], 0, -1)`
}).withReturnType<ReadonlyArray<string>>()

/** A member that was not listed so often is gone: after a time without Redis, all have to be noted anew. */
const mostMisses = 3

export const redisMembers = Effect.fnUntraced(function*(
  options: RedisOptions
): Effect.fn.Return<Members, OptionsError, Redis.Redis | Scope.Scope> {
  const { advertise, listen, prefix = "engine.io", timeToLive = "5 seconds" } = options
  if (advertise?.port !== undefined && !isPort(advertise.port)) {
    return yield* new OptionsError({ message: `advertise: ${advertise.port} is no port` })
  }
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
    for (const other of others.keys()) {
      const missed = listed.has(other) ? 0 : (misses.get(other) ?? 0) + 1
      misses.set(other, missed)
      if (missed < mostMisses) continue
      others.delete(other)
      misses.delete(other)
    }
  })
  const refresh = redis.eval(note)(key, entry, millis).pipe(
    Effect.timeout(millis / 3),
    Effect.flatMap(learnAll),
    Effect.tapError((error) =>
      Effect.logWarning(`The members of the cluster cannot be asked for${see("redis-of-a-cluster")}`, error)
    )
  )
  // Who knows nobody does not begin.
  yield* Effect.retry(refresh, Schedule.spaced("1 second")).pipe(Effect.orDie)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(millis / 3), Effect.ignore(refresh))))
  // The others need not wait for their next look at the list, nor we for ours.
  const joined = Effect.scoped(Effect.gen(function*() {
    const heard = yield* redis.subscribe(channel)
    yield* redis.send("PUBLISH", channel, entry)
    while (true) {
      const { message } = yield* Queue.take(heard)
      yield* learn(message)
    }
  }))
  yield* Effect.forkScoped(Effect.retry(joined, Schedule.spaced("1 second")))
  yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(redis.send("ZREM", key, entry), "1 second")))
  return members
})
