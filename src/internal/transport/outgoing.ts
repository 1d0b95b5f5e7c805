/**
 * The packets on their way to one client. The queue belongs to the session; the transport of the moment drains it, so
 * changing the transport can neither lose nor reorder anything.
 */
import type { Message, PacketType } from "../../Packet.ts"
import { utf8Length } from "../protocol/bytes.ts"

/**
 * A packet that is more than a plain message: a control packet, a message with options, or one prepared for many.
 */
export class Outbound {
  readonly type: PacketType
  readonly data: Message | undefined
  readonly compress: boolean
  /** Encodings shared by every socket of a broadcast. */
  readonly shared: SharedEncoding | undefined
  constructor(type: PacketType, data: Message | undefined, compress: boolean, shared: SharedEncoding | undefined) {
    this.type = type
    this.data = data
    this.compress = compress
    this.shared = shared
  }
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

/** Messages without options stay as they are: most of what is sent costs no object of its own. */
export type Entry = Message | Outbound

export const ping = new Outbound("ping", undefined, true, undefined)
export const pong = new Outbound("pong", undefined, true, undefined)
export const noop = new Outbound("noop", undefined, true, undefined)

export const dataOf = (entry: Entry): Message | undefined => entry instanceof Outbound ? entry.data : entry

export const typeOf = (entry: Entry): PacketType => entry instanceof Outbound ? entry.type : "message"

/** Whether transports may compress it. */
export const mayCompress = (entry: Entry): boolean => !(entry instanceof Outbound) || entry.compress

/** Whether its encodings are those of many sockets. */
export const isShared = (entry: Entry): entry is Outbound & { readonly shared: SharedEncoding } =>
  entry instanceof Outbound && entry.shared !== undefined

const sizeOf = (data: Message): number => typeof data === "string" ? utf8Length(data) : data.byteLength

export const entrySize = (entry: Entry): number => {
  const data = dataOf(entry)
  return data === undefined ? 0 : sizeOf(data)
}

/** Whether an entry is application data, and so counts against `sendBuffer`. */
const isMessage = (entry: Entry): boolean => typeOf(entry) === "message"

export class Outgoing {
  private entries: Array<Entry | undefined> | undefined
  private sizes: Array<number> | undefined
  // Indices into both arrays: what waits stands in [head, tail). Truncating the arrays instead would reallocate their
  // backing stores for every message of a quiet session.
  private head = 0
  private tail = 0
  /** Messages that wait, control packets not counted. */
  messages = 0
  /** Their bytes; text counts as UTF-8. */
  bytes = 0
  /** Messages ever accepted, and those of them a transport took: what `flushed` compares. */
  accepted = 0
  taken = 0

  get length(): number {
    return this.tail - this.head
  }

  push(entry: Entry, size: number): void {
    const index = this.tail++
    if (this.entries === undefined || this.sizes === undefined) {
      this.entries = [entry]
      this.sizes = [size]
    } else {
      this.entries[index] = entry
      this.sizes[index] = size
    }
    if (isMessage(entry)) {
      this.messages++
      this.accepted++
      this.bytes += size
    }
  }

  /**
   * The next packet, or `undefined`. Throws where its bytes are not as many any more as were accepted, because their
   * memory was transferred or resized: what would be sent instead is nobody's message.
   */
  peek(): Entry | undefined {
    if (this.head === this.tail) return undefined
    const entry = this.entries![this.head]!
    const data = dataOf(entry)
    if (typeof data === "object" && data.byteLength !== this.sizes![this.head]) {
      throw new TypeError("the bytes of a message were taken away before it was written")
    }
    return entry
  }

  /** The bytes of the next packet's data; meaningful only when there is one. */
  peekSize(): number {
    return this.sizes![this.head]!
  }

  drop(): void {
    const entries = this.entries!
    const sizes = this.sizes!
    const index = this.head++
    if (isMessage(entries[index]!)) {
      this.messages--
      this.taken++
      this.bytes -= sizes[index]!
    }
    entries[index] = undefined
    if (this.head === this.tail) {
      this.reset()
    } else if (this.head >= 1024 && this.head * 2 >= this.tail) {
      this.entries = entries.slice(this.head, this.tail)
      this.sizes = sizes.slice(this.head, this.tail)
      this.tail -= this.head
      this.head = 0
    }
  }

  /** A copy of what waits, for observers. */
  snapshot(): Array<Entry> {
    return (this.entries ?? []).slice(this.head, this.tail) as Array<Entry>
  }

  /** Drops everything; returns how many messages that lost. */
  clear(): number {
    const lost = this.messages
    this.messages = 0
    this.bytes = 0
    this.trim()
    return lost
  }

  /** Gives the backing stores back; what waited is gone. */
  trim(): void {
    this.head = this.tail = 0
    this.entries = this.sizes = undefined
  }

  private reset(): void {
    if (this.tail > 64) this.trim()
    else this.head = this.tail = 0
  }
}
