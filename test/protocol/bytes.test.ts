import { assert, describe, it } from "@effect/vitest"
import * as bytes from "../../src/internal/protocol/bytes.ts"
import * as Packet from "../../src/Packet.ts"
import * as Payload from "../../src/Payload.ts"
import { anyBytes, anyText, wellFormed } from "./arbitraries.ts"

const detached = (): Uint8Array => {
  const view = new Uint8Array(8)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}

const detachedView = (): DataView => {
  const view = new DataView(new ArrayBuffer(8))
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}

describe("bytes", () => {
  it.prop("R65: the length in UTF-8 is that of the encoder", [anyText], ([text]) => {
    assert.strictEqual(bytes.utf8Length(text), new TextEncoder().encode(text).byteLength)
  })

  it.prop("R66: UTF-8 goes there and back", [wellFormed], ([text]) => {
    const target = new Uint8Array(bytes.utf8Length(text) + 2).fill(0xaa)
    bytes.writeUtf8(target, text, 1)
    assert.strictEqual(bytes.fromUtf8(target.subarray(1, -1)), text)
    assert.strictEqual(target[0], 0xaa)
    assert.strictEqual(target.at(-1), 0xaa)
  })

  it.prop("R68: any bytes are text or nothing", [anyBytes], ([data]) => {
    const text = bytes.fromUtf8(data)
    if (text !== undefined) assert.deepStrictEqual(new TextEncoder().encode(text), data)
  })

  it("R68: overlong forms, surrogates and truncated sequences are not UTF-8", () => {
    for (const data of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0x80], [0xf4, 0x90, 0x80, 0x80]]) {
      assert.isUndefined(bytes.fromUtf8(Uint8Array.from(data)))
    }
  })

  it("R85: a leading byte order mark is text like any other", () => {
    assert.strictEqual(bytes.fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), "\ufeffa")
  })

  it.prop("R59: base64 goes there and back", [anyBytes], ([data]) => {
    assert.strictEqual(bytes.toBase64(data), Buffer.from(data).toString("base64"))
    assert.deepStrictEqual(bytes.fromBase64Lenient(bytes.toBase64(data)), data)
  })

  it.prop("R60: base64 is as lenient as Buffer is", [anyText], ([text]) => {
    assert.deepStrictEqual([...bytes.fromBase64Lenient(text)], [...Buffer.from(text, "base64")])
  })

  it("R61: of a view exactly its bytes are taken, and not copied", () => {
    const buffer = Uint8Array.from({ length: 16 }, (_, index) => index).buffer
    for (
      const view of [
        new Uint8Array(buffer, 4, 4),
        new Uint16Array(buffer, 4, 2),
        new DataView(buffer, 4, 4),
        Buffer.from(buffer, 4, 4)
      ]
    ) {
      assert.deepStrictEqual([...bytes.toBytes(view)], [4, 5, 6, 7])
      assert.strictEqual(bytes.toBytes(view).buffer, buffer)
      assert.strictEqual(bytes.toBase64(bytes.toBytes(view)), "BAUGBw==")
    }
    assert.strictEqual(bytes.toBytes(buffer).byteLength, 16)
    assert.strictEqual(bytes.toBytes(buffer).buffer, buffer)
  })

  it("R61: shared memory is taken as well", () => {
    const shared = new SharedArrayBuffer(4)
    new Uint8Array(shared).set([0x61, 0x62, 0x63, 0x64])
    assert.deepStrictEqual([...bytes.toBytes(shared)], [0x61, 0x62, 0x63, 0x64])
    assert.strictEqual(bytes.toBase64(bytes.toBytes(new DataView(shared, 1, 2))), "YmM=")
    assert.strictEqual(bytes.fromUtf8(bytes.toBytes(shared)), "abcd")
  })

  it("R61: memory that was given away has no bytes left, and nothing throws", () => {
    assert.strictEqual(bytes.toBytes(detached()).byteLength, 0)
    assert.strictEqual(bytes.toBytes(detached().buffer).byteLength, 0)
    assert.strictEqual(bytes.toBytes(detachedView()).byteLength, 0)
    assert.strictEqual(bytes.toBase64(detached()), "")
    assert.strictEqual(bytes.fromUtf8(detached()), "")
    const packet = { type: "message", data: detached() } as const
    for (const revision of [3, 4] as const) {
      for (const binary of [true, false]) {
        Packet.encode(packet, { revision, binary })
        Payload.encode([packet], { revision, binary })
      }
    }
  })
})
