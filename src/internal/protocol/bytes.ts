/**
 * Bytes and text: the one file of this floor that knows `Buffer`, which is faster at all of this than what the language
 * has. Everything else works on `Uint8Array`.
 */

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()
const empty = new Uint8Array(0)

/** A `Buffer` of the same memory. Not for no bytes: their memory may have been transferred away, which throws. */
const view = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The number of bytes of the text in UTF-8; an unpaired surrogate counts three, as the U+FFFD it becomes. */
export const utf8Length = (text: string): number => Buffer.byteLength(text)

/** Standard base64, padded. */
export const toBase64 = (bytes: Uint8Array): string => bytes.byteLength === 0 ? "" : view(bytes).toString("base64")

/**
 * The bytes of a base64 text, read as leniently as `Buffer.from(text, "base64")` does: both alphabets, padding or none,
 * other characters skipped, ends at the first `=`.
 *
 * They have memory of their own. A piece of Node's pool lies beside other clients' data, and would show it to whoever is
 * given `bytes.buffer`.
 */
export const fromBase64Lenient = (text: string): Uint8Array => {
  // Node makes memory of its own for no bytes at all, which costs ten times as long as a few bytes do.
  if (text === "") return new Uint8Array(0)
  // Copying a few bytes out of the pool is cheaper than making memory first; for more it is the other way round.
  if (text.length < 1024) return new Uint8Array(Buffer.from(text, "base64"))
  const memory = new ArrayBuffer(Buffer.byteLength(text, "base64"))
  const length = Buffer.from(memory).write(text, "base64")
  // Where characters were skipped, memory is left over: nobody counts it.
  return new Uint8Array(length === memory.byteLength ? memory : memory.slice(0, length))
}

/** A copy of some bytes in memory of its own. By way of a plain view: from a `Buffer` it takes twice as long. */
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

// An ArrayBuffer of another realm is no instance of ours.
const isBuffer = (data: unknown): boolean =>
  data instanceof ArrayBuffer || /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(data))

/** Copies the bytes to `offset`; there must be room for all of them. */
export const writeBytes = (target: Uint8Array, bytes: Uint8Array, offset: number): void => {
  // Copying from memory that was transferred away throws.
  if (bytes.byteLength > 0) target.set(bytes, offset)
}
