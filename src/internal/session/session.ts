/**
 * A session: the state of one client, whatever transport it is on, as a record of Effect's own data.
 *
 * Its queues belong to it, and a transport only drains and fills them; so changing the transport loses and reorders
 * nothing. The functions that work on the record stand beside it: the way in (`incoming.ts`), the way out
 * (`outgoing.ts`), the heartbeat, the upgrade, the end (`close.ts`, `end.ts`), and the whole life (`life.ts`).
 *
 * Waking a fiber runs it on the caller's stack, so every function finishes its own changes before it wakes anyone.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Hash from "effect/Hash"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import type { CloseReason, WriteFailed } from "../../CloseReason.ts"
import type { Message, Revision } from "../../Packet.ts"
import type { Place } from "../protocol/roster.ts"
import type { TransportType } from "../../Transport.ts"
import { type BodyWaiter, type Deadline, pending, type Transport } from "../transport/contract.ts"
import type { Requests } from "../transport/requests.ts"
import { type Account, emptyAccount, type Entry } from "../transport/entry.ts"
import { lighten, wakeByHand } from "./effectFields.ts"
import {
  type Handshake,
  labelOf,
  type Loop,
  type Operations,
  type Socket,
  type SocketClosed,
  type SocketEvent,
  type SocketState,
  TypeId
} from "./model.ts"
import { type Observers, publish as publishTo } from "./observers.ts"
import type { Settings } from "./settings.ts"

/** What a session needs of the server it lives in. */
export interface SessionHost {
  /** What the functions of `Socket` do with its sessions. */
  readonly operations: Operations
  readonly settings: Settings
  /** Milliseconds since the server began, by the monotonic clock. */
  now(): number
  readonly supervisor: {
    /** Runs what belongs to a session's scope, in the server's context; starts at once. Without `onExit`, it is reported. */
    run<A>(effect: Effect.Effect<A>, onExit?: (exit: Exit.Exit<A>) => void): Fiber.Fiber<A>
    /** Logs the failure of a fiber, of which nobody else would hear. */
    report(exit: Exit.Exit<unknown, unknown>): void
    /** The session begins to run; the end of the server waits for it. */
    onBegin(session: Session): void
    /** Nothing of the session runs any more. */
    onLeft(session: Session): void
  }
  readonly scheduler: {
    /** Has the session flushed at the end of the current turn of the event loop. */
    schedule(session: Session): void
    /** Tells everybody of the session's end: at once, or after the end of the session that led to it. */
    settle(session: Session): void
  }
  readonly metrics: {
    received(transport: TransportType, bytes: number): void
    sent(transport: TransportType, messages: number, bytes: number): void
    roundTrip(millis: number): void
  }
  readonly telemetry: {
    upgraded(session: Session, from: TransportType, millis: number): void
    postRefused(session: Session, limit: number): void
    /** An answer to its client could not be written. */
    unwritable(session: Session, failure: WriteFailed): void
    /** Warns whoever runs the server. */
    warn(session: Session, words: string): void
  }
  /** Sleeps. For an interval there is one effect for all: made for each session, it is 224 bytes while that sleeps. */
  sleep(millis: number): Effect.Effect<void>
  /** Whether the application of a session, or a fiber of its own, runs at this moment. */
  isRunning(session: Session): boolean
  /** Upgrades in progress: what gives each up when its time is over. */
  readonly candidates: { add(giveUp: () => void): Deadline }
  /** Lets a client that upgrades stop polling, however often it begins again. */
  readonly noops: { of(session: Session): Polls }
  /** The bodies of POSTs that are awaited. */
  readonly bodies: { add(waiter: BodyWaiter): Deadline }
  /** The session is no longer reachable. */
  onEnd(session: Session, reason: CloseReason): void
}

/** The polls of one session, which are answered with noops until the end is called. */
export interface Polls {
  answer(): void
  end(): void
}

/** What the heartbeat notes. Times are the server's in milliseconds: whole ones, since a fraction costs an object. */
export interface Pulse {
  /** When the client was last heard: its pong in revision 4, its ping in revision 3; at first when the session opened. */
  heardAt: number
  /** When its silence ends the session. */
  deadline: number
  /** The last round trip in milliseconds, and parts of one. */
  rtt: number | undefined
  /** Pings that were sent, or wait to be, whose pongs have not come. */
  pings: number
  /** Between a ping and its pong: when it was sent, and what the session's fiber waits for. */
  ping: { readonly sentAt: number; readonly pong: Deferred.Deferred<void> } | undefined
  /** When we last began to read again. */
  resumedAt: number
  /** While we have stopped reading: what had been written when progress was last seen, and when that was. */
  seenWrites: number
  seenAt: number
}

/** The state of one client. */
export class Session implements Socket, Equal.Equal {
  readonly id: string
  readonly protocol: Revision
  readonly handshake: Handshake
  /** The handler that opened it; no other knows it. */
  readonly handler: { readonly name: string }
  readonly server: SessionHost
  /** What its application adds, and what waits for room or for delivery; closes last. */
  readonly scope: Scope.Closeable
  readonly state: Ref.Ref<SocketState>
  readonly transport: Ref.Ref<Transport>
  /** Messages on their way to the application. */
  readonly incoming: Queue.Queue<Message, SocketClosed>
  /** Packets on their way to the client, and the messages among them. */
  readonly outgoing: Queue.Queue<Entry>
  readonly queued: Account = emptyAccount()
  /** Completed with the reason once the session is unknown to the server. */
  readonly closed: Deferred.Deferred<CloseReason> = Deferred.makeUnsafe()
  readonly pulse: Pulse = {
    heardAt: 0,
    deadline: 0,
    rtt: undefined,
    pings: 0,
    ping: undefined,
    resumedAt: -1,
    seenWrites: -1,
    seenAt: 0
  }

  /** Why it ends: set when closing begins, final when it is closed. */
  reason: CloseReason | undefined = undefined
  upgraded = false
  /** The fiber that keeps the heartbeat, as long as the session is there. */
  fiber: Fiber.Fiber<unknown, unknown> | undefined = undefined
  application: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** Where its server has it, as long as something of it runs. */
  place: Place<Session> | undefined = undefined

  // What only some sessions need: made when first needed.

  /** Who watches. */
  observers: Observers<SocketEvent> | undefined = undefined
  /** The upgrade in progress. */
  upgrade: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** Messages that found no room: their senders wait in it, in order. */
  line: Queue.Queue<Entry> | undefined = undefined
  /** Completed by the next flush, or the end, and gone then. */
  progress: Deferred.Deferred<void> | undefined = undefined
  /** Asked for, and not known yet: whether all that a transport was given by so many writes has left for the network. */
  departure: { readonly writes: number; readonly written: Deferred.Deferred<boolean> } | undefined = undefined
  /** The loop that waits for messages; others wait in the queue. */
  loop: Loop | undefined = undefined
  /** The message that found the application behind: reading goes on when it is in the queue. */
  held: Held | undefined = undefined

  // Plain numbers, since every message changes them.

  /** At least the bytes in `incoming`: takers do not say what they took. */
  receivedBytes = 0
  /** Batches given to a transport. */
  writes = 0
  /** Messages given to the transport since the network had last taken all. */
  unsent = 0
  /** Messages in the hands of `Socket.forEach`, and runs of `Socket.messages`. */
  steps = 0
  /** Whether the application has taken a message, and not closed its session since. */
  hasTaken = false
  /** Whether somebody has asked for a message that can never come. */
  exhausted = false
  /** Whether a client that polls is told of the end by an answer of its own, not together with the last packets. */
  tellsEndApart = false
  /** Whether a flush is due at the end of this turn. */
  scheduled = false

  constructor(
    id: string,
    protocol: Revision,
    handshake: Handshake,
    handler: Session["handler"],
    server: SessionHost,
    incoming: Queue.Queue<Message, SocketClosed>,
    outgoing: Queue.Queue<Entry>
  ) {
    this.id = id
    this.protocol = protocol
    this.handshake = handshake
    this.handler = handler
    this.server = server
    this.scope = Scope.makeUnsafe()
    this.state = Ref.makeUnsafe<SocketState>("opening")
    this.transport = Ref.makeUnsafe(pending[handshake.transport])
    this.incoming = incoming
    this.outgoing = outgoing
  }

  get [TypeId](): Operations {
    return this.server.operations
  }

  // Applications keep sockets in maps and sets of Effect's, which would else compare, and change with, all that is in here.
  [Equal.symbol](that: Equal.Equal): boolean {
    return this === that
  }

  [Hash.symbol](): number {
    return Hash.string(this.id)
  }

  toJSON(): unknown {
    return {
      _id: "Socket",
      id: labelOf(this),
      protocol: this.protocol,
      transport: transportOf(this),
      state: get(this.state)
    }
  }

  [NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

/** A message that waits for room in `incoming`. */
export interface Held {
  readonly message: Message
  readonly offer: Fiber.Fiber<unknown>
}

export const make = (
  id: string,
  protocol: Revision,
  handshake: Handshake,
  handler: Session["handler"],
  server: SessionHost
): Effect.Effect<Session> =>
  Effect.flatMap(
    Queue.unbounded<Message, SocketClosed>(),
    (incoming) =>
      Effect.map(Queue.unbounded<Entry>(), (outgoing) => {
        lighten(incoming)
        lighten(outgoing)
        // By `wake`, once for all that arrived together.
        wakeByHand(incoming)
        return new Session(id, protocol, handshake, handler, server, incoming, outgoing)
      })
  )

/** What a `Ref` holds. A callback of Node is no Effect, so it reads and writes a `Ref` here. */
export const get = <A>(ref: Ref.Ref<A>): A => ref.ref.current

export const set = <A>(ref: Ref.Ref<A>, value: A): void => {
  ref.ref.current = value
}

/** Runs what belongs to a session; its end interrupts it. */
export const fork = <A>(session: Session, effect: Effect.Effect<A>): Fiber.Fiber<A> =>
  Fiber.runIn(session.server.supervisor.run(effect), session.scope)

/** Whether we have stopped reading until the application catches up. */
export const isPaused = (session: Session): boolean => session.held !== undefined

/** Tells whoever watches. Look at `observers` before making an event: most sessions have none. */
export const publish = (session: Session, event: SocketEvent): void => {
  if (session.observers !== undefined) publishTo(session.observers, event, dataSize(event))
}

/** The size of the data in an event, near enough. */
const dataSize = (event: SocketEvent): number => {
  switch (event._tag) {
    case "PacketReceived":
    case "PacketCreated":
      return event.packet.data?.length ?? 0
    case "Flushed":
      return event.packets.reduce((sum, { data }) => sum + (data?.length ?? 0), 0)
    default:
      return 0
  }
}

/** The name of its transport. */
export const transportOf = (session: Session): TransportType => get(session.transport).name

/** Whether the client has a way to get what waits for it without a new connection. */
export const isReachable = (session: Session): boolean => get(session.transport).isReachable

/** Lets go of a client that waits, so that it comes again. */
export const noop = (session: Session): void => get(session.transport).noop()

/** Whether what is sent now would leave at once, with nothing before it (rule R92). */
export const isWritable = (session: Session): boolean => {
  const transport = get(session.transport)
  return transport.writable && transport.unsent === 0 && Queue.sizeUnsafe(session.outgoing) === 0
}

/** The bytes that wait for the client, those included that its connection holds unsent. */
export const bytesWaiting = (session: Session): number => session.queued.bytes + get(session.transport).unsent

/** Where the requests of its client go, while it is on a transport that takes them. */
export const requestsOf = (session: Session): Requests | undefined =>
  get(session.state) === "closed" ? undefined : get(session.transport).requests

/** Whether it may move to another transport, and is not moving already (rule R76). */
export const isUpgradable = (session: Session): boolean =>
  get(session.state) !== "closed" && session.upgrade === undefined && get(session.transport).isUpgradable
