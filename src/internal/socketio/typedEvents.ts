/**
 * Events of Socket.IO as Effects: typed by schemas, answered by the result of an effect, heard as long as a scope.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { longestTimer } from "../protocol/limits.ts"
import { see } from "../protocol/see.ts"
import { Connection } from "./connection.ts"
import { type Hearer, listen, type Listener, unlessInterrupted, type Untyped } from "./programs.ts"

/**
 * What came with an event was none of its payload. `message` says what is wrong with it.
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidPayload extends Schema.TaggedError<InvalidPayload>()("InvalidPayload", {
  message: Schema.String
}) {}

/**
 * The client did not answer an event in time.
 *
 * @category errors
 * @since 0.2.0
 */
export class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", { event: Schema.String }) {
  override readonly message = `no answer to ${this.event}`
}

/**
 * An event that either side may send: its name, what it carries, and how it is answered. Made by `event`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Event<P extends Schema.Top, S extends Schema.Top, E extends Schema.Top> {
  readonly name: string
  readonly payload: P
  readonly success: S
  readonly error: E
}

/**
 * What an event is made of.
 *
 * @category options
 * @since 0.2.0
 */
export interface EventOptions<P extends Schema.Top, S extends Schema.Top, E extends Schema.Top> {
  /** Its one argument. Default: none. */
  readonly payload?: P | undefined
  /** The value it is answered with. Default: none. */
  readonly success?: S | undefined
  /** What its handler may fail with. Default: nothing. */
  readonly error?: E | undefined
}

/**
 * Makes an event. Values stand in it as JSON: what JSON has no form for, such as dates, gets that of `Schema.toCodecJson`.
 *
 * **Details**
 *
 * Without `error` an event is answered with the value itself. With it, the answer is a `Result`, and so is data that any
 * client can read: `{ _tag: "Success", success }`, or `{ _tag: "Failure", failure }` with an error of the event or
 * `InvalidPayload`.
 *
 * **Example** (A question, and news)
 *
 * ```ts
 * import { Schema } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 *
 * class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { id: Schema.Int }) {}
 *
 * const Find = SocketIO.event("find", { payload: Schema.Int, success: Schema.String, error: NotFound })
 * const News = SocketIO.event("news", { payload: Schema.Struct({ text: Schema.String, at: Schema.Date }) })
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const event = <
  P extends Schema.Top = Schema.Void,
  S extends Schema.Top = Schema.Void,
  E extends Schema.Top = Schema.Never
>(
  name: string,
  options: EventOptions<P, S, E> = {}
): Event<P, S, E> => ({
  name,
  payload: options.payload ?? Schema.Void as unknown as P,
  success: options.success ?? Schema.Void as unknown as S,
  error: options.error ?? Schema.Never as unknown as E
})

type AnyEvent = Event<Schema.Top, Schema.Top, Schema.Top>

const isAnsweredByResult = ({ error }: AnyEvent): boolean => (error as Schema.Top) !== Schema.Never

/** The answer to an event as it is sent. */
const answerOf = <S extends Schema.Top, E extends Schema.Top>({ error, success }: Event<Schema.Top, S, E>) =>
  Schema.toCodecJson(Schema.Result(success, Schema.Union([error, InvalidPayload])))

/**
 * What sends events: a server, a namespace, a socket, or those that `to`, `except` and the like give.
 *
 * @category models
 * @since 0.2.0
 */
export interface Emitter {
  emit(event: never, ...args: Array<never>): unknown
  compress?(compress: boolean): Emitter
  readonly volatile?: Emitter
}

/**
 * Runs `handler` for every event of a socket, as long as the scope is open, and answers the client, where that asks for an
 * answer, with what it succeeds or fails with. Handlers run beside each other. When the scope closes, those that still run
 * are interrupted.
 *
 * **Details**
 *
 * An event whose payload does not decode never reaches the handler: it is answered with `InvalidPayload`, where `error` is
 * given, and else logged. Defects are logged, and not answered.
 *
 * **Example** (Rooms by name)
 *
 * ```ts
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Effect, Schema } from "effect"
 * import { Server } from "socket.io"
 *
 * class RoomFull extends Schema.TaggedError<RoomFull>()("RoomFull", { most: Schema.Int }) {}
 *
 * const Join = SocketIO.event("join", { payload: Schema.String, success: Schema.Int, error: RoomFull })
 * const Joined = SocketIO.event("joined", { payload: Schema.Struct({ id: Schema.String, at: Schema.Date }) })
 *
 * const io = new Server()
 *
 * const program = SocketIO.connections(io, (socket) =>
 *   SocketIO.on(socket, Join, (room) =>
 *     Effect.gen(function*() {
 *       const others = yield* Effect.promise(() => io.in(room).fetchSockets())
 *       if (others.length === 10) return yield* new RoomFull({ most: 10 })
 *       socket.join(room)
 *       yield* Effect.orDie(SocketIO.emit(socket.to(room), Joined, { id: socket.id, at: new Date() }))
 *       return others.length + 1
 *     })))
 * ```
 *
 * @category events
 * @since 0.2.0
 */
export const on = <P extends Schema.Top, S extends Schema.Top, E extends Schema.Top, E2 extends E["Type"], R>(
  socket: Hearer,
  event: Event<P, S, E>,
  handler: (payload: P["Type"]) => Effect.Effect<S["Type"], E2, R>
): Effect.Effect<
  void,
  never,
  Scope.Scope | R | P["DecodingServices"] | S["EncodingServices"] | E["EncodingServices"]
> => {
  const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(event.payload))
  const encodeResult = Schema.encodeUnknownEffect(answerOf(event))
  const encodeSuccess = Schema.encodeUnknownEffect(Schema.toCodecJson(event.success))
  const handle = (payload: unknown): Effect.Effect<S["Type"], E2 | InvalidPayload, R | P["DecodingServices"]> =>
    Effect.flatMap(
      Effect.mapError(decode(payload), ({ message }) => new InvalidPayload({ message })),
      handler
    )
  const answer = isAnsweredByResult(event)
    ? (payload: unknown) => Effect.flatMap(Effect.result(handle(payload)), encodeResult)
    : (payload: unknown) => Effect.flatMap(handle(payload), encodeSuccess)
  const report = unlessInterrupted((cause) =>
    Effect.annotateLogs(
      Effect.logError(`An event was not handled${see("event-that-was-not-handled")}`, cause),
      "event",
      event.name
    )
  )
  return Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<
      R | P["DecodingServices"] | S["EncodingServices"] | E["EncodingServices"]
    >()
    yield* listen(socket, event.name, (...args) => {
      const last = args.at(-1)
      const respond = typeof last === "function" ? last as Listener : undefined
      if (respond !== undefined) args.pop()
      // What is not there is `null` on the wire.
      const answered = Effect.map(answer(args[0] ?? null), (value) => respond?.(value))
      run(Effect.catchCause(answered, report))
    })
  })
}

/**
 * Sends an event to a socket, or to all that a namespace or a room has (`io`, `io.to(room)`, `socket.broadcast`). Fails
 * with `SchemaError`, and sends nothing, where the payload is none of the event.
 *
 * To a single socket it waits, behind the event, while more waits for the client than the option `sendBuffer` allows.
 *
 * **Example** (To a room)
 *
 * ```ts
 * import { Schema } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import { Server } from "socket.io"
 *
 * const Price = SocketIO.event("price", { payload: Schema.Number })
 *
 * const io = new Server()
 *
 * const tell = (price: number) => SocketIO.emit(io.to("market"), Price, price, { volatile: true })
 * ```
 *
 * @category events
 * @since 0.2.0
 */
export const emit = <P extends Schema.Top, S extends Schema.Top, E extends Schema.Top>(
  to: Emitter,
  event: Event<P, S, E>,
  payload: P["Type"],
  { compress, volatile = false }: EmitOptions = {}
): Effect.Effect<void, Schema.SchemaError, P["EncodingServices"]> =>
  Effect.flatMap(argumentsOf(event, payload), (args) => {
    // For a socket, both hold for whatever event is next.
    const emitter = (volatile ? to.volatile : to) ?? to
    const flagged = compress === undefined ? emitter : emitter.compress?.(compress) ?? emitter
    ;(flagged as unknown as Untyped).emit(event.name, ...args)
    const { conn } = to as { readonly conn?: unknown }
    return conn instanceof Connection ? conn.room : Effect.void
  })

/**
 * How an event is sent.
 *
 * @category options
 * @since 0.2.0
 */
export interface EmitOptions {
  /** Whether clients that are not ready for it miss it. Default: false. */
  readonly volatile?: boolean | undefined
  /** Whether it may be compressed, where compression is on. Default: true. */
  readonly compress?: boolean | undefined
}

/** An event without a payload has no argument. */
const argumentsOf = <P extends Schema.Top>(event: Event<P, Schema.Top, Schema.Top>, payload: P["Type"]) =>
  Effect.map(
    Schema.encodeEffect(Schema.toCodecJson(event.payload))(payload),
    (encoded) => (event.payload as Schema.Top) === Schema.Void ? [] : [encoded]
  )

/**
 * Sends an event to a socket and waits for the client's answer, which is that of `event`: the value itself or, where
 * `error` is given, a `Result`. Fails with the event's error, with `NoAnswer` after `timeout` (default: 10 seconds), and
 * with `SchemaError` where payload or answer is none of the event.
 *
 * **Example** (A question to the page)
 *
 * ```ts
 * import { Schema } from "effect"
 * import * as SocketIO from "effect-engine.io/SocketIO"
 * import type { Socket } from "socket.io"
 *
 * const Confirm = SocketIO.event("confirm", { payload: Schema.String, success: Schema.Boolean })
 *
 * const confirm = (socket: Socket) => SocketIO.ask(socket, Confirm, "Really?", { timeout: "1 minute" })
 * ```
 *
 * @category events
 * @since 0.2.0
 */
export const ask = <P extends Schema.Top, S extends Schema.Top, E extends Schema.Top>(
  socket: { timeout(milliseconds: number): Emitter },
  event: Event<P, S, E>,
  payload: P["Type"],
  options: { readonly timeout?: Duration.Input | undefined } = {}
): Effect.Effect<
  S["Type"],
  E["Type"] | InvalidPayload | NoAnswer | Schema.SchemaError,
  P["EncodingServices"] | S["DecodingServices"] | E["DecodingServices"]
> =>
  Effect.gen(function*() {
    const args = yield* argumentsOf(event, payload)
    const millis = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 seconds"))
    const answer = yield* Effect.callback<unknown, NoAnswer>((resume) => {
      const emitter = socket.timeout(Math.min(millis, longestTimer)) as unknown as Untyped
      emitter.emit(event.name, ...args, (error: unknown, value: unknown) =>
        resume(error ? Effect.fail(new NoAnswer({ event: event.name })) : Effect.succeed(value ?? null)))
    })
    if (!isAnsweredByResult(event)) {
      return yield* Schema.decodeUnknownEffect(Schema.toCodecJson(event.success))(answer)
    }
    const result = yield* Schema.decodeUnknownEffect(answerOf(event))(answer)
    return yield* Effect.fromResult(result)
  })
