/**
 * Bytes and text, with what the language has.
 */
import * as Base64 from "effect/encoding/Base64"
import type { Message } from "./packetModel.ts"

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const lenient = new TextDecoder("utf-8", { ignoreBOM: true })
const encoder = new TextEncoder()
const empty = new Uint8Array(0)

/** Where a text is written to be measured: faster than a look at each of its characters. */
const scratch = new Uint8Array(16 * 1024)

/** The number of bytes of the text in UTF-8; an unpaired surrogate counts three, as the U+FFFD it becomes. */
export const utf8Length = (text: string): number => {
  let length = 0
  for (let at = 0; at < text.length;) {
    const { read, written } = encoder.encodeInto(at === 0 ? text : text.slice(at), scratch)
    at += read
    length += written
  }
  return length
}

/** The bytes of a message; of a text those of its UTF-8. */
export const sizeOf = (message: Message): number =>
  typeof message === "string" ? utf8Length(message) : message.byteLength

/** Base64 as the machine below has it: the language's own takes five times as long. */
export interface MachineBase64 {
  /** Standard base64, padded. */
  readonly encode: (bytes: Uint8Array) => string
  /** Reads as leniently as `fromBase64Lenient`, into memory of its own. */
  readonly decode: (text: string) => Uint8Array
}

let machine: MachineBase64 | undefined

/** To be called by the platform: the same bytes and texts, sooner. */
export const useBase64 = (base64: MachineBase64): void => {
  machine = base64
}

/** Standard base64, padded. */
export const toBase64 = (bytes: Uint8Array): string =>
  machine === undefined ? Base64.encode(bytes) : machine.encode(bytes)

/**
 * The bytes of a base64 text, read as leniently as Node's `Buffer` reads it: both alphabets, padding or none, other
 * characters skipped, ends at the first `=`. They have memory of their own.
 */
export const fromBase64Lenient = (text: string): Uint8Array => {
  if (machine !== undefined) return machine.decode(text)
  let latin1: string
  try {
    latin1 = atob(text)
  } catch {
    latin1 = atob(digitsOf(text))
  }
  const bytes = new Uint8Array(latin1.length)
  for (let index = 0; index < latin1.length; index++) bytes[index] = latin1.charCodeAt(index)
  return bytes
}

/** The base64 digits of a text, of which Node reads the lower byte of each code unit. */
const digitsOf = (text: string): string => {
  const units = text.replace(/[^\0-\xff]/g, (unit) => String.fromCharCode(unit.charCodeAt(0) & 0xff))
  const digits = units.replace(/=[^]*/, "").replaceAll("-", "+").replaceAll("_", "/").replace(/[^+/0-9A-Za-z]/g, "")
  // A last one that begins a byte is none.
  return digits.length % 4 === 1 ? digits.slice(0, -1) : digits
}

/** A copy of some bytes in memory of its own. By way of a plain view: from Node's `Buffer` it takes twice as long. */
export const copyOf = (bytes: Uint8Array, start: number, end = bytes.byteLength): Uint8Array =>
  new Uint8Array(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start))

/** Below this length, a text may as well be kept whole. */
const worthCutting = 1024

/**
 * A piece of a text. V8 makes a slice a view of the whole, so that whoever keeps a short message would keep all of its
 * POST. Joined to something else and cut off again it is a copy, for some 35 ns.
 */
export const cut = (text: string, start: number, end: number): string => {
  const piece = text.slice(start, end)
  return text.length < worthCutting || piece.length * 2 > text.length ? piece : (" " + piece).slice(1)
}

/** The text of bytes in UTF-8, a leading byte order mark included; undefined when they are not UTF-8. */
export const fromUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}

/** The text of bytes in UTF-8, with U+FFFD for what is not. */
export const fromUtf8Lenient = (bytes: Uint8Array): string => lenient.decode(bytes)

/** Writes the text in UTF-8 from `offset` on; there must be room for all of it. */
export const writeUtf8 = (target: Uint8Array, text: string, offset: number): void => {
  encoder.encodeInto(text, target.subarray(offset))
}

/** A view of exactly the bytes of the data, which are not copied; of memory that was transferred away, no bytes. */
export const toBytes = (data: ArrayBufferLike | ArrayBufferView): Uint8Array => {
  if (data instanceof Uint8Array) return data
  // Without types a number could come here, and a constructor would take it for a size.
  if (!ArrayBuffer.isView(data) && !isBuffer(data)) {
    throw new TypeError("a message is text, an ArrayBuffer, or a view of one")
  }
  try {
    return ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data)
  } catch {
    return empty
  }
}

/** What is to be sent as a message; bytes are not copied. */
export const toMessage = (data: string | ArrayBufferLike | ArrayBufferView): Message =>
  typeof data === "string" ? data : toBytes(data)

// An ArrayBuffer of another realm is no instance of ours.
const isBuffer = (data: unknown): boolean =>
  data instanceof ArrayBuffer || /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(data))

/** Copies the bytes to `offset`; there must be room for all of them. */
export const writeBytes = (target: Uint8Array, bytes: Uint8Array, offset: number): void => {
  // Copying from memory that was transferred away throws.
  if (bytes.byteLength > 0) target.set(bytes, offset)
}

/** The bytes of the text in UTF-8. */
export const toUtf8 = (text: string): Uint8Array => encoder.encode(text)

/** Below this size, memory is cheaper to collect than to give back; of 1 KiB, giving it back costs half as much. */
const worthGivingBack = 512

/**
 * Gives memory back at once that nobody refers to. What lies outside V8's heap makes it collect all of the heap time and
 * again, which costs more than all else that is done for a large message.
 */
export const giveBack = (bytes: Uint8Array): void => {
  if (bytes.byteLength >= worthGivingBack && bytes.byteLength === bytes.buffer.byteLength) {
    ;(bytes.buffer as ArrayBuffer).transfer(0)
  }
}
