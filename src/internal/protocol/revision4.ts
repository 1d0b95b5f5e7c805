/**
 * Revision 4 of the protocol on strings and bytes: one packet, and the payload of a poll (rules R58 to R60).
 */
import type { Message, Packet, PacketType } from "./packetModel.ts"
import { cut, fromBase64Lenient, toBase64 } from "./bytes.ts"
import { Cursor } from "./cursor.ts"
import { bare, digits, types } from "./digits.ts"
import { PacketError, type PayloadError, payloadError } from "./errors.ts"

/** What stands between two packets of a payload. Nothing escapes it inside a text packet (R59). */
export const separator = "\x1e"

export const hasSeparator = (data: unknown): boolean => typeof data === "string" && data.includes(separator)

const zero = 0x30
const four = 0x34
const lowercaseB = 0x62

/** The text of a packet. Only messages carry bytes: whatever the type, bytes become the message `b` + base64. */
export const encodeText = (type: PacketType, data: Message | undefined): string =>
  data === undefined ? digits[type] : typeof data === "string" ? digits[type] + data : "b" + toBase64(data)

/** Reads the packet whose text stands in `text` from `start` up to `end`. */
const parseSlice = (text: string, start: number, end: number): Packet | PacketError => {
  if (start === end) return new PacketError({ reason: "Empty" })
  const code = text.charCodeAt(start)
  if (code === four && end - start > 1) return { type: "message", data: cut(text, start + 1, end) }
  if (code === lowercaseB) return { type: "message", data: fromBase64Lenient(text.slice(start + 1, end)) }
  const type = types[code - zero]
  if (type === undefined) return new PacketError({ reason: "UnknownType" })
  return end - start > 1 ? { type, data: cut(text, start + 1, end) } : bare[code - zero]!
}

/** Reads a text packet (R60). */
export const parseText = (text: string): Packet | PacketError => parseSlice(text, 0, text.length)

/** Reads a binary frame, which is a message and nothing else (R60). */
export const parseBinary = (bytes: Uint8Array): Packet => ({ type: "message", data: bytes })

/**
 * Hands each packet of a payload to `onPacket`, in order and as soon as it is read, from the cursor on until that returns
 * false, the payload ends, or a packet is bad or one too many.
 */
export const parsePayload = (
  body: string,
  maxPackets: number,
  onPacket: (packet: Packet) => boolean,
  cursor: Cursor = new Cursor()
): PayloadError | undefined => {
  const length = body.length
  if (length === 0) return payloadError("Empty")
  while (!cursor.isDone) {
    if (cursor.packets++ >= maxPackets) return payloadError("TooManyPackets")
    const start = cursor.position
    let end = body.indexOf(separator, start)
    if (end < 0) end = length
    const packet = parseSlice(body, start, end)
    if (packet instanceof PacketError) return payloadError("InvalidPacket", packet)
    cursor.position = end + 1
    cursor.isDone = end === length
    if (!onPacket(packet)) return undefined
  }
  return undefined
}

/** The payload of the packets: text, whatever they carry. */
export const encodePayload = (packets: ReadonlyArray<Packet>): string => {
  let body = ""
  for (let index = 0; index < packets.length; index++) {
    const packet = packets[index]!
    if (index > 0) body += separator
    body += encodeText(packet.type, packet.data)
  }
  return body
}
