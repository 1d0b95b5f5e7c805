import type { Sendable } from "../../Socket.ts"
import { toBytes } from "../protocol/bytes.ts"
import type { Socket } from "../session/model.ts"
import { accept } from "../session/outgoing.ts"
import { get } from "../session/session.ts"
import { make } from "../transport/entry.ts"
import type { Engine } from "./engine.ts"

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

/** Queues one message, encoded once, for all; returns how many sessions took it. */
export const broadcast = (engine: Engine, message: Sendable, options?: BroadcastOptions): number => {
  const data = typeof message === "string" ? message : toBytes(message)
  const entry = make("message", data, options?.compress, {})
  let count = 0
  for (const session of engine.all.values()) {
    if (get(session.state) !== "open" || options?.filter?.(session) === false) continue
    if (accept(session, entry) === "Accepted") count++
  }
  return count
}
