/**
 * Sessions as the sockets of a `SocketServer`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import { HttpServer } from "effect/http/HttpServer"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import * as EffectSocket from "effect/socket/Socket"
import { SocketServer } from "effect/socket/SocketServer"
import { close, type Socket, toEffectSocket } from "../../Socket.ts"
import type { SocketApp } from "./socketApp.ts"

/** What one call of `run` does with a session. */
type Serve = (socket: Socket) => Effect.Effect<unknown, unknown>

/**
 * A `SocketServer`, and the function to open its sessions with: for `handler`, `attach` and `acceptWebTransport`. On a route
 * by itself it is `layerSocketServer`.
 *
 * **Details**
 *
 * Each session is handed to the handler that `run` was given last, as `Socket.toEffectSocket` makes it; where there is none,
 * it waits for one. When the handler ends, so does the session, after what was sent is delivered; what it fails with is
 * logged, unless it is the end of its session. When `run` is interrupted, the sessions it serves are closed, and their
 * handlers interrupted.
 *
 * **Example** (A route, and WebTransport beside it)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { HttpServer } from "effect/http"
 * import { SocketServer } from "effect/socket"
 * import { EngineIO } from "effect-engine.io"
 *
 * const layer = (sessions: Stream.Stream<EngineIO.WebTransportSession>) =>
 *   Layer.unwrap(Effect.gen(function*() {
 *     const { address } = yield* HttpServer.HttpServer
 *     const { server, socketApp } = yield* EngineIO.makeSocketServer(address)
 *     yield* sessions.pipe(
 *       Stream.runForEach((session) => EngineIO.acceptWebTransport(session, socketApp, { url: "/rpc/" })),
 *       Effect.forkScoped
 *     )
 *     return Layer.merge(EngineIO.route("/rpc/", socketApp), Layer.succeed(SocketServer.SocketServer, server))
 *   }))
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const makeSocketServer = (address: NetAddress.SocketAddress): Effect.Effect<{
  readonly server: SocketServer["Service"]
  readonly socketApp: (socket: Socket) => Effect.Effect<SocketApp<never>>
}> =>
  Effect.sync(() => {
    const running: Array<Serve> = []
    const isRunning = Latch.makeUnsafe(false)

    const socketApp = (socket: Socket) =>
      Effect.succeed({ app: isRunning.whenOpen(Effect.suspend(() => running.at(-1)!(socket))) })

    const run = Effect.fnUntraced(function*<R, E, _>(
      handler: (socket: EffectSocket.Socket) => Effect.Effect<_, E, R>
    ) {
      // Its scope is that of whoever runs the server; a session has its own.
      const context = Context.omit(Scope.Scope)(yield* Effect.context<R>()) as Context.Context<R>
      const sessions = yield* FiberMap.make<Socket>()
      const serve: Serve = (socket) =>
        Effect.withFiber((fiber) => {
          FiberMap.setUnsafe(sessions, socket, fiber)
          return Effect.suspend(() => handler(toEffectSocket(socket))).pipe(
            // Most handlers end so, when their client has left.
            Effect.catchIf(isClose, () => Effect.void),
            Effect.ignoreCause({ log: "Unhandled", message: "Unhandled error in SocketServer" }),
            Effect.provideContext(context)
          )
        })
      const begin = Effect.sync(() => {
        running.push(serve)
        isRunning.openUnsafe()
      })
      const stop = Effect.gen(function*() {
        running.splice(running.indexOf(serve), 1)
        if (running.length === 0) isRunning.closeUnsafe()
        for (const [socket] of Array.from(sessions)) yield* close(socket)
      })
      yield* Effect.acquireRelease(begin, () => stop)
      return yield* Effect.never
    }, Effect.scoped)

    return { server: { address, run }, socketApp }
  })

/** The server of sockets that is where the HTTP server is, with the layer that opens its sessions. */
export const layer = <R>(
  open: (socketApp: (socket: Socket) => Effect.Effect<SocketApp<never>>) => Layer.Layer<never, never, R>
) =>
  Layer.unwrap(Effect.gen(function*() {
    const { address } = yield* HttpServer
    const { server, socketApp } = yield* makeSocketServer(address)
    return Layer.merge(Layer.succeed(SocketServer, server), open(socketApp))
  }))

const isClose = (error: unknown): boolean =>
  EffectSocket.isSocketError(error) && error.reason._tag === "SocketCloseError"
