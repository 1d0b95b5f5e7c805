/**
 * A socket that speaks in values: one `Schema` says what the client sends, another what it is sent.
 *
 * A `Protocol` is made once, for all sockets that speak it. A message that is not of it is skipped, which the log tells,
 * unless `onInvalid` says what else to do.
 *
 * @module
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { RpcSerialization } from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import { see } from "./internal/protocol/see.ts"
import { labelOf } from "./internal/session/model.ts"
import type { Message } from "./Packet.ts"
import * as Socket from "./Socket.ts"

// ---------------------------------------------------------------------------------------------------------------------
// formats
// ---------------------------------------------------------------------------------------------------------------------

/**
 * How values stand in messages: `codecFor` says what `encode` is given and `decode` gives back. `decode` throws where the
 * message is none of the format.
 *
 * **Example** (MessagePack, by a library of your choice)
 *
 * ```ts
 * import { decode, encode } from "@msgpack/msgpack"
 * import { TypedSocket } from "effect-engine.io"
 *
 * const messagePack: TypedSocket.Format = {
 *   codecFor: TypedSocket.json.codecFor,
 *   encode: (value) => encode(value),
 *   decode: (message) => decode(message as Uint8Array)
 * }
 * ```
 *
 * **Example** (Effect's own binary format)
 *
 * ```ts
 * import { SchemaBinary } from "effect/encoding"
 * import { TypedSocket } from "effect-engine.io"
 *
 * const binary: TypedSocket.Format = {
 *   codecFor: SchemaBinary.toCodec,
 *   encode: (bytes) => bytes as Uint8Array,
 *   decode: (message) => message
 * }
 * ```
 *
 * @category models
 * @since 0.2.0
 */
export interface Format {
  readonly codecFor: <S extends Schema.Top>(
    schema: S
  ) => Schema.Codec<S["Type"], unknown, S["DecodingServices"], S["EncodingServices"]>
  readonly encode: (value: unknown) => Message
  readonly decode: (message: Message) => unknown
}

/**
 * JSON, as text. What JSON has no form for, such as dates, maps and bytes, gets that of `Schema.toCodecJson`.
 *
 * @category formats
 * @since 0.2.0
 */
export const json: Format = {
  codecFor: Schema.toCodecJson,
  encode: (value) => {
    const text: string | undefined = JSON.stringify(value)
    if (text !== undefined) return text
    throw new TypeError("what a schema for anything lets through, such as a function, need not be JSON")
  },
  decode: (message) => {
    if (typeof message === "string") return JSON.parse(message)
    throw new TypeError("bytes are not JSON")
  }
}

/**
 * The format of one of Effect's `RpcSerialization`s, or of one of yours. Every message is one value.
 *
 * **Gotchas**
 *
 * `RpcSerialization.json` and others take a list for several messages, so a schema that is a list at its top needs
 * `TypedSocket.json`. Those of JSON-RPC carry nothing but the messages of RPC.
 *
 * @category formats
 * @since 0.2.0
 */
export const fromRpcSerialization = ({ codecFor, makeUnsafe }: RpcSerialization["Service"]): Format => {
  // Where the codec itself makes bytes of a value, the parser is for the messages of RPC alone.
  const isWhole = Schema.encodeUnknownSync(codecFor(Schema.Null))(null) instanceof Uint8Array
  if (isWhole) return { codecFor, encode: (value) => value as Uint8Array, decode: (message) => message }
  return {
    codecFor,
    // What a parser has of an unfinished value must not be continued by another message.
    encode: (value) => makeUnsafe().encode(value)!,
    decode: (message) => {
      const values = makeUnsafe().decode(message)
      if (values.length === 1) return values[0]
      throw new TypeError("a message is one value")
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// protocols
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What client and server say to each other: made by `protocol`, once for all sockets that speak it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Protocol<In, Out, E = never, RIn = never, ROut = never> {
  /** The value in a message of the client. */
  readonly decode: (message: Message) => Effect.Effect<In, Schema.SchemaError, RIn>
  /** The message for a value, to be sent to many: with `Rooms.broadcast`, say, or `EngineIO.broadcast`. */
  readonly encode: (value: Out) => Effect.Effect<Message, Schema.SchemaError, ROut>
  /** What is done with a message that does not decode, before the next. */
  onInvalid(
    error: Schema.SchemaError,
    socket: TypedSocket<In, Out, E, RIn, ROut>,
    message: Message
  ): Effect.Effect<unknown, E | Socket.SocketClosed, RIn>
}

/**
 * What a protocol is made of.
 *
 * @category options
 * @since 0.2.0
 */
export interface ProtocolOptions<I extends Schema.Top, O extends Schema.Top, E, R> {
  /** What the client sends. */
  readonly incoming: I
  /** What it is sent. */
  readonly outgoing: O
  /** How values stand in messages. Default: `json`. */
  readonly format?: Format | undefined
  /**
   * What to do with a message that does not decode: `"skip"` it; `"close"` the session, after what was sent is delivered;
   * or run an effect, which may answer, and then skip it. Default: `"skip"`. The first two tell of it in the log, with a
   * warning for the first of a socket and at debug level from then on.
   */
  readonly onInvalid?:
    | "skip"
    | "close"
    | ((
      error: Schema.SchemaError,
      socket: TypedSocket<I["Type"], O["Type"], unknown, unknown, O["EncodingServices"]>,
      message: Message
    ) => Effect.Effect<unknown, E, R>)
    | undefined
}

/**
 * Makes a protocol.
 *
 * **Example** (Requests that are counted, and an answer to what is none)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { EngineIO, TypedSocket } from "effect-engine.io"
 *
 * const Counter = TypedSocket.protocol({
 *   incoming: Schema.Struct({ add: Schema.Int }),
 *   outgoing: Schema.Union([Schema.Struct({ sum: Schema.Int }), Schema.Struct({ problem: Schema.String })]),
 *   onInvalid: (error, socket) => TypedSocket.send(socket, { problem: error.message })
 * })
 *
 * const handler = EngineIO.handler((socket) => {
 *   const counter = TypedSocket.make(socket, Counter)
 *   let sum = 0
 *   return Effect.succeed({
 *     app: TypedSocket.forEach(counter, ({ add }) => TypedSocket.send(counter, { sum: sum += add }))
 *   })
 * })
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const protocol = <I extends Schema.Top, O extends Schema.Top, E = never, R = never>(
  { format = json, incoming, onInvalid = "skip", outgoing }: ProtocolOptions<I, O, E, R>
): Protocol<I["Type"], O["Type"], E, I["DecodingServices"] | R, O["EncodingServices"]> => {
  const decodeValue = Schema.decodeUnknownEffect(format.codecFor(incoming))
  const encodeValue = Schema.encodeEffect(format.codecFor(outgoing))
  return {
    // `Schema.fromJsonString` does the same in an effect of several steps, and at three times the cost.
    decode: (message) => Effect.flatMapEager(attempt(() => format.decode(message)), decodeValue),
    encode: (value) => Effect.flatMapEager(encodeValue(value), (encoded) => attempt(() => format.encode(encoded))),
    onInvalid: typeof onInvalid === "function" ? onInvalid : tellAnd(onInvalid)
  }
}

const attempt = <A>(f: () => A): Exit.Exit<A, Schema.SchemaError> => {
  try {
    return Exit.succeed(f())
  } catch {
    return Exit.fail(new Schema.SchemaError(new SchemaIssue.InvalidValue({ expected: "a message of the format" })))
  }
}

const tellAnd = (policy: "skip" | "close") => {
  const told = new WeakSet<Socket.Socket>()
  return (error: Schema.SchemaError, { socket }: { readonly socket: Socket.Socket }) =>
    Effect.gen(function*() {
      const log = told.has(socket) ? Effect.logDebug : Effect.logWarning
      told.add(socket)
      yield* log(
        `A message does not decode: ${policy === "skip" ? "it is skipped" : "its session is closed"}${
          see("message-that-does-not-decode")
        }`
      ).pipe(
        Effect.annotateLogs({ session: labelOf(socket), issue: error.message.slice(0, longestIssue) })
      )
      if (policy === "skip") return
      yield* Socket.close(socket)
      // What came behind the message is not looked at.
      return yield* new Socket.SocketClosed({ reason: yield* Socket.closed(socket) })
    })
}

/** How much the log shows of an issue, in characters: some name what the client has made up. */
const longestIssue = 500

// ---------------------------------------------------------------------------------------------------------------------
// sockets
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A socket and the protocol spoken on it. `socket` is for all that is not about messages: `Socket.close(chat.socket)`.
 *
 * @category models
 * @since 0.2.0
 */
export interface TypedSocket<In, Out, E = never, RIn = never, ROut = never> {
  readonly socket: Socket.Socket
  readonly protocol: Protocol<In, Out, E, RIn, ROut>
}

/**
 * Speaks a protocol on a socket. Nothing is asked of the client, and nothing has to be undone.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = <In, Out, E, RIn, ROut>(
  socket: Socket.Socket,
  protocol: Protocol<In, Out, E, RIn, ROut>
): TypedSocket<In, Out, E, RIn, ROut> => ({ socket, protocol })

/** The value in a message, or none, after what is done with one that does not decode. */
const read = <In, Out, E, RIn, ROut>(
  typed: TypedSocket<In, Out, E, RIn, ROut>,
  message: Message
): Effect.Effect<Result.Result<In, Schema.SchemaError>, E | Socket.SocketClosed, RIn> =>
  Effect.matchEffect(typed.protocol.decode(message), {
    onSuccess: (value) => Effect.succeed(Result.succeed(value)),
    onFailure: (error) => Effect.as(typed.protocol.onInvalid(error, typed, message), Result.fail(error))
  })

/**
 * Waits for the next message that decodes, and takes it. Fails like `Socket.receive`, or with what `onInvalid` fails with.
 *
 * @category receiving
 * @since 0.2.0
 */
export const receive = <In, Out, E, RIn, ROut>(
  typed: TypedSocket<In, Out, E, RIn, ROut>
): Effect.Effect<In, E | Socket.SocketClosed, RIn> =>
  Effect.gen(function*() {
    while (true) {
      const result = yield* read(typed, yield* Socket.receive(typed.socket))
      if (Result.isSuccess(result)) return result.success
    }
  })

/**
 * What the client sends, as a stream of values. It takes and ends like `Socket.messages`, and fails with what `onInvalid`
 * fails with, too.
 *
 * @category receiving
 * @since 0.2.0
 */
export const messages = <In, Out, E, RIn, ROut>(
  typed: TypedSocket<In, Out, E, RIn, ROut>
): Stream.Stream<In, E | Socket.SocketClosed, RIn> =>
  // One at a time, or what came with a message that does not decode would be dealt with behind it.
  Socket.messages(typed.socket).pipe(Stream.rechunk(1), Stream.filterMapEffect((message) => read(typed, message)))

/**
 * Runs `f` for every value the client sends, in order and one after the other, like `Socket.forEach`: with the same end,
 * and without leaving the turn of the event loop between messages that arrived together. Fails with what `onInvalid`
 * fails with, too.
 *
 * @category receiving
 * @since 0.2.0
 */
export const forEach = <In, Out, E, RIn, ROut, E2, R2>(
  typed: TypedSocket<In, Out, E, RIn, ROut>,
  f: (value: In) => Effect.Effect<unknown, E2, R2>
): Effect.Effect<never, E | E2 | Socket.SocketClosed, RIn | R2> => {
  const { protocol, socket } = typed
  const act = (message: Message): Effect.Effect<unknown, E | E2 | Socket.SocketClosed, RIn | R2> => {
    const decoded = protocol.decode(message)
    // Most schemas need neither services nor time.
    if (Exit.isExit(decoded) && Exit.isSuccess(decoded)) return f(decoded.value as In)
    return Effect.matchEffect(decoded, {
      onSuccess: f,
      onFailure: (error) => protocol.onInvalid(error, typed, message)
    })
  }
  return Socket.forEach(socket, act)
}

/**
 * Sends one value, like `Socket.send`. Fails with `SchemaError` where it is none of the protocol; nothing is sent then.
 *
 * @category sending
 * @since 0.2.0
 */
export const send = <In, Out, E, RIn, ROut>(
  { protocol, socket }: TypedSocket<In, Out, E, RIn, ROut>,
  value: Out,
  options?: Socket.SendOptions
): Effect.Effect<void, Socket.SocketClosed | Socket.InvalidMessage | Schema.SchemaError, ROut> =>
  Effect.suspend(() => Effect.flatMapEager(protocol.encode(value), (message) => Socket.send(socket, message, options)))

/**
 * Sends several values, one directly behind the other, like `Socket.sendAll`. Fails with `SchemaError` before anything is
 * sent if one of them is none of the protocol.
 *
 * @category sending
 * @since 0.2.0
 */
export const sendAll = <In, Out, E, RIn, ROut>(
  { protocol, socket }: TypedSocket<In, Out, E, RIn, ROut>,
  values: Iterable<Out>,
  options?: Socket.SendOptions
): Effect.Effect<void, Socket.SocketClosed | Socket.InvalidMessage | Schema.SchemaError, ROut> =>
  Effect.flatMap(
    Effect.forEach(values, (value) => protocol.encode(value)),
    (messages) => Socket.sendAll(socket, messages, options)
  )

/**
 * Sends one value if that needs no waiting, and says whether it did, like `Socket.offer`. Fails with `SchemaError` where
 * it is none of the protocol.
 *
 * @category sending
 * @since 0.2.0
 */
export const offer = <In, Out, E, RIn, ROut>(
  { protocol, socket }: TypedSocket<In, Out, E, RIn, ROut>,
  value: Out,
  options?: Socket.SendOptions
): Effect.Effect<boolean, Schema.SchemaError, ROut> =>
  Effect.suspend(() => Effect.flatMapEager(protocol.encode(value), (message) => Socket.offer(socket, message, options)))
