/**
 * The reader of WebSocket frames beside that of the `ws` library. `FRAME_RUNS=20000` compares more streams.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import { Effect } from "effect"
import * as Schema from "effect/Schema"
import * as Ws from "ws"
import { rotated, unmask } from "../../src/internal/protocol/webSocketFrames.ts"
import { FrameReader } from "../../src/internal/protocol/webSocketReader.ts"
import { encodeFrame, Opcode } from "../kit/ws.ts"
import { anyBytes, anyText, listOf, oneOf, pick } from "./arbitraries.ts"

/** What a reader told, in order: bytes as hexadecimal digits. */
type Told = ReadonlyArray<unknown>

/** How many streams of each kind are compared. */
const runs = Number(process.env["FRAME_RUNS"] ?? 500)

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** The pieces of a stream that is cut into chunks of these sizes over and over, each in memory of its own. */
const cut = (stream: Buffer, sizes: ReadonlyArray<number>): Array<Buffer> => {
  const pieces: Array<Buffer> = []
  for (let at = 0, step = 0; at < stream.length; step++) {
    const size = sizes.length === 0 ? stream.length : sizes[step % sizes.length]!
    pieces.push(Buffer.from(Uint8Array.from(stream.subarray(at, at + size)).buffer))
    at += size
  }
  return pieces
}

/** Memory with something in it, which nobody may ever see. */
const allocate = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(size).fill(0xa5)

const read = (stream: Buffer, sizes: ReadonlyArray<number>, maxPayload: number): Told => {
  const told: Array<unknown> = []
  const reader = new FrameReader({
    allocate,
    onMessage(data, size) {
      const bytes = typeof data === "string" ? Buffer.from(data) : data
      assert.strictEqual(size, bytes.length)
      told.push(["message", typeof data === "object", hexOf(bytes)])
    },
    onPing: (data) => told.push(["ping", hexOf(data)]),
    onCloseFrame: (code, reason) => told.push(["close", code, reason]),
    onFault: ({ code, message }) => told.push(["fault", code, message])
  }, maxPayload)
  for (const piece of cut(stream, sizes)) {
    const before = Buffer.copyBytesFrom(piece)
    for (let rest: Uint8Array | undefined = piece; rest !== undefined;) rest = reader.push(rest)
    assert.isTrue(before.equals(piece), "a chunk was changed")
  }
  return told
}

interface WsReceiver extends NodeJS.WritableStream {
  on(event: string, listener: (...args: Array<never>) => void): this
}

// Not in the library's types, but of its exports.
const { Receiver } = Ws as unknown as { readonly Receiver: new(options: object) => WsReceiver }

/** What the `ws` library makes of the same. */
const readByWs = async (stream: Buffer, sizes: ReadonlyArray<number>, maxPayload: number): Promise<Told> => {
  const told: Array<unknown> = []
  const receiver = new Receiver({ isServer: true, maxPayload, maxFragments: 16 * 1024 })
  receiver.on("message", (data: Buffer, isBinary: boolean) => told.push(["message", isBinary, hexOf(data)]))
  receiver.on("ping", (data: Buffer) => told.push(["ping", hexOf(data)]))
  receiver.on("conclude", (code: number, reason: Buffer) => told.push(["close", code, reason.toString()]))
  receiver.on("error", (error: Error) => {
    const code = (Object.getOwnPropertySymbols(error) as Array<symbol & keyof Error>).map((key) => error[key])
    // A length that no number holds is too large for us like any other.
    told.push(["fault", code[0], error.message.replace(/^Unsupported WebSocket frame.*/, "Max payload size exceeded")])
  })
  const ended = new Promise<void>((resolve) => receiver.on("close", resolve))
  for (const piece of cut(stream, sizes)) if (receiver.writable) receiver.write(piece)
  receiver.end()
  await ended
  return told
}

const agree = (stream: Buffer, sizes: ReadonlyArray<number>, maxPayload: number) =>
  Effect.promise(async () => {
    assert.deepStrictEqual(read(stream, sizes, maxPayload), await readByWs(stream, sizes, maxPayload))
  })

const flag = Arbitrary.schema(Schema.Boolean)

/** Mostly well-formed: long streams are read to their end. */
const anyFrame = oneOf(
  Arbitrary.map(anyText, (text) => encodeFrame(Opcode.text, text.toWellFormed())),
  Arbitrary.map(anyBytes, (bytes) => encodeFrame(Opcode.binary, bytes)),
  Arbitrary.map(
    pick(0, 1, 125, 126, 127, 65_535, 65_536, 70_000),
    (length) => encodeFrame(Opcode.binary, Uint8Array.from({ length }, (_, index) => index))
  ),
  Arbitrary.map(pick(1, 125, 126, 700), (length) => encodeFrame(Opcode.text, "€".repeat(length))),
  Arbitrary.map(
    Arbitrary.all([anyText, anyText, pick(Opcode.text, Opcode.binary)]),
    ([first, second, opcode]) =>
      Buffer.concat([
        encodeFrame(opcode, first.toWellFormed(), { fin: false }),
        encodeFrame(Opcode.ping, "between"),
        encodeFrame(Opcode.continuation, "", { fin: false }),
        encodeFrame(Opcode.continuation, second.toWellFormed())
      ])
  ),
  Arbitrary.map(anyBytes, (bytes) => encodeFrame(Opcode.ping, bytes.subarray(0, 125))),
  Arbitrary.map(anyBytes, (bytes) => encodeFrame(Opcode.pong, bytes.subarray(0, 125)))
)

/** Whatever a client may send. */
const oddFrame = oneOf(
  Arbitrary.map(
    Arbitrary.all([pick(0, 1, 2, 3, 7, 8, 9, 10, 11, 15), anyBytes, flag, flag, pick(0, 0, 0, 1, 2, 4)]),
    ([opcode, bytes, fin, masked, rsv]) => encodeFrame(opcode, bytes, { fin, masked, rsv })
  ),
  Arbitrary.map(
    Arbitrary.all([pick(0, 999, 1000, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000), anyBytes]),
    ([code, reason]) =>
      encodeFrame(Opcode.close, Buffer.concat([Uint8Array.of(code >> 8, code & 255), reason.subarray(0, 123)]))
  ),
  Arbitrary.map(anyBytes, (bytes) => encodeFrame(Opcode.text, bytes)),
  Arbitrary.map(anyBytes, (bytes) => Buffer.from(bytes)),
  Arbitrary.map(pick(100, 2_000, 2_001, 70_000, 2 ** 40), (length) => encodeFrame(Opcode.binary, "", { length }))
)

const anySizes = oneOf(
  Arbitrary.array(pick(1, 2, 3, 4, 5, 7, 14, 64, 1_000, 65_536), { minLength: 1, maxLength: 5 }),
  Arbitrary.array(pick(1), { maxLength: 0 })
)

describe("frames of WebSockets", () => {
  it.effect.prop(
    "R70: are read as ws reads them, however they are cut into chunks",
    [listOf(anyFrame), anySizes],
    ([frames, sizes]) => agree(Buffer.concat(frames), sizes, 1_000_000),
    { arbitrary: { runs }, timeout: 0 }
  )

  it.effect.prop(
    "R70: of any kind, right or wrong, have the same end as at ws: the same code and the same words",
    [listOf(anyFrame), listOf(oddFrame), anySizes],
    ([frames, odd, sizes]) => agree(Buffer.concat([...frames.slice(0, 3), ...odd]), sizes, 2_000),
    { arbitrary: { runs }, timeout: 0 }
  )

  it("lose their mask at every alignment and length", () => {
    const mask = 0x8c3a57f1
    for (let length = 0; length < 150; length++) {
      for (let start = 0; start < 9; start++) {
        const plain = Uint8Array.from({ length }, (_, index) => (index * 37) & 0xff)
        const bytes = new Uint8Array(length + 20).subarray(1).fill(0x55)
        for (let i = 0; i < length; i++) bytes[start + i] = plain[i]! ^ ((mask >>> ((i & 3) * 8)) & 0xff)
        unmask(bytes, start, start + length, mask)
        assert.deepStrictEqual(bytes.slice(start, start + length), plain)
        assert.isTrue(bytes.every((byte, at) => byte === 0x55 || (at >= start && at < start + length)))
      }
    }
    for (let offset = 0; offset < 9; offset++) {
      const byte = rotated(mask, offset) & 0xff
      assert.strictEqual(byte, (mask >>> ((offset & 3) * 8)) & 0xff)
    }
  })

  it("take no memory for what a header only promises", () => {
    const promise = encodeFrame(Opcode.binary, "x", { length: 900_000 })
    const handler = { allocate, onMessage() {}, onPing() {}, onCloseFrame() {}, onFault() {} }
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 200 }, () => new FrameReader(handler, 1_000_000))
    for (const reader of readers) reader.push(Buffer.from(promise))
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 2_000_000)
  })

  it("R70: count the fragments of each message by itself", () => {
    const beginning = encodeFrame(Opcode.text, "", { fin: false })
    const end = encodeFrame(Opcode.continuation, "x")
    const many = Buffer.concat(Array.from({ length: 20_000 }, () => [beginning, end]).flat())
    assert.lengthOf(read(many, [], 1_000).filter((it) => (it as Array<unknown>)[0] === "message"), 20_000)
    const endless = Buffer.concat([
      beginning,
      ...Array.from({ length: 20_000 }, () => Buffer.from([0, 0x80, 0, 0, 0, 0]))
    ])
    assert.deepStrictEqual(read(endless, [], 1_000), [["fault", 1008, "Too many message fragments"]])
  })
})
