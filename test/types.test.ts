/**
 * What the compiler makes of the public API: this file is checked by `npm run check`, and run for the sake of its names.
 */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import {
  Config,
  Context,
  Data,
  Effect,
  Layer,
  type Option,
  Schema,
  SchemaGetter,
  type Scope,
  type Stream
} from "effect"
import { HttpRouter, type HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Socket as EffectSocket, SocketServer } from "effect/socket"
import {
  type CloseReason,
  EngineIO,
  EngineIOLive,
  HandshakeError,
  type Packet,
  type Rooms as AllRooms,
  Socket,
  TypedSocket
} from "../src/index.ts"
import * as EngineIOClient from "../src/EngineIOClient.ts"
import { EngineIOTest } from "../src/testing.ts"

class Users extends Context.Service<Users, { readonly name: string }>()("test/Users") {}
class Rooms extends Context.Service<Rooms, { readonly join: Effect.Effect<void> }>()("test/Rooms") {}
class Goodbyes extends Context.Service<Goodbyes, { readonly say: Effect.Effect<void> }>()("test/Goodbyes") {}
class NotFound extends Data.TaggedError("NotFound")<{}> {}

const typed = EngineIO.handler((socket) =>
  Effect.gen(function*() {
    const { name } = yield* Users
    if (name === "") return yield* new HandshakeError.Forbidden({ message: "who?" })
    if (name === "?") return yield* new NotFound()
    if (name === "!") return yield* Effect.fail(HttpServerResponse.text("slow down", { status: 429 }))
    return {
      app: Effect.gen(function*() {
        yield* (yield* Rooms).join
        yield* Effect.addFinalizer(() => Effect.void)
        yield* Socket.forEach(socket, (message) => Socket.send(socket, message))
      }),
      onDisconnect: (reason) => {
        expectTypeOf(reason).toEqualTypeOf<CloseReason.CloseReason>()
        return Effect.flatMap(Goodbyes, (_) => _.say)
      }
    }
  })
)

describe("types", () => {
  it("a handler needs what its factory, its app and its onDisconnect need, each by itself", () => {
    expectTypeOf<Effect.Services<typeof typed>>().toEqualTypeOf<
      EngineIO.EngineIO | HttpServerRequest.HttpServerRequest | Users | Rooms | Goodbyes | Scope.Scope
    >()
    assert.isTrue(Effect.isEffect(typed))
  })

  it("a handler fails with what it does not answer itself", () => {
    expectTypeOf<Effect.Error<typeof typed>>().toEqualTypeOf<NotFound>()
    expectTypeOf<Effect.Success<typeof typed>>().toEqualTypeOf<HttpServerResponse.HttpServerResponse>()
  })

  it("the request cannot be used where it is gone", () => {
    const inApp = EngineIO.handler(() =>
      // @ts-expect-error the request is gone when `app` runs
      Effect.succeed({ app: Effect.map(HttpServerRequest.HttpServerRequest, (request) => request.url) })
    )
    const inEnd = EngineIO.handler(() =>
      // @ts-expect-error nor is it there in `onDisconnect`
      Effect.succeed({
        app: Effect.void,
        onDisconnect: () => Effect.asVoid(HttpServerRequest.HttpServerRequest)
      })
    )
    const inFactory = EngineIO.handler(() =>
      Effect.map(HttpServerRequest.HttpServerRequest, () => ({ app: Effect.void }))
    )
    expectTypeOf<Effect.Services<typeof inFactory>>().toEqualTypeOf<
      EngineIO.EngineIO | HttpServerRequest.HttpServerRequest
    >()
    assert.isTrue([inApp, inEnd, inFactory].every(Effect.isEffect))
  })

  it("a function that would run its application, instead of returning it, is told what to return", () => {
    const echo = EngineIO.handler((socket) =>
      // @ts-expect-error Property '"return { app: … }: …"' is missing
      Socket.forEach(socket, (message) => Socket.send(socket, message))
    )
    // @ts-expect-error
    const never = EngineIO.route("/engine.io/", () => Effect.never)
    const generator = EngineIO.serve(
      "/engine.io/",
      // @ts-expect-error
      Effect.fnUntraced(function*(socket) {
        return yield* Socket.forEach(socket, (message) => Socket.send(socket, message))
      })
    )
    expectTypeOf<keyof EngineIO.SocketApp.Returned<never, Socket.SocketClosed>>().toExtend<
      `return { app: … }${string}`
    >()
    // Who lets nobody in returns nothing.
    const closed = EngineIO.handler(() => Effect.fail(new HandshakeError.Forbidden({ message: "closed" })))
    expectTypeOf<Effect.Error<typeof closed>>().toEqualTypeOf<never>()
    assert.isDefined([echo, never, generator, closed])
  })

  it("a member that nobody would read is refused, in one of several returns too", () => {
    const misspelt = EngineIO.handler(() =>
      // @ts-expect-error a SocketApp has `app` and `onDisconnect`, and no more
      Effect.succeed({ app: Effect.never, onDisConnect: () => Effect.void })
    )
    const oneOfTwo = EngineIO.handler((socket) =>
      // @ts-expect-error
      Effect.sync(() =>
        socket.protocol === 4 ? { app: Effect.never } : { app: Effect.never, onDisconect: () => Effect.void }
      )
    )
    const annotated = (app: EngineIO.SocketApp<Rooms>) => EngineIO.handler(() => Effect.succeed(app))
    assert.isDefined([misspelt, oneOfTwo, annotated])
  })

  it("several returns may differ", () => {
    const handler = EngineIO.handler((socket) =>
      Effect.sync(() =>
        socket.protocol === 4
          ? { app: Effect.never }
          : { app: Effect.asVoid(Rooms), onDisconnect: () => Effect.asVoid(Goodbyes) }
      )
    )
    expectTypeOf<Effect.Services<typeof handler>>().toEqualTypeOf<
      EngineIO.EngineIO | HttpServerRequest.HttpServerRequest | Rooms | Goodbyes
    >()
    assert.isTrue(Effect.isEffect(handler))
  })

  it("the layer of the engine goes around the server, not into it", () => {
    const route = EngineIO.route("/engine.io/", () => Effect.succeed({ app: Effect.never }))
    const around = Layer.provide(HttpRouter.serve(route), EngineIOLive)
    const inside = HttpRouter.serve(Layer.provide(route, EngineIOLive))
    expectTypeOf<Extract<Layer.Services<typeof around>, EngineIO.EngineIO>>().toEqualTypeOf<never>()
    // What `docs/getting-started.md` says the compiler says: `EngineIO` is not assignable to type `never`.
    expectTypeOf<Extract<Layer.Services<typeof inside>, EngineIO.EngineIO>>().toEqualTypeOf<EngineIO.EngineIO>()
    assert.isDefined([around, inside])
  })

  it("layers fail with OptionsError, and with what their hooks fail with", () => {
    expectTypeOf(EngineIOLive).toEqualTypeOf<Layer.Layer<EngineIO.EngineIO, EngineIO.OptionsError>>()
    const hooked = EngineIO.layer({
      generateId: (request) => Effect.flatMap(Users, ({ name }) => Effect.as(new NotFound(), name + request.url))
    })
    expectTypeOf<Layer.Services<typeof hooked>>().toEqualTypeOf<Users>()
    const configured = EngineIO.layerConfig({ maxPayload: Config.Int("MAX_PAYLOAD") })
    expectTypeOf<Layer.Success<typeof configured>>().toEqualTypeOf<EngineIO.EngineIO>()
    assert.isDefined(hooked)
  })

  it("attach gives the request and the scope, and asks for the rest", () => {
    const attach = (server: EngineIO.NodeServer) =>
      EngineIO.attach(
        server,
        () =>
          Effect.map(Effect.all([Users, HttpServerRequest.HttpServerRequest]), () => ({ app: Effect.asVoid(Rooms) }))
      )
    expectTypeOf<Effect.Services<ReturnType<typeof attach>>>().toEqualTypeOf<
      EngineIO.EngineIO | Scope.Scope | Users | Rooms
    >()
    expectTypeOf<Effect.Error<ReturnType<typeof attach>>>().toEqualTypeOf<never>()
    assert.isFunction(attach)
  })

  it("only the server makes a Socket: no literal is one, nor a copy", () => {
    const { handshake, id, protocol } = {} as Socket.Socket
    // @ts-expect-error Property '[TypeId]' is missing
    const literal: Socket.Socket = { handshake, id, protocol }
    // @ts-expect-error
    const copy: Socket.Socket = { ...({} as Socket.Socket) }
    expectTypeOf<keyof { [K in keyof Socket.Socket as Extract<K, string>]: K }>().toEqualTypeOf<
      "id" | "protocol" | "handshake"
    >()
    assert.isDefined([literal, copy])
  })

  it("the functions of Socket say how they fail", () => {
    const calls = (socket: Socket.Socket) => {
      expectTypeOf(Socket.receive(socket)).toEqualTypeOf<Effect.Effect<Packet.Message, Socket.SocketClosed>>()
      expectTypeOf(Socket.messages(socket)).toEqualTypeOf<Stream.Stream<Packet.Message, Socket.SocketClosed>>()
      expectTypeOf(Socket.send(socket, "x")).toEqualTypeOf<
        Effect.Effect<void, Socket.SocketClosed | Socket.InvalidMessage>
      >()
      expectTypeOf(Socket.offer(socket, "x")).toEqualTypeOf<Effect.Effect<boolean>>()
      expectTypeOf(Socket.closed(socket)).toEqualTypeOf<Effect.Effect<CloseReason.CloseReason>>()
      expectTypeOf(EngineIO.count).toEqualTypeOf<Effect.Effect<number, never, EngineIO.EngineIO>>()
      expectTypeOf(EngineIO.socket("id")).toEqualTypeOf<
        Effect.Effect<Option.Option<Socket.Socket>, never, EngineIO.EngineIO>
      >()
    }
    assert.isFunction(calls)
  })

  it("only their modules make rooms and clients", () => {
    // @ts-expect-error
    const rooms: AllRooms.Rooms = {}
    // @ts-expect-error
    const client: EngineIOTest.Client = { socket: {} as Socket.Socket }
    assert.isDefined([rooms, client])
  })

  it("a client in memory needs what the function needs, but its request, and fails with what the router would get", () => {
    const connect = () =>
      EngineIOTest.connect((socket) =>
        Effect.gen(function*() {
          yield* HttpServerRequest.HttpServerRequest
          const { name } = yield* Users
          if (name === "") return yield* new NotFound()
          if (name === "?") return yield* new HandshakeError.Forbidden({ message: "who?" })
          return { app: Effect.andThen(Rooms, Socket.send(socket, name)) }
        })
      )
    expectTypeOf<Effect.Services<ReturnType<typeof connect>>>().toEqualTypeOf<
      EngineIO.EngineIO | Scope.Scope | Users | Rooms
    >()
    expectTypeOf<Effect.Error<ReturnType<typeof connect>>>().toEqualTypeOf<EngineIOTest.Refused | NotFound>()
    assert.isFunction(connect)
  })

  it("the functions of TypedSocket have the values, the errors and the services of their schemas", () => {
    const Named = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transformEffect((text: string) => Effect.map(Users, ({ name }) => name + text)),
      encode: SchemaGetter.transformEffect((text: string) => Effect.as(Rooms, text))
    }))
    const plain = TypedSocket.protocol({ incoming: Schema.Int, outgoing: Schema.Date })
    expectTypeOf(plain).toEqualTypeOf<TypedSocket.Protocol<number, Date>>()
    const served = TypedSocket.protocol({
      incoming: Named,
      outgoing: Named,
      onInvalid: (error, socket, message) => {
        expectTypeOf(error).toEqualTypeOf<Schema.SchemaError>()
        expectTypeOf(message).toEqualTypeOf<Packet.Message>()
        return Effect.andThen(TypedSocket.send(socket, "what?"), Effect.andThen(Goodbyes, Effect.fail(new NotFound())))
      }
    })
    type Answer = Socket.SocketClosed | Socket.InvalidMessage | Schema.SchemaError
    expectTypeOf(served).toEqualTypeOf<
      TypedSocket.Protocol<string, string, NotFound | Answer, Users | Rooms | Goodbyes, Rooms>
    >()
    const calls = (socket: Socket.Socket) => {
      const number = TypedSocket.make(socket, plain)
      expectTypeOf(TypedSocket.receive(number)).toEqualTypeOf<Effect.Effect<number, Socket.SocketClosed>>()
      expectTypeOf(TypedSocket.messages(number)).toEqualTypeOf<Stream.Stream<number, Socket.SocketClosed>>()
      expectTypeOf(TypedSocket.offer(number, new Date())).toEqualTypeOf<Effect.Effect<boolean, Schema.SchemaError>>()
      // @ts-expect-error a protocol sends nothing but its own values
      TypedSocket.send(number, 5)
      const name = TypedSocket.make(socket, served)
      expectTypeOf(TypedSocket.receive(name)).toEqualTypeOf<
        Effect.Effect<string, NotFound | Answer, Users | Rooms | Goodbyes>
      >()
      expectTypeOf(TypedSocket.send(name, "x")).toEqualTypeOf<Effect.Effect<void, Answer, Rooms>>()
      expectTypeOf(TypedSocket.forEach(name, () => Effect.fail("no"))).toEqualTypeOf<
        Effect.Effect<never, string | NotFound | Answer, Users | Rooms | Goodbyes>
      >()
    }
    assert.isFunction(calls)
  })
})

describe("effect/socket", () => {
  it("a session is one, and so are the connections of a client", () => {
    expectTypeOf(Socket.toEffectSocket).returns.toEqualTypeOf<EffectSocket.Socket>()
    expectTypeOf(EngineIOClient.makeSocket).returns.toEqualTypeOf<
      Effect.Effect<EffectSocket.Socket, EngineIO.OptionsError>
    >()
    expectTypeOf(EngineIOClient.layerSocket).returns.toEqualTypeOf<
      Layer.Layer<EffectSocket.Socket, EngineIO.OptionsError>
    >()
    const watched = EngineIOClient.connect("http://localhost").pipe(
      Effect.tap(() => Users),
      Effect.catchTag("OptionsError", Effect.die),
      EngineIOClient.fromClient
    )
    expectTypeOf(watched).toEqualTypeOf<Effect.Effect<EffectSocket.Socket, never, Users>>()
  })

  it("a server of sockets needs the router, and what its sessions run in", () => {
    expectTypeOf(EngineIO.layerSocketServer).returns.toEqualTypeOf<
      Layer.Layer<
        SocketServer.SocketServer,
        never,
        HttpServer.HttpServer | HttpRouter.HttpRouter | HttpRouter.Request<"Requires", EngineIO.EngineIO>
      >
    >()
  })

  it("a client's options are its own", () => {
    // @ts-expect-error `engine.io-client` takes the path as an option, this client by the URL
    EngineIOClient.makeSocket("http://localhost", { path: "/rpc/" })
    // @ts-expect-error there has to be a transport
    EngineIOClient.makeSocket("http://localhost", { transports: [] })
  })
})
