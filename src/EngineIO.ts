/**
 * The Engine.IO server: a service that holds the sessions, and handlers that mount it on a router.
 *
 * @module
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServer } from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { SocketServer } from "effect/socket/SocketServer"
import * as Stream from "effect/Stream"
import { Forbidden } from "./HandshakeError.ts"
import { attach as attachTo, type NodeServer } from "./internal/node/attach.ts"
import type { AttachOptions } from "./internal/node/attachOptions.ts"
import { type NodeHandlers, toNodeHandlers as makeNodeHandlers } from "./internal/node/nodeHandlers.ts"
import { layer as nodePlatform } from "./internal/node/nodePlatform.ts"
import { shorten } from "./internal/node/shortcut.ts"
import { accept, type WebTransportRequest } from "./internal/server/acceptWebTransport.ts"
import { broadcast as broadcastTo, type BroadcastOptions } from "./internal/server/broadcast.ts"
import { resolve } from "./internal/server/config.ts"
import { drain as drainSessions } from "./internal/server/drain.ts"
import type { EngineEvent } from "./internal/server/events.ts"
import { type Factory, makeRouteHandler } from "./internal/server/namedHandler.ts"
import type { Options, OptionsError, ScalarOptions } from "./internal/server/options.ts"
import { find, layerLocal } from "./internal/server/registry.ts"
import { route as addRoute, serve as serveAlone } from "./internal/server/routes.ts"
import { EngineIO, layer as server } from "./internal/server/service.ts"
import type { SocketApp } from "./internal/server/socketApp.ts"
import { layer as socketServer } from "./internal/server/socketServer.ts"
import type { WebTransportSession } from "./internal/transport/webTransportSession.ts"
import type { Sendable, Socket, SocketId } from "./Socket.ts"

export type { NodeServer } from "./internal/node/attach.ts"
export type { AttachOptions } from "./internal/node/attachOptions.ts"
export type { Middleware } from "./internal/node/middleware.ts"
export type { NodeHandlers } from "./internal/node/nodeHandlers.ts"
export { OptionsError } from "./internal/protocol/optionsError.ts"
export type { WebTransportRequest } from "./internal/server/acceptWebTransport.ts"
export type { BroadcastOptions } from "./internal/server/broadcast.ts"
export type { EngineEvent } from "./internal/server/events.ts"
export {
  type BufferLimit,
  type CookieOptions,
  type CorsOptions,
  type HandshakeRate,
  type Options,
  type PerMessageDeflateOptions,
  type ResponseInfo,
  type ScalarOptions
} from "./internal/server/options.ts"
export { EngineIO } from "./internal/server/service.ts"
export type { SocketApp } from "./internal/server/socketApp.ts"
export { makeSocketServer } from "./internal/server/socketServer.ts"
export type {
  WebTransportReadable,
  WebTransportSession,
  WebTransportStream,
  WebTransportWritable
} from "./internal/transport/webTransportSession.ts"
export { Forbidden }

/**
 * The server with the given options. Its scope owns every session: when it closes, they are ended.
 *
 * Fails with `OptionsError` when an option has a value it cannot have.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(options: Options<E, R> = {}): Layer.Layer<EngineIO, OptionsError | E, R> =>
  Layer.unwrap(Effect.map(
    resolve(options),
    // Another platform, or a registry that knows other processes too, takes the place of one of these.
    (config) => server(config).pipe(Layer.provide([nodePlatform(config), layerLocal]))
  ))

/**
 * The server with default options.
 *
 * @category layers
 * @since 0.1.0
 */
export const EngineIOLive: Layer.Layer<EngineIO, OptionsError> = layer()

/**
 * The server with options read through `Config`, so that the environment can set them; hooks and lists stay code.
 *
 * **Example** (Options from the environment)
 *
 * ```ts
 * import { Config } from "effect"
 * import { EngineIO } from "effect-engine.io"
 *
 * const layer = EngineIO.layerConfig({
 *   pingInterval: Config.Duration("PING_INTERVAL").pipe(Config.withDefault("25 seconds")),
 *   maxPayload: Config.Int("MAX_PAYLOAD").pipe(Config.withDefault(1_000_000))
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <E = never, R = never>(
  scalars: Config.Wrap<ScalarOptions>,
  hooks?: Omit<Options<E, R>, keyof ScalarOptions>
): Layer.Layer<EngineIO, OptionsError | Config.ConfigError | E, R> =>
  Layer.unwrap(Effect.map(Config.unwrap(scalars), (options) => layer<E, R>({ ...hooks, ...options })))

/**
 * Serves Engine.IO on any route of `HttpRouter` (method `"*"`, the mounted path).
 *
 * The function runs once for every handshake, in the context of its request: authentication lives here. Fail with
 * `Forbidden` to answer 403, or with an `HttpServerResponse` to answer with it; other failures are the router's. The
 * session exists only after it has succeeded. See `SocketApp` for what it returns.
 *
 * A session belongs to the handler that opened it: through another its id is unknown. Handlers that are built while a
 * request is handled, as by `Effect.suspend`, are one on the same route. Without a router, build yours once.
 *
 * **Details**
 *
 * Polls and posts of open sessions go past the router where nothing stands between it and the Node server: no middleware,
 * no log of requests, no tracer. They cost a fifth less then.
 *
 * **Example** (Echo)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { EngineIO, Socket } from "effect-engine.io"
 *
 * const echo = EngineIO.handler((socket) =>
 *   Effect.succeed({
 *     app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
 *     onDisconnect: (reason) => Effect.logInfo(`${socket.handshake.remoteAddress} left: ${reason._tag}`)
 *   })
 * )
 *
 * const route = HttpRouter.add("*", "/engine.io/", echo)
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const handler = <A extends SocketApp, E, R>(
  f: (socket: Socket) => SocketApp.Decision<A, E, R>
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  Exclude<E, Forbidden | HttpServerResponse.HttpServerResponse>,
  EngineIO | HttpServerRequest | R | SocketApp.Services<A>
> => shorten(makeRouteHandler(f as Factory))

/**
 * Mounts `handler(f)` on the router at `path`, with and without a trailing slash.
 *
 * @category handlers
 * @since 0.1.0
 */
export const route = <A extends SocketApp, E, R>(
  path: HttpRouter.PathInput,
  f: (socket: Socket) => SocketApp.Decision<A, E, R>
) => addRoute(path, handler(f))

/**
 * A `SocketServer` whose sockets are the sessions of a route, for everything in Effect that takes one: `effect/rpc`,
 * `effect/devtools`. A client needs no WebSocket to reach it.
 *
 * **Details**
 *
 * It mounts the route like `route`, and is otherwise the server of `makeSocketServer`.
 *
 * **Example** (An RPC server)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { HttpRouter } from "effect/http"
 * import { Rpc, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
 * import { EngineIO, EngineIOLive } from "effect-engine.io"
 *
 * const Greetings = RpcGroup.make(Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String }))
 *
 * const rpc = RpcServer.layer(Greetings).pipe(
 *   Layer.provide(Greetings.toLayer({ Greet: ({ name }) => Effect.succeed(`Hello ${name}`) })),
 *   Layer.provide(RpcServer.layerProtocolSocketServer),
 *   Layer.provide(EngineIO.layerSocketServer("/rpc/")),
 *   Layer.provide(RpcSerialization.layerJson)
 * )
 *
 * const server = HttpRouter.serve(rpc).pipe(Layer.provide(EngineIOLive))
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerSocketServer = (
  path: HttpRouter.PathInput
): Layer.Layer<
  SocketServer,
  never,
  HttpServer | HttpRouter.HttpRouter | HttpRouter.Request<"Requires", EngineIO>
> => socketServer((socketApp) => route(path, socketApp))

/**
 * A server that does nothing but Engine.IO: `route(path, f)`, and `501 Not Implemented` for every other request. It logs
 * where it listens.
 *
 * @category handlers
 * @since 0.1.0
 */
export const serve = <A extends SocketApp, E, R>(
  path: HttpRouter.PathInput,
  f: (socket: Socket) => SocketApp.Decision<A, E, R>
) => serveAlone(path, handler(f))

/**
 * The listeners of a Node server, for a framework of which you know better than `attach` where they belong. What parses
 * bodies comes after them, or leaves text or bytes in `request.body`. Dies with `OptionsError` where the options are wrong.
 *
 * @category handlers
 * @since 0.1.0
 */
export const toNodeHandlers = <A extends SocketApp, E, R>(
  f: (socket: Socket) => SocketApp.Decision<A, E, R>,
  options: Pick<AttachOptions, "middleware"> = {}
): Effect.Effect<
  NodeHandlers,
  never,
  EngineIO | Scope.Scope | Exclude<R | SocketApp.Services<A>, HttpServerRequest>
> => makeNodeHandlers(f as Factory, options)

/**
 * Serves Engine.IO on a Node server that exists already, next to what listens there, until the scope closes. Requests
 * below the path are ours alone; upgrades elsewhere that nobody answers are closed. When the scope closes, the sessions
 * opened here are ended as on a shutdown. Dies with `OptionsError` where an option is wrong.
 *
 * **Example** (Next to Express)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
 * import express from "express"
 * import { createServer } from "node:http"
 *
 * const server = createServer(express())
 *
 * const program = EngineIO.attach(server, (socket) =>
 *   Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 * ).pipe(
 *   Effect.andThen(Effect.sync(() => server.listen(3000))),
 *   Effect.andThen(Effect.never),
 *   Effect.scoped,
 *   Effect.provide(EngineIOLive)
 * )
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const attach = <A extends SocketApp, E, R>(
  server: NodeServer,
  f: (socket: Socket) => SocketApp.Decision<A, E, R>,
  options: AttachOptions = {}
): Effect.Effect<void, never, EngineIO | Scope.Scope | Exclude<R | SocketApp.Services<A>, HttpServerRequest>> =>
  attachTo(server, f as Factory, options)

/**
 * Serves one WebTransport session, which an HTTP/3 library of your choice has accepted; `"webtransport"` has to be among
 * the option `transports`. Call it with every session that arrives: it returns at once, and nothing has to be forked.
 *
 * **Details**
 *
 * The session is served in the scope: give it that of the listener, not one for each session. When the scope closes,
 * the session is closed like on a shutdown, after what it had accepted is delivered. Nothing the session or its client
 * does is a failure here.
 *
 * All guards apply, and a refused session is closed with the status and the message of the refusal. `f` and the options
 * that see a request get one made of the third argument, so hand over what the library knows: without `headers` there
 * is no `Origin` to check and no cookie.
 *
 * **Gotchas**
 *
 * A client that began with polling upgrades to WebTransport only where its session was opened with the same function:
 * pass one `f`, not two that look alike, to `handler` (or `route`, `serve`, `attach`) and to `acceptWebTransport`.
 *
 * **Example** (Sessions of an HTTP/3 server)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { EngineIO, Socket } from "effect-engine.io"
 *
 * const echo = (socket: Socket.Socket) =>
 *   Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 *
 * // The same function opens the sessions that begin with polling.
 * const handler = EngineIO.handler(echo)
 *
 * const serve = (sessions: ReadableStream<EngineIO.WebTransportSession>) =>
 *   Stream.fromReadableStream({ evaluate: () => sessions, onError: (error) => error }).pipe(
 *     Stream.runForEach((session) => EngineIO.acceptWebTransport(session, echo, { url: "/engine.io/" }))
 *   )
 * ```
 *
 * @category handlers
 * @since 0.1.0
 */
export const acceptWebTransport = <A extends SocketApp, E, R>(
  session: WebTransportSession,
  f: (socket: Socket) => SocketApp.Decision<A, E, R>,
  request: WebTransportRequest = {}
): Effect.Effect<void, never, EngineIO | Scope.Scope | Exclude<R | SocketApp.Services<A>, HttpServerRequest>> =>
  Effect.flatMap(EngineIO, ({ engine }) => accept(engine, f as Factory, session, request))

/**
 * The open sessions by id, as they are now: a copy, which costs as much as there are sessions. For one of them use
 * `socket`, for their number `count`.
 *
 * @category getters
 * @since 0.1.0
 */
export const sockets: Effect.Effect<ReadonlyMap<SocketId, Socket>, never, EngineIO> = Effect.map(
  EngineIO,
  ({ engine }) => new Map(Array.from(engine.registry.all, (session) => [session.id, session]))
)

/**
 * The open session with this id.
 *
 * @category getters
 * @since 0.1.0
 */
export const socket = (id: SocketId): Effect.Effect<Option.Option<Socket>, never, EngineIO> =>
  Effect.flatMap(EngineIO, ({ engine }) => Effect.map(find(engine.registry, id), Option.fromUndefinedOr))

/**
 * How many sessions are open.
 *
 * @category getters
 * @since 0.1.0
 */
export const count: Effect.Effect<number, never, EngineIO> = Effect.map(EngineIO, ({ engine }) => engine.registry.count)

/**
 * Sends one message to every open session, or to those a filter accepts, encoding it once. Never waits for a slow
 * client: one whose send buffer is full is skipped. Returns how many took it.
 *
 * @category sending
 * @since 0.1.0
 */
export const broadcast = (message: Sendable, options?: BroadcastOptions): Effect.Effect<number, never, EngineIO> =>
  Effect.map(EngineIO, ({ engine }) => broadcastTo(engine.registry.all, message, options))

/**
 * What happens to the server from the moment the stream runs. Costs nothing while nobody listens; a listener that falls
 * more than 4 096 events behind loses the oldest, which a warning in the log tells.
 *
 * @category observing
 * @since 0.1.0
 */
export const events: Stream.Stream<EngineEvent, never, EngineIO> = Stream.unwrap(
  Effect.map(EngineIO, ({ engine }) => engine.telemetry.events)
)

/**
 * Ends the server's work in order: new handshakes are answered with 503, every session is closed after what it had
 * accepted is delivered, and what is left after `timeout` (default: the option `drainTimeout`) is cut. Dies where
 * `timeout` is no duration.
 *
 * When the server stops listening or the layer is released, the same happens by itself, except that a client between two
 * polls cannot come back then: its session ends at once, and reports what it did not get.
 *
 * @category closing
 * @since 0.1.0
 */
export const drain = (
  options?: { readonly timeout?: Duration.Input | undefined }
): Effect.Effect<void, never, EngineIO> =>
  Effect.flatMap(EngineIO, ({ engine }) => drainSessions(engine, options?.timeout))
