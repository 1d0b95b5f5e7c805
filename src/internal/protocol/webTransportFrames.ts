/**
 * The frames of WebTransport: a length and a kind before every packet, on a stream that keeps no boundaries (rules R85,
 * R87).
 */
import * as Data from "effect/Data"
import { copyOf } from "./bytes.ts"
import { tooLarge } from "./limits.ts"

/** The length of a frame is zero or beyond the limit. */
export class FrameError extends Data.TaggedError("FrameError")<{ readonly reason: "Empty" | "TooLarge" }> {
  override readonly message = this.reason === "Empty" ? "a frame of length zero" : tooLarge
}

const binaryFlag = 0x80
const lengthMask = 0x7f
const length16 = 126
const length64 = 127

/** The header of a frame of so many bytes. */
export const frameHeader = (byteLength: number, binary: boolean): Uint8Array => {
  const flag = binary ? binaryFlag : 0
  if (byteLength < length16) return Uint8Array.of(flag | byteLength)
  if (byteLength < 0x1_0000) return Uint8Array.of(flag | length16, byteLength >>> 8, byteLength)
  const header = new Uint8Array(9)
  header[0] = flag | length64
  let rest = byteLength
  for (let index = 8; index > 0; index--) {
    header[index] = rest % 0x100
    rest = Math.floor(rest / 0x100)
  }
  return header
}

const none = new Uint8Array(0)
const firstAllocation = 1024

/**
 * Finds the frames in a stream, however it was cut into chunks.
 *
 * Memory follows what was received, not what a header promises, and stays below twice `maxPayload`. After an error the
 * decoder is dead: it says so once and ignores everything after.
 */
export class FrameDecoder {
  readonly #maxPayload: number
  #dead = false
  #binary = false
  /** Bytes of the extended length still to come; -1 before the first byte of a header. */
  #lengthBytes = -1
  /** Length of the frame, complete when `#lengthBytes` is 0. */
  #length = 0
  /** What has come of a frame that is not complete. */
  #partial: Uint8Array = none
  #received = 0
  /** What is left of the last chunk where `onFrame` stopped the decoder; to be pushed again. */
  rest: Uint8Array | undefined

  constructor(maxPayload: number) {
    this.#maxPayload = Math.min(maxPayload, Number.MAX_SAFE_INTEGER)
  }

  /**
   * Takes the next chunk and hands over the frames that it completes, until `onFrame` returns false. The bytes of a text
   * frame may be a view of the chunk and are to be read at once; those of a binary frame are the receiver's own.
   */
  push(chunk: Uint8Array, onFrame: (bytes: Uint8Array, binary: boolean) => unknown): FrameError | undefined {
    this.rest = undefined
    let position = 0
    while (!this.#dead) {
      while (this.#lengthBytes !== 0) {
        if (position === chunk.byteLength) return undefined
        this.#readHeader(chunk[position++]!)
      }
      if (this.#length === 0 || this.#length > this.#maxPayload) {
        this.#dead = true
        this.#partial = none
        return new FrameError({ reason: this.#length === 0 ? "Empty" : "TooLarge" })
      }
      const missing = this.#length - this.#received
      const end = Math.min(position + missing, chunk.byteLength)
      const complete = end - position === missing
      if (end > position && (this.#received > 0 || !complete)) this.#keep(chunk, position, end)
      if (!complete) return undefined
      const frame = this.#received > 0 ? this.#partial : this.#cut(chunk, position, end)
      position = end
      this.#lengthBytes = -1
      this.#partial = none
      this.#received = 0
      if (onFrame(frame, this.#binary) === false && position < chunk.byteLength) {
        this.rest = chunk.subarray(position)
        return undefined
      }
    }
    return undefined
  }

  #readHeader(byte: number): void {
    if (this.#lengthBytes > 0) {
      this.#length = this.#length * 0x100 + byte
      this.#lengthBytes--
      return
    }
    this.#binary = byte >= binaryFlag
    const length = byte & lengthMask
    this.#lengthBytes = length === length16 ? 2 : length === length64 ? 8 : 0
    this.#length = this.#lengthBytes === 0 ? length : 0
  }

  #cut(chunk: Uint8Array, start: number, end: number): Uint8Array {
    return this.#binary ? copyOf(chunk, start, end) : chunk.subarray(start, end)
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    const received = this.#received + end - start
    if (received > this.#partial.byteLength) {
      const grown = new Uint8Array(Math.min(this.#length, Math.max(received, this.#received * 2, firstAllocation)))
      grown.set(this.#partial.subarray(0, this.#received))
      this.#partial = grown
    }
    this.#partial.set(chunk.subarray(start, end), this.#received)
    this.#received = received
  }
}
