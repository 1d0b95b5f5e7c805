/**
 * The body of a poll or a post: several packets in one text, or in revision 3 in one run of bytes.
 *
 * The functions here are pure, never throw, and take time linear in their input. A server needs none of them: they are
 * for clients, proxies and tests.
 *
 * @module
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { fromUtf8 } from "./internal/protocol/bytes.ts"
import { PacketError, PayloadError } from "./internal/protocol/errors.ts"
import * as revision3 from "./internal/protocol/revision3.ts"
import * as revision4 from "./internal/protocol/revision4.ts"
import type { EncodeOptions, Message, Packet, Revision } from "./Packet.ts"

export {
  /**
   * What was received is no payload. Ends a session with the reason `ParseError`.
   *
   * **Details**
   *
   * `reason` is `Empty` for an empty body, `InvalidLength` where a length of revision 3 is no number or not that of
   * what follows, `TooManyPackets` beyond the server's limit, and `InvalidPacket` for a bad packet, whose error is the
   * `cause`. `packets` are those before the bad one; a session delivered them already, so in its errors there are none.
   *
   * @category errors
   * @since 0.1.0
   */
  PayloadError
}

/**
 * Reads the packets of a payload.
 *
 * **Details**
 *
 * Revision 4 separates packets with U+001E. Revision 3 writes the length before each, for text in UTF-16
 * units, for bytes in bytes. Bytes in revision 4 are read as the UTF-8 of the text. Fails with a
 * `PayloadError` at the first bad packet; the error holds the packets before it.
 *
 * **Example** (Reading a payload)
 *
 * ```ts import.meta.vitest
 * import { Result } from "effect"
 * import { Payload } from "effect-engine.io"
 *
 * Payload.parse("4hello\x1e2") // => Result.succeed([{ type: "message", data: "hello" }, { type: "ping" }])
 * Payload.parse("6:4hello1:2", 3) // => Result.succeed([{ type: "message", data: "hello" }, { type: "ping" }])
 *
 * const failure = Payload.parse("4hello\x1e?")
 * Result.isFailure(failure) && failure.failure.packets // => [{ type: "message", data: "hello" }]
 * ```
 *
 * @see {@link encode} for the inverse
 * @category decoding
 * @since 0.1.0
 */
export const parse = (
  body: Message,
  revision: Revision = 4
): Result.Result<ReadonlyArray<Packet>, PayloadError> => {
  const packets: Array<Packet> = []
  const collect = (packet: Packet): boolean => {
    packets.push(packet)
    return true
  }
  let error: PayloadError | undefined
  if (revision === 3) {
    error = revision3.parsePayload(body, Infinity, collect)
  } else {
    const text = typeof body === "string" ? body : fromUtf8(body)
    if (text === undefined) {
      const cause = new PacketError({ reason: "InvalidUtf8" })
      return Result.fail(new PayloadError({ reason: "InvalidPacket", packets, cause }))
    }
    error = revision4.parsePayload(text, Infinity, collect)
  }
  return error === undefined
    ? Result.succeed(packets)
    : Result.fail(new PayloadError({ reason: error.reason, packets, cause: error.cause }))
}

/**
 * Writes packets as one payload.
 *
 * **Details**
 *
 * Revision 4 always gives text. Revision 3 gives bytes when a packet carries bytes, text otherwise; with
 * `binary: false` it gives text with base64 inside. Cannot fail.
 *
 * **Gotchas**
 *
 * Revision 4 has no escape for its separator: text with U+001E in it reads as further packets.
 *
 * **Example** (Writing a payload)
 *
 * ```ts import.meta.vitest
 * import { Payload } from "effect-engine.io"
 *
 * const bytes = new Uint8Array([1, 2, 3, 4])
 * const packets = [{ type: "message", data: "hello" }, { type: "message", data: bytes }] as const
 *
 * Payload.encode(packets) // => "4hello\x1ebAQIDBA=="
 * Payload.encode(packets, { revision: 3, binary: false }) // => "6:4hello10:b4AQIDBA=="
 * Payload.encode([], { revision: 3 }) // => "0:"
 * ```
 *
 * @see {@link parse} for the inverse
 * @category encoding
 * @since 0.1.0
 */
export const encode = (packets: ReadonlyArray<Packet>, options?: EncodeOptions): Message =>
  options?.revision === 3
    ? revision3.encodePayload(packets, options.binary ?? true)
    : revision4.encodePayload(packets)
