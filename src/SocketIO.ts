/**
 * Socket.IO on this engine: the real server of `socket.io` 4.8, with its clients and its code as they are. It needs the
 * package `socket.io`.
 *
 * @module
 * @since 0.2.0
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import * as EngineIO from "./EngineIO.ts"
import { mount } from "./internal/node/attach.ts"
import { runBefore } from "./internal/node/middleware.ts"
import { type AnyServer, engineOf } from "./internal/socketio/boundEngine.ts"
import { clientFileOf, serveClientFile } from "./internal/socketio/clientFiles.ts"
import { engineOptions } from "./internal/socketio/engineOptions.ts"

export type { AnyServer } from "./internal/socketio/boundEngine.ts"
export { connections, disconnected, type Guarded, type Hearer, Refused, use } from "./internal/socketio/programs.ts"
export {
  ask,
  emit,
  type EmitOptions,
  type Emitter,
  type Event,
  event,
  type EventOptions,
  InvalidPayload,
  NoAnswer,
  on
} from "./internal/socketio/typedEvents.ts"

/**
 * The engine with the options that `io` was made with, and others beside them. When the layer is released, `io` is closed,
 * after what it had sent is delivered.
 *
 * Fails with `OptionsError` when an option has a value it cannot have.
 *
 * **Example** (Options of Socket.IO, and of this engine)
 *
 * ```ts
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const io = new Server({ cors: { origin: "https://example.com" }, maxHttpBufferSize: 100_000 })
 *
 * const engine = SocketIO.layer(io, { maxSessions: 10_000 })
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = <E = never, R = never>(
  io: AnyServer,
  options: EngineIO.Options<E, R> = {}
): Layer.Layer<EngineIO.EngineIO, EngineIO.OptionsError | E, R> =>
  EngineIO.layer<E, R>({ ...engineOptions(io._opts), ...options }).pipe(Layer.provide(closing(io)))

/** Its finalizer comes after that of the engine. */
const closing = (io: AnyServer) =>
  Layer.effectDiscard(Effect.suspend(() =>
    engineOf(io).isSecond
      ? Effect.fail(
        new EngineIO.OptionsError({
          message:
            "SocketIO: make the server without one of Node, which gives it an engine already: `new Server(options)`"
        })
      )
      : Effect.addFinalizer(() => Effect.promise(() => io.close()))
  ))

/**
 * Serves Socket.IO on any route of `HttpRouter` (method `"*"`, the mounted path). The call binds `io` to the engine, so
 * that `io.engine` is there from then on.
 *
 * **Example** (A route of one's own)
 *
 * ```ts
 * import { HttpRouter } from "effect/http"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const io = new Server({ serveClient: false })
 *
 * const route = HttpRouter.add("*", "/live/", SocketIO.handler(io))
 * ```
 *
 * @category handlers
 * @since 0.2.0
 */
export const handler = (
  io: AnyServer
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, EngineIO.EngineIO | HttpServerRequest> => {
  const { factory, middleware, onRefused } = engineOf(io)
  return runBefore(middleware, onRefused, EngineIO.handler(factory))
}

/**
 * Mounts `handler(io)` on the router at `path` (default: the path of `io`, which is `/socket.io` unless set), with the
 * files of the client below it, unless `io` was made with `serveClient: false`.
 *
 * **Example** (A whole server)
 *
 * ```ts
 * import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { HttpRouter } from "effect/http"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { createServer } from "node:http"
 * import { Server } from "socket.io"
 *
 * const io = new Server()
 * io.on("connection", (socket) => {
 *   socket.on("hello", (name, answer) => answer(`hello ${name}`))
 * })
 *
 * const program = HttpRouter.serve(SocketIO.route(io)).pipe(
 *   Layer.provide(SocketIO.layer(io)),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
 *   Layer.launch
 * )
 * ```
 *
 * @category handlers
 * @since 0.2.0
 */
export const route: {
  (io: AnyServer): ReturnType<typeof mountAt>
  (path: HttpRouter.PathInput, io: AnyServer): ReturnType<typeof mountAt>
} = (...args: [AnyServer] | [HttpRouter.PathInput, AnyServer]) => {
  if (args.length === 1) return mountAt(args[0])
  const [path, io] = args
  io.path(path)
  return mountAt(io)
}

const mountAt = (io: AnyServer) => {
  const served = handler(io)
  const all = io.serveClient() ? clientFile(io, served) : served
  // What is below the path belongs to the engine, too.
  return HttpRouter.use((router) => router.add("*", `${io.path() as `/${string}`}/*`, all))
}

/** One of the client's files, or else what the engine says to the request. */
const clientFile = <E, R>(io: AnyServer, otherwise: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(HttpServerRequest, (request) => {
    if (clientFileOf(request.url) === undefined) return otherwise
    return Effect.callback<HttpServerResponse.HttpServerResponse, E, R>((resume) => {
      const response = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
      // Effect writes nothing behind an answer that has ended.
      response.once("close", () => resume(Effect.succeed(HttpServerResponse.empty())))
      serveClientFile(io, NodeHttpServerRequest.toIncomingMessage(request) as Http.IncomingMessage, response)
    })
  })

/**
 * The listeners of a Node server, for a framework of which you know better than `attach` where they belong. They do not
 * serve the client's files.
 *
 * **Example** (Listeners for a server)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { createServer } from "node:http"
 * import { Server } from "socket.io"
 *
 * const io = new Server()
 *
 * const program = Effect.map(
 *   SocketIO.toNodeHandlers(io),
 *   ({ handleRequest, handleUpgrade }) => createServer(handleRequest).on("upgrade", handleUpgrade)
 * )
 * ```
 *
 * @category handlers
 * @since 0.2.0
 */
export const toNodeHandlers = (
  io: AnyServer
): Effect.Effect<EngineIO.NodeHandlers, never, EngineIO.EngineIO | Scope.Scope> => {
  const { factory, middleware } = engineOf(io)
  return EngineIO.toNodeHandlers(factory, { middleware })
}

/**
 * Serves one WebTransport session, which an HTTP/3 library of your choice has accepted, as `EngineIO.acceptWebTransport`
 * does; `"webtransport"` has to be among the option `transports`.
 *
 * **Example** (A session of an HTTP/3 server)
 *
 * ```ts
 * import type { EngineIO } from "effect-engine.io"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const io = new Server({ transports: ["polling", "websocket", "webtransport"] })
 *
 * const serve = (session: EngineIO.WebTransportSession) =>
 *   SocketIO.acceptWebTransport(session, io, { url: "/socket.io/" })
 * ```
 *
 * @category handlers
 * @since 0.2.0
 */
export const acceptWebTransport = (
  session: EngineIO.WebTransportSession,
  io: AnyServer,
  request?: EngineIO.WebTransportRequest
): Effect.Effect<void, never, EngineIO.EngineIO | Scope.Scope> =>
  EngineIO.acceptWebTransport(session, engineOf(io).factory, request)

/**
 * Serves Socket.IO on a Node server that exists already, next to what listens there, until the scope closes: what
 * `new Server(server)` does. Dies with `OptionsError` where an option is wrong.
 *
 * **Example** (Next to Express)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import express from "express"
 * import { createServer } from "node:http"
 * import { Server } from "socket.io"
 *
 * const server = createServer(express())
 * const io = new Server()
 *
 * const program = SocketIO.attach(server, io).pipe(
 *   Effect.andThen(Effect.sync(() => server.listen(3000))),
 *   Effect.andThen(Effect.never),
 *   Effect.scoped,
 *   Effect.provide(SocketIO.layer(io))
 * )
 * ```
 *
 * @category handlers
 * @since 0.2.0
 */
export const attach = (
  server: EngineIO.NodeServer,
  io: AnyServer,
  options: EngineIO.AttachOptions = {}
): Effect.Effect<void, never, EngineIO.EngineIO | Scope.Scope> =>
  Effect.gen(function*() {
    const { factory, middleware } = engineOf(io)
    const { addTrailingSlash, destroyUpgrade, destroyUpgradeTimeout } = io._opts
    if (options.path !== undefined) io.path(options.path)
    middleware.push(...options.middleware ?? [])
    yield* EngineIO.attach(server, factory, {
      addTrailingSlash,
      destroyUpgrade,
      destroyUpgradeTimeout,
      ...options,
      path: io.path() || "/",
      middleware
    })
    const closing = io as { httpServer?: EngineIO.NodeServer | undefined }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        // `io.close()` closes it.
        closing.httpServer = server
        return io.serveClient() ? mountClientFiles(server as Http.Server, io) : () => {}
      }),
      (unmount) =>
        Effect.sync(() => {
          closing.httpServer = undefined
          unmount()
        })
    )
  })

const mountClientFiles = (server: Http.Server, io: AnyServer): () => void =>
  mount(server, {
    matches: (url) => url !== undefined && url.startsWith(io.path()) && clientFileOf(url) !== undefined,
    handleRequest: (request, response) => serveClientFile(io, request, response),
    acceptsUpgrades: false,
    handleUpgrade: () => {},
    onOther: () => {}
  })
