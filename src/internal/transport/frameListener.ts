/**
 * What a connection that carries frames reports to whoever reads it: the candidate of an upgrade first, then the
 * transport.
 */
import type { CloseReason } from "../../CloseReason.ts"

export interface FrameListener {
  onFrame(data: Uint8Array, isBinary: boolean): void
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

/** The text of a frame from `from` on; that it is UTF-8 was checked where it was read. */
export const decodeText = (data: Uint8Array, from: number): string =>
  (Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)).toString("utf8", from)
