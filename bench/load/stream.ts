/**
 * Compares what a WebSocket server sends with what it must send: the same frames over and over. Comparing bytes in
 * bulk is all that happens, until something else than the expected arrives: a heartbeat, or a mistake.
 */
import { pingBytes, serverFrame } from "./frames.ts"

export interface Expected {
  readonly bytes: Buffer
  /** The frames are all of this size. */
  readonly frameSize: number
}

export const expected = (code: number, payloads: ReadonlyArray<Uint8Array>): Expected => {
  const frames = payloads.map((payload) => serverFrame(code, payload))
  return { bytes: Buffer.concat(frames), frameSize: frames[0]?.length ?? 0 }
}

export class FrameStream {
  readonly #expected: Expected
  readonly #onPing: () => void
  #position = 0
  #carry: Buffer | undefined

  constructor(expected: Expected, onPing: () => void) {
    this.#expected = expected
    this.#onPing = onPing
  }

  /** How many frames these bytes complete. */
  take(chunk: Buffer): number {
    const bytes = this.#carry === undefined ? chunk : Buffer.concat([this.#carry, chunk])
    this.#carry = undefined
    const { bytes: all, frameSize } = this.#expected
    const before = this.#position
    let from = 0
    let completed = 0
    while (from < bytes.length) {
      const length = Math.min(bytes.length - from, all.length - this.#position)
      if (bytes.compare(all, this.#position, this.#position + length, from, from + length) !== 0) {
        this.#position = before
        return this.#takeOneByOne(bytes)
      }
      completed += Math.floor((this.#position + length) / frameSize) - Math.floor(this.#position / frameSize)
      this.#position = (this.#position + length) % all.length
      from += length
    }
    return completed
  }

  #takeOneByOne(chunk: Buffer): number {
    const { bytes: all, frameSize } = this.#expected
    let bytes = chunk
    let within = this.#position % frameSize
    if (within > 0 && within < pingBytes.length) {
      // The bytes that looked like the start of a message may have been the start of a ping.
      bytes = Buffer.concat([all.subarray(this.#position - within, this.#position), chunk])
      this.#position -= within
      within = 0
    }
    let from = 0
    let completed = 0
    while (from < bytes.length) {
      if (within === 0 && bytes[from + 1] === pingBytes[1]) {
        if (bytes.length - from < pingBytes.length) {
          this.#carry = Buffer.from(bytes.subarray(from))
          break
        }
        if (pingBytes.equals(bytes.subarray(from, from + pingBytes.length))) {
          this.#onPing()
          from += pingBytes.length
          continue
        }
      }
      const length = Math.min(bytes.length - from, frameSize - within)
      if (bytes.compare(all, this.#position, this.#position + length, from, from + length) !== 0) {
        const got = bytes.toString("latin1", from, Math.min(bytes.length, from + 60))
        throw new Error(`not what was expected: ${JSON.stringify(got)}`)
      }
      this.#position = (this.#position + length) % all.length
      within = this.#position % frameSize
      if (within === 0) completed++
      from += length
    }
    return completed
  }
}
