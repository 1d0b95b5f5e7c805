/**
 * What a connection that carries frames reports to whoever reads it: the candidate of an upgrade first, then the
 * transport.
 */
import type { CloseReason } from "../../CloseReason.ts"
import type { Message } from "../../Packet.ts"

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
