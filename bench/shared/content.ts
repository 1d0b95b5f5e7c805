/** The messages of the workloads, known to servers and load generator alike, so that what arrives can be compared. */

import type { Dialect } from "./calls.ts"

/** So many different messages follow each other before they repeat. Divides every count of messages sent at once. */
export const cycle = 80

/** The same of messages of a size: few large ones. */
export const differentOf = (size: number): number => size > 4096 ? 4 : cycle

/** The most a server takes as one message: the default is less than the largest of the workloads. */
export const maxPayload = 2 * 1024 * 1024

/** A text of exactly `size` ASCII characters that starts with its own number. */
export const textOf = (size: number, index: number): string =>
  `${String(index).padStart(4, "0")}-The quick brown fox jumps over the lazy dog. `
    .repeat(Math.ceil(size / 50))
    .slice(0, size)

/** A text as it stands in a frame: as a message of Engine.IO, or as an event of Socket.IO. */
export const framed = (dialect: Dialect, text: string): string =>
  dialect === "socket.io" ? `42["message","${text}"]` : `4${text}`

/** Bytes of every value, starting with their own number. */
export const bytesOf = (size: number, index: number): Buffer => {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + index) & 0xff
  bytes.writeUInt16BE(index, 0)
  return bytes
}

const texts = (size: number, count: number): ReadonlyArray<string> => {
  const different = Array.from({ length: cycle }, (_, index) => textOf(size, index))
  return Array.from({ length: count }, (_, index) => different[index % cycle] ?? "")
}

/** What a server broadcasts, one after the other and again from the start. */
export const broadcastTexts = texts(32, cycle)

/** What a server sends to one client at once. */
export const burstTexts = texts(32, 10_000)

export const floodCount = 50_000

/** The first of them; the rest repeats. */
export const floodCycle: ReadonlyArray<Buffer> = Array.from(
  { length: cycle },
  (_, index) => Buffer.from(textOf(1024, index))
)

/** What a server sends to the client that does not read: each text made when it is sent, and no two the same object. */
export function* floodTexts(prefix: string): Generator<string> {
  const bytes = floodCycle.map((one) => Buffer.concat([Buffer.from(prefix), one]))
  for (let index = 0; index < floodCount; index++) yield bytes[index % cycle]?.toString("latin1") ?? ""
}

/** One byte on a server's control connection asks for one of them. */
export const trigger = { broadcast: 0x62, burst: 0x75, flood: 0x66 } as const
