/**
 * Clients for the tests of an application: in memory, without a port, on the clock of the test.
 *
 * Everything but the network is what production has: handshakes with their guards and your function, transports and
 * their backpressure, upgrades, heartbeats, and the reasons of ends.
 *
 * **Example** (A client that upgrades, and then falls silent)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Socket } from "effect-engine.io"
 * import { EngineIOTest } from "effect-engine.io/testing"
 *
 * const echo = (socket: Socket.Socket) =>
 *   Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* EngineIOTest.connect(echo)
 *   yield* EngineIOTest.send(client, "hello")
 *   yield* EngineIOTest.receive(client) // => "hello"
 *   yield* EngineIOTest.upgrade(client, "websocket")
 *   yield* Socket.transport(client.socket) // => "websocket"
 *   yield* TestClock.adjust("1 hour")
 *   yield* Socket.state(client.socket) // => "open"
 *   yield* EngineIOTest.silence(client)
 *   yield* TestClock.adjust("45 seconds")
 *   yield* Socket.closed(client.socket) // => { _tag: "PingTimeout" }
 * })
 *
 * await program.pipe(
 *   Effect.scoped,
 *   Effect.provide(EngineIOTest.layer()),
 *   Effect.provide(TestClock.layer()),
 *   Effect.runPromise
 * )
 * ```
 *
 * @module
 * @since 0.2.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type { Forbidden } from "../HandshakeError.ts"
import { toMessage } from "../internal/protocol/bytes.ts"
import { see } from "../internal/protocol/see.ts"
import { accept } from "../internal/server/acceptWebTransport.ts"
import { resolve } from "../internal/server/config.ts"
import { handle } from "../internal/server/handler.ts"
import { type Factory, makeHandler } from "../internal/server/namedHandler.ts"
import type { Options, OptionsError } from "../internal/server/options.ts"
import { layerLocal } from "../internal/server/registry.ts"
import { EngineIO, layer as server } from "../internal/server/service.ts"
import type { SocketApp } from "../internal/server/socketApp.ts"
import * as Clients from "../internal/testing/client.ts"
import type { State } from "../internal/testing/client.ts"
import { type Disconnected, type Refused, type Visit } from "../internal/testing/clientLines.ts"
import { layer as memory, MemoryPlatform, toServerRequest } from "../internal/testing/memoryPlatform.ts"
import { release } from "../internal/testing/release.ts"
import type { Message } from "../Packet.ts"
import type { Sendable, Socket } from "../Socket.ts"
import type { TransportType } from "../Transport.ts"

export { Disconnected, Refused } from "../internal/testing/clientLines.ts"

/**
 * A server for clients in memory, with the options of `EngineIO.layer`, whose place it takes in tests. Its clock is that of
 * the test. Its release does not wait for that: applications that do not end by themselves are interrupted.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = <E = never, R = never>(options: Options<E, R> = {}): Layer.Layer<EngineIO, OptionsError | E, R> =>
  Layer.unwrap(Effect.map(
    resolve(options),
    (config) => served.pipe(Layer.provide(server(config)), Layer.provide([memory(config), layerLocal]))
  ))

const served = Layer.effect(
  EngineIO,
  Effect.tap(EngineIO, ({ engine }) => Effect.addFinalizer(() => release(engine)))
)

/**
 * What a client says of itself when it connects.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConnectOptions {
  /** What it begins on. Default: `"polling"`. */
  readonly transport?: TransportType | undefined
  /** Where it connects to; the function sees it in `handshake.url`. Default: `/engine.io/`. */
  readonly path?: string | undefined
  readonly query?: Readonly<Record<string, string>> | undefined
  readonly headers?: Headers.Input | undefined
  readonly remoteAddress?: string | undefined
}

/**
 * A client: it answers pings and polls by itself, as `engine.io-client` does. `socket` is the server's end of it, to look
 * behind the scenes: `Socket.closed(client.socket)` says why the session ended.
 *
 * @category models
 * @since 0.2.0
 */
export interface Client {
  readonly socket: Socket
  readonly [TypeId]: State
}

const TypeId: unique symbol = Symbol.for("effect-engine.io/EngineIOTest")

/**
 * Connects a client to an application: `f` is what you give to `EngineIO.handler` or its kin. The client vanishes when the
 * scope closes.
 *
 * Fails with `Refused` where the server does not open a session, and with what `f` fails with where that is the router's.
 *
 * **Example** (Who has no token is refused)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HandshakeError, Socket } from "effect-engine.io"
 * import { EngineIOTest } from "effect-engine.io/testing"
 *
 * const members = Effect.fnUntraced(function*(socket: Socket.Socket) {
 *   const { token } = socket.handshake.query
 *   if (token !== "secret") return yield* new HandshakeError.Forbidden({ message: "unknown token" })
 *   return { app: Socket.send(socket, "welcome") }
 * })
 *
 * const program = Effect.gen(function*() {
 *   const { code, message, status } = yield* Effect.flip(EngineIOTest.connect(members))
 *   const refusal = [code, message, status]
 *   refusal // => [4, "unknown token", 403]
 *   const client = yield* EngineIOTest.connect(members, { transport: "websocket", query: { token: "secret" } })
 *   yield* EngineIOTest.receive(client) // => "welcome"
 * })
 *
 * await program.pipe(Effect.scoped, Effect.provide(EngineIOTest.layer()), Effect.runPromise)
 * ```
 *
 * @category connecting
 * @since 0.2.0
 */
export const connect = <A extends SocketApp, E, R>(
  f: (socket: Socket) => SocketApp.Decision<A, E, R>,
  options: ConnectOptions = {}
): Effect.Effect<
  Client,
  Refused | Exclude<E, Forbidden | HttpServerResponse.HttpServerResponse>,
  EngineIO | Scope.Scope | Exclude<R | SocketApp.Services<A>, HttpServerRequest.HttpServerRequest>
> =>
  Effect.gen(function*() {
    const { engine } = yield* EngineIO
    const { platform } = engine
    if (!(platform instanceof MemoryPlatform)) {
      return yield* Effect.die(
        new TypeError(
          `EngineIOTest.connect needs EngineIOTest.layer in place of EngineIO.layer${see("engine-of-another-platform")}`
        )
      )
    }
    const context = yield* Effect.context<never>()
    const { path = "/engine.io/", query, remoteAddress, transport = "polling" } = options
    const headers = Headers.fromInput(options.headers)
    const urlOf = (parameters: Readonly<Record<string, string>>): string =>
      `${path}?${new URLSearchParams({ ...query, EIO: "4", ...parameters })}`
    let socket!: Socket
    const factory = ((it: Socket) => f(socket = it)) as Factory
    const handler = makeHandler(factory)
    const visit: Visit = (method, parameters, rest) => {
      const isUpgrade = rest?.onUpgrade !== undefined
      const sent = isUpgrade ? Headers.setAll(headers, { connection: "Upgrade", upgrade: "websocket" }) : headers
      const request = toServerRequest({ method, url: urlOf(parameters), headers: sent, remoteAddress, ...rest })
      return handle(handler).pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, request),
        Effect.provideContext(context as Context.Context<EngineIO>)
      )
    }
    const state = yield* Clients.connect(transport, {
      visit,
      awake: yield* platform.makeLatch,
      accept: (session) =>
        accept(engine, factory, session, { url: urlOf({ transport: "webtransport" }), headers, remoteAddress }).pipe(
          Effect.provideService(Scope.Scope, platform.scope),
          Effect.provideContext(context)
        )
    })
    return { socket, [TypeId]: state }
    // What `f` fails with and needs is in the type of `connect` alone.
  }) as Effect.Effect<Client>

/**
 * Sends one message. Over polling that waits for the answer to a POST, which a server whose `receiveBuffer` is full gives
 * when there is room; otherwise it is done when the message has left. Fails with `Disconnected` where it is not taken.
 *
 * @category sending
 * @since 0.2.0
 */
export const send = (client: Client, message: Sendable): Effect.Effect<void, Disconnected> => sendAll(client, [message])

/**
 * Sends several messages that arrive together: in one POST, or in frames that the server reads at once. Like `send`.
 *
 * @category sending
 * @since 0.2.0
 */
export const sendAll = (
  { [TypeId]: state }: Client,
  messages: ReadonlyArray<Sendable>
): Effect.Effect<void, Disconnected> =>
  Clients.send(
    state,
    messages.map((data) => ({ type: "message", data: toMessage(data) }))
  )

/**
 * Waits for the next message of the server, and takes it. Fails with `Disconnected` when no more will come.
 *
 * @category receiving
 * @since 0.2.0
 */
export const receive = ({ [TypeId]: state }: Client): Effect.Effect<Message, Disconnected> => Queue.take(state.messages)

/**
 * Moves to another transport, as `engine.io-client` does: it probes, finishes its poll, and changes over. Fails with
 * `Refused` where the server does not let it, and then stays where it is.
 *
 * @category connecting
 * @since 0.2.0
 */
export const upgrade = (
  { [TypeId]: state }: Client,
  transport: Exclude<TransportType, "polling">
): Effect.Effect<void, Refused | Disconnected> => Clients.upgrade(state, transport)

/**
 * From now on the client says and takes nothing by itself: it answers no ping, polls no more, and what the server sends
 * waits in the network, which holds 64 KiB of a WebSocket. What you `send` still goes out.
 *
 * @category misbehaving
 * @since 0.2.0
 */
export const silence = ({ [TypeId]: state }: Client): Effect.Effect<void> => Effect.asVoid(state.ways.awake.close)

/**
 * The end of `silence`: the client takes what has come, and answers again.
 *
 * @category misbehaving
 * @since 0.2.0
 */
export const resume = ({ [TypeId]: state }: Client): Effect.Effect<void> => Effect.asVoid(state.ways.awake.open)

/**
 * Loses the connection without a word. The server sees that of a WebSocket, a WebTransport session, and a poll that waits;
 * a client between two polls is missed only by its next pong.
 *
 * @category misbehaving
 * @since 0.2.0
 */
export const vanish = ({ [TypeId]: state }: Client): Effect.Effect<void> => Clients.vanish(state)

/**
 * Closes the connection, and says so where the transport has words for it.
 *
 * @category connecting
 * @since 0.2.0
 */
export const close = ({ [TypeId]: state }: Client): Effect.Effect<void> => Clients.close(state)
