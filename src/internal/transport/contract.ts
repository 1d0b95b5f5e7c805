/**
 * What a session and its transport owe each other. A transport knows its wire and nothing of the registry, the
 * heartbeat or the application.
 */
import type { CloseReason } from "../../CloseReason.ts"
import type { Message, Packet, PacketError } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import type { Outgoing } from "./outgoing.ts"

/** One way to carry packets for one session. */
export interface Transport {
  readonly name: TransportType
  /** Whether `write` would take something now. */
  readonly writable: boolean
  /** Bytes taken from the session that the network has not taken yet. */
  readonly unsent: number
  /** Takes from `outgoing` what the wire can carry now. */
  write(outgoing: Outgoing): void
  /** Calls back once everything written so far has left for the network; `false` if the connection died first. */
  whenWritten(done: (written: boolean) => void): void
  /** Stops, and later continues, reading from the client: also what has come already, but for the packet at hand. */
  pause(): void
  resume(): void
  /**
   * The orderly end after the last packet, by the server: tells the client, then calls back once it is told or cannot
   * be any more.
   */
  finish(done: () => void): void
  /**
   * The end, at once. `peer` says that the client ended the session itself, which changes what a waiting request of its
   * is answered.
   */
  close(peer: boolean): void
}

/** What a transport reports to its session. */
export interface TransportHost {
  readonly revision: 3 | 4
  /** A message of `size` bytes arrived. The application is woken by `onTurn`, not here. */
  onMessage(message: Message, size: number): void
  /** A packet arrived that is not a message, or a message while packets are observed. */
  onPacket(packet: Packet): void
  /** Whether the session is only delivering what it accepted before its end. */
  readonly closing: boolean
  /** Whether every packet has to pass through `onPacket`. */
  readonly observed: boolean
  /** All that arrived together was handed over. */
  onTurn(): void
  /** Begins the wait for the body of a POST, which has its time to arrive; beyond it `waiter` is told. */
  awaitBody(waiter: { onBodyLate(): void }): { cancel(): void }
  /** A POST of more than `limit` bytes was refused. */
  onPostRefused(limit: number): void
  /** A POST came without its body, which somebody else in this program has read; `words` say what to do. */
  onBodyTaken(words: string): void
  /** The transport can be written to again. */
  onWritable(): void
  /** The transport came to its end. */
  onClose(reason: CloseReason): void
}

/** A connection that may become a session's transport. */
export interface Candidate {
  readonly name: TransportType
  /** Begins to report packets; before this, nothing is read from it. */
  start(host: CandidateHost): void
  send(packet: Packet): void
  close(): void
  /** Makes it the transport of `host`. */
  adopt(host: TransportHost): Transport
}

/** What a candidate reports, until it is adopted. */
export interface CandidateHost {
  readonly revision: 3 | 4
  onPacket(packet: Packet | PacketError): void
  onClose(): void
}
