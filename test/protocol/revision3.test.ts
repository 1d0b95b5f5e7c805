import { assert, describe, it } from "@effect/vitest"
import { PacketError, type PayloadError } from "../../src/internal/protocol/errors.ts"
import * as revision3 from "../../src/internal/protocol/revision3.ts"
import { type Message, type Packet } from "../../src/Packet.ts"
import { A10, A11, A4, A5, A6, A7, A8, A9, hex } from "../fixtures/goldens.ts"
import { almostBytes3, almostPayload3, anyBytes, anyPacket, anyText, listOf, wellFormedPacket } from "./arbitraries.ts"
import { decodePayload3, encodePayload3, parser3, plain, toReference } from "./reference.ts"

const reasonOf = (result: Packet | PacketError): string =>
  result instanceof PacketError ? result.reason : `no error: ${JSON.stringify(result)}`

const collect = (body: Message, maxPackets = Infinity) => {
  const packets: Array<Packet> = []
  const error: PayloadError | undefined = revision3.parsePayload(body, maxPackets, (packet) => packets.push(packet) > 0)
  return { packets, error }
}

const assertReason = (body: Message, reason: PayloadError["reason"], before = 0) => {
  const { error, packets } = collect(body)
  const label = body.slice(0, 40).toString()
  assert.strictEqual(error?.reason, reason, label)
  assert.strictEqual(packets.length, before, label)
}

describe("packets of revision 3", () => {
  it("R64: a binary frame is the type and the bytes (A7)", () => {
    assert.deepStrictEqual(revision3.encodeBinary("message", hex("01 02 03 04")), A7.frame)
    assert.deepStrictEqual(revision3.parseBinary(A7.frame), A7.packet)
    assert.deepStrictEqual(revision3.parseBinary(hex("04")), { type: "message", data: new Uint8Array(0) })
  })

  it("R64: a binary frame of no known type is told apart", () => {
    assert.strictEqual(reasonOf(revision3.parseBinary(hex("07 01"))), "UnknownType")
    assert.strictEqual(reasonOf(revision3.parseBinary(hex("34 01"))), "UnknownType")
    assert.strictEqual(reasonOf(revision3.parseBinary(new Uint8Array(0))), "Empty")
  })

  it("R64: bytes as text are b, the type and base64", () => {
    assert.strictEqual(revision3.encodeText("message", hex("01 02 03 04")), "b4AQIDBA==")
    assert.deepStrictEqual(revision3.parseText("b4AQIDBA=="), A7.packet)
    assert.deepStrictEqual(revision3.parseText("b4"), { type: "message", data: new Uint8Array(0) })
  })

  it("R64: text packets are those of revision 4 (A11)", () => {
    assert.strictEqual(revision3.encodeText("message", "hello"), "4hello")
    assert.deepStrictEqual(revision3.parseText("4hello"), { type: "message", data: "hello" })
    assert.deepStrictEqual(revision3.parseText(A11.revision3.webSocket.client), { type: "ping" })
    assert.strictEqual(revision3.encodeText("pong", undefined), A11.revision3.webSocket.server)
  })

  it("R68: an empty text and an unknown type are errors", () => {
    assert.strictEqual(reasonOf(revision3.parseText("")), "Empty")
    for (const text of ["7", "a", " 4", "b", "b7", "bAQID", "b€", "€"]) {
      assert.strictEqual(reasonOf(revision3.parseText(text)), "UnknownType", text)
    }
  })

  it.prop("R64: parsing undoes encoding", [anyPacket], ([packet]) => {
    assert.deepStrictEqual(revision3.parseText(revision3.encodeText(packet.type, packet.data)), packet)
    if (packet.data instanceof Uint8Array) {
      assert.deepStrictEqual(revision3.parseBinary(revision3.encodeBinary(packet.type, packet.data)), packet)
    }
  })

  it.prop("R64: packets are encoded as the 2.x parser encodes them", [anyPacket], ([packet]) => {
    parser3.encodePacket(toReference(packet), false, false, (expected) => {
      assert.strictEqual(revision3.encodeText(packet.type, packet.data), expected)
    })
    parser3.encodePacket(toReference(packet), true, false, (expected) => {
      if (!(packet.data instanceof Uint8Array)) return
      assert.deepStrictEqual([...revision3.encodeBinary(packet.type, packet.data)], [...expected as Buffer])
    })
  })

  it.prop("R64: any text is the packet or the error the 2.x parser reads in it", [anyText], ([text]) => {
    for (const candidate of [text, `4${text}`, `b${text}`, `b4${text}`]) {
      const ours = revision3.parseText(candidate)
      const theirs = parser3.decodePacket(candidate)
      if (ours instanceof PacketError) assert.include(["error", undefined], theirs.type)
      else assert.deepStrictEqual(plain(ours), plain(theirs))
    }
  })

  it.prop("R64: any bytes are the packet the 2.x parser reads in them", [anyBytes], ([bytes]) => {
    const ours = revision3.parseBinary(bytes)
    const theirs = parser3.decodePacket(Buffer.from(bytes))
    if (ours instanceof PacketError) assert.isUndefined(theirs.type)
    else assert.deepStrictEqual(plain(ours), plain(theirs))
  })
})

describe("string payloads of revision 3", () => {
  it("R65: payloads are the golden ones (A4, A8, A9, A10)", () => {
    for (
      const { packets, payload } of [
        A4.text,
        A4.base64,
        A4.empty,
        { packets: A8.packets, payload: A8.revision3 },
        { packets: A9.packets, payload: A9.revision3 },
        { packets: A10.packets, payload: A10.revision3 }
      ]
    ) {
      assert.strictEqual(revision3.encodePayload(packets, false), payload)
      assert.deepStrictEqual(collect(payload), { packets: [...packets], error: undefined })
    }
  })

  it("R65: lengths count UTF-16 units", () => {
    assert.strictEqual(revision3.encodePayload([{ type: "message", data: "😀" }], true), "3:4😀")
    assert.deepStrictEqual(collect("3:4😀1:2").packets, [{ type: "message", data: "😀" }, { type: "ping" }])
  })

  it("R68: a length that is missing, no number, or too long is an error", () => {
    for (const body of ["4", "4hello", ":4a", "x:4a", "-1:4", "1e0:4", " 1:4", "1 :4", "+1:4", "0x1:4", "１:4"]) {
      assertReason(body, "InvalidLength")
    }
    for (const body of ["2:4", "9999999999999999999999:4", `${"9".repeat(400)}:4`]) assertReason(body, "InvalidLength")
    assertReason("1:21", "InvalidLength", 1)
    assertReason("1:2a", "InvalidLength", 1)
    assertReason("1:2:", "InvalidLength", 1)
  })

  it("R68: entries of length zero are skipped and leading zeros are read", () => {
    assert.deepStrictEqual(collect("0:1:20:001:3"), { packets: [{ type: "ping" }, { type: "pong" }], error: undefined })
  })

  it("R46: an empty body is an error", () => {
    assertReason("", "Empty")
  })

  it("R46: packets before the bad one are delivered, those after it are not", () => {
    assertReason("1:22:4a1:91:2", "InvalidPacket", 2)
    assert.strictEqual(collect("2:b9").error?.cause?.reason, "UnknownType")
  })

  it("R68: nothing after the packet that ends the session is read, good or bad", () => {
    for (const rest of ["2:4a", "1:9", "x", "9:"]) {
      assert.isUndefined(revision3.parsePayload(`1:1${rest}`, Infinity, (packet) => packet.type !== "close"))
    }
  })

  it("CVE-2020-36048: a limit of packets delivers that many and no more", () => {
    assert.isUndefined(collect("0:1:21:20:", 2).error)
    const { error, packets } = collect("1:21:21:2", 2)
    assert.strictEqual(error?.reason, "TooManyPackets")
    assert.strictEqual(packets.length, 2)
  })

  it("CVE-2020-36048: each packet of the smallest kind is read once, and so is each digit", () => {
    let seen = 0
    assert.isUndefined(revision3.parsePayload("1:2".repeat(300_000), Infinity, () => ++seen > 0))
    assert.strictEqual(seen, 300_000)
    assert.isUndefined(collect("0:".repeat(500_000)).error)
    assertReason(`${"0".repeat(1_000_000)}9:4`, "InvalidLength")
    assertReason("9".repeat(1_000_000), "InvalidLength")
    assertReason(`2:4€`.repeat(250_000) + "1", "InvalidLength", 250_000)
  })

  it.prop("R65: parsing undoes encoding", [listOf(anyPacket)], ([packets]) => {
    const { error, packets: parsed } = collect(revision3.encodePayload(packets, false))
    assert.isUndefined(error)
    assert.deepStrictEqual(parsed, [...packets])
  })

  it.prop("R65: payloads are encoded as the 2.x parser encodes them", [listOf(anyPacket)], ([packets]) => {
    assert.strictEqual(revision3.encodePayload(packets, false), encodePayload3(packets, false))
  })

  it.prop("R68, R46: a body holds what the 2.x parser finds in it", [almostPayload3], ([body]) => {
    const { error, packets } = collect(body)
    assert.deepStrictEqual({ packets: packets.map(plain), failed: error !== undefined }, decodePayload3(body))
  }, { arbitrary: { runs: 500 } })

  it.prop("R68: any text is packets or an error", [anyText], ([text]) => {
    collect(text)
    collect(`${text.length}:${text}`)
  })
})

describe("binary payloads of revision 3", () => {
  it("R66: payloads are the golden ones (A5, A6)", () => {
    for (const { packets, payload } of [A5, A6]) {
      assert.deepStrictEqual(revision3.encodePayload(packets, true), payload)
      assert.deepStrictEqual(collect(payload), { packets: [...packets], error: undefined })
    }
  })

  it("R66: a payload is binary only where a packet is and the client can read it", () => {
    assert.strictEqual(revision3.encodePayload(A4.text.packets, true), A4.text.payload)
    assert.strictEqual(revision3.encodePayload(A5.packets, false), A4.base64.payload)
    assert.strictEqual(revision3.encodePayload([], true), "0:")
  })

  it("R66: text may be base64 there too", () => {
    assert.deepStrictEqual(collect(hex("00 06 FF 62 34 41 51 49 44")).packets, [
      { type: "message", data: Uint8Array.of(1, 2, 3) }
    ])
  })

  it("R66: what an application gets is memory of its own", () => {
    const body = revision3.encodePayload(A5.packets, true) as Uint8Array
    const { packets } = collect(Buffer.from(body))
    assert.isFalse(Buffer.isBuffer(packets[1]!.data))
    assert.strictEqual((packets[1]!.data as Uint8Array).buffer.byteLength, 4)
  })

  it("R68: a header that is no header, a truncated entry and an entry of no bytes are errors", () => {
    for (
      const body of [
        "02 01 FF 34", // neither text nor bytes
        "30 01 FF 34",
        "00 FF", // no length
        "01 FF 04",
        "00", // nothing more
        "00 01",
        "00 01 FF", // content missing
        "01 05 FF 04 01",
        "00 0A FF 34 61 61 61 61 61 61 61 61 61", // not a decimal digit
        "00 31 FF 34", // a digit in ASCII
        "00 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 FF 34",
        "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 FF 34" // 17 digits
      ]
    ) assertReason(hex(body), "InvalidLength")
    assertReason(hex("00 00 FF"), "InvalidPacket")
    assertReason(hex("01 00 FF"), "InvalidPacket")
    assertReason(hex("00 01 FF 32 00"), "InvalidLength", 1)
    assert.isUndefined(collect(hex("00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 FF 32")).error) // 16 digits
  })

  it("R68: text that is not UTF-8 and unknown types are errors", () => {
    assert.strictEqual(collect(hex("00 02 FF 34 FF")).error?.cause?.reason, "InvalidUtf8")
    assert.strictEqual(collect(hex("00 03 FF 34 E2 82")).error?.cause?.reason, "InvalidUtf8")
    assert.strictEqual(collect(hex("00 04 FF 34 ED A0 80")).error?.cause?.reason, "InvalidUtf8")
    assert.strictEqual(collect(hex("00 01 FF 37")).error?.cause?.reason, "UnknownType")
    assert.strictEqual(collect(hex("01 01 FF 07")).error?.cause?.reason, "UnknownType")
  })

  it("R46: an empty body is an error", () => {
    assertReason(new Uint8Array(0), "Empty")
  })

  it("R68: nothing after the packet that ends the session is read", () => {
    const body = hex("00 01 FF 31 07 07")
    assert.isUndefined(revision3.parsePayload(body, Infinity, (packet) => packet.type !== "close"))
  })

  it("CVE-2020-36048: hostile headers are read once", () => {
    assertReason(Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 2 === 0 ? 0 : 255), "InvalidLength")
    assertReason(new Uint8Array(1_000_000), "InvalidLength")
    assertReason(new Uint8Array(1_000_000).fill(9), "InvalidLength")
    assertReason(new Uint8Array(1_000_000).fill(255), "InvalidLength")
    const smallest = hex("00 01 FF 32")
    const body = Uint8Array.from({ length: 1_000_000 }, (_, index) => smallest[index % 4]!)
    let seen = 0
    assert.isUndefined(revision3.parsePayload(body, Infinity, () => ++seen > 0))
    assert.strictEqual(seen, 250_000)
    assert.strictEqual(collect(body, 10).error?.reason, "TooManyPackets")
  })

  it.prop("R66: parsing undoes encoding", [listOf(wellFormedPacket)], ([packets]) => {
    const { error, packets: parsed } = collect(revision3.encodePayload(packets, true))
    assert.isUndefined(error)
    assert.deepStrictEqual(parsed, [...packets])
  })

  it.prop("R66: payloads are encoded as the 2.x parser encodes them", [listOf(anyPacket)], ([packets]) => {
    assert.deepStrictEqual(revision3.encodePayload(packets, true), encodePayload3(packets, true))
  })

  it.prop("R66: the 2.x parser reads back what was encoded", [listOf(wellFormedPacket)], ([packets]) => {
    assert.deepStrictEqual(
      decodePayload3(revision3.encodePayload(packets, true)),
      { packets: packets.map(plain), failed: false }
    )
  })

  it.prop("R68: any bytes are an error or what the 2.x parser finds in them", [almostBytes3], ([body]) => {
    const { error, packets } = collect(body)
    if (error !== undefined) return
    assert.deepStrictEqual({ packets: packets.map(plain), failed: false }, decodePayload3(body))
  }, { arbitrary: { runs: 500 } })
})
