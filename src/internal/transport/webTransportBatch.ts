/**
 * Packets as frames of a WebTransport stream, several to a write (rule R85). WebTransport has revision 4 only.
 */
import type * as Queue from "effect/Queue"
import { toUtf8 } from "../protocol/bytes.ts"
import { encodeText } from "../protocol/revision4.ts"
import { frameHeader } from "../protocol/webTransportFrames.ts"
import type { PacketType } from "../../Packet.ts"
import { type Account, type Entry, isShared, take } from "./entry.ts"
import { batchLimit, copyLimit } from "./webSocketBatch.ts"

// In memory of its own, since what a stream is given is the stream's.
const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.byteLength
  }
  return joined
}

/** The frame of a packet that carries text or nothing. */
export const textFrame = (type: PacketType, data?: string): Uint8Array => {
  const bytes = toUtf8(encodeText(type, data))
  return join([frameHeader(bytes.length, false), bytes])
}

// A frame cannot be empty (rule R87), so bytes that are none travel as text: base64 of nothing.
const emptyBinary = Uint8Array.of(1, 0x62)

const frame = (entry: Entry): Uint8Array => {
  const { data } = entry
  if (typeof data !== "object") return textFrame(entry.type, data)
  return data.byteLength === 0 ? emptyBinary : join([frameHeader(data.byteLength, true), data])
}

/** The frame that all sockets of a broadcast share, made by the first that needs it. */
const sharedFrame = (entry: Entry): Uint8Array => entry.shared!.webTransport ??= frame(entry)

/** Takes packets off the queue: small ones copied into one buffer, large ones as they are behind their header. */
export const takeFrames = (out: Queue.Dequeue<Entry>, account: Account): ReadonlyArray<Uint8Array> => {
  const buffers: Array<Uint8Array> = []
  let group: Array<Uint8Array> = []
  let total = 0
  const endGroup = (): void => {
    if (group.length > 0) buffers.push(join(group))
    group = []
  }
  for (
    let entry = take(out, account);
    entry !== undefined;
    entry = total < batchLimit ? take(out, account) : undefined
  ) {
    const { data } = entry
    if (typeof data === "object" && data.byteLength > copyLimit && !isShared(entry)) {
      group.push(frameHeader(data.byteLength, true))
      endGroup()
      buffers.push(data)
      total += data.byteLength
    } else {
      const bytes = isShared(entry) ? sharedFrame(entry) : frame(entry)
      if (bytes.byteLength > copyLimit) {
        endGroup()
        buffers.push(bytes)
      } else {
        group.push(bytes)
      }
      total += bytes.byteLength
    }
  }
  endGroup()
  return buffers
}
