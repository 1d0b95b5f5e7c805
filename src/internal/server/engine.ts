/**
 * The running server: the services it is made of, and what is true of it as a whole.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { operations } from "../session/operations.ts"
import type { SessionHost } from "../session/session.ts"
import type { BodyWaiter } from "../transport/contract.ts"
import { Cluster } from "./cluster.ts"
import type { Config } from "./config.ts"
import { type ContextHolder, isRunning } from "./context.ts"
import { Expiry } from "./expiry.ts"
import { Forwarding } from "./forwarding.ts"
import { Noops } from "./noops.ts"
import { Platform } from "./platform.ts"
import { HandshakeRate } from "./rate.ts"
import { Registry } from "./registry.ts"
import { SessionScheduler } from "./sessionScheduler.ts"
import { Supervisor } from "./supervisor.ts"
import { Telemetry } from "./telemetry.ts"
import { makeTopicMessages, type TopicMessages } from "./topicMessages.ts"
import { Topics } from "./topics.ts"

export interface Engine extends SessionHost, ContextHolder {
  readonly settings: Config
  readonly platform: Platform
  readonly registry: Registry
  readonly supervisor: Supervisor
  readonly telemetry: Telemetry
  readonly scheduler: SessionScheduler
  readonly rate: HandshakeRate | undefined
  /** Bodies of POSTs that have begun to arrive. */
  readonly bodies: Expiry<BodyWaiter>
  /** Upgrades in progress. */
  readonly candidates: Expiry<() => void>
  readonly noops: Noops
  /** The other processes that serve with this one, where there are any. */
  readonly cluster: Cluster | undefined
  readonly forwarding: Forwarding | undefined
  readonly topics: Topics
  readonly topicMessages: TopicMessages
  /** The time of day, in milliseconds. */
  currentMillis(): number
  /** Open while no server listens: then nothing is decided any more. */
  readonly stopping: Latch.Latch
  /** Whether new handshakes are refused. */
  draining: boolean
  /** Whether no server listens for us any more. */
  stopped: boolean
  /** Sees to the end of the server since it has stopped; see `drain.ts`. */
  shutdown: Fiber.Fiber<void> | undefined
}

/** A server on the platform and with the registry of the context. */
export const makeEngine = Effect.fnUntraced(function*(
  settings: Config
): Effect.fn.Return<Engine, never, Platform | Registry | Scope.Scope> {
  const platform = yield* Platform
  const registry = yield* Registry
  const cluster = Option.getOrUndefined(yield* Effect.serviceOption(Cluster))
  const clock = yield* Clock.Clock
  const supervisor = new Supervisor(yield* Effect.context<never>(), yield* FiberSet.make())
  const telemetry = new Telemetry(supervisor, registry)
  const origin = clock.monotonicTimeNanosUnsafe()
  const now = () => Number(clock.monotonicTimeNanosUnsafe() - origin) / 1e6
  // The next ping is due so long after the whole millisecond in which the client was heard, or behind it.
  const intervals = [0, 1].map((more) => Effect.sleep(settings.pingInterval + more))
  const expiryHost = { now, fork: supervisor.fork }
  const forwarding = cluster && new Forwarding(cluster, {
    settings,
    telemetry,
    get stopped() {
      return engine.stopped
    }
  })
  const topics = new Topics(cluster, forwarding)
  const engine: Engine = {
    settings,
    platform,
    registry,
    supervisor,
    telemetry,
    metrics: telemetry.metrics,
    scheduler: new SessionScheduler(platform, registry, supervisor),
    rate: settings.handshakeRate && new HandshakeRate(settings.handshakeRate, expiryHost),
    bodies: new Expiry(settings.bodyTimeout, expiryHost, (waiter) => waiter.onBodyLate()),
    candidates: new Expiry(settings.upgradeTimeout, expiryHost, (giveUp) => giveUp()),
    noops: new Noops(expiryHost),
    cluster,
    forwarding,
    topics,
    topicMessages: yield* makeTopicMessages(topics),
    currentMillis: () => clock.currentTimeMillisUnsafe(),
    now,
    sleep: (millis) => intervals[millis - settings.pingInterval] ?? Effect.sleep(millis),
    operations,
    isRunning,
    onEnd: (session, reason) => {
      if (registry.unregister(session)) telemetry.closed(session, reason)
    },
    sharedContext: undefined,
    sharedBase: undefined,
    stopping: Latch.makeUnsafe(false),
    draining: false,
    stopped: false,
    shutdown: undefined
  }
  return engine
})
