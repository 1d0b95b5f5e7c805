import type { Sendable } from "../../Socket.ts"
import { toBytes } from "../protocol/bytes.ts"
import { hasSeparator } from "../protocol/revision4.ts"
import type { Socket } from "../session/model.ts"
import { entrySize, Outbound } from "../transport/outgoing.ts"
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
  const entry = new Outbound("message", data, options?.compress ?? true, {})
  const size = entrySize(entry)
  const isForging = hasSeparator(data)
  let count = 0
  for (const session of engine.all.values()) {
    if (session.state !== "open" || (options?.filter !== undefined && !options.filter(session))) continue
    if ((isForging && session.splitsText) || session.mustWait(size)) continue
    session.push(entry, size)
    count++
  }
  return count
}
