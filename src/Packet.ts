/**
 * One packet of the Engine.IO protocol: its types, its text and its bytes.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"

/**
 * Application data as it arrives: text, or bytes that are the application's own.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = string | Uint8Array

/**
 * What a packet is for (rule R58).
 *
 * @category models
 * @since 0.1.0
 */
export type PacketType = "open" | "close" | "ping" | "pong" | "message" | "upgrade" | "noop"

/**
 * One unit of the protocol.
 *
 * @category models
 * @since 0.1.0
 */
export interface Packet {
  readonly type: PacketType
  readonly data?: Message | undefined
}

/**
 * The revision of the protocol: 4 is what clients since Socket.IO 3 speak, 3 what those before it spoke.
 *
 * @category models
 * @since 0.1.0
 */
export type Revision = 3 | 4

/**
 * What was received is no packet. Ends a session with the reason `ParseError` (rule R62).
 *
 * @category errors
 * @since 0.1.0
 */
export class PacketError extends Data.TaggedError("PacketError")<{
  readonly reason: "Empty" | "UnknownType" | "InvalidUtf8"
}> {
  override readonly message = this.reason
}
