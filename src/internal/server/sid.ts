/**
 * Session ids: twelve random bytes and the low three of a counter, so that ids cannot be guessed and never repeat, in
 * the twenty characters of URL-safe base64 that `engine.io` uses (rule R17).
 */
const alphabet = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

const randomSize = 12
const pool = new Uint8Array(randomSize * 256)
let used = pool.length
let counter = 0
const codes = Array.from({ length: 20 }, () => 0)

export const generateSid = (): string => {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  const at = used
  used += randomSize
  for (let i = 0; i < randomSize; i += 3) encode(i / 3 * 4, pool[at + i]!, pool[at + i + 1]!, pool[at + i + 2]!)
  // What is somebody's credential now must not stay in memory beside the next ones.
  pool.fill(0, at, used)
  counter = (counter + 1) & 0xffffff
  encode(16, counter >>> 16, (counter >>> 8) & 0xff, counter & 0xff)
  // At once: a string put together piece by piece stays in pieces.
  return String.fromCharCode(...codes)
}

const encode = (at: number, a: number, b: number, c: number): void => {
  codes[at] = alphabet[a >>> 2]!
  codes[at + 1] = alphabet[((a & 3) << 4) | (b >>> 4)]!
  codes[at + 2] = alphabet[((b & 15) << 2) | (c >>> 6)]!
  codes[at + 3] = alphabet[c & 63]!
}
