/** WebSocket frames: masked ones to send, made once, and plain ones to compare with and to read. */

export const opcode = { text: 1, binary: 2, close: 8, ping: 9 } as const

const header = (code: number, length: number, maskBit: number): Buffer => {
  if (length < 126) return Buffer.from([0x80 | code, maskBit | length])
  if (length < 65_536) {
    const bytes = Buffer.from([0x80 | code, maskBit | 126, 0, 0])
    bytes.writeUInt16BE(length, 2)
    return bytes
  }
  const bytes = Buffer.alloc(10)
  bytes[0] = 0x80 | code
  bytes[1] = maskBit | 127
  bytes.writeUIntBE(length, 4, 6)
  return bytes
}

export const serverFrame = (code: number, payload: Uint8Array): Buffer =>
  Buffer.concat([header(code, payload.length, 0), payload])

/** The frame of a packet on a stream of WebTransport: one bit more for what is binary, and no mask. */
export const streamFrame = (payload: Uint8Array, binary: boolean): Buffer =>
  Buffer.concat([header(0, payload.length, binary ? 0x80 : 0).subarray(1), payload])

// Never zero, since servers skip the unmasking of a zero key.
const key = Buffer.from([0x5a, 0x17, 0xc3, 0x2e])

export const clientFrame = (code: number, payload: Uint8Array): Buffer => {
  const masked = Buffer.from(payload)
  for (let i = 0; i < masked.length; i++) masked[i] = (masked[i] ?? 0) ^ (key[i & 3] ?? 0)
  return Buffer.concat([header(code, masked.length, 0x80), key, masked])
}

export const textFrame = (text: string): Buffer => clientFrame(opcode.text, Buffer.from(text))

export const pongFrame = textFrame("3")
export const closeFrame = clientFrame(opcode.close, Buffer.from([0x03, 0xe8]))

/** What the server's heartbeat looks like on the wire. */
export const pingBytes = serverFrame(opcode.text, Buffer.from("2"))

export interface Frame {
  readonly code: number
  readonly payload: Buffer
  /** Where the next frame starts. */
  readonly end: number
}

/** Reads one whole unfragmented frame, if it is all there. */
export const readFrame = (bytes: Buffer, start: number): Frame | undefined => {
  if (bytes.length - start < 2) return undefined
  const length = (bytes[start + 1] ?? 0) & 0x7f
  if (length >= 126) throw new Error("expected a short frame")
  const end = start + 2 + length
  return bytes.length < end ? undefined : {
    code: (bytes[start] ?? 0) & 0x0f,
    payload: bytes.subarray(start + 2, end),
    end
  }
}
