/**
 * What a connection that carries frames reports to whoever reads it: the candidate of an upgrade first, then the
 * transport.
 */
import type { CloseReason } from "../../CloseReason.ts"
import { type Message, type Packet, PacketError, type Revision } from "../../Packet.ts"
import type { CandidateHost } from "./contract.ts"

export interface FrameListener {
  /** A frame, and its size in bytes; its bytes are the listener's. */
  onFrame(data: Message, size: number): void
  /** All frames that arrived together were reported. */
  onTurn(): void
  onWritable(): void
  onClose(reason: CloseReason): void
}

/** For a connection nobody listens to any more: what still arrives from a discarded transport is dropped (rule R84). */
export const ignore: FrameListener = {
  onFrame: () => {},
  onTurn: () => {},
  onWritable: () => {},
  onClose: () => {}
}

/** For a connection on which a client probes. */
export const probing = (
  host: CandidateHost,
  parse: (data: Message, revision: Revision) => Packet | PacketError | undefined
): FrameListener => ({
  ...ignore,
  // What a session's transport would ignore is no packet of an upgrade either (rule R79).
  onFrame: (data) => host.onPacket(parse(data, host.revision) ?? new PacketError({ reason: "UnknownType" })),
  onClose: () => host.onClose()
})
