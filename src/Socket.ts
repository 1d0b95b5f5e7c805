/**
 * One client's connection, in the hands of an application: receive, send, observe and close.
 *
 * A `Socket` is given to the function passed to `EngineIO.handler`, and found by id with `EngineIO.socket`. It stays the
 * same across transports: an upgrade from polling to WebSocket loses, repeats and reorders nothing.
 *
 * @module
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CloseReason } from "./CloseReason.ts"
import { toMessage } from "./internal/protocol/bytes.ts"
import {
  type InvalidMessage,
  type Socket,
  type SocketClosed,
  type SocketEvent,
  type SocketState,
  TypeId
} from "./internal/session/model.ts"
import { type Entry, make } from "./internal/transport/entry.ts"
import type { Message, Packet } from "./Packet.ts"
import type { TransportType } from "./Transport.ts"

export { toEffectSocket } from "./internal/session/effectSocket.ts"
export {
  type Handshake,
  InvalidMessage,
  type Socket,
  SocketClosed,
  type SocketEvent,
  type SocketId,
  type SocketState
} from "./internal/session/model.ts"

/**
 * What may be sent: text or bytes. Bytes are not copied, so do not change them before `flushed` has succeeded.
 *
 * @category models
 * @since 0.1.0
 */
export type Sendable = string | ArrayBuffer | ArrayBufferView

/**
 * How one message is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /** Whether the transport may compress this message, where compression is on. Default: true. */
  readonly compress?: boolean | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// receiving
// ---------------------------------------------------------------------------------------------------------------------

/** Notes who takes, and who asks for more than will ever come. */
const taking = <A>(socket: Socket, taken: Effect.Effect<A, SocketClosed>): Effect.Effect<A, SocketClosed> =>
  Effect.mapBoth(taken, {
    onFailure: (error) => {
      socket[TypeId].exhaust(socket)
      return error
    },
    onSuccess: (messages) => {
      socket[TypeId].noteTaken(socket)
      return messages
    }
  })

/**
 * Waits for the next message of the client, and takes it.
 *
 * Fails with `SocketClosed` once the session has ended and all that had arrived was taken. Interrupted, it takes nothing.
 *
 * **Details**
 *
 * When the session ends, an `app` that has taken a message finishes what it does with it, and gets the others that had
 * arrived, for at most `closeTimeout` (`drainTimeout` when the server ends). It is interrupted when it asks for one more,
 * so it need not handle the failure: what is to be done at the end belongs in `onDisconnect`, or in a finalizer such as
 * `Effect.ensuring`. The same holds for `receiveAll`, `messages` and `forEach`.
 *
 * An `app` that has taken none is interrupted when the session ends; but if the client ended it and messages wait, only
 * after `closeTimeout`. One that closes its own session is interrupted when that has ended, but not in a step of
 * `forEach` or a run of `messages`.
 *
 * All of `app` is interrupted, whichever of its fibers asks. Steps of `forEach` and runs of `messages` are awaited first;
 * what another fiber does with a message from `receive` is not, since nobody can know of it.
 *
 * **Example** (Answering one question)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Socket } from "effect-engine.io"
 *
 * const program = (socket: Socket.Socket) =>
 *   Effect.gen(function*() {
 *     yield* Socket.send(socket, "your name?")
 *     const name = yield* Socket.receive(socket)
 *     yield* Socket.send(socket, `hello ${name}`)
 *   })
 * ```
 *
 * @category receiving
 * @since 0.1.0
 */
export const receive = (socket: Socket): Effect.Effect<Message, SocketClosed> =>
  taking(socket, Queue.take(socket[TypeId].incoming(socket)))

/**
 * Takes all messages that have arrived; waits for one where there is none. Fails like `receive`.
 *
 * @category receiving
 * @since 0.1.0
 */
export const receiveAll = (socket: Socket): Effect.Effect<[Message, ...Array<Message>], SocketClosed> =>
  taking(socket, Queue.takeAll(socket[TypeId].incoming(socket)))

/**
 * The queue that `receive` takes from, for all else that `Queue` offers: `takeBetween`, `poll`, `Stream.fromQueue`.
 * Whoever takes makes room in `receiveBuffer`. It fails like `receive`; but an `app` that asks it for a message that can
 * never come is not interrupted: if it does not end by itself, it goes on for at most `closeTimeout`.
 *
 * **Example** (Messages in groups of up to ten)
 *
 * ```ts
 * import { Effect, Queue } from "effect"
 * import { Socket } from "effect-engine.io"
 *
 * const program = (socket: Socket.Socket) =>
 *   Effect.forever(Effect.flatMap(
 *     Queue.takeBetween(Socket.incoming(socket), 1, 10),
 *     (messages) => Effect.log(messages.length)
 *   ))
 * ```
 *
 * @category receiving
 * @since 0.1.0
 */
export const incoming = (socket: Socket): Queue.Dequeue<Message, SocketClosed> => {
  // Whoever asks for the queue will take from it.
  socket[TypeId].noteTaken(socket)
  return socket[TypeId].incoming(socket)
}

/**
 * The client's messages as a stream, which fails with `SocketClosed` when the session has ended and all were taken. It
 * takes all that has arrived together, so stopping early, as `Stream.take` does, loses the rest of that. To take one and
 * leave the others, use `receive`.
 *
 * **Details**
 *
 * When the session ends, everything between here and the end of the stream is finished, buffers and concurrent steps
 * too, for at most `closeTimeout`. Then `app` is interrupted, as it is by `receive`.
 *
 * @category receiving
 * @since 0.1.0
 */
export const messages = (socket: Socket): Stream.Stream<Message, SocketClosed> =>
  // The scope is that of the whole stream, not only of its beginning.
  Stream.unwrap(Effect.map(Effect.scope, (scope) => {
    let isRunning = false
    const begin = Effect.suspend(() => {
      if (isRunning) return Effect.void
      isRunning = true
      socket[TypeId].beginStep(socket)
      return Scope.addFinalizer(scope, Effect.sync(() => socket[TypeId].endStep(socket)))
    })
    return Stream.flattenArray(Stream.fromEffectRepeat(Effect.tap(receiveAll(socket), () => begin)))
  }))

/**
 * Runs `f` for every message, in order and one after the other: the loop that most applications are.
 *
 * **Details**
 *
 * It ends with the session (by `SocketClosed`; in `app`, by interruption) or with the first failure of `f`. When the
 * session ends, the step in progress is finished, and messages that had arrived are still dealt with, for at most
 * `closeTimeout`. All messages that arrived together are handled without leaving the current turn of the event loop, so
 * what `f` sends in answer to them goes out together.
 *
 * **Example** (Echo)
 *
 * ```ts
 * import { Socket } from "effect-engine.io"
 *
 * const echo = (socket: Socket.Socket) => Socket.forEach(socket, (message) => Socket.send(socket, message))
 * ```
 *
 * @category receiving
 * @since 0.1.0
 */
export const forEach: {
  <E, R>(f: (message: Message) => Effect.Effect<unknown, E, R>): (
    socket: Socket
  ) => Effect.Effect<never, E | SocketClosed, R>
  <E, R>(
    socket: Socket,
    f: (message: Message) => Effect.Effect<unknown, E, R>
  ): Effect.Effect<never, E | SocketClosed, R>
} = dual(2, <E, R>(
  socket: Socket,
  f: (message: Message) => Effect.Effect<unknown, E, R>
): Effect.Effect<never, E | SocketClosed, R> =>
  Effect.suspend(() => {
    const loop = new ForEach(socket, f)
    return Effect.onExit(Effect.whileLoop(loop), loop.end) as Effect.Effect<
      never,
      E | SocketClosed,
      R
    >
  }))

/** The state of one `forEach`, and the effect it waits in. Every idle session holds one: as closures, 0.35 KiB more. */
class ForEach<E, R> implements Queue.Queue.Taker<SocketClosed> {
  private readonly socket: Socket
  private readonly f: (message: Message) => Effect.Effect<unknown, E, R>
  private inStep = false
  resume!: (effect: Effect.Effect<void, SocketClosed>) => void
  constructor(socket: Socket, f: (message: Message) => Effect.Effect<unknown, E, R>) {
    this.socket = socket
    this.f = f
  }

  ready(): boolean {
    return true
  }

  while(): boolean {
    return true
  }

  body(): Effect.Effect<unknown, E | SocketClosed, R> {
    const { socket } = this
    this.endStep()
    const next = socket[TypeId].take(socket)
    if (next === undefined) return this.arrival
    if (next._tag === "Failure") return next
    this.inStep = true
    socket[TypeId].beginStep(socket)
    return this.f(next.value)
  }

  step(): void {}

  /**
   * Waits as `Queue.take` does, made once for all waits of the loop: with `take` itself an echo with one message in flight
   * costs 1.02 of `engine.io`, with this 0.89.
   */
  private readonly arrival: Effect.Effect<void, SocketClosed> = Effect.callback((resume) => {
    this.resume = resume
    this.socket[TypeId].awaitMessage(this.socket, this)
  })

  /** The loop is over, perhaps in the middle of a step or of a wait. */
  readonly end = (): Effect.Effect<void> => {
    const { socket } = this
    if (this.inStep) this.endStep()
    else socket[TypeId].stopAwaiting(socket, this)
    return Effect.void
  }

  private endStep(): void {
    if (!this.inStep) return
    this.inStep = false
    this.socket[TypeId].endStep(this.socket)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// sending
// ---------------------------------------------------------------------------------------------------------------------

const toEntry = (data: Sendable, options: SendOptions | undefined): Entry =>
  make("message", toMessage(data), options?.compress)

/**
 * Sends one message: succeeds once it is accepted into the send buffer, and waits while that is full.
 *
 * Fails with `SocketClosed` when the session has ended or is closing, and with `InvalidMessage` for text that cannot be
 * sent to a polling client. What was accepted is delivered in order, across transports, or its loss shows in the close
 * reason. Interrupted while it waits, it sends nothing.
 *
 * @category sending
 * @since 0.1.0
 */
export const send: {
  (message: Sendable, options?: SendOptions): (socket: Socket) => Effect.Effect<void, SocketClosed | InvalidMessage>
  (socket: Socket, message: Sendable, options?: SendOptions): Effect.Effect<void, SocketClosed | InvalidMessage>
} = dual(
  (args) => isSocket(args[0]),
  (socket: Socket, message: Sendable, options?: SendOptions): Effect.Effect<void, SocketClosed | InvalidMessage> =>
    Effect.suspend(() => {
      const entry = toEntry(message, options)
      return socket[TypeId].accept(socket, entry) === "Accepted" ? Effect.void : socket[TypeId].send(socket, [entry])
    })
)

// The first argument tells the two forms apart.
const isSocket = (value: unknown): value is Socket => typeof value === "object" && value !== null && TypeId in value

/**
 * Sends several messages, one directly behind the other; waits until all are accepted. Fails like `send`, before
 * anything is sent if any of them is invalid. Interrupted while it waits, it leaves unsent what was not yet accepted.
 *
 * @category sending
 * @since 0.1.0
 */
export const sendAll: {
  (
    messages: Iterable<Sendable>,
    options?: SendOptions
  ): (socket: Socket) => Effect.Effect<void, SocketClosed | InvalidMessage>
  (
    socket: Socket,
    messages: Iterable<Sendable>,
    options?: SendOptions
  ): Effect.Effect<void, SocketClosed | InvalidMessage>
} = dual(
  (args) => isSocket(args[0]),
  (
    socket: Socket,
    messages: Iterable<Sendable>,
    options?: SendOptions
  ): Effect.Effect<void, SocketClosed | InvalidMessage> =>
    Effect.suspend(() => socket[TypeId].send(socket, Array.from(messages, (message) => toEntry(message, options))))
)

/**
 * Sends one message if that needs no waiting: `false` when the send buffer is full, the session has ended or is closing,
 * or the text cannot be sent to a polling client.
 *
 * @category sending
 * @since 0.1.0
 */
export const offer: {
  (message: Sendable, options?: SendOptions): (socket: Socket) => Effect.Effect<boolean>
  (socket: Socket, message: Sendable, options?: SendOptions): Effect.Effect<boolean>
} = dual(
  (args) => isSocket(args[0]),
  (socket: Socket, message: Sendable, options?: SendOptions): Effect.Effect<boolean> =>
    Effect.sync(() => socket[TypeId].accept(socket, toEntry(message, options)) === "Accepted")
)

/**
 * Waits until everything accepted so far has left for the network, as frames or in the answer to a poll. Fails with
 * `SocketClosed` if the session ends before.
 *
 * @category sending
 * @since 0.1.0
 */
export const flushed = (socket: Socket): Effect.Effect<void, SocketClosed> => socket[TypeId].flushed(socket)

// ---------------------------------------------------------------------------------------------------------------------
// closing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Closes the session, and returns at once. What was accepted is delivered first, for at most `closeTimeout`; with
 * `discard` it is dropped.
 *
 * @category closing
 * @since 0.1.0
 */
export const close: {
  (options?: { readonly discard?: boolean | undefined }): (socket: Socket) => Effect.Effect<void>
  (socket: Socket, options?: { readonly discard?: boolean | undefined }): Effect.Effect<void>
} = dual(
  (args) => isSocket(args[0]),
  (socket: Socket, options?: { readonly discard?: boolean | undefined }): Effect.Effect<void> =>
    socket[TypeId].close(socket, options?.discard === true)
)

/**
 * Waits for the end of the session and says why it came. It succeeds as soon as the session is unknown to the server,
 * so the application and `onDisconnect` may wait for it too.
 *
 * @category closing
 * @since 0.1.0
 */
export const closed = (socket: Socket): Effect.Effect<CloseReason> => socket[TypeId].closed(socket)

// ---------------------------------------------------------------------------------------------------------------------
// looking
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The transport the session is on.
 *
 * @category getters
 * @since 0.1.0
 */
export const transport = (socket: Socket): Effect.Effect<TransportType> => socket[TypeId].transport(socket)

/**
 * Whether the session has moved to a better transport than it began on.
 *
 * @category getters
 * @since 0.1.0
 */
export const upgraded = (socket: Socket): Effect.Effect<boolean> => socket[TypeId].upgraded(socket)

/**
 * Where the session is in its life.
 *
 * @category getters
 * @since 0.1.0
 */
export const state = (socket: Socket): Effect.Effect<SocketState> => socket[TypeId].state(socket)

/**
 * How much waits for the client: messages, and bytes including those the connection holds unsent.
 *
 * @category getters
 * @since 0.1.0
 */
export const buffered = (socket: Socket): Effect.Effect<{ readonly messages: number; readonly bytes: number }> =>
  socket[TypeId].buffered(socket)

/**
 * How long the last heartbeat took from ping to pong; `None` before the first, and for revision 3, where the client
 * measures.
 *
 * @category getters
 * @since 0.1.0
 */
export const rtt = (socket: Socket): Effect.Effect<Option.Option<Duration.Duration>> => socket[TypeId].rtt(socket)

/**
 * Everything that happens to the session from the moment the stream runs, ending with `Closed`. Costs nothing while
 * nobody listens; a listener that falls more than 4 096 events behind, or 16 MiB of data, loses the oldest, which a warning
 * in the log tells. The session never waits for it.
 *
 * @category observing
 * @since 0.1.0
 */
export const events = (socket: Socket): Stream.Stream<SocketEvent> => socket[TypeId].events(socket)

/**
 * Every packet that arrives from the moment the stream runs, heartbeats included; ends with the session. A
 * slow listener loses the oldest, as with `events`.
 *
 * @category observing
 * @since 0.1.0
 */
export const packets = (socket: Socket): Stream.Stream<Packet> =>
  Stream.filterMap(
    events(socket),
    (event) => event._tag === "PacketReceived" ? Result.succeed(event.packet) : Result.fail(event)
  )
