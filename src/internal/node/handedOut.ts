/**
 * The connections that Node's cluster hands to a worker. It forgets those that a worker had not taken when it died, and
 * their clients would wait for ever; there is no public way to see them.
 */
import type { Worker } from "node:cluster"

/** What Node's cluster says, to its workers and back. */
interface Internal {
  readonly cmd?: string
  readonly act?: string
  readonly seq?: number
  readonly ack?: number
}

interface Handle {
  close(): void
}

interface Channel {
  send(this: Channel, message: Internal, handle: Handle | undefined, ...rest: ReadonlyArray<unknown>): boolean
  on(event: "internalMessage", listener: (message: Internal) => void): unknown
}

/** Closes, when a worker is gone, what it has not taken. */
export const closeUntaken = (worker: Worker): void => {
  const untaken = new Map<number | undefined, Handle>()
  const channel = worker.process as unknown as Channel
  const { send } = channel
  channel.send = function(message, handle, ...rest) {
    const isConnection = message.cmd === "NODE_CLUSTER" && message.act === "newconn"
    if (isConnection && handle !== undefined) untaken.set(message.seq, handle)
    return send.call(this, message, handle, ...rest)
  }
  channel.on("internalMessage", ({ ack }) => untaken.delete(ack))
  worker.once("exit", () => {
    for (const handle of untaken.values()) handle.close()
  })
}
