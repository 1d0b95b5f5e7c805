/**
 * Several processes that serve the same clients, behind any load balancer: the id of a session names the process that owns
 * it, and a request that reaches another one goes there. Nothing needs sticky sessions.
 *
 * @module
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Redis } from "effect/persistence/Redis"
import * as Stream from "effect/Stream"
import { listedMembers, type MembersOptions } from "./internal/node/listedMembers.ts"
import { redisMembers, type RedisOptions } from "./internal/node/redisMembers.ts"
import { isPrimary, type NodeClusterOptions, primary, worker } from "./internal/node/workers.ts"
import { toMessage } from "./internal/protocol/bytes.ts"
import type { OptionsError } from "./internal/protocol/optionsError.ts"
import { Cluster } from "./internal/server/cluster.ts"
import type { SocketInfo } from "./internal/server/clusterMessages.ts"
import { askAll, askOwner, listAll } from "./internal/server/everywhere.ts"
import { EngineIO } from "./internal/server/service.ts"
import { messagesOn } from "./internal/server/topicMessages.ts"
import type { Message } from "./Packet.ts"
import type { Sendable, SocketId } from "./Socket.ts"

export type { MembersOptions } from "./internal/node/listedMembers.ts"
export type { MemberTls } from "./internal/node/memberWire.ts"
export type { NetworkOptions } from "./internal/node/networkMembers.ts"
export type { RedisOptions } from "./internal/node/redisMembers.ts"
export type { NodeClusterOptions } from "./internal/node/workers.ts"
export { SocketInfo } from "./internal/server/clusterMessages.ts"

/**
 * Serves on all cores of the machine: the program runs once in each of several processes, its workers, which share the
 * port by Node's cluster. The process that was started serves nobody. It replaces workers that die, and ends with them.
 *
 * **Details**
 *
 * Provide it last, so that it is built first: the process that was started gets no further than this layer.
 *
 * Fails with `OptionsError` where an option has a value it cannot have.
 *
 * The function of a handler, its `app` and `onDisconnect` run once for a session, on its worker. `EngineIO.count`,
 * `sockets` and `broadcast` know the sessions of the worker that asks.
 *
 * **Example** (All cores)
 *
 * ```ts
 * import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 * import { createServer } from "node:http"
 *
 * const echo = EngineIO.route("/engine.io/", (socket) =>
 *   Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 * )
 *
 * const program = HttpRouter.serve(echo).pipe(
 *   Layer.provide(EngineIOLive),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
 *   Layer.provide(EngineIOCluster.layerNodeCluster()),
 *   Layer.launch
 * )
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerNodeCluster = (options: NodeClusterOptions = {}): Layer.Layer<never, OptionsError> =>
  Layer.effect(
    Cluster,
    isPrimary
      ? primary(options)
      : worker
  )

/**
 * Serves on several machines, or in several processes that somebody else starts: each is a member, and knows the others by
 * Redis. What clients send never goes through Redis, but straight from one member to the other.
 *
 * Fails with `OptionsError` where an option has a value it cannot have, or nobody can listen at `listen`. Without Redis the
 * layer waits for it; members that know each other go on without it.
 *
 * **Details**
 *
 * Each member listens for the others on an address of its own. Both ends of a connection prove that they know the secret;
 * what follows is not encrypted, so that address belongs in a network of yours, or give `tls`.
 *
 * It keeps one of the connections that `Redis.reserve` has, so that what Redis does not answer holds up nobody else.
 *
 * The function of a handler, its `app` and `onDisconnect` run once for a session, on its member.
 *
 * **Example** (Many machines)
 *
 * ```ts
 * import { NodeHttpServer, NodeRedis } from "@effect/platform-node"
 * import { Config, Effect, Layer } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 * import { createServer } from "node:http"
 *
 * const cluster = Layer.unwrap(Effect.gen(function*() {
 *   const secret = yield* Config.Redacted("CLUSTER_SECRET")
 *   const host = yield* Config.String("PRIVATE_ADDRESS")
 *   return EngineIOCluster.layerRedis({ secret, listen: { host } })
 * })).pipe(Layer.provide(NodeRedis.layer({ url: "redis://redis.internal" })))
 *
 * const echo = EngineIO.route("/engine.io/", (socket) =>
 *   Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 * )
 *
 * const program = HttpRouter.serve(echo).pipe(
 *   Layer.provide(EngineIOLive),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
 *   Layer.provide(cluster),
 *   Layer.launch
 * )
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerRedis = (options: RedisOptions): Layer.Layer<never, OptionsError, Redis> =>
  Layer.effect(Cluster, redisMembers(options))

/**
 * Like `layerRedis`, without Redis: the members know each other by their addresses, from a list or from DNS.
 *
 * Fails with `OptionsError` where an option has a value it cannot have, or nobody can listen at `listen`. It does not wait
 * for members that are not there: it looks for them again, and they for this one.
 *
 * **Details**
 *
 * An address that DNS has no more is looked for no more. A member that was found there is known until it goes, since it may
 * have sessions to end.
 *
 * **Example** (Pods behind a headless service of Kubernetes)
 *
 * ```ts
 * import { Config, Effect, Layer } from "effect"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 *
 * const cluster = Layer.unwrap(Effect.gen(function*() {
 *   const secret = yield* Config.Redacted("CLUSTER_SECRET")
 *   return EngineIOCluster.layerMembers({
 *     secret,
 *     listen: { host: "0.0.0.0" },
 *     members: { dns: "chat-members.default.svc.cluster.local", port: 7000 }
 *   })
 * }))
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerMembers = (options: MembersOptions): Layer.Layer<never, OptionsError> =>
  Layer.effect(Cluster, listedMembers(options))

/**
 * How many sessions are open in all members.
 *
 * @category getters
 * @since 0.2.0
 */
export const count: Effect.Effect<number, never, EngineIO> = Effect.flatMap(
  EngineIO,
  ({ engine }) => askAll(engine, { _tag: "Count", exchange: 0 })
)

/**
 * The open sessions of all members, as they are when the stream comes to them: plain data, since the sockets themselves stay
 * with their owners. Members are asked piece by piece, as much as is taken. One that goes away meanwhile has no more.
 *
 * **Example** (Who polls for more than an hour)
 *
 * ```ts
 * import { Clock, Effect, Stream } from "effect"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 *
 * const program = Effect.gen(function*() {
 *   const now = yield* Clock.currentTimeMillis
 *   yield* EngineIOCluster.sockets.pipe(
 *     Stream.filter(({ connectedAt, transport }) => transport === "polling" && now - connectedAt > 3_600_000),
 *     Stream.runForEach(({ id }) => EngineIOCluster.disconnect(id))
 *   )
 * })
 * ```
 *
 * @category getters
 * @since 0.2.0
 */
export const sockets: Stream.Stream<SocketInfo, never, EngineIO> = Stream.unwrap(
  Effect.map(EngineIO, ({ engine }) => listAll(engine))
)

/**
 * Sends one message to every open session of all members. Returns how many took it: a client whose send buffer is full is
 * skipped, and so are the sessions of a member that goes away meanwhile. Messages of one process arrive in their order.
 *
 * **Example** (A word to everybody)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 *
 * const program = Effect.gen(function*() {
 *   const took = yield* EngineIOCluster.broadcast("back in a minute")
 *   yield* Effect.logInfo(`${took} of ${yield* EngineIOCluster.count} were told`)
 * })
 * ```
 *
 * @category sending
 * @since 0.2.0
 */
export const broadcast = (message: Sendable): Effect.Effect<number, never, EngineIO> =>
  Effect.flatMap(
    EngineIO,
    ({ engine }) => askAll(engine, { _tag: "Broadcast", exchange: 0, payload: toMessage(message) })
  )

/**
 * Closes the session with this id, whichever member owns it, like `Socket.close`. Returns whether there was one.
 *
 * @category closing
 * @since 0.2.0
 */
export const disconnect = (id: SocketId): Effect.Effect<boolean, never, EngineIO> =>
  Effect.flatMap(
    EngineIO,
    ({ engine }) => Effect.map(askOwner(engine, id, { _tag: "Close", exchange: 0, sid: id }), (closed) => closed === 1)
  )

/**
 * Tells every member, this one too, what only the processes of the program are to know: whoever takes `messages` of the
 * topic gets it. It waits for nobody.
 *
 * **Details**
 *
 * What one member publishes on a topic arrives in its order, and once. It is lost for members that cannot be reached at
 * that moment. Nothing is stored.
 *
 * **Example** (A cache that all members forget together)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
 *
 * const cache = new Map<string, string>()
 *
 * const forgetting = EngineIOCluster.messages("forget").pipe(
 *   Stream.runForEach((key) => Effect.sync(() => cache.delete(String(key)))),
 *   Effect.forkScoped
 * )
 *
 * const forget = (key: string) => EngineIOCluster.publish("forget", key)
 * ```
 *
 * @category sending
 * @since 0.2.0
 */
export const publish = (topic: string, message: Sendable): Effect.Effect<void, never, EngineIO> =>
  Effect.map(
    EngineIO,
    ({ engine }) => engine.topics.publish(topic, { _tag: "Published", exchange: 0, payload: toMessage(message) })
  )

/**
 * What members publish on a topic, from the moment the stream runs; of other members, from when there is a link to them,
 * which is a matter of milliseconds. However many listen in one process, another one tells it once. A listener that falls
 * more than 4 096 messages or 16 MiB behind loses the oldest, which a warning in the log tells. The stream does not end by
 * itself.
 *
 * @category receiving
 * @since 0.2.0
 */
export const messages = (topic: string): Stream.Stream<Message, never, EngineIO> =>
  Stream.unwrap(Effect.map(EngineIO, ({ engine }) => messagesOn(engine.topicMessages, topic)))
