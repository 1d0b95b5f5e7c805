/**
 * The Engine.IO server: a service that holds the sessions, and handlers that mount it on a router.
 *
 * @module
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest, type ParsedSearchParams } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Server } from "node:http"
import type { CloseReason } from "./CloseReason.ts"
import { Forbidden } from "./HandshakeError.ts"
import {
  attach as attachTo,
  type AttachOptions,
  makeHandlers,
  type NodeHandlers,
  type NodeServer
} from "./internal/node/attach.ts"
import { checkAttach, checkNodeHandlers } from "./internal/node/attachOptions.ts"
import { DirectExchange } from "./internal/node/exchange.ts"
import { NodePlatform } from "./internal/node/nodePlatform.ts"
import { broadcast as broadcastTo, type BroadcastOptions } from "./internal/server/broadcast.ts"
import * as Drain from "./internal/server/drain.ts"
import { Engine } from "./internal/server/engine.ts"
import type { EngineEvent } from "./internal/server/events.ts"
import { handle, poll } from "./internal/server/handler.ts"
import { type Factory, makeHandler, makeRouteHandler, type NamedHandler } from "./internal/server/namedHandler.ts"
import { resolve } from "./internal/server/config.ts"
import type { Options, OptionsError, ScalarOptions } from "./internal/server/options.ts"
import { accept, type WebTransportRequest } from "./internal/server/acceptWebTransport.ts"
import { observe } from "./internal/session/observers.ts"
import type { WebTransportSession } from "./internal/transport/webTransportConnection.ts"
import type { Sendable, Socket, SocketClosed, SocketId } from "./Socket.ts"

export type { AttachOptions, NodeHandlers, NodeServer } from "./internal/node/attach.ts"
export type { Middleware } from "./internal/node/middleware.ts"
export type { WebTransportRequest } from "./internal/server/acceptWebTransport.ts"
export type { BroadcastOptions } from "./internal/server/broadcast.ts"
export type { EngineEvent } from "./internal/server/events.ts"
export {
  type BufferLimit,
  type CookieOptions,
  type CorsOptions,
  type HandshakeRate,
  type Options,
  OptionsError,
  type PerMessageDeflateOptions,
  type ResponseInfo,
  type ScalarOptions
} from "./internal/server/options.ts"
export type {
  WebTransportReadable,
  WebTransportSession,
  WebTransportStream,
  WebTransportWritable
} from "./internal/transport/webTransportConnection.ts"
export { Forbidden }

/**
 * The running server: its sessions and its options. Use the functions of this module on it.
 *
 * @category services
 * @since 0.1.0
 */
export class EngineIO extends Context.Service<EngineIO, {
  /** @internal */
  readonly engine: Engine
  /** @internal */
  readonly platform: NodePlatform
}>()("effect-engine.io/EngineIO") {}

/**
 * What an application makes of one session.
 *
 * `app` runs as long as the session; when it ends, the session is closed after what was sent is delivered. When the
 * session ends first, `app` gets the messages that had arrived and is then interrupted, as `Socket.receive` says.
 * `onDisconnect` runs once, after the session and `app` have ended; it has 10 seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface SocketApp<R = unknown> {
  readonly app: Effect.Effect<unknown, unknown, R>
  readonly onDisconnect?: ((reason: CloseReason) => Effect.Effect<void, never, R>) | undefined
}

/**
 * What the types of a `SocketApp` say of it.
 *
 * @category models
 * @since 0.1.0
 */
export declare namespace SocketApp {
  /** What the two parts of a `SocketApp` need, each by itself. */
  export type Services<A> = A extends SocketApp ?
      | Effect.Services<A["app"]>
      | ([NonNullable<A["onDisconnect"]>] extends [never] ? never
        : NonNullable<A["onDisconnect"]> extends (reason: never) => Effect.Effect<unknown, unknown, infer R> ? R
        : never)
    : never

  /** Services of the request, which are gone when the session runs. */
  export type RequestOnly = HttpServerRequest | ParsedSearchParams | HttpRouter.RouteContext

  /** Refuses, at compile time, a `SocketApp` that reaches for the request, or has members that nobody reads. */
  export type Valid<A> =
    & ([Extract<Services<A>, RequestOnly>] extends [never] ? unknown
      : { readonly app: "the request is gone when `app` runs: read it in the function given to `handler`" })
    & { readonly [K in Exclude<Members<A>, keyof SocketApp>]?: "a SocketApp has `app` and `onDisconnect`, and no more" }

  /** Refuses, at compile time, a function that would run its application instead of returning it. */
  export type Returned<A, E> = [A] extends [never]
    ? [E] extends [never] ? NeverReturned : [Extract<E, SocketClosed>] extends [never] ? unknown : NeverReturned
    : unknown

  /** What an Effect that never succeeds lacks. */
  export interface NeverReturned {
    readonly "return { app: … }: this function would run the application, and the client wait for its answer": never
  }

  /** What the function given to `handler` returns. */
  export type Decision<A, E, R> = Effect.Effect<A & Valid<A>, E, R> & Returned<A, E>
}

type Members<A> = A extends unknown ? keyof A : never

/**
 * The server with the given options. Its scope owns every session: when it closes, they are ended.
 *
 * Fails with `OptionsError` when an option has a value it cannot have.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never>(options: Options<E, R> = {}): Layer.Layer<EngineIO, OptionsError | E, R> =>
  Layer.effect(
    EngineIO,
    Effect.gen(function*() {
      const config = yield* resolve(options)
      if (Option.isSome(yield* Effect.serviceOption(HttpServerRequest))) {
        yield* Effect.logWarning(
          "The engine was built while a request is handled, and ends with it: provide its layer to the server, not to a handler"
        )
      }
      const platform = new NodePlatform(config)
      const engine = new Engine(config, platform, yield* Clock.Clock, yield* Effect.context<never>())
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Drain.stop(engine),
          Effect.sync(() => {
            engine.close()
            platform.close()
          })
        )
      )
      return { engine, platform }
    })
  )

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
> => handlerOf(makeRouteHandler(f as Factory))

const handlerOf = (handler: NamedHandler) =>
  handle(engineOf, handler) as Effect.Effect<HttpServerResponse.HttpServerResponse, never, EngineIO>

const engineOf = (context: Context.Context<never>): Engine =>
  Context.getUnsafe(context as Context.Context<EngineIO>, EngineIO).engine

/**
 * Mounts `handler(f)` on the router at `path`, with and without a trailing slash.
 *
 * @category handlers
 * @since 0.1.0
 */
export const route = <A extends SocketApp, E, R>(
  path: HttpRouter.PathInput,
  f: (socket: Socket) => SocketApp.Decision<A, E, R>
) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const { ignoreTrailingSlash = true } = yield* HttpRouter.RouterConfig
    const withSlash = (path.endsWith("/") ? path : `${path}/`) as HttpRouter.PathInput
    const served = handler(f)
    yield* router.add("*", withSlash, served)
    if (!ignoreTrailingSlash && withSlash !== "/") {
      yield* router.add("*", withSlash.slice(0, -1) as HttpRouter.PathInput, served)
    }
  }))

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
) =>
  HttpRouter.serve(
    Layer.mergeAll(
      route(path, f),
      HttpRouter.add(
        "*",
        "/*",
        Effect.succeed(HttpServerResponse.text("Not Implemented", { status: 501 }))
      )
    ),
    { disableLogger: true }
  )

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
> =>
  Effect.gen(function*() {
    yield* Effect.orDie(checkNodeHandlers(options))
    const { engine, platform } = yield* EngineIO
    const handler = makeHandler(f as Factory)
    const handlers = yield* makeHandlers(
      handlerOf(handler),
      (source, response) =>
        poll(
          engine,
          handler,
          source.method!,
          source.url!,
          (name) => source.headers[name] as string | undefined,
          (extraHeaders) => new DirectExchange(source, response, extraHeaders, platform)
        ) !== undefined,
      options.middleware ?? [],
      ({ code, context, message }) => engine.onRefused(code, message, context)
    )
    yield* Effect.addFinalizer(() => Effect.sync(() => Drain.leave(engine, handler.name)))
    return handlers
    // The scope is both asked for and given, which the type of `Exclude` cannot see through a type parameter.
  }) as Effect.Effect<NodeHandlers>

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
  Effect.gen(function*() {
    const { engine, platform } = yield* EngineIO
    yield* Effect.orDie(checkAttach(options))
    const handlers = yield* toNodeHandlers(f, { middleware: options.middleware })
    yield* attachTo(server, handlers, options, engine.settings.transports.has("websocket"))
    yield* Effect.acquireRelease(
      Effect.sync(() => platform.mount(server as Server, (isStopped) => Drain.onStop(engine, isStopped))),
      () => Effect.sync(() => platform.unmount(server as Server))
    )
  })

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
  ({ engine }) => new Map(engine.all)
)

/**
 * The open session with this id.
 *
 * @category getters
 * @since 0.1.0
 */
export const socket = (id: SocketId): Effect.Effect<Option.Option<Socket>, never, EngineIO> =>
  Effect.map(EngineIO, ({ engine }) => Option.fromUndefinedOr(engine.get(id)))

/**
 * How many sessions are open.
 *
 * @category getters
 * @since 0.1.0
 */
export const count: Effect.Effect<number, never, EngineIO> = Effect.map(EngineIO, ({ engine }) => engine.count)

/**
 * Sends one message to every open session, or to those a filter accepts, encoding it once. Never waits for a slow
 * client: one whose send buffer is full is skipped. Returns how many took it.
 *
 * @category sending
 * @since 0.1.0
 */
export const broadcast = (message: Sendable, options?: BroadcastOptions): Effect.Effect<number, never, EngineIO> =>
  Effect.map(EngineIO, ({ engine }) => broadcastTo(engine.all.values(), message, options))

/**
 * What happens to the server from the moment the stream runs. Costs nothing while nobody listens; a listener that falls
 * more than 4 096 events behind loses the oldest, which a warning in the log tells.
 *
 * @category observing
 * @since 0.1.0
 */
export const events: Stream.Stream<EngineEvent, never, EngineIO> = Stream.unwrap(Effect.map(
  EngineIO,
  ({ engine }) => observe<EngineEvent>(engine, () => engine.isOver)
))

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
  Effect.flatMap(EngineIO, ({ engine }) =>
    Drain.drain(
      engine,
      options?.timeout === undefined
        ? engine.settings.drainTimeout
        : Duration.toMillis(Duration.fromInputUnsafe(options.timeout))
    ))
