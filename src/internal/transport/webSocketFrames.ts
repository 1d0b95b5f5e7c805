/**
 * WebSocket frames as a server sends them: unmasked, unfragmented, written by hand so that a batch of packets is one
 * buffer and one system call.
 */
import type * as Queue from "effect/Queue"
import type { Revision } from "../../Packet.ts"
import { toBase64 } from "../protocol/bytes.ts"
import { numbers } from "../protocol/digits.ts"
import { encodeText } from "../protocol/revision4.ts"
import { type Account, type Entry, isShared, make, take } from "./entry.ts"

/** What a frame is (RFC 6455, section 5.2). */
export const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Above this size a binary payload is written as it is, behind its header, instead of being copied into the batch. */
export const copyLimit = 8 * 1024

/** Frames are gathered up to this many bytes a write. */
export const batchLimit = 64 * 1024

const headerSize = (length: number): number => length < 126 ? 2 : length < 65536 ? 4 : 10

const writeHeader = (target: Uint8Array, at: number, opcode: number, length: number): number => {
  target[at] = 0x80 | opcode
  if (length < 126) {
    target[at + 1] = length
    return at + 2
  }
  if (length < 65536) {
    target[at + 1] = 126
    target[at + 2] = length >>> 8
    target[at + 3] = length & 0xff
    return at + 4
  }
  target[at + 1] = 127
  const high = Math.floor(length / 0x1_0000_0000)
  for (let i = 0; i < 4; i++) {
    target[at + 2 + i] = (high >>> (24 - 8 * i)) & 0xff
    target[at + 6 + i] = (length >>> (24 - 8 * i)) & 0xff
  }
  return at + 10
}

/** One frame with its payload. */
export const encodeFrame = (opcode: number, payload: Uint8Array): Uint8Array => {
  const frame = Buffer.allocUnsafe(headerSize(payload.length) + payload.length)
  frame.set(payload, writeHeader(frame, 0, opcode, payload.length))
  return frame
}

/** What goes before the data inside the frame: the type digit of a text packet, revision 3's type byte, or nothing. */
const prefixSize = (data: unknown, revision: Revision): number => typeof data !== "object" || revision === 3 ? 1 : 0

export const frameSize = (entry: Entry, revision: Revision): number => {
  if (isShared(entry)) return sharedFrame(entry, revision).length
  const length = entry.size + prefixSize(entry.data, revision)
  return headerSize(length) + length
}

/** Writes one frame into `target`; returns where the next one goes. */
const writeFrame = (target: Buffer, at: number, entry: Entry, revision: Revision): number => {
  if (isShared(entry)) {
    const frame = sharedFrame(entry, revision)
    target.set(frame, at)
    return at + frame.length
  }
  const { data, size } = entry
  const type = 0x30 + numbers[entry.type]
  if (data === undefined) {
    at = writeHeader(target, at, opcodes.text, 1)
    target[at] = type
    return at + 1
  }
  if (typeof data === "string") {
    at = writeHeader(target, at, opcodes.text, size + 1)
    target[at++] = type
    // As many bytes as code units means ASCII, which needs no transcoding.
    if (size === data.length) target.write(data, at, size, "latin1")
    else target.write(data, at, size, "utf8")
    return at + size
  }
  at = writeHeader(target, at, opcodes.binary, size + prefixSize(data, revision))
  if (revision === 3) target[at++] = type & 0xf
  target.set(data, at)
  return at + size
}

/** The frame that all sockets of a broadcast share, made by the first that needs it. */
export const sharedFrame = (entry: Entry, revision: Revision): Uint8Array => {
  const shared = entry.shared!
  const ready = revision === 3 ? shared.frame3 : shared.frame4
  if (ready !== undefined) return ready
  const plain = make(entry.type, entry.data)
  const frame = Buffer.allocUnsafeSlow(frameSize(plain, revision))
  writeFrame(frame, 0, plain, revision)
  if (revision === 3) shared.frame3 = frame
  else shared.frame4 = frame
  return frame
}

/** A binary message for a client that asked for text only (`b64`, rules R60 and R64). */
const encodeBase64 = (data: Uint8Array, revision: Revision): string => (revision === 3 ? "b4" : "b") + toBase64(data)

/** Whether a packet's payload is worth writing without a copy. */
const isLarge = ({ data, size }: Entry): boolean => size > copyLimit && typeof data === "object"

/**
 * Takes packets off the queue into the buffers of one write: usually one, more where a large payload goes uncopied.
 */
export const takeBatch = (
  out: Queue.Dequeue<Entry>,
  account: Account,
  revision: Revision,
  binary: boolean
): Array<Uint8Array> => {
  let entry = take(out, account)
  if (binary && out.messages.length === 0 && isShared(entry!)) return [sharedFrame(entry, revision)]
  const buffers: Array<Uint8Array> = []
  let total = 0
  const group: Array<Entry> = []
  let groupBytes = 0
  const endGroup = (extra: number): Buffer | undefined => {
    if (groupBytes + extra === 0) return undefined
    const buffer = Buffer.allocUnsafe(groupBytes + extra)
    let at = 0
    for (let i = 0; i < group.length; i++) at = writeFrame(buffer, at, group[i]!, revision)
    group.length = 0
    groupBytes = 0
    buffers.push(buffer)
    return buffer
  }
  for (; entry !== undefined; entry = total < batchLimit ? take(out, account) : undefined) {
    const { data, size } = entry
    if (!binary && typeof data === "object") {
      endGroup(0)
      const frame = encodeFrame(opcodes.text, Buffer.from(encodeBase64(data, revision), "latin1"))
      buffers.push(frame)
      total += frame.length
    } else if (isLarge(entry) && !isShared(entry)) {
      const prefix = prefixSize(data, revision)
      const at = groupBytes
      const buffer = endGroup(headerSize(size + prefix) + prefix)!
      const end = writeHeader(buffer, at, opcodes.binary, size + prefix)
      if (revision === 3) buffer[end] = 4
      buffers.push(data as Uint8Array)
      total += size
    } else {
      const bytes = frameSize(entry, revision)
      group.push(entry)
      groupBytes += bytes
      total += bytes
    }
  }
  endGroup(0)
  return buffers
}

/** One packet as a message, for a connection that makes its frames itself (permessage-deflate). */
export const encodeEntry = (entry: Entry, revision: Revision, binary: boolean): string | Uint8Array => {
  const { data } = entry
  if (typeof data !== "object") return encodeText(entry.type, data)
  if (!binary) return encodeBase64(data, revision)
  if (revision === 4) return data
  const bytes = new Uint8Array(data.byteLength + 1)
  bytes[0] = 4
  bytes.set(data, 1)
  return bytes
}
