/** The codecs beside `engine.io-parser`: the same packets, through what either exports. */
import * as parser from "engine.io-parser"
import assert from "node:assert/strict"
import { Packet, Payload } from "../../src/index.ts"
import { bytesOf, textOf } from "../shared/content.ts"

export interface Case {
  readonly title: string
  readonly ours: () => unknown
  readonly theirs: () => unknown
}

const text: Packet.Packet = { type: "message", data: textOf(32, 0) }
const texts = Array.from({ length: 16 }, (_, index): Packet.Packet => ({ type: "message", data: textOf(32, index) }))
const binary: Packet.Packet = { type: "message", data: bytesOf(1024, 0) }

const theirPacket = ({ data, type }: Packet.Packet): parser.Packet => ({ type, data })
const theirText = theirPacket(text)
const theirTexts = texts.map(theirPacket)
const theirBinary = theirPacket(binary)

// Theirs call back at once for everything that Node can send.
let encoded: unknown
const keep = (value: unknown): void => {
  encoded = value
}
const theirEncode = (packet: parser.Packet): unknown => {
  parser.encodePacket(packet, true, keep)
  return encoded
}
const theirEncodePayload = (packets: Array<parser.Packet>): unknown => {
  parser.encodePayload(packets, keep)
  return encoded
}

const packetText = String(Packet.encode(text))
const payloadText = String(Payload.encode(texts))
const payloadBinary = String(Payload.encode([binary]))

export const cases: ReadonlyArray<Case> = [
  {
    title: "codec: write a text packet of 32 B",
    ours: () => Packet.encode(text),
    theirs: () => theirEncode(theirText)
  },
  {
    title: "codec: read a text packet of 32 B",
    ours: () => Packet.parse(packetText),
    theirs: () => parser.decodePacket(packetText)
  },
  {
    title: "codec: write a payload of 16 x 32 B",
    ours: () => Payload.encode(texts),
    theirs: () => theirEncodePayload(theirTexts)
  },
  {
    title: "codec: read a payload of 16 x 32 B",
    ours: () => Payload.parse(payloadText),
    theirs: () => parser.decodePayload(payloadText)
  },
  {
    title: "codec: write a payload of 1 KiB binary",
    ours: () => Payload.encode([binary]),
    theirs: () => theirEncodePayload([theirBinary])
  },
  {
    title: "codec: read a payload of 1 KiB binary",
    ours: () => Payload.parse(payloadBinary),
    theirs: () => parser.decodePayload(payloadBinary)
  }
]

assert.deepEqual(theirEncode(theirText), packetText)
assert.deepEqual(theirEncodePayload(theirTexts), payloadText)
assert.deepEqual(theirEncodePayload([theirBinary]), payloadBinary)
