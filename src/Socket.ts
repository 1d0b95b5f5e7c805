/**
 * One client's connection, in the hands of an application: receive, send, observe and close.
 *
 * A `Socket` is given to the function passed to `EngineIO.handler`, and found by id with `EngineIO.socket`. It stays the
 * same across transports: an upgrade from polling to WebSocket loses, repeats and reorders nothing.
 *
 * @module
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CloseReason } from "./CloseReason.ts"
import { toBytes } from "./internal/protocol/bytes.ts"
import { hasSeparator } from "./internal/protocol/revision4.ts"
import {
  InvalidMessage,
  type Socket,
  SocketClosed,
  type SocketEvent,
  type SocketState,
  TypeId
} from "./internal/session/model.ts"
import { Sending } from "./internal/session/sending.ts"
import type { Session } from "./internal/session/session.ts"
import { type Entry, entrySize, Outbound } from "./internal/transport/outgoing.ts"
import type { Message, Packet } from "./Packet.ts"
import type { TransportType } from "./Transport.ts"

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

const toSession = (socket: Socket): Session => socket as Session

// ---------------------------------------------------------------------------------------------------------------------
// receiving
// ---------------------------------------------------------------------------------------------------------------------

/** The application asked for more than will ever come. */
const exhausted = (session: Session): Effect.Effect<never, SocketClosed> => {
  session.application?.onExhausted()
  return Effect.fail(new SocketClosed({ reason: session.reason! }))
}

const waitFor = (session: Session): Effect.Effect<void> =>
  Effect.onInterrupt(session.incoming.wait, () => session.incoming.leave)

const take = (session: Session): Message | undefined => {
  const message = session.take()
  if (message !== undefined) session.application?.onTaken()
  return message
}

const takeOrWait = (session: Session): Effect.Effect<Message, SocketClosed> => {
  const message = take(session)
  if (message !== undefined) return Effect.succeed(message)
  if (session.state === "closed") return exhausted(session)
  return Effect.flatMap(waitFor(session), () => takeOrWait(session))
}

/**
 * Waits for the next message of the client, and takes it.
 *
 * Fails with `SocketClosed` once the session has ended and all that had arrived was taken. Interrupted, it takes nothing.
 *
 * **Details**
 *
 * When the session ends, an `app` that has taken a message finishes what it does with it, and gets the others that had
 * arrived, for at most `closeTimeout`. It is interrupted when it asks for one more, so that it need not handle the
 * failure: what is to be done at the end belongs into `onDisconnect`, or a finalizer such as `Effect.ensuring`. The same
 * holds for `receiveAll`, `messages` and `forEach`. An `app` that has taken none, and waits for none, is interrupted when
 * the session ends; where the client ended it and messages wait, only after `closeTimeout`. One that closes its own
 * session is interrupted when that has ended, but not in a step of `forEach` or a run of `messages`.
 *
 * The whole of `app` is interrupted, whichever of its fibers asks. Steps of `forEach` and runs of `messages` are awaited
 * before; what another fiber does with a message from `receive` cannot be known, and is not.
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
  Effect.suspend(() => takeOrWait(toSession(socket)))

const takeAllOrWait = (session: Session): Effect.Effect<[Message, ...Array<Message>], SocketClosed> => {
  const first = take(session)
  if (first === undefined) {
    return session.state === "closed"
      ? exhausted(session)
      : Effect.flatMap(waitFor(session), () => takeAllOrWait(session))
  }
  const messages: [Message, ...Array<Message>] = [first]
  for (let next = session.take(); next !== undefined; next = session.take()) messages.push(next)
  return Effect.succeed(messages)
}

/**
 * Takes all messages that have arrived; waits for one where there is none. Fails like `receive`.
 *
 * @category receiving
 * @since 0.1.0
 */
export const receiveAll = (socket: Socket): Effect.Effect<[Message, ...Array<Message>], SocketClosed> =>
  Effect.suspend(() => takeAllOrWait(toSession(socket)))

/**
 * The client's messages as a stream, which fails with `SocketClosed` when the session has ended and all were taken. It
 * takes what has arrived together: who stops the stream early, as `Stream.take` does, loses the rest of that. To take one
 * and leave the others, use `receive`.
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
    const session = toSession(socket)
    let isRunning = false
    const begin = Effect.suspend(() => {
      const { application } = session
      if (isRunning || application === undefined) return Effect.void
      isRunning = true
      application.beginStep()
      return Scope.addFinalizer(scope, Effect.sync(() => application.endStep()))
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
    const loop = new ForEach(toSession(socket), f)
    return Effect.onExit(Effect.whileLoop(loop), () => loop.end) as Effect.Effect<
      never,
      E | SocketClosed,
      R
    >
  }))

/** The state of one `forEach`: an object and no closures, since every idle session holds one. */
class ForEach<E, R> {
  private readonly session: Session
  private readonly f: (message: Message) => Effect.Effect<unknown, E, R>
  private inStep = false
  constructor(session: Session, f: (message: Message) => Effect.Effect<unknown, E, R>) {
    this.session = session
    this.f = f
  }

  while(): boolean {
    return true
  }

  body(): Effect.Effect<unknown, E | SocketClosed, R> {
    const { session } = this
    this.endStep()
    const message = session.take()
    if (message === undefined) return session.state === "closed" ? exhausted(session) : session.incoming.wait
    this.inStep = true
    session.application?.beginStep()
    return this.f(message)
  }

  step(): void {}

  /** The loop is over, perhaps in the middle of a step or of a wait. */
  get end(): Effect.Effect<void> {
    const wasWaiting = !this.inStep
    this.endStep()
    return wasWaiting ? this.session.incoming.leave : Effect.void
  }

  endStep(): void {
    if (!this.inStep) return
    this.inStep = false
    this.session.application?.endStep()
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// sending
// ---------------------------------------------------------------------------------------------------------------------

const toMessage = (data: Sendable): Message => typeof data === "string" ? data : toBytes(data)

const toEntry = (data: Sendable, options: SendOptions | undefined): Entry => {
  const message = toMessage(data)
  return options?.compress === false ? new Outbound("message", message, false, undefined) : message
}

/** Text that would forge packets. */
const isForging = (session: Session, data: Sendable): boolean => session.splitsText && hasSeparator(data)

// A session that its function closes while it opens has a reason already.
const isAccepting = (session: Session): boolean =>
  session.state === "open" || (session.state === "opening" && session.reason === undefined)

const sendingOf = (session: Session): Sending => {
  if (session.sending === undefined) {
    session.sending = new Sending()
    if (session.state === "closed") session.sending.onEnd(session.reason!)
  }
  return session.sending
}

const fail = (session: Session): Effect.Effect<never, SocketClosed> =>
  Effect.fail(new SocketClosed({ reason: session.reason! }))

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
    Effect.suspend((): Effect.Effect<void, SocketClosed | InvalidMessage> => {
      const session = toSession(socket)
      if (!isAccepting(session)) return fail(session)
      if (isForging(session, message)) return Effect.fail(new InvalidMessage({ id: session.id }))
      const entry = toEntry(message, options)
      const size = entrySize(entry)
      if (session.mustWait(size)) {
        return sendingOf(session).enqueue(session, [[entry, size]], 0)
      }
      session.push(entry, size)
      return Effect.void
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
    Effect.suspend((): Effect.Effect<void, SocketClosed | InvalidMessage> => {
      const session = toSession(socket)
      if (!isAccepting(session)) return fail(session)
      const entries: Array<readonly [Entry, number]> = []
      for (const message of messages) {
        if (isForging(session, message)) return Effect.fail(new InvalidMessage({ id: session.id }))
        const entry = toEntry(message, options)
        entries.push([entry, entrySize(entry)])
      }
      let position = 0
      while (position < entries.length && !session.mustWait(entries[position]![1])) {
        session.push(...entries[position]!)
        position++
      }
      return position === entries.length ? Effect.void : sendingOf(session).enqueue(session, entries, position)
    })
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
    Effect.sync(() => {
      const session = toSession(socket)
      if (!isAccepting(session) || isForging(session, message)) return false
      const entry = toEntry(message, options)
      const size = entrySize(entry)
      if (session.mustWait(size)) return false
      session.push(entry, size)
      return true
    })
)

/**
 * Waits until everything accepted so far was handed to the network: written to the TCP connection, or given as the
 * answer to a poll. Fails with `SocketClosed` if the session ends before.
 *
 * @category sending
 * @since 0.1.0
 */
export const flushed = (socket: Socket): Effect.Effect<void, SocketClosed> =>
  Effect.suspend(() => {
    const session = toSession(socket)
    return session.state === "closed" ? fail(session) : sendingOf(session).flushed(session)
  })

// ---------------------------------------------------------------------------------------------------------------------
// closing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Closes the session, and returns at once. What was accepted is delivered first, for at most `closeTimeout`; with
 * `discard` it is dropped (rules R-C3 to R-C6).
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
    Effect.sync(() => {
      const session = toSession(socket)
      session.application?.onClose()
      if (options?.discard === true) session.end({ _tag: "ForcedClose" })
      else session.close({ _tag: "ForcedClose" })
    })
)

/**
 * Waits for the end of the session and says why it came. It succeeds as soon as the session is unknown to the server,
 * so the application and `onDisconnect` may wait for it too.
 *
 * @category closing
 * @since 0.1.0
 */
export const closed = (socket: Socket): Effect.Effect<CloseReason> =>
  Effect.suspend(() => Deferred.await(sendingOf(toSession(socket)).closed))

// ---------------------------------------------------------------------------------------------------------------------
// looking
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The transport the session is on.
 *
 * @category getters
 * @since 0.1.0
 */
export const transport = (socket: Socket): Effect.Effect<TransportType> =>
  Effect.sync(() => toSession(socket).transportName)

/**
 * Whether the session has moved to a better transport than it began on.
 *
 * @category getters
 * @since 0.1.0
 */
export const upgraded = (socket: Socket): Effect.Effect<boolean> => Effect.sync(() => toSession(socket).upgraded)

/**
 * Where the session is in its life.
 *
 * @category getters
 * @since 0.1.0
 */
export const state = (socket: Socket): Effect.Effect<SocketState> => Effect.sync(() => toSession(socket).state)

/**
 * How much waits for the client: messages, and bytes including those the connection holds unsent.
 *
 * @category getters
 * @since 0.1.0
 */
export const buffered = (socket: Socket): Effect.Effect<{ readonly messages: number; readonly bytes: number }> =>
  Effect.sync(() => {
    const { outgoing, transport } = toSession(socket)
    return { messages: outgoing.messages, bytes: outgoing.bytes + (transport?.unsent ?? 0) }
  })

/**
 * How long the last heartbeat took from ping to pong; `None` before the first, and for revision 3, where the client
 * measures.
 *
 * @category getters
 * @since 0.1.0
 */
export const rtt = (socket: Socket): Effect.Effect<Option.Option<Duration.Duration>> =>
  Effect.sync(() => {
    const { rtt } = toSession(socket).heartbeat
    return rtt < 0 ? Option.none() : Option.some(Duration.millis(rtt))
  })

/**
 * Everything that happens to the session from the moment the stream runs, ending with `Closed`. Costs nothing while
 * nobody listens; a listener that falls more than 4 096 events behind, or 16 MiB of data, loses the oldest, which a warning
 * in the log tells. The session never waits for it.
 *
 * @category observing
 * @since 0.1.0
 */
export const events = (socket: Socket): Stream.Stream<SocketEvent> =>
  Stream.suspend(() => {
    const session = toSession(socket)
    return session.state === "closed" ? Stream.empty : session.observe().stream(() => session.stopObserving())
  })

/**
 * Every packet that arrives from the moment the stream runs, heartbeats included (rule R91); ends with the session. Who is
 * slow loses the oldest, as with `events`.
 *
 * @category observing
 * @since 0.1.0
 */
export const packets = (socket: Socket): Stream.Stream<Packet> =>
  Stream.filterMap(
    events(socket),
    (event) => event._tag === "PacketReceived" ? Result.succeed(event.packet) : Result.fail(event)
  )
