/**
 * The frames of WebSockets (RFC 6455, section 5): headers, masks, and frames as a server sends them, unmasked and
 * unfragmented.
 */
import { utf8Length, writeUtf8 } from "./bytes.ts"

/** What a frame is. */
export const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** The bit of a frame's first byte that says its message is compressed. */
export const rsv1 = 0x40

export const headerSize = (length: number): number => length < 126 ? 2 : length < 65536 ? 4 : 10

/** Writes the header of a frame; returns where its payload begins. */
export const writeHeader = (target: Uint8Array, at: number, opcode: number, length: number): number => {
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
  const frame = new Uint8Array(headerSize(payload.length) + payload.length)
  frame.set(payload, writeHeader(frame, 0, opcode, payload.length))
  return frame
}

/** A close frame; without a code it is empty. */
export const encodeClose = (code: number | undefined, reason: string): Uint8Array => {
  const payload = new Uint8Array(code === undefined ? 0 : 2 + utf8Length(reason))
  if (code !== undefined) {
    payload[0] = code >>> 8
    payload[1] = code & 0xff
    writeUtf8(payload, reason, 2)
  }
  return encodeFrame(opcodes.close, payload)
}

/** Whether a close frame may carry this status (section 7.4). */
export const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** Below this size, looking at more than a byte at a time is not worth its preparation. */
const worthWords = 64

/** The mask, as it stands `offset` bytes into the payload; its first byte is the lowest. */
export const rotated = (mask: number, offset: number): number => {
  const bits = (offset & 3) * 8
  return bits === 0 ? mask : (mask >>> bits) | (mask << (32 - bits))
}

/** Takes off the mask where the bytes are (section 5.3). */
export const unmask = (bytes: Uint8Array, start: number, end: number, mask: number): void => {
  let at = start
  if (littleEndian && end - start >= worthWords) {
    const aligned = start + (-(bytes.byteOffset + start) & 3)
    for (; at < aligned; at++) bytes[at] = bytes[at]! ^ (rotated(mask, at - start) & 0xff)
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2)
    const turned = rotated(mask, at - start)
    const { length } = words
    let i = 0
    // Eight at a time take a third less.
    for (const last = length - 8; i <= last; i += 8) {
      words[i]! ^= turned
      words[i + 1]! ^= turned
      words[i + 2]! ^= turned
      words[i + 3]! ^= turned
      words[i + 4]! ^= turned
      words[i + 5]! ^= turned
      words[i + 6]! ^= turned
      words[i + 7]! ^= turned
    }
    for (; i < length; i++) words[i]! ^= turned
    at += length * 4
  }
  for (; at < end; at++) bytes[at] = bytes[at]! ^ ((mask >>> (((at - start) & 3) * 8)) & 0xff)
}

/** Copies bytes without their mask to the beginning of `target`. */
export const unmaskTo = (
  target: Uint8Array,
  source: Uint8Array,
  start: number,
  end: number,
  mask: number
): void => {
  const size = end - start
  if (size < worthWords) {
    for (let i = 0; i < size; i++) target[i] = source[start + i]! ^ ((mask >>> ((i & 3) * 8)) & 0xff)
  } else {
    target.set(source.subarray(start, end))
    unmask(target, 0, size, mask)
  }
}
