/**
 * Programs for the sockets of Socket.IO: what decides whether one may come in, and what runs as long as it is there.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Socket } from "socket.io"
import { see } from "../protocol/see.ts"

/**
 * What hears events: a server, a namespace, a socket.
 *
 * @category models
 * @since 0.2.0
 */
export interface Hearer {
  on(event: never, listener: never): unknown
  off(event: never, listener: never): unknown
}

export type Listener = (...args: Array<unknown>) => void

/** The same without types of events, which are ours to see to. */
export interface Untyped {
  on(event: string, listener: Listener): unknown
  off(event: string, listener: Listener): unknown
  emit(event: string, ...args: Array<unknown>): unknown
}

export const listen = (emitter: Hearer, name: string, listener: Listener): Effect.Effect<void, never, Scope.Scope> => {
  const untyped = emitter as unknown as Untyped
  return Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => untyped.on(name, listener)),
    () => Effect.sync(() => untyped.off(name, listener))
  ))
}

export const unlessInterrupted =
  (report: (cause: Cause.Cause<unknown>) => Effect.Effect<void>) => (cause: Cause.Cause<unknown>) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : report(cause)

/**
 * Refuses a socket: fail with it in the function of `use`. The client gets a `connect_error` with this message, and with
 * the data, where there is some.
 *
 * @category errors
 * @since 0.2.0
 */
export class Refused extends Data.TaggedError("Refused")<{ readonly message: string; readonly data?: unknown }> {}

/**
 * What has middlewares for its sockets: a server, or a namespace.
 *
 * @category models
 * @since 0.2.0
 */
export interface Guarded {
  use(middleware: never): unknown
}

type Middleware = (socket: Socket, next: (error?: Error) => void) => void

/**
 * Runs `f` for every socket that asks to join a namespace (`io`, or `io.of("/…")`), as a middleware of Socket.IO: it joins
 * when `f` succeeds, and is refused when that fails. Everything else that `f` may come to is logged, and refuses it, too.
 * When the scope has closed, nobody joins any more.
 *
 * **Example** (Who has a token)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * declare const userOf: (token: unknown) => Effect.Effect<string, "unknown" | "expired">
 *
 * const io = new Server()
 *
 * const program = SocketIO.use(io, (socket) =>
 *   userOf(socket.handshake.auth["token"]).pipe(
 *     Effect.map((user) => socket.data.user = user),
 *     Effect.mapError((why) => new SocketIO.Refused({ message: "Sign in first", data: { why } }))
 *   ))
 * ```
 *
 * @category connections
 * @since 0.2.0
 */
export const use = <R>(
  namespace: Guarded,
  f: (socket: Socket) => Effect.Effect<unknown, Refused, R>
): Effect.Effect<void, never, Scope.Scope | R> =>
  Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<R>()
    let isOpen = true
    yield* Effect.addFinalizer(() => Effect.sync(() => void (isOpen = false)))
    ;(namespace as unknown as { use(middleware: Middleware): unknown }).use((socket, next) => {
      if (!isOpen) return next(new Error("Server shutting down"))
      run(Effect.suspend(() => f(socket))).addObserver((exit) => {
        if (Exit.isSuccess(exit)) return next()
        const refused = Cause.findErrorOption(exit.cause)
        if (Option.isSome(refused)) {
          const { data, message } = refused.value
          return next(Object.assign(new Error(message), data === undefined ? undefined : { data }))
        }
        next(new Error(Cause.hasInterruptsOnly(exit.cause) ? "Server shutting down" : "Internal error"))
        if (isOpen) {
          run(Effect.logError(`The program of a socket failed${see("program-of-a-socket-failed")}`, exit.cause))
        }
      })
    })
  })

/**
 * Runs `f` for every socket that joins a namespace (`io`, or `io.of("/…")`), as long as the scope is open. The scope that
 * `f` runs in is the socket's: it closes when the socket disconnects, whether `f` has ended or not.
 *
 * A failure is logged, and disconnects the socket.
 *
 * **Example** (Who is there)
 *
 * ```ts
 * import { Effect, Ref } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const io = new Server()
 *
 * const program = Effect.gen(function*() {
 *   const count = yield* Ref.make(0)
 *   yield* SocketIO.connections(io, (socket) =>
 *     Effect.gen(function*() {
 *       yield* Ref.update(count, (count) => count + 1)
 *       yield* Effect.addFinalizer(() => Ref.update(count, (count) => count - 1))
 *       yield* Effect.logInfo(`${socket.id} is one of ${yield* Ref.get(count)}`)
 *     }))
 * })
 * ```
 *
 * @category connections
 * @since 0.2.0
 */
export const connections = <E, R>(
  namespace: Hearer,
  f: (socket: Socket) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, never, Scope.Scope | Exclude<R, Scope.Scope>> =>
  Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<Exclude<R, Scope.Scope>>()
    yield* listen(namespace, "connection", (it) => {
      const socket = it as Socket
      const life = Effect.andThen(Effect.suspend(() => f(socket)), Effect.never)
      const fiber = run(Effect.catchCause(
        Effect.scoped(life),
        unlessInterrupted((cause) =>
          Effect.andThen(
            Effect.logError(`The program of a socket failed${see("program-of-a-socket-failed")}`, cause),
            Effect.sync(() => socket.disconnect(true))
          )
        )
      ))
      // Whoever waits for it in the program hears of it first.
      const interrupt = () => queueMicrotask(() => fiber.interruptUnsafe())
      if (socket.connected) socket.once("disconnect", interrupt)
      else interrupt()
    })
  })

/**
 * Waits until a connected socket disconnects, and says why, in the words of Socket.IO.
 *
 * **Example** (The end of a socket in the log)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const program = SocketIO.connections(
 *   new Server(),
 *   (socket) => Effect.flatMap(SocketIO.disconnected(socket), (reason) => Effect.logInfo(`${socket.id}: ${reason}`))
 * )
 * ```
 *
 * @category connections
 * @since 0.2.0
 */
export const disconnected = (socket: Socket): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const listener = (reason: string) => resume(Effect.succeed(reason))
    socket.on("disconnect", listener)
    return Effect.sync(() => socket.off("disconnect", listener))
  })
