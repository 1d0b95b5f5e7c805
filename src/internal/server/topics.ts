/**
 * What members tell each other without being asked. Whoever listens to a topic hears the news of each member in their
 * order, first who is there; what is said while there is no link to a member is not heard.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Cluster } from "./cluster.ts"
import type { News } from "./clusterMessages.ts"
import type { Forwarding } from "./forwarding.ts"

type Presences = Extract<News, { readonly _tag: "Snapshot" }>["presences"]

/** What a member has said holds no longer, until it has begun again. */
const gone = { _tag: "Gone" } as const

/** Is told what a member says; without a name, that is this process. */
export type Hear = (news: News | typeof gone, member?: string) => void

interface Topic {
  readonly listeners: Set<(news: News) => void>
  /** Those here who say who is there. */
  readonly hosts: Set<() => Presences>
}

/** How many are told of in one message: who hears of very many serves others in between. */
const mostAtOnce = 100

/** How long after the loss of a link another one is tried, in milliseconds. */
const retryInterval = 1000

/** How long who begins to listen waits for those who hang, in milliseconds. */
const snapshotTimeout = 1000

/** Without types it could be something else, for which the other members would drop the connection. */
export const checkName = (name: string): void => {
  if (typeof name !== "string") throw new TypeError("the name of a room or a topic is text")
}

export class Topics {
  private readonly topics = new Map<string, Topic>()
  private readonly retries = Latch.makeUnsafe(false)
  private readonly cluster: Cluster | undefined
  private readonly forwarding: Forwarding | undefined
  constructor(cluster: Cluster | undefined, forwarding: Forwarding | undefined) {
    this.cluster = cluster
    this.forwarding = forwarding
  }

  /** Tells all who listen, but for `except`. */
  publish(name: string, news: News, except?: Hear): void {
    const { listeners = [] } = this.topics.get(name) ?? {}
    for (const hear of listeners) if (hear !== except) hear(news)
  }

  /** Tells somebody what is published in this process, until the function is called that it returns. */
  tell(name: string, hear: (news: News) => void): () => void {
    const { hosts, listeners } = this.topic(name)
    listeners.add(hear)
    const all = Array.from(hosts, (presences) => presences()).flat()
    for (let i = 0, isLast = false; !isLast; i += mostAtOnce) {
      isLast = i + mostAtOnce >= all.length
      hear({ _tag: "Snapshot", exchange: 0, presences: all.slice(i, i + mostAtOnce), isLast })
    }
    return () => {
      listeners.delete(hear)
      this.tidy(name)
    }
  }

  /** Says who is there, to those who come, until the scope closes. */
  host(name: string, presences: () => Presences): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(
      Effect.sync(() => this.topic(name).hosts.add(presences)),
      () =>
        Effect.sync(() => {
          this.topic(name).hosts.delete(presences)
          this.tidy(name)
        })
    ))
  }

  /** Another member is there: those to which there is no link are worth a try. */
  retry(): void {
    this.retries.openUnsafe()
    this.retries.closeUnsafe()
  }

  /** Hears what is published in all members until the scope closes. Those that are known have begun when this is done. */
  readonly listen = Effect.fnUntraced(function*(
    this: Topics,
    name: string,
    hear: Hear
  ): Effect.fn.Return<void, never, Scope.Scope> {
    const { cluster, forwarding, retries } = this
    yield* Effect.acquireRelease(Effect.sync(() => this.tell(name, hear)), (leave) => Effect.sync(leave))
    if (cluster === undefined || forwarding === undefined) return
    const { others } = cluster

    const follow = Effect.fnUntraced(function*(member: string, begun: Deferred.Deferred<void>) {
      while (others.has(member)) {
        yield* forwarding.listen(member, name, (news) => {
          hear(news, member)
          if (news._tag === "Snapshot" && news.isLast) Deferred.doneUnsafe(begun, Effect.void)
        })
        hear(gone, member)
        Deferred.doneUnsafe(begun, Effect.void)
        yield* Effect.raceFirst(Effect.sleep(retryInterval), retries.await)
      }
    })
    const run = yield* FiberMap.makeRuntime<never, string>()
    const start = (member: string): Effect.Effect<void> => {
      const begun = Deferred.makeUnsafe<void>()
      run(member, follow(member, begun), { onlyIfMissing: true })
      return Deferred.await(begun)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => others.watchers.add(start)),
      () => Effect.sync(() => others.watchers.delete(start))
    )
    yield* Effect.timeoutOption(
      Effect.all(Array.from(others.keys(), start), { concurrency: "unbounded", discard: true }),
      snapshotTimeout
    )
  }).bind(this)

  private topic(name: string): Topic {
    let topic = this.topics.get(name)
    if (topic === undefined) this.topics.set(name, topic = { listeners: new Set(), hosts: new Set() })
    return topic
  }

  private tidy(name: string): void {
    const { hosts, listeners } = this.topic(name)
    if (hosts.size === 0 && listeners.size === 0) this.topics.delete(name)
  }
}
