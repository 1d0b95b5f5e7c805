/**
 * What the property tests of the codecs draw from.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import type { Packet, PacketType } from "../../src/Packet.ts"

const index = (size: number) => Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: size - 1 })))

/** One of the values. */
export const pick = <A>(...values: ReadonlyArray<A>): Arbitrary.Arbitrary<A> =>
  Arbitrary.map(index(values.length), (at) => values[at]!)

/** A value of one of the arbitraries. */
export const oneOf = <A>(...options: ReadonlyArray<Arbitrary.Arbitrary<A>>): Arbitrary.Arbitrary<A> =>
  Arbitrary.flatMap(pick(...options), (option) => option)

const joined = (part: Arbitrary.Arbitrary<string>, maxLength: number) =>
  Arbitrary.map(Arbitrary.array(part, { maxLength }), (parts) => parts.join(""))

/** Any text: unpaired surrogates, every width of UTF-8, and what codecs treat as special. */
export const anyText: Arbitrary.Arbitrary<string> = oneOf(
  Arbitrary.schema(Schema.String),
  joined(
    pick(
      "a",
      "é",
      "€",
      "😀",
      "\ud83d",
      "\ude00",
      "\ufffd",
      "\ufeff",
      "\0",
      "\n",
      "\r",
      "\\",
      "\\n",
      "\u2028",
      ":",
      "b"
    ),
    12
  ),
  joined(Arbitrary.map(index(0x1_0000), (code) => String.fromCharCode(code)), 12)
)

/** Text that UTF-8 carries unchanged. */
export const wellFormed: Arbitrary.Arbitrary<string> = Arbitrary.map(anyText, (text) => text.toWellFormed())

/** Any bytes. */
export const anyBytes: Arbitrary.Arbitrary<Uint8Array> = Arbitrary.schema(Schema.Uint8Array)

const packetOf = (texts: Arbitrary.Arbitrary<string>): Arbitrary.Arbitrary<Packet> =>
  oneOf<Packet>(
    Arbitrary.map(
      Arbitrary.all([
        pick<PacketType>("open", "close", "ping", "pong", "message", "upgrade", "noop", "message", "message"),
        texts
      ]),
      ([type, data]) => data === "" ? { type } : { type, data }
    ),
    Arbitrary.map(anyBytes, (data) => ({ type: "message", data }))
  )

/** Any packet that has an encoding. */
export const anyPacket = packetOf(anyText)

/** Any packet whose text UTF-8 carries unchanged. */
export const wellFormedPacket = packetOf(wellFormed)

/** Any packet that a payload of revision 4 carries unchanged. */
export const separablePacket = packetOf(Arbitrary.map(anyText, (text) => text.replaceAll("\x1e", " ")))

/** A list for payloads. */
export const listOf = <A>(item: Arbitrary.Arbitrary<A>): Arbitrary.Arbitrary<ReadonlyArray<A>> =>
  Arbitrary.array(item, { maxLength: 8 })

/** What looks like a payload of revision 4 and mostly is none. */
export const almostPayload4: Arbitrary.Arbitrary<string> = oneOf(
  joined(pick("\x1e", "0", "2", "4", "6", "7", "b", "4a", "bAQ==", "b!", "x", " ", "€"), 12),
  anyText
)

/**
 * What looks like a string payload of revision 3 and mostly is none. Without the characters that other notations of
 * numbers need: the reference takes `1e1:` and `0b1:` for lengths.
 */
export const almostPayload3: Arbitrary.Arbitrary<string> = joined(
  pick(
    "0:",
    "1:",
    "2:",
    "3:",
    "1:2",
    "2:4a",
    "6:4hello",
    "2:4€",
    "3:b4A",
    "2:b9",
    "1:b",
    ":",
    "0",
    "02",
    "4",
    "a",
    "€"
  ),
  8
)

/** What looks like a binary payload of revision 3 and mostly is none. */
export const almostBytes3: Arbitrary.Arbitrary<Uint8Array> = oneOf(
  Arbitrary.map(
    Arbitrary.array(
      pick(
        [0],
        [1],
        [255],
        [0, 255],
        [0, 1, 255],
        [1, 1, 255, 4],
        [0, 1, 255, 0x32],
        [1, 3, 255, 4, 1, 2],
        [0, 4, 255, 0x34, 0xe2, 0x82, 0xac],
        [0, 2, 255, 0x34, 0xff],
        [0, 0, 0, 1, 255, 0x34],
        [0, 4, 255, 0x62, 0x34, 0x41, 0x51],
        [2, 1, 255, 4],
        [0, 0, 255],
        [0x34],
        [9, 9, 9, 9]
      ),
      { maxLength: 8 }
    ),
    (parts) => Uint8Array.from(parts.flat())
  ),
  anyBytes
)
