import { assert, describe, it } from "@effect/vitest"
import * as parser4 from "engine.io-parser"
import { PacketError, type PayloadError } from "../../src/internal/protocol/errors.ts"
import * as revision4 from "../../src/internal/protocol/revision4.ts"
import { type Packet, type PacketType } from "../../src/Packet.ts"
import { A1, A10, A11, A12, A2, A3, A8, A9 } from "../fixtures/goldens.ts"
import { almostPayload4, anyBytes, anyPacket, anyText, listOf, separablePacket } from "./arbitraries.ts"
import { outcome, plain, toReference } from "./reference.ts"

const types: ReadonlyArray<PacketType> = ["open", "close", "ping", "pong", "message", "upgrade", "noop"]

const packetOf = (result: Packet | PacketError): Packet => {
  assert.notInstanceOf(result, PacketError)
  return result as Packet
}

const reasonOf = (result: Packet | PacketError): string =>
  result instanceof PacketError ? result.reason : `no error: ${JSON.stringify(result)}`

const collect = (body: string, maxPackets = Infinity) => {
  const packets: Array<Packet> = []
  const error: PayloadError | undefined = revision4.parsePayload(body, maxPackets, (packet) => packets.push(packet) > 0)
  return { packets, error }
}

describe("packets of revision 4", () => {
  it("R58: the digits 0 to 6 are the types, in both directions", () => {
    for (const [digit, type] of types.entries()) {
      assert.strictEqual(revision4.encodeText(type, undefined), String(digit))
      assert.strictEqual(revision4.encodeText(type, "x"), `${digit}x`)
      assert.deepStrictEqual(revision4.parseText(String(digit)), { type })
      assert.deepStrictEqual(revision4.parseText(`${digit}x`), { type, data: "x" })
    }
  })

  it("R58: a message with empty text or none is 4", () => {
    assert.strictEqual(revision4.encodeText("message", ""), "4")
    assert.strictEqual(revision4.encodeText("message", undefined), "4")
    assert.strictEqual(revision4.encodeText("message", ""), "4")
  })

  it("R59: frames are the golden ones (A3, A11, A12)", () => {
    assert.strictEqual(revision4.encodeText("message", "hello"), A3.text.frame)
    assert.deepStrictEqual(revision4.parseText(A3.text.frame), A3.text.packet)
    assert.deepStrictEqual(revision4.parseBinary(A3.binary.frame), A3.binary.packet)
    assert.strictEqual(revision4.encodeText("ping", undefined), A11.revision4.server)
    assert.deepStrictEqual(revision4.parseText(A11.revision4.client), { type: "pong" })
    assert.deepStrictEqual(revision4.parseText(A12.probe), { type: "ping", data: "probe" })
    assert.strictEqual(revision4.encodeText("pong", "probe"), A12.answer)
    assert.deepStrictEqual(revision4.parseText(A12.upgrade), { type: "upgrade" })
  })

  it("R59: a binary message as text is b and padded base64, without a digit", () => {
    assert.strictEqual(revision4.encodeText("message", Uint8Array.of(1, 2, 3, 4)), "bAQIDBA==")
    assert.strictEqual(revision4.encodeText("message", Uint8Array.of(1, 2, 3, 4)), "bAQIDBA==")
    assert.strictEqual(revision4.encodeText("message", new Uint8Array(0)), "b")
  })

  it("R60: b alone is an empty binary message", () => {
    assert.deepStrictEqual(revision4.parseText("b"), { type: "message", data: new Uint8Array(0) })
  })

  it("R60: base64 is read leniently", () => {
    for (const text of ["bAQIDBA==", "bAQIDBA", "bAQ ID\nBA==", "bAQIDBA==trailing"]) {
      assert.deepStrictEqual(revision4.parseText(text), { type: "message", data: Uint8Array.of(1, 2, 3, 4) }, text)
    }
    assert.deepStrictEqual(revision4.parseText("b-_8"), { type: "message", data: Uint8Array.of(0xfb, 0xff) })
    assert.deepStrictEqual(revision4.parseText("b€"), { type: "message", data: new Uint8Array(0) })
  })

  it("R60: an empty text, an unknown digit and any other beginning are errors", () => {
    assert.strictEqual(reasonOf(revision4.parseText("")), "Empty")
    for (const text of ["7", "9", "/", ":", "a", "B", " 4", "€", "\0", "\ud83d", "４", "constructor", "__proto__"]) {
      assert.strictEqual(reasonOf(revision4.parseText(text)), "UnknownType", text)
    }
  })

  it("R60: a binary frame is a message of the very bytes received", () => {
    const bytes = Uint8Array.of(0x30)
    assert.strictEqual(revision4.parseBinary(bytes).data, bytes)
    assert.strictEqual(revision4.parseBinary(bytes).type, "message")
  })

  it("R61: what base64 gives an application is memory of its own", () => {
    for (const size of [1, 48, 3000, 9000]) {
      const { data } = packetOf(revision4.parseText(revision4.encodeText("message", new Uint8Array(size).fill(7))))
      assert.instanceOf(data, Uint8Array)
      assert.isFalse(Buffer.isBuffer(data))
      assert.strictEqual((data as Uint8Array).buffer.byteLength, size)
    }
  })

  it.prop("R58, R59: parsing undoes encoding", [anyPacket], ([packet]) => {
    const text = revision4.encodeText(packet.type, packet.data)
    assert.deepStrictEqual(plain(packetOf(revision4.parseText(text))), plain(packet))
  })

  it.prop("R58, R59: packets are encoded as engine.io-parser encodes them", [anyPacket], ([packet]) => {
    parser4.encodePacket(toReference(packet), false, (expected) => {
      assert.strictEqual(revision4.encodeText(packet.type, packet.data), expected)
      if (packet.type === "message") assert.strictEqual(revision4.encodeText("message", packet.data ?? ""), expected)
    })
  })

  it.prop("R60: any text is the packet or the error engine.io-parser reads in it", [anyText], ([text]) => {
    for (const candidate of [text, `4${text}`, `b${text}`]) {
      const ours = revision4.parseText(candidate)
      const theirs = parser4.decodePacket(candidate)
      if (ours instanceof PacketError) assert.strictEqual(theirs.type, "error")
      else assert.deepStrictEqual(plain(ours), plain(theirs))
    }
  })

  it.prop("R60: any bytes are a message", [anyBytes], ([bytes]) => {
    assert.deepStrictEqual(revision4.parseBinary(bytes), { type: "message", data: bytes })
  })
})

describe("payloads of revision 4", () => {
  it("R59: payloads are the golden ones (A1, A2, A8, A9, A10)", () => {
    for (
      const { packets, payload } of [
        A1,
        A2.binary,
        A2.three,
        { packets: A8.packets, payload: A8.revision4 },
        { packets: A9.packets, payload: A9.revision4 },
        { packets: A10.packets, payload: A10.revision4 }
      ]
    ) {
      assert.strictEqual(revision4.encodePayload(packets), payload)
      assert.deepStrictEqual(collect(payload), { packets: [...packets], error: undefined })
    }
  })

  it("R46: an empty body is an error", () => {
    assert.strictEqual(collect("").error?.reason, "Empty")
  })

  it("R46: packets before the bad one are delivered, those after it are not", () => {
    for (const body of ["4a\x1e2\x1e9\x1e4b", "4a\x1e2\x1e\x1e4b", "4a\x1e2\x1e"]) {
      const { error, packets } = collect(body)
      assert.deepStrictEqual(packets, [{ type: "message", data: "a" }, { type: "ping" }])
      assert.strictEqual(error?.reason, "InvalidPacket")
      assert.instanceOf(error?.cause, PacketError)
    }
  })

  it("R46: separators alone are an error", () => {
    assert.strictEqual(collect("\x1e").error?.cause?.reason, "Empty")
    assert.strictEqual(collect("\x1e4a").error?.cause?.reason, "Empty")
  })

  it("R47: nothing after the packet that ends the session is read, good or bad", () => {
    for (const rest of ["\x1e4b", "\x1e?", "\x1e"]) {
      const packets: Array<Packet> = []
      const error = revision4.parsePayload(`4a\x1e1${rest}`, Infinity, (packet) => {
        packets.push(packet)
        return packet.type !== "close"
      })
      assert.isUndefined(error)
      assert.deepStrictEqual(packets, [{ type: "message", data: "a" }, { type: "close" }])
    }
  })

  it("CVE-2020-36048: a limit of packets delivers that many and no more", () => {
    assert.isUndefined(collect("2\x1e2\x1e2", 3).error)
    const { error, packets } = collect("2\x1e2\x1e2\x1e?", 3)
    assert.strictEqual(packets.length, 3)
    assert.strictEqual(error?.reason, "TooManyPackets")
  })

  it("CVE-2020-36048: each packet of the smallest kind is read once", () => {
    const count = 500_000
    const body = "2\x1e".repeat(count - 1) + "2"
    let seen = 0
    assert.isUndefined(revision4.parsePayload(body, Infinity, () => ++seen > 0))
    assert.strictEqual(seen, count)
  })

  it.prop("R59: parsing undoes encoding", [listOf(separablePacket)], ([packets]) => {
    if (packets.length === 0) return
    const { error, packets: parsed } = collect(revision4.encodePayload(packets))
    assert.isUndefined(error)
    assert.deepStrictEqual(parsed.map(plain), packets.map(plain))
  })

  it.prop("R59: payloads are encoded as engine.io-parser encodes them", [listOf(anyPacket)], ([packets]) => {
    let expected = ""
    parser4.encodePayload(packets.map(toReference), (encoded) => {
      expected = encoded
    })
    assert.strictEqual(revision4.encodePayload(packets), expected)
  })

  it.prop("R60, R46: any body holds what engine.io-parser finds in it", [almostPayload4], ([body]) => {
    const { error, packets } = collect(body)
    assert.deepStrictEqual(
      { packets: packets.map(plain), failed: error !== undefined },
      outcome(parser4.decodePayload(body))
    )
  }, { arbitrary: { runs: 500 } })
})
