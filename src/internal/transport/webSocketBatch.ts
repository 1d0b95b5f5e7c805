/**
 * Packets as frames of a WebSocket, written by hand so that a batch of packets is one buffer and one system call.
 */
import * as Queue from "effect/Queue"
import type { Revision } from "../../Packet.ts"
import { toUtf8, writeUtf8 } from "../protocol/bytes.ts"
import { numbers } from "../protocol/digits.ts"
import * as revision3 from "../protocol/revision3.ts"
import * as revision4 from "../protocol/revision4.ts"
import { encodeFrame, headerSize, opcodes, writeHeader } from "../protocol/webSocketFrames.ts"
import { type Account, type Entry, isShared, type SharedEncoding, take } from "./entry.ts"

/** Where the memory of frames comes from. */
export interface FrameMemory {
  /** So much memory for frames, with anything in it; where it is kept for long, it is no piece of something larger. */
  allocate(size: number, isKept: boolean): Uint8Array
}

/** Where batches go. */
export interface FrameWriter extends FrameMemory {
  /** Writes complete frames with one system call; `false` means: wait for `onWritable`. */
  write(buffers: ReadonlyArray<Uint8Array>): boolean
}

/** Above this size a binary payload is written as it is, behind its header, instead of being copied into the batch. */
export const copyLimit = 8 * 1024

/** Frames are gathered up to this many bytes a write. */
export const batchLimit = 64 * 1024

/** Below this size, writing an ASCII text character by character takes half the time. */
const worthEncoding = 48

/** What goes before the data inside the frame: the type digit of a text packet, revision 3's type byte, or nothing. */
const prefixSize = (data: unknown, revision: Revision): number => typeof data !== "object" || revision === 3 ? 1 : 0

const frameSize = (entry: Entry, revision: Revision): number => {
  const length = entry.size + prefixSize(entry.data, revision)
  return headerSize(length) + length
}

/** Writes one frame into `target`; returns where the next one goes. */
const writeFrame = (target: Uint8Array, at: number, entry: Entry, revision: Revision): number => {
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
    // As many bytes as code units means ASCII.
    if (size === data.length && size < worthEncoding) {
      for (let index = 0; index < size; index++) target[at + index] = data.charCodeAt(index)
    } else writeUtf8(target, data, at)
    return at + size
  }
  at = writeHeader(target, at, opcodes.binary, size + prefixSize(data, revision))
  if (revision === 3) target[at++] = type & 0xf
  target.set(data, at)
  return at + size
}

/** The frame that all sockets of a broadcast share, made by the first that needs it. */
const sharedFrame = (
  entry: Entry & { readonly shared: SharedEncoding },
  revision: Revision,
  memory: FrameMemory
): Uint8Array => {
  const { shared } = entry
  const ready = revision === 3 ? shared.frame3 : shared.frame4
  if (ready !== undefined) return ready
  const frame = memory.allocate(frameSize(entry, revision), true)
  writeFrame(frame, 0, entry, revision)
  if (revision === 3) shared.frame3 = frame
  else shared.frame4 = frame
  return frame
}

const codecOf = (revision: Revision) => revision === 3 ? revision3 : revision4

/** Whether a packet's payload is worth writing without a copy. */
const isLarge = ({ data, size }: Entry): boolean => size > copyLimit && typeof data === "object"

/**
 * Takes packets off the queue into the buffers of one write: usually one, more where a large payload goes uncopied.
 */
export const takeBatch = (
  out: Queue.Dequeue<Entry>,
  account: Account,
  revision: Revision,
  binary: boolean,
  memory: FrameMemory
): Array<Uint8Array> => {
  let entry = take(out, account)
  if (binary && Queue.sizeUnsafe(out) === 0 && isShared(entry!)) return [sharedFrame(entry, revision, memory)]
  const buffers: Array<Uint8Array> = []
  let total = 0
  const group: Array<Entry> = []
  let groupBytes = 0
  const endGroup = (extra: number): Uint8Array | undefined => {
    if (groupBytes + extra === 0) return undefined
    const buffer = memory.allocate(groupBytes + extra, false)
    let at = 0
    for (let i = 0; i < group.length; i++) {
      const entry = group[i]!
      if (isShared(entry)) {
        const frame = sharedFrame(entry, revision, memory)
        buffer.set(frame, at)
        at += frame.length
      } else at = writeFrame(buffer, at, entry, revision)
    }
    group.length = 0
    groupBytes = 0
    buffers.push(buffer)
    return buffer
  }
  for (; entry !== undefined; entry = total < batchLimit ? take(out, account) : undefined) {
    const { data, size } = entry
    if (!binary && typeof data === "object") {
      endGroup(0)
      // The client asked for text only (`b64`, rules R60 and R64).
      const frame = encodeFrame(opcodes.text, toUtf8(codecOf(revision).encodeText(entry.type, data)))
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
export const encodeEntry = ({ data, type }: Entry, revision: Revision, binary: boolean): string | Uint8Array => {
  if (!binary || typeof data !== "object") return codecOf(revision).encodeText(type, data)
  return revision === 3 ? revision3.encodeBinary(type, data) : data
}
