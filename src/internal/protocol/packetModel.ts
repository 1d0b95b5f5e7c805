/**
 * What a packet is. The public `Packet` module re-exports it; it stands apart because the codecs below need it.
 */

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
 * One unit of the protocol. `data` is absent rather than empty text: `4` is a message packet without data.
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
