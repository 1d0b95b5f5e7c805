/**
 * A socket: the plain data of a session that users see, re-exported by the public `Socket` module, and what the functions
 * of that module do with it.
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Stream from "effect/Stream"
import * as CloseReason from "../../CloseReason.ts"
import type { Message, Packet, Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import { see } from "../protocol/see.ts"
import type { Entry } from "../transport/entry.ts"

/**
 * The id of a session: unique in its server, and a credential, since whoever knows it can speak for the client.
 *
 * @category models
 * @since 0.1.0
 */
export type SocketId = string

/**
 * What is kept of the request that opened a session: plain data, all of it sent by the client except `remoteAddress`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handshake {
  /**
   * The request's headers, names in lower case. As JSON, and in a log, cookies and other credentials among them read
   * `<redacted>`; in `url`, `query` and `cookies` nothing does.
   */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Path and query. */
  readonly url: string
  /** The query's parameters; of a repeated one the last. */
  readonly query: Readonly<Record<string, string | undefined>>
  /** The request's cookies, by name, decoded. */
  readonly cookies: Readonly<Record<string, string | undefined>>
  /** The peer's address as the application's middleware left it; `undefined` where it is not known. */
  readonly remoteAddress: string | undefined
  /** The transport the session began on. */
  readonly transport: TransportType
  /** When the request came, in milliseconds since 1970. */
  readonly time: number
}

/** What the log may show of a session: only the beginning of its id, which is a credential. */
export const labelOf = ({ id }: { readonly id: SocketId }): string => `${id.slice(0, 6)}…`

/** Where a socket has its operations; an object that only looks like a socket has none. */
export const TypeId: unique symbol = Symbol.for("effect-engine.io/Socket")

/** A getter of a class, because the type of a copy made by spreading lacks it. */
declare abstract class Branded {
  abstract get [TypeId](): Operations
}

/**
 * The client's end of one session, as the application holds it. Pass it to the functions of this module. Only the server
 * makes one; as JSON, or in a log, it shows the beginning of its id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Socket extends Branded {
  readonly id: SocketId
  /** The revision of the protocol the client speaks. */
  readonly protocol: Revision
  readonly handshake: Handshake
}

/**
 * What the functions of `Socket` do with a socket. All sockets of one kind share one table, and get nothing but their own.
 * Sessions of this process are one kind (`operations.ts`); a socket whose session is elsewhere brings its own.
 */
export interface Operations {
  /** The messages that have arrived. Fails with `SocketClosed` when no more will come and all were taken. */
  incoming(socket: Socket): Queue.Dequeue<Message, SocketClosed>
  /** Nothing more will come to a socket that was closed: whoever waits for a message need not wait for the end. */
  endIncoming(socket: Socket): void
  /** Takes the next message, or the end, if there is any. */
  take(socket: Socket): Exit.Exit<Message, SocketClosed> | undefined
  /** Calls `resume` once, when there may be something to take. */
  awaitMessage(socket: Socket, loop: Loop): void
  /** The loop waits no longer, because it is over or nothing more will come. */
  stopAwaiting(socket: Socket, loop: Loop): void
  /** A message was taken, by whoever runs now. */
  noteTaken(socket: Socket): void
  /** A message was taken that is dealt with until `endStep`. */
  beginStep(socket: Socket): void
  endStep(socket: Socket): void
  /** Somebody has asked for a message that can never come. */
  exhaust(socket: Socket): void
  /** Accepts a message now, or says why not. */
  accept(socket: Socket, entry: Entry): Acceptance
  /** Accepts messages one behind the other; waits until all are accepted. */
  send(socket: Socket, entries: ReadonlyArray<Entry>): Effect.Effect<void, SocketClosed | InvalidMessage>
  flushed(socket: Socket): Effect.Effect<void, SocketClosed>
  close(socket: Socket, discard: boolean): Effect.Effect<void>
  closed(socket: Socket): Effect.Effect<CloseReason.CloseReason>
  transport(socket: Socket): Effect.Effect<TransportType>
  upgraded(socket: Socket): Effect.Effect<boolean>
  state(socket: Socket): Effect.Effect<SocketState>
  buffered(socket: Socket): Effect.Effect<{ readonly messages: number; readonly bytes: number }>
  rtt(socket: Socket): Effect.Effect<Option.Option<Duration.Duration>>
  events(socket: Socket): Stream.Stream<SocketEvent>
}

/** A loop that waits for messages: as `Queue` sees it, but one object for all its waits. */
export type Loop = Queue.Queue.Taker<SocketClosed>

/** What became of a message that was to be sent. */
export type Acceptance = "Accepted" | "Full" | "Closed" | "Invalid"

/**
 * Where a session is in its life: `opening` while the handler's factory runs, `closing` while what was accepted is
 * still being delivered.
 *
 * @category models
 * @since 0.1.0
 */
export type SocketState = "opening" | "open" | "closing" | "closed"

/**
 * What can be observed of one session with `Socket.events`. The union is closed: `PacketReceived`, `PacketCreated`,
 * `Heartbeat`, `Upgrading`, `Upgraded`, `Flushed`, `Drained`, `PostRefused`, `Closed`.
 *
 * @category models
 * @since 0.1.0
 */
export type SocketEvent =
  /** A packet arrived, of whatever type. */
  | { readonly _tag: "PacketReceived"; readonly packet: Packet }
  /** A packet is about to be queued. */
  | { readonly _tag: "PacketCreated"; readonly packet: Packet }
  /** The client's half of the heartbeat arrived. */
  | { readonly _tag: "Heartbeat" }
  /** The client probes another transport. */
  | { readonly _tag: "Upgrading"; readonly transport: TransportType }
  /** The session moved to another transport. */
  | { readonly _tag: "Upgraded"; readonly transport: TransportType }
  /** What was queued is handed to the transport. */
  | { readonly _tag: "Flushed"; readonly packets: ReadonlyArray<Packet> }
  /** Nothing is queued any more. */
  | { readonly _tag: "Drained" }
  /** A POST was larger than `limit` bytes: it got status 413, and nothing of it was taken. */
  | { readonly _tag: "PostRefused"; readonly limit: number }
  | { readonly _tag: "Closed"; readonly reason: CloseReason.CloseReason }

/**
 * The session has ended, or is ending, and `reason` says why. What fails with it was not sent, or has nothing more to
 * receive.
 *
 * @category errors
 * @since 0.1.0
 */
export class SocketClosed extends Data.TaggedError("SocketClosed")<{ readonly reason: CloseReason.CloseReason }> {
  override readonly message = CloseReason.message(this.reason)
}

/**
 * Text with the character U+001E was to be sent to a client that polls in revision 4, where it would split one message
 * into two packets: it was not sent. Over WebSocket such text passes.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage extends Data.TaggedError("InvalidMessage")<{ readonly id: SocketId }> {
  override readonly message = `text with U+001E cannot be sent to a polling client${see("text-with-u001e")}`
}
