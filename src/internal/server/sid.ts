/**
 * Session ids: twelve random bytes and the low three of a counter, so that ids cannot be guessed and never repeat, in
 * the twenty characters of URL-safe base64 that `engine.io` uses (rule R17).
 */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

const randomSize = 12
const pool = new Uint8Array(randomSize * 256)
let used = pool.length
let counter = 0

export const generateSid = (): string => {
  if (used === pool.length) {
    crypto.getRandomValues(pool)
    used = 0
  }
  const at = used
  used += randomSize
  let sid = ""
  for (let i = 0; i < randomSize; i += 3) sid += encode(pool[at + i]!, pool[at + i + 1]!, pool[at + i + 2]!)
  // What is in use as somebody's credential must not stay in memory beside the next ones.
  pool.fill(0, at, used)
  counter = (counter + 1) & 0xffffff
  return sid + encode(counter >>> 16, (counter >>> 8) & 0xff, counter & 0xff)
}

const encode = (a: number, b: number, c: number): string =>
  alphabet[a >>> 2]! + alphabet[((a & 3) << 4) | (b >>> 4)]! + alphabet[((b & 15) << 2) | (c >>> 6)]! +
  alphabet[c & 63]!
