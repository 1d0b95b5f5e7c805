/**
 * The bytes of WebSocket frames: taking off their mask, and giving their memory back.
 */
import { endianness } from "node:os"

const littleEndian = endianness() === "LE"

/** Below this size, looking at more than a byte at a time is not worth its preparation. */
const worthWords = 64

/** The mask, as it stands `offset` bytes into the payload; its first byte is the lowest. */
export const rotated = (mask: number, offset: number): number => {
  const bits = (offset & 3) * 8
  return bits === 0 ? mask : (mask >>> bits) | (mask << (32 - bits))
}

/** Takes off the mask where the bytes are (RFC 6455, section 5.3); tells whether all of them are ASCII. */
export const unmask = (bytes: Uint8Array, start: number, end: number, mask: number): boolean => {
  let seen = 0
  let at = start
  if (littleEndian && end - start >= worthWords) {
    const aligned = start + (-(bytes.byteOffset + start) & 3)
    for (; at < aligned; at++) seen |= bytes[at] = bytes[at]! ^ (rotated(mask, at - start) & 0xff)
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2)
    const turned = rotated(mask, at - start)
    let all = 0
    for (let i = 0; i < words.length; i++) all |= words[i] = words[i]! ^ turned
    at += words.length * 4
    if ((all & 0x80808080) !== 0) seen = 0x80
  }
  for (; at < end; at++) seen |= bytes[at] = bytes[at]! ^ ((mask >>> (((at - start) & 3) * 8)) & 0xff)
  return (seen & 0x80) === 0
}

/** Below this size, memory is cheaper to collect than to give back; of 1 KiB, giving it back costs half as much. */
const worthReleasing = 512

/**
 * Gives memory back at once that nobody refers to. What lies outside V8's heap makes it collect all of the heap time and
 * again, which costs more than all else that is done for a large message.
 */
export const release = (bytes: Uint8Array): void => {
  if (bytes.byteLength >= worthReleasing && bytes.byteLength === bytes.buffer.byteLength) {
    ;(bytes.buffer as ArrayBuffer).transfer(0)
  }
}
