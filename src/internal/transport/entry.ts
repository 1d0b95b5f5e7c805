/**
 * The packets on their way to one client. Their queue belongs to the session; the transport of the moment drains it, so
 * changing the transport can neither lose nor reorder anything.
 */
import * as Queue from "effect/Queue"
import type { Message, Packet, PacketType } from "../../Packet.ts"
import { sizeOf } from "../protocol/bytes.ts"
import { see } from "../protocol/see.ts"

/** A packet to be sent, with its size. */
export interface Entry extends Packet {
  readonly data: Message | undefined
  /** The bytes of its data; text counts as UTF-8. */
  readonly size: number
  /** Whether transports may compress it. */
  readonly compress: boolean
  /** Encodings that all sockets of a broadcast share. */
  readonly shared: SharedEncoding | undefined
}

/** What a broadcast encodes once, filled in by the first socket that needs each form. */
export interface SharedEncoding {
  /** A complete WebSocket frame, by revision. */
  frame3?: Uint8Array
  frame4?: Uint8Array
  /** A complete WebTransport frame. */
  webTransport?: Uint8Array
  /** The packet as it stands in a polling payload of revision 4. */
  text4?: string
}

export const make = (
  type: PacketType,
  data?: Message,
  compress = true,
  shared?: SharedEncoding
): Entry => ({
  type,
  data,
  size: data === undefined ? 0 : sizeOf(data),
  compress,
  shared
})

export const close = make("close")
export const ping = make("ping")
export const pong = make("pong")
export const noop = make("noop")

/** Whether its encodings are those of many sockets. */
export const isShared = (entry: Entry): entry is Entry & { readonly shared: SharedEncoding } =>
  entry.shared !== undefined

/** The messages of a queue. Control packets count nowhere: they are few, and never wait for room. */
export interface Account {
  /** Messages that wait, and their bytes. */
  messages: number
  bytes: number
  /** Messages ever put in, and ever taken out. */
  accepted: number
  taken: number
}

export const emptyAccount = (): Account => ({ messages: 0, bytes: 0, accepted: 0, taken: 0 })

/** Puts an entry in, and books it. */
export const put = (out: Queue.Enqueue<Entry>, account: Account, entry: Entry): void => {
  Queue.offerUnsafe(out, entry)
  if (entry.type !== "message") return
  account.messages++
  account.accepted++
  account.bytes += entry.size
}

/**
 * Takes the next entry, and books it; `undefined` where nothing waits. Throws if its memory was transferred or resized
 * since it was accepted: what would be sent instead is nobody's message.
 */
export const take = (out: Queue.Dequeue<Entry>, account: Account): Entry | undefined => {
  const exit = Queue.takeUnsafe(out)
  if (exit === undefined || exit._tag === "Failure") return undefined
  const entry = exit.value
  if (entry.type === "message") {
    account.messages--
    account.taken++
    account.bytes -= entry.size
  }
  if (typeof entry.data === "object" && entry.data.byteLength !== entry.size) {
    throw new TypeError(`the bytes of a message were taken away before it was written${see("bytes-taken-away")}`)
  }
  return entry
}
