/**
 * The codecs beside `engine.io-parser`: the same packets, through what either exports. Schemas are beside the same by hand.
 */
import { Effect, Schema } from "effect"
import * as parser from "engine.io-parser"
import assert from "node:assert/strict"
import { Packet, Payload, TypedSocket } from "../../src/index.ts"
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

const Say = Schema.TaggedUnion({
  Join: { name: Schema.String, room: Schema.String },
  Say: { text: Schema.String, key: Schema.String }
})
const typed = TypedSocket.protocol({ incoming: Say, outgoing: Say })
const decodeByHand = Schema.decodeUnknownSync(Say)
const encodeByHand = Schema.encodeSync(Say)
const said = Say.cases.Say.make({ text: textOf(32, 0), key: "m1" })
const saidText = JSON.stringify(said)

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
  },
  {
    title: "typed: read JSON by a schema (beside JSON.parse and decodeUnknownSync)",
    ours: () => typed.decode(saidText),
    theirs: () => decodeByHand(JSON.parse(saidText))
  },
  {
    title: "typed: write JSON by a schema (beside encodeSync and JSON.stringify)",
    ours: () => typed.encode(said),
    theirs: () => JSON.stringify(encodeByHand(said))
  }
]

assert.deepEqual(Effect.runSync(typed.decode(saidText)), said)
assert.equal(Effect.runSync(typed.encode(said)), saidText)

assert.deepEqual(theirEncode(theirText), packetText)
assert.deepEqual(theirEncodePayload(theirTexts), payloadText)
assert.deepEqual(theirEncodePayload([theirBinary]), payloadBinary)
