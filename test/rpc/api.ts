/**
 * An API with a bit of everything, the server that serves it over Engine.IO, and a client of it.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { decode, encode } from "@msgpack/msgpack"
import { Context, Effect, Latch, Layer, Queue, Ref, Schedule, Schema, type Scope, Stream } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket"
import { createServer } from "node:http"
import { EngineIO } from "../../src/index.ts"
import * as EngineIOClient from "../../src/EngineIOClient.ts"
import type { QuicServer } from "../kit/quic.ts"

// ---------------------------------------------------------------------------------------------------------------------
// API
// ---------------------------------------------------------------------------------------------------------------------

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}

export const Api = RpcGroup.make(
  Rpc.make("Echo", { payload: { text: Schema.String }, success: Schema.String }),
  Rpc.make("Reverse", { payload: { bytes: Schema.Uint8Array }, success: Schema.Uint8Array }),
  Rpc.make("Together", { payload: { order: Schema.Int, isLast: Schema.Boolean }, success: Schema.Int }),
  Rpc.make("Buy", { payload: { item: Schema.String }, success: Schema.Void, error: OutOfStock }),
  Rpc.make("Break", { payload: { how: Schema.String } }),
  Rpc.make("WhoAmI", { success: Schema.String }),
  Rpc.make("Hang", { payload: { name: Schema.String } }),
  Rpc.make("Count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }),
  Rpc.make("Deliveries", { payload: { item: Schema.String }, success: Schema.Int, error: OutOfStock, stream: true }),
  Rpc.make("Forever", { payload: { name: Schema.String }, success: Schema.Int, stream: true })
)

/** What the handlers have to tell beside their answers. */
export class Journal extends Context.Service<Journal, {
  /** The names of the calls that began. */
  readonly begun: Queue.Queue<string>
  /** The names of those that were interrupted. */
  readonly interrupted: Queue.Queue<string>
  /** How many elements of `Forever` were made. */
  readonly made: Ref.Ref<number>
}>()("test/Journal") {
  static readonly layer = Layer.effect(
    this,
    Effect.all({ begun: Queue.unbounded<string>(), interrupted: Queue.unbounded<string>(), made: Ref.make(0) })
  )
}

const handlers = Api.toLayer(Effect.gen(function*() {
  const { begun, interrupted, made } = yield* Journal
  const isLast = yield* Latch.make()
  return {
    Echo: ({ text }) => Effect.succeed(text),
    Reverse: ({ bytes }) => Effect.succeed(bytes.toReversed()),
    Together: ({ isLast: opens, order }) => Effect.as(opens ? isLast.open : isLast.await, order),
    Buy: ({ item }) => item === "bread" ? Effect.void : Effect.fail(new OutOfStock({ item })),
    Break: ({ how }) => Effect.die(new Error(how)),
    WhoAmI: (_, { headers }) => Effect.succeed(headers["x-name"] ?? "nobody"),
    Hang: ({ name }) =>
      Queue.offer(begun, name).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Queue.offer(interrupted, name))
      ),
    Count: ({ to }) => Stream.range(1, to),
    Deliveries: ({ item }) => Stream.concat(Stream.make(1, 2), Stream.fail(new OutOfStock({ item }))),
    Forever: ({ name }) =>
      Stream.fromEffectRepeat(Ref.updateAndGet(made, (count) => count + 1)).pipe(
        Stream.ensuring(Queue.offer(interrupted, name))
      )
  }
}))

// ---------------------------------------------------------------------------------------------------------------------
// serializations
// ---------------------------------------------------------------------------------------------------------------------

/** Effect 4 has none of its own any more: this is all it takes. */
const messagePack = RpcSerialization.RpcSerialization.of({
  contentType: "application/msgpack",
  includesFraming: false,
  codecFor: RpcSerialization.json.codecFor,
  makeUnsafe: () => ({
    decode: (data) => [decode(data as Uint8Array)],
    encode: (message) => encode(message, { ignoreUndefined: true })
  })
})

export const serializations = {
  JSON: RpcSerialization.layerJson,
  MessagePack: Layer.succeed(RpcSerialization.RpcSerialization, messagePack),
  "Effect's binary": RpcSerialization.layerSchemaBinary()
}

export type Serialization = keyof typeof serializations

// ---------------------------------------------------------------------------------------------------------------------
// server
// ---------------------------------------------------------------------------------------------------------------------

/** Sessions of a route and, where there is QUIC, of WebTransport. */
const socketServer = (quic: QuicServer | undefined) =>
  quic === undefined ? EngineIO.layerSocketServer("/rpc/") : Layer.unwrap(Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const { server, socketApp } = yield* EngineIO.makeSocketServer(address)
    const accept = yield* Effect.map(
      Effect.context<EngineIO.EngineIO | Scope.Scope>(),
      (context) => (session: EngineIO.WebTransportSession, request?: EngineIO.WebTransportRequest) =>
        Effect.runPromise(Effect.provide(EngineIO.acceptWebTransport(session, socketApp, request), context))
    )
    quic.server = { acceptWebTransport: accept }
    return Layer.merge(EngineIO.route("/rpc/", socketApp), Layer.succeed(SocketServer.SocketServer, server))
  }))

export interface ServerOptions extends EngineIO.Options {
  readonly serialization?: Serialization | undefined
  readonly quic?: QuicServer | undefined
  readonly port?: number | undefined
}

/** The API on a port, at `/rpc/`. */
export const server = ({ port = 0, quic, serialization = "JSON", ...options }: ServerOptions = {}) =>
  HttpRouter.serve(
    RpcServer.layer(Api, { disableFatalDefects: true }).pipe(
      Layer.provide(handlers),
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide(socketServer(quic)),
      Layer.provide(serializations[serialization])
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(EngineIO.layer(options)),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })),
    Layer.provideMerge(Journal.layer)
  )

// ---------------------------------------------------------------------------------------------------------------------
// client
// ---------------------------------------------------------------------------------------------------------------------

export const portOf = Effect.map(HttpServer.HttpServer, ({ address }) => "port" in address ? address.port : 0)

/** A client that connects again at once. */
export const connect = Effect.fnUntraced(function*(
  port: number,
  options: EngineIOClient.Options,
  serialization: Serialization = "JSON"
) {
  const protocol = RpcClient.layerProtocolSocket({
    retryTransientErrors: true,
    retryPolicy: Schedule.spaced("20 millis")
  }).pipe(
    Layer.provide(EngineIOClient.layerSocket(`http://127.0.0.1:${port}/rpc/`, options)),
    Layer.provide(serializations[serialization])
  )
  return yield* Effect.provide(RpcClient.make(Api), yield* Layer.build(protocol))
})
