/**
 * A client for Effect programs in browsers, Node, Bun and Deno: a connection of the stock `engine.io-client`, which has to
 * be installed beside this package, in a scope.
 *
 * `makeSocket` and `layerSocket` give a socket of `effect/socket`, for what speaks over one, such as the client of
 * `effect/rpc`. `connect` gives a `Client` to use by itself, with the other functions of this module.
 *
 * A connection that is lost stays lost. Whoever runs the program runs it again, by `Effect.retry` and a `Schedule`, as the
 * client of `effect/rpc` does of its own accord.
 *
 * @module
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as EffectSocket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as Connection from "./internal/client/clientConnection.ts"
import { check, type Config, type Options } from "./internal/client/clientOptions.ts"
import type { OptionsError } from "./internal/protocol/optionsError.ts"
import type { HandshakeData, Message } from "./Packet.ts"
import type { TransportType } from "./Transport.ts"

export type { Credential, Options } from "./internal/client/clientOptions.ts"
export { OptionsError } from "./internal/protocol/optionsError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// effect/socket
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A socket of `effect/socket` that connects when its reader is acquired, each time anew, and closes with the reader's
 * scope.
 *
 * **Details**
 *
 * The URL's path is that of the server's route, or `/engine.io/` where it has none; in a page it may be relative. Fails
 * with `OptionsError` where the URL is none, or an option has a value it cannot have.
 *
 * The reader fails with a `SocketError`, whose `reason` is a `SocketOpenError` where the server cannot be reached, refuses,
 * or takes longer than `openTimeout`; a `SocketReadError` with what the transport failed with; or a `SocketCloseError` with
 * the code of the WebSocket, or 1000 after the reader's own close, 1006 when the server fell silent, and 1005 where a
 * transport has no code. A write waits while there is no connection, and while more than a hundred messages wait to be sent.
 *
 * **Example** (A client of `effect/rpc`)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { Rpc, RpcClient, RpcGroup, RpcSerialization } from "effect/rpc"
 * import * as EngineIOClient from "effect-engine.io/EngineIOClient"
 *
 * const Greetings = RpcGroup.make(Rpc.make("Greet", { payload: { name: Schema.String }, success: Schema.String }))
 *
 * const protocol = RpcClient.layerProtocolSocket({ retryTransientErrors: true }).pipe(
 *   Layer.provide(EngineIOClient.layerSocket("https://example.com/rpc/")),
 *   Layer.provide(RpcSerialization.layerJson)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* RpcClient.make(Greetings)
 *   return yield* client.Greet({ name: "Ada" })
 * }).pipe(Effect.scoped, Effect.provide(protocol))
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const makeSocket = (
  url: string | URL,
  options: Options = {}
): Effect.Effect<EffectSocket.Socket, OptionsError> =>
  Effect.flatMap(check(url, options), (config) => fromClient(open(config)))

/**
 * The socket of `makeSocket`, of connections that you make, and can watch.
 *
 * **Example** (A page that shows the transport)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { Socket } from "effect/socket"
 * import * as EngineIOClient from "effect-engine.io/EngineIOClient"
 *
 * const connect = EngineIOClient.connect("https://example.com/rpc/").pipe(
 *   Effect.tap((client) =>
 *     EngineIOClient.transports(client).pipe(Stream.runForEach(Effect.log), Effect.forkScoped)
 *   ),
 *   Effect.catchTag("OptionsError", Effect.die)
 * )
 *
 * const layer = Layer.effect(Socket.Socket, EngineIOClient.fromClient(connect))
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const fromClient = <R>(
  connect: Effect.Effect<Client, EffectSocket.SocketError, R>
): Effect.Effect<EffectSocket.Socket, never, Exclude<R, Scope.Scope>> =>
  Effect.withFiber((fiber) => {
    const context = fiber.context as Context.Context<R>
    const isConnected = Latch.makeUnsafe(false)
    let current: Connection.Connection | undefined

    /** The connection, unless it has ended. */
    const connected = () => {
      if (current !== undefined && Deferred.isDoneUnsafe(current.closed)) {
        current = undefined
        isConnected.closeUnsafe()
      }
      return current
    }

    const reader = Effect.map(connect, ({ [TypeId]: connection }) => {
      current = connection
      isConnected.openUnsafe()
      return { pull: Queue.takeAll(connection.incoming), upgrade: EffectSocket.SocketUpgradeError.unsupported }
    }).pipe(
      // The scope is the reader's.
      Effect.updateContext((own: Context.Context<Scope.Scope>) => Context.merge(context, own))
    ) as EffectSocket.Socket["reader"]

    const write: EffectSocket.Writer["write"] = (chunk) =>
      Effect.suspend(() => {
        const connection = connected()
        if (connection === undefined) return isConnected.whenOpen(write(chunk))
        return EffectSocket.isCloseEvent(chunk)
          ? Connection.close(connection, chunk)
          : Connection.send(connection, chunk)
      })

    return Effect.succeed(EffectSocket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }))
  })

/**
 * The socket of `makeSocket` as a layer.
 *
 * @category layers
 * @since 0.2.0
 */
export const layerSocket = (url: string | URL, options?: Options): Layer.Layer<EffectSocket.Socket, OptionsError> =>
  Layer.effect(EffectSocket.Socket, makeSocket(url, options))

// ---------------------------------------------------------------------------------------------------------------------
// by itself
// ---------------------------------------------------------------------------------------------------------------------

const TypeId: unique symbol = Symbol.for("effect-engine.io/EngineIOClient")

/**
 * A connection to a server. Pass it to the functions of this module.
 *
 * @category models
 * @since 0.2.0
 */
export interface Client {
  readonly [TypeId]: Connection.Connection
  /** The id of the session: a credential, since whoever knows it can speak for this client. */
  readonly id: string
  /** What the server said of the session when it began. Older servers do not say `maxPayload`. */
  readonly handshake: Omit<HandshakeData, "maxPayload"> & Partial<HandshakeData>
}

/**
 * Connects to a server. The connection lives as long as the scope; when that closes, what was sent is still delivered.
 *
 * Fails like the reader of `makeSocket`, and with `OptionsError` as that does.
 *
 * **Example** (A conversation, taken up again when the connection is lost)
 *
 * ```ts
 * import { Effect, Schedule, Stream } from "effect"
 * import * as EngineIOClient from "effect-engine.io/EngineIOClient"
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* EngineIOClient.connect("https://example.com")
 *   yield* EngineIOClient.send(client, "hello")
 *   yield* Stream.runForEach(EngineIOClient.messages(client), Effect.log)
 * }).pipe(
 *   Effect.scoped,
 *   Effect.retry({ while: ({ _tag }) => _tag === "SocketError", schedule: Schedule.exponential("1 second") })
 * )
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const connect = (
  url: string | URL,
  options: Options = {}
): Effect.Effect<Client, EffectSocket.SocketError | OptionsError, Scope.Scope> =>
  Effect.flatMap(check(url, options), open)

const open = (config: Config): Effect.Effect<Client, EffectSocket.SocketError, Scope.Scope> =>
  Effect.map(Connection.open(config), (connection) => ({
    [TypeId]: connection,
    id: connection.handshake.sid,
    handshake: connection.handshake
  }))

/**
 * Waits for the next message of the server, and takes it. Fails when the connection has ended and all that had arrived was
 * taken. Interrupted, it takes nothing.
 *
 * @category receiving
 * @since 0.2.0
 */
export const receive = (client: Client): Effect.Effect<Message, EffectSocket.SocketError> =>
  Queue.take(client[TypeId].incoming)

/**
 * The server's messages as a stream, which fails when the connection has ended and all were taken.
 *
 * @category receiving
 * @since 0.2.0
 */
export const messages = (client: Client): Stream.Stream<Message, EffectSocket.SocketError> =>
  Stream.fromQueue(client[TypeId].incoming)

/**
 * Sends one message. It succeeds when the connection has taken it, and waits while more than a hundred wait to be sent.
 *
 * Fails when the connection has ended or is ending, and for text with U+001E while polling, which would split one message
 * into two.
 *
 * @category sending
 * @since 0.2.0
 */
export const send: {
  (message: string | Uint8Array): (client: Client) => Effect.Effect<void, EffectSocket.SocketError>
  (client: Client, message: string | Uint8Array): Effect.Effect<void, EffectSocket.SocketError>
} = dual(2, (client: Client, message: string | Uint8Array) => Connection.send(client[TypeId], message))

/**
 * Waits for the end of the connection, and says what everything else fails with from then on.
 *
 * @category closing
 * @since 0.2.0
 */
export const closed = (client: Client): Effect.Effect<EffectSocket.SocketError> => Deferred.await(client[TypeId].closed)

/**
 * The transport the connection is on.
 *
 * @category getters
 * @since 0.2.0
 */
export const transport = (client: Client): Effect.Effect<TransportType> =>
  Effect.sync(() => Connection.transportOf(client[TypeId]))

/**
 * The transport the connection is on, and each it moves to, as they come; ends with the connection.
 *
 * @category observing
 * @since 0.2.0
 */
export const transports = ({ [TypeId]: connection }: Client): Stream.Stream<TransportType> =>
  Stream.callback((queue) =>
    Effect.gen(function*() {
      const { closed, stock } = connection
      const offer = () => void Queue.offerUnsafe(queue, Connection.transportOf(connection))
      yield* Effect.acquireRelease(
        Effect.sync(() => stock.on("upgrade", offer)),
        () => Effect.sync(() => stock.off("upgrade", offer))
      )
      offer()
      yield* Deferred.await(closed)
      yield* Queue.end(queue)
    })
  )
