import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Packet from "../../src/Packet.ts"
import * as Payload from "../../src/Payload.ts"
import { A1, A2, A3, A4, A5, A6, A7, hex } from "../fixtures/goldens.ts"
import { anyBytes, anyPacket, anyText, listOf, separablePacket, wellFormedPacket } from "./arbitraries.ts"

describe("Packet", () => {
  it("R59: revision 4 is the default, and bytes stay the very bytes (A3)", () => {
    assert.deepStrictEqual(Packet.parse(A3.text.frame), Result.succeed(A3.text.packet))
    assert.deepStrictEqual(Packet.parse(A3.binary.frame), Result.succeed(A3.binary.packet))
    assert.strictEqual(Packet.encode(A3.text.packet), A3.text.frame)
    assert.strictEqual(Packet.encode(A3.binary.packet), A3.binary.packet.data)
    assert.strictEqual(Packet.encode(A3.binary.packet, { binary: false }), "bAQIDBA==")
    assert.strictEqual(
      Packet.encode(A3.binary.packet, { revision: undefined, binary: undefined }),
      A3.binary.packet.data
    )
  })

  it("R64: revision 3 puts the type before the bytes (A7)", () => {
    assert.deepStrictEqual(Packet.parse(A7.frame, 3), Result.succeed(A7.packet))
    assert.deepStrictEqual(Packet.encode(A7.packet, { revision: 3 }), A7.frame)
    assert.strictEqual(Packet.encode(A7.packet, { revision: 3, binary: false }), "b4AQIDBA==")
    assert.strictEqual(Packet.encode(A3.text.packet, { revision: 3 }), A3.text.frame)
  })

  it("R60: what is no packet is an error that says why", () => {
    const result = Packet.parse("9")
    assert.isTrue(Result.isFailure(result))
    if (Result.isSuccess(result)) return
    assert.instanceOf(result.failure, Packet.PacketError)
    assert.strictEqual(result.failure._tag, "PacketError")
    assert.strictEqual(result.failure.reason, "UnknownType")
    assert.strictEqual(result.failure.message, "the packet begins with no known type")
  })

  it.prop("R59, R64: parsing undoes encoding in every form", [anyPacket], ([packet]) => {
    for (const revision of [3, 4] as const) {
      for (const binary of [true, false]) {
        const parsed = Packet.parse(Packet.encode(packet, { revision, binary }), revision)
        assert.deepStrictEqual(parsed, Result.succeed(packet))
      }
    }
  })

  it.prop("R60: any text and any bytes are a result", [anyText, anyBytes], ([text, bytes]) => {
    for (const revision of [3, 4] as const) {
      assert.isTrue(Result.isResult(Packet.parse(text, revision)))
      assert.isTrue(Result.isResult(Packet.parse(bytes, revision)))
    }
  })

  it("R27: the data of a handshake is read and written by its schema (A1)", () => {
    const HandshakeJson = Schema.fromJsonString(Packet.HandshakeData)
    assert.deepStrictEqual(Schema.decodeUnknownSync(HandshakeJson)(A1.packets[0]!.data), A1.handshake)
    assert.strictEqual(Schema.encodeSync(HandshakeJson)(A1.handshake), A1.packets[0]!.data)
    assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(HandshakeJson)(`{"sid":1}`)))
  })
})

describe("Payload", () => {
  it("R59: revision 4 is the default (A1, A2)", () => {
    for (const { packets, payload } of [A1, A2.binary, A2.three]) {
      assert.deepStrictEqual(Payload.parse(payload), Result.succeed(packets))
      assert.deepStrictEqual(Payload.parse(new TextEncoder().encode(payload)), Result.succeed(packets))
      assert.strictEqual(Payload.encode(packets), payload)
    }
    assert.strictEqual(Payload.encode([]), "")
  })

  it("R65, R66: revision 3 gives text or bytes (A4, A5, A6)", () => {
    for (const { packets, payload } of [A4.text, A4.empty, A5, A6]) {
      assert.deepStrictEqual(Payload.parse(payload, 3), Result.succeed(packets))
      assert.deepStrictEqual(Payload.encode(packets, { revision: 3 }), payload)
    }
    assert.deepStrictEqual(Payload.parse(A4.base64.payload, 3), Result.succeed(A4.base64.packets))
    assert.strictEqual(Payload.encode(A4.base64.packets, { revision: 3, binary: false }), A4.base64.payload)
  })

  it("R46: the error holds the packets before the bad one, and its cause", () => {
    const before: ReadonlyArray<Packet.Packet> = [{ type: "message", data: "a" }, { type: "ping" }]
    for (
      const [body, revision] of [["4a\x1e2\x1e9", 4], ["2:4a1:21:9", 3], [
        hex("00 02 FF 34 61 00 01 FF 32 00 01 FF 39"),
        3
      ]] as const
    ) {
      const result = Payload.parse(body, revision)
      assert.isTrue(Result.isFailure(result))
      if (Result.isSuccess(result)) return
      assert.instanceOf(result.failure, Payload.PayloadError)
      assert.strictEqual(result.failure.reason, "InvalidPacket")
      assert.strictEqual(result.failure.cause?.reason, "UnknownType")
      assert.deepStrictEqual(result.failure.packets, before)
    }
  })

  it("R46: bytes that are not UTF-8 are no payload of revision 4", () => {
    const result = Payload.parse(hex("34 FF"))
    assert.strictEqual(Result.isFailure(result) ? result.failure.cause?.reason : undefined, "InvalidUtf8")
  })

  it("R46: an empty body is an error in both revisions", () => {
    for (const body of ["", new Uint8Array(0)]) {
      for (const revision of [3, 4] as const) {
        const result = Payload.parse(body, revision)
        assert.strictEqual(Result.isFailure(result) ? result.failure.reason : undefined, "Empty")
      }
    }
  })

  it.prop("R59: parsing undoes encoding in revision 4", [listOf(separablePacket)], ([packets]) => {
    if (packets.length === 0) return
    assert.deepStrictEqual(Payload.parse(Payload.encode(packets)), Result.succeed(packets))
  })

  it.prop("R65, R66: parsing undoes encoding in revision 3", [listOf(wellFormedPacket)], ([packets]) => {
    for (const binary of [true, false]) {
      assert.deepStrictEqual(
        Payload.parse(Payload.encode(packets, { revision: 3, binary }), 3),
        Result.succeed(packets)
      )
    }
  })

  it.prop("R46: any text and any bytes are a result", [anyText, anyBytes], ([text, bytes]) => {
    for (const revision of [3, 4] as const) {
      assert.isTrue(Result.isResult(Payload.parse(text, revision)))
      assert.isTrue(Result.isResult(Payload.parse(bytes, revision)))
    }
  })
})
