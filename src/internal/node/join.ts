/**
 * A connection of a client that goes on to another process, byte by byte.
 */
import type * as Net from "node:net"

/** How long a client may take nothing of what its owner sends, in milliseconds: meanwhile nobody sees the owner end it. */
const stuckTimeout = 60_000

/** Makes two connections one, which ends as a whole. */
export const join = (one: Net.Socket, other: Net.Socket): void => {
  one.setNoDelay(true).setTimeout(stuckTimeout).on("timeout", () => {
    if (one.writableNeedDrain || other.destroyed) one.destroy()
  })
  one.on("error", () => {}).once("close", () => other.destroySoon())
  other.once("close", () => one.destroySoon())
  one.pipe(other)
  other.pipe(one)
}
