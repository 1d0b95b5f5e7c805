import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { FrameDecoder, frameHeader } from "../../src/internal/protocol/webTransportFrames.ts"
import { A14, hex } from "../fixtures/goldens.ts"
import { anyBytes, listOf, oneOf, pick } from "./arbitraries.ts"

interface Frame {
  readonly bytes: Uint8Array
  readonly binary: boolean
}

const encode = (frames: ReadonlyArray<Frame>): Uint8Array =>
  new Uint8Array(Buffer.concat(frames.flatMap(({ binary, bytes }) => [frameHeader(bytes.byteLength, binary), bytes])))

/** The frames of a stream cut into chunks of these sizes over and over, with a copy of what each call delivered. */
const decode = (stream: Uint8Array, sizes: ReadonlyArray<number>, maxPayload = 1_000_000) => {
  const decoder = new FrameDecoder(maxPayload)
  const frames: Array<Frame> = []
  const errors: Array<string> = []
  let position = 0
  for (let step = 0; position < stream.byteLength; step++) {
    const size = sizes.length === 0 ? stream.byteLength : sizes[step % sizes.length]!
    const error = decoder.push(
      stream.subarray(position, position + size),
      (bytes, binary) => frames.push({ bytes: bytes.slice(), binary })
    )
    if (error !== undefined) errors.push(error.reason)
    position += size
  }
  return { frames, errors }
}

const lengths = [1, 2, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 70_000]

const anyFrame: Arbitrary.Arbitrary<Frame> = Arbitrary.all({
  bytes: oneOf(
    Arbitrary.filter(anyBytes, (bytes) => bytes.byteLength > 0),
    Arbitrary.map(pick(...lengths), (length) => Uint8Array.from({ length }, (_, index) => index))
  ),
  binary: Arbitrary.schema(Schema.Boolean)
})

const anySize = oneOf(pick(1, 2, 3, 8, 9, 127, 128, 1000), pick(100_000))

describe("frames of WebTransport", () => {
  it("R85: headers are the golden ones (A14)", () => {
    assert.deepStrictEqual(encode([{ bytes: Buffer.from(A14.text.packet), binary: false }]), A14.text.frame)
    assert.deepStrictEqual(encode([{ bytes: A14.binary.bytes, binary: true }]), A14.binary.frame)
    assert.deepStrictEqual(encode([{ bytes: Buffer.from(A14.probe.packet), binary: false }]), A14.probe.frame)
    assert.deepStrictEqual(frameHeader(A14.large.byteLength, true), A14.large.header)
  })

  it("R85: the length takes one byte up to 125, two more up to 65535, eight more beyond", () => {
    assert.deepStrictEqual(frameHeader(125, false), hex("7D"))
    assert.deepStrictEqual(frameHeader(126, false), hex("7E 00 7E"))
    assert.deepStrictEqual(frameHeader(65_535, true), hex("FE FF FF"))
    assert.deepStrictEqual(frameHeader(65_536, false), hex("7F 00 00 00 00 00 01 00 00"))
    assert.deepStrictEqual(frameHeader(Number.MAX_SAFE_INTEGER, false), hex("7F 00 1F FF FF FF FF FF FF"))
  })

  it("R85: the golden frames are read (A14)", () => {
    const stream = Buffer.concat([A14.text.frame, A14.binary.frame, A14.probe.frame])
    assert.deepStrictEqual(decode(stream, []).frames.map(({ binary, bytes }) => [binary, [...bytes]]), [
      [false, [...Buffer.from(A14.text.packet)]],
      [true, [...A14.binary.bytes]],
      [false, [...Buffer.from(A14.probe.packet)]]
    ])
  })

  it("R85: a length may take more bytes than it needs", () => {
    for (const header of ["03", "7E 00 03", "7F 00 00 00 00 00 00 00 03"]) {
      assert.deepStrictEqual(decode(hex(`${header} 34 61 62`), [1]).frames, [{ bytes: hex("34 61 62"), binary: false }])
    }
  })

  it.prop(
    "R85: the same frames come out however the stream is cut",
    [listOf(anyFrame), Arbitrary.array(anySize, { minLength: 1, maxLength: 4 })],
    ([frames, sizes]) => {
      const result = decode(encode(frames), sizes)
      assert.deepStrictEqual(result.errors, [])
      assert.strictEqual(result.frames.length, frames.length)
      for (const [index, { binary, bytes }] of frames.entries()) {
        assert.strictEqual(result.frames[index]!.binary, binary)
        assert.strictEqual(Buffer.compare(result.frames[index]!.bytes, bytes), 0)
      }
    }
  )

  it("R61: what an application gets is memory of its own", () => {
    const stream = encode([{ bytes: hex("01 02 03"), binary: true }, { bytes: hex("04 05"), binary: true }])
    for (const sizes of [[], [1], [5, 3]]) {
      const decoder = new FrameDecoder(100)
      const frames: Array<Uint8Array> = []
      for (let at = 0; at < stream.byteLength; at += sizes[0] ?? stream.byteLength) {
        decoder.push(stream.subarray(at, at + (sizes[0] ?? stream.byteLength)), (bytes) => frames.push(bytes))
      }
      assert.deepStrictEqual(frames.map((bytes) => bytes.buffer.byteLength), [3, 2])
    }
  })

  it("R87: a frame of length zero or beyond the limit is an error, known from the header", () => {
    for (const stream of ["00", "80", "7E 00 00", "7F 00 00 00 00 00 00 00 00"]) {
      assert.deepStrictEqual(decode(hex(stream), [1]), { frames: [], errors: ["Empty"] })
    }
    for (
      const stream of [
        "0B",
        "8B",
        "7E 00 0B",
        "7F 00 00 00 00 00 00 00 0B",
        "7F 00 20 00 00 00 00 00 00",
        "7F FF FF FF FF FF FF FF FF"
      ]
    ) {
      assert.deepStrictEqual(decode(hex(stream), [1], 10), { frames: [], errors: ["TooLarge"] })
    }
    assert.deepStrictEqual(decode(hex("7F 00 20 00 00 00 00 00 00"), [], Infinity).errors, ["TooLarge"])
  })

  it("R45, R87: a frame of exactly the limit is taken", () => {
    const bytes = new Uint8Array(10).fill(0x34)
    assert.deepStrictEqual(decode(encode([{ bytes, binary: false }]), [3], 10).frames, [{ bytes, binary: false }])
  })

  it("R87: the error is told once, after the frames before it, and nothing comes after it", () => {
    const stream = hex("02 34 61 00 02 34 62 00 0B")
    for (const sizes of [[], [1], [2], [3, 1]]) {
      assert.deepStrictEqual(decode(stream, sizes, 10), {
        frames: [{ bytes: hex("34 61"), binary: false }],
        errors: ["Empty"]
      })
    }
  })

  it("CVE-2026-48779: a frame that comes byte by byte is copied a constant number of times", () => {
    const bytes = new Uint8Array(1_000_000).fill(0x34)
    const { errors, frames } = decode(encode([{ bytes, binary: true }]), [1])
    assert.deepStrictEqual(errors, [])
    assert.strictEqual(Buffer.compare(frames[0]!.bytes, bytes), 0)
  })

  it.prop("R87: any bytes are frames or an error", [anyBytes, anySize], ([bytes, size]) => {
    const { errors } = decode(bytes, [size], 8)
    assert.isAtMost(errors.length, 1)
  })
})
