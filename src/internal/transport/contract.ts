/**
 * What a session and its transport owe each other. A transport is a name, a way out and a way in: the session hands it
 * the queue to drain, and it hands what arrives to the session's doors. It knows its wire and nothing of the registry,
 * the heartbeat or the application.
 */
import type * as Effect from "effect/Effect"
import type * as Queue from "effect/Queue"
import type { CloseReason, WriteFailed } from "../../CloseReason.ts"
import type { Message, Packet, PacketError, Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import type { Account, Entry } from "./entry.ts"
import type { Requests } from "./requests.ts"

/** One way to carry packets for one session. */
export interface Transport {
  readonly name: TransportType
  /** Whether `write` would take something now. */
  readonly writable: boolean
  /** Bytes taken from the session that the network has not taken yet. */
  readonly unsent: number
  /** Whether the client has a way to get what waits for it without a new connection. */
  readonly isReachable: boolean
  /** Whether a client may leave it for a better one (rule R76). */
  readonly isUpgradable: boolean
  /** Whether U+001E in a text would make several packets of it in revision 4, whose payloads have no escape for it. */
  readonly splitsText: boolean
  /** Where the requests of HTTP of its client go; `undefined` where it takes none. */
  readonly requests: Requests | undefined
  /** Takes from `out` what the wire can carry now, and books it. */
  write(out: Queue.Dequeue<Entry>, account: Account): void
  /** Calls back once everything written so far has left for the network; `false` if the connection died first. */
  whenWritten(done: (written: boolean) => void): void
  /** Stops, and later goes on, reading from the client; what has come already waits too, except the packet at hand. */
  pause(): void
  resume(): void
  /** Lets go of a client that waits here while it is on its way to another transport (rule R77). */
  noop(): void
  /** The orderly end after the last packet, by the server: done when the client is told, or cannot be any more. */
  readonly finish: Effect.Effect<void>
  /**
   * The end, at once. `peer` says that the client ended the session itself, which changes the answer that its waiting
   * request gets.
   */
  close(peer: boolean): void
}

/** The doors of a session: what its transport reports to it. */
export interface Doors {
  readonly revision: Revision
  /** A message of `size` bytes arrived. The application is woken by `onTurn`, not here. */
  onMessage(message: Message, size: number): void
  /** A packet of whatever type arrived. */
  onPacket(packet: Packet): void
  /** Whether the session is only delivering what it accepted before its end, which may stand with the last of it. */
  readonly closing: boolean
  /** How many pings of revision 4 the client was sent whose pongs have not come. */
  readonly pingsOut: number
  /** Whether every packet has to pass through `onPacket`. */
  readonly observed: boolean
  /** All that arrived together was handed over. */
  onTurn(): void
  /** The transport can be written to again. */
  onWritable(): void
  /** The transport came to its end. */
  onClose(reason: CloseReason): void
}

/** When something is late, unless that is cancelled. */
export interface Deadline {
  cancel(): void
}

/** Told of the body of a POST that did not arrive in time. */
export interface BodyWaiter {
  onBodyLate(): void
}

/** The doors for a transport whose client sends by POST. */
export interface PollingDoors extends Doors {
  /** Begins to wait for the body of a POST; if that is late, `waiter` is told. */
  awaitBody(waiter: BodyWaiter): Deadline
  /** A POST of more than `limit` bytes was refused. */
  onPostRefused(limit: number): void
  /** An answer could not be written. */
  onUnwritable(failure: WriteFailed): void
  /** A POST came without its body, which somebody else in this program has read; `words` say what to do. */
  onBodyTaken(words: string): void
}

/** A connection that may become a session's transport. */
export interface Candidate {
  readonly name: TransportType
  /** Begins to report packets; before this, nothing is read from it. */
  start(host: CandidateHost): void
  send(packet: Packet): void
  close(): void
  /** Makes it the transport behind these doors. */
  adopt(doors: Doors): Transport
}

/** What a candidate reports, until it is adopted. */
export interface CandidateHost {
  readonly revision: Revision
  onPacket(packet: Packet | PacketError): void
  onClose(): void
}

const nothing = (name: TransportType): Transport => ({
  name,
  writable: false,
  unsent: 0,
  isReachable: false,
  isUpgradable: false,
  splitsText: name === "polling",
  requests: undefined,
  write: () => {},
  whenWritten: () => {},
  pause: () => {},
  resume: () => {},
  noop: () => {},
  get finish(): Effect.Effect<void> {
    throw new Error("a session closes after it has opened")
  },
  close: () => {}
})

/** What a session has for a transport until it is open. */
export const pending: Readonly<Record<TransportType, Transport>> = {
  polling: nothing("polling"),
  websocket: nothing("websocket"),
  webtransport: nothing("webtransport")
}
