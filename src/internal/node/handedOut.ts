/**
 * The connections that go to a worker, from Node's cluster or from us. Node forgets those that a worker has not taken when it
 * dies, and their clients would wait for ever; there is no public way to see them.
 */
import type { Worker } from "node:cluster"
import * as Net from "node:net"

/** What Node says to a worker, and back. */
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
  send(this: Channel, message: Internal, handle: unknown, ...rest: ReadonlyArray<unknown>): boolean
  on(event: "internalMessage", listener: (message: Internal) => void): unknown
}

/** Closes, when a worker is gone, what it has not taken. */
export const closeUntaken = (worker: Worker): void => {
  /** What it has not got yet, in order; of other things than connections, nothing. */
  const sent: Array<Handle | undefined> = []
  /** New connections that it has not begun to serve, by the numbers of their messages. */
  const offered = new Map<number | undefined, Handle>()
  const channel = worker.process as unknown as Channel
  const { send } = channel
  channel.send = function(message, handle, ...rest) {
    const isNew = message.cmd === "NODE_CLUSTER" && message.act === "newconn"
    if (handle instanceof Net.Socket) sent.push((handle as { readonly _handle?: Handle })._handle)
    else if (isNew) sent.push(handle as Handle)
    else if (typeof handle === "object" && handle !== null) sent.push(undefined)
    if (isNew) offered.set(message.seq, handle as Handle)
    return send.call(this, message, handle, ...rest)
  }
  channel.on("internalMessage", ({ ack, cmd }) => {
    if (cmd === "NODE_HANDLE_ACK") sent.shift()
    offered.delete(ack)
  })
  worker.once("exit", () => {
    for (const handle of [...sent, ...offered.values()]) handle?.close()
  })
}
