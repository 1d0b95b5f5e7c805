/**
 * Revision 3 of the protocol on strings and bytes: one packet, and both payloads of a poll (rules R64 to R68).
 */
import type { Message, Packet, PacketType } from "./packetModel.ts"
import { copyOf, cut, fromBase64Lenient, fromUtf8, sizeOf, toBase64, writeBytes, writeUtf8 } from "./bytes.ts"
import { Cursor } from "./cursor.ts"
import { bare, digits, numbers, types } from "./digits.ts"
import { PacketError, type PayloadError, payloadError } from "./errors.ts"

const zero = 0x30
const nine = 0x39
const colon = 0x3a
const four = 0x34
const lowercaseB = 0x62

const textEntry = 0
const binaryEntry = 1
const endOfLength = 0xff
const maxLengthDigits = 16

/** The text of a packet; bytes become `b`, the type and base64. */
export const encodeText = (type: PacketType, data: Message | undefined): string =>
  data === undefined
    ? digits[type]
    : typeof data === "string"
    ? digits[type] + data
    : "b" + digits[type] + toBase64(data)

/** The bytes of a packet that carries bytes: the type, then a copy of them. */
export const encodeBinary = (type: PacketType, data: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(1 + data.byteLength)
  bytes[0] = numbers[type]
  writeBytes(bytes, data, 1)
  return bytes
}

/** Reads the packet whose text stands in `text` from `start` up to `end`. */
const parseSlice = (text: string, start: number, end: number): Packet | PacketError => {
  if (start === end) return new PacketError({ reason: "Empty" })
  const code = text.charCodeAt(start)
  if (code === four && end - start > 1) return { type: "message", data: cut(text, start + 1, end) }
  if (code === lowercaseB) return parseBase64(text, start + 1, end)
  const type = types[code - zero]
  if (type === undefined) return new PacketError({ reason: "UnknownType" })
  return end - start > 1 ? { type, data: cut(text, start + 1, end) } : bare[code - zero]!
}

const parseBase64 = (text: string, start: number, end: number): Packet | PacketError => {
  const type = start < end ? types[text.charCodeAt(start) - zero] : undefined
  if (type === undefined) return new PacketError({ reason: "UnknownType" })
  return { type, data: fromBase64Lenient(text.slice(start + 1, end)) }
}

/** Reads a text packet (R64). */
export const parseText = (text: string): Packet | PacketError => parseSlice(text, 0, text.length)

/** Reads a binary packet: its type, then its bytes, which are not copied (R64). */
export const parseBinary = (bytes: Uint8Array): Packet | PacketError => {
  if (bytes.byteLength === 0) return new PacketError({ reason: "Empty" })
  const type = types[bytes[0]!]
  return type === undefined ? new PacketError({ reason: "UnknownType" }) : { type, data: bytes.subarray(1) }
}

/**
 * Hands each packet of a payload to `onPacket`, in order and as soon as it is read, from the cursor on until that returns
 * false, the payload ends, or an entry is bad or one too many.
 */
export const parsePayload = (
  body: Message,
  maxPackets: number,
  onPacket: (packet: Packet) => boolean,
  cursor: Cursor = new Cursor()
): PayloadError | undefined =>
  typeof body === "string"
    ? parseString(body, maxPackets, onPacket, cursor)
    : parseBytes(body, maxPackets, onPacket, cursor)

/** A string payload: decimal length in UTF-16 units, a colon, the text; entries of length zero are skipped (R68). */
const parseString = (
  body: string,
  maxPackets: number,
  onPacket: (packet: Packet) => boolean,
  cursor: Cursor
): PayloadError | undefined => {
  const length = body.length
  if (length === 0) return payloadError("Empty")
  while (!cursor.isDone) {
    const head = cursor.position
    let position = head
    let size = 0
    let code = body.charCodeAt(position)
    while (code >= zero && code <= nine) {
      size = size * 10 + (code - zero)
      code = body.charCodeAt(++position)
    }
    if (code !== colon || position === head || size > length - position - 1) return payloadError("InvalidLength")
    const start = position + 1
    const end = start + size
    cursor.position = end
    cursor.isDone = end === length
    if (size === 0) continue
    if (cursor.packets++ >= maxPackets) return payloadError("TooManyPackets")
    const packet = parseSlice(body, start, end)
    if (packet instanceof PacketError) return payloadError("InvalidPacket", packet)
    if (!onPacket(packet)) return undefined
  }
  return undefined
}

/** A binary payload: 0 or 1 for text or bytes, length in bytes as decimal digits, 255, the content (R66). */
const parseBytes = (
  body: Uint8Array,
  maxPackets: number,
  onPacket: (packet: Packet) => boolean,
  cursor: Cursor
): PayloadError | undefined => {
  const length = body.byteLength
  if (length === 0) return payloadError("Empty")
  while (!cursor.isDone) {
    let { position } = cursor
    const kind = body[position]!
    if (kind !== textEntry && kind !== binaryEntry) return payloadError("InvalidLength")
    const head = ++position
    let size = 0
    while (position < length && body[position]! <= 9) size = size * 10 + body[position++]!
    const lengthDigits = position - head
    if (
      position >= length || body[position] !== endOfLength || lengthDigits === 0 || lengthDigits > maxLengthDigits
      || size > length - position - 1
    ) return payloadError("InvalidLength")
    const start = position + 1
    const end = start + size
    if (cursor.packets++ >= maxPackets) return payloadError("TooManyPackets")
    const content = body.subarray(start, end)
    const packet = kind === binaryEntry ? parseOwnBinary(content) : parseUtf8(content)
    if (packet instanceof PacketError) return payloadError("InvalidPacket", packet)
    cursor.position = end
    cursor.isDone = end === length
    if (!onPacket(packet)) return undefined
  }
  return undefined
}

/** As `parseBinary`, with bytes that are the application's own and do not keep those given alive. */
export const parseOwnBinary = (bytes: Uint8Array): Packet | PacketError => {
  const packet = parseBinary(bytes)
  return packet instanceof PacketError ? packet : { type: packet.type, data: copyOf(bytes, 1) }
}

const parseUtf8 = (bytes: Uint8Array): Packet | PacketError => {
  const text = fromUtf8(bytes)
  return text === undefined ? new PacketError({ reason: "InvalidUtf8" }) : parseSlice(text, 0, text.length)
}

/**
 * The payload of the packets: bytes when one of them carries bytes and the client can read them, else text (R66).
 */
export const encodePayload = (packets: ReadonlyArray<Packet>, supportsBinary: boolean): Message => {
  if (supportsBinary && packets.some((packet) => packet.data !== undefined && typeof packet.data !== "string")) {
    return encodeBytes(packets)
  }
  if (packets.length === 0) return "0:"
  let body = ""
  for (let index = 0; index < packets.length; index++) {
    const packet = packets[index]!
    const text = encodeText(packet.type, packet.data)
    body += text.length + ":" + text
  }
  return body
}

const contentLength = (data: Message | undefined): number => data === undefined ? 1 : 1 + sizeOf(data)

const encodeBytes = (packets: ReadonlyArray<Packet>): Uint8Array => {
  let total = 0
  for (let index = 0; index < packets.length; index++) {
    const length = contentLength(packets[index]!.data)
    total += 2 + String(length).length + length
  }
  const body = new Uint8Array(total)
  let position = 0
  for (let index = 0; index < packets.length; index++) {
    const { type, data } = packets[index]!
    const length = contentLength(data)
    const lengthDigits = String(length)
    const binary = data !== undefined && typeof data !== "string"
    body[position++] = binary ? binaryEntry : textEntry
    for (let digit = 0; digit < lengthDigits.length; digit++) {
      body[position++] = lengthDigits.charCodeAt(digit) - zero
    }
    body[position++] = endOfLength
    body[position] = binary ? numbers[type] : zero + numbers[type]
    if (binary) writeBytes(body, data, position + 1)
    else if (data !== undefined) writeUtf8(body, data, position + 1)
    position += length
  }
  return body
}
