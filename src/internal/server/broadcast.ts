/**
 * One message for many sessions, encoded once.
 */
import type { Sendable } from "../../Socket.ts"
import { toMessage } from "../protocol/bytes.ts"
import { type Socket, TypeId } from "../session/model.ts"
import { make } from "../transport/entry.ts"

/**
 * To whom, and how, a message is broadcast.
 *
 * @category options
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** Which sessions get it. Default: all. */
  readonly filter?: ((socket: Socket) => boolean) | undefined
  /** Whether transports may compress it, where compression is on. Default: true. */
  readonly compress?: boolean | undefined
}

/** Queues one message, encoded once, for all; returns how many sockets took it. */
export const broadcast = (sockets: Iterable<Socket>, message: Sendable, options?: BroadcastOptions): number => {
  const entry = make("message", toMessage(message), options?.compress, {})
  let count = 0
  for (const socket of sockets) {
    if (options?.filter?.(socket) !== false && socket[TypeId].accept(socket, entry) === "Accepted") count++
  }
  return count
}
