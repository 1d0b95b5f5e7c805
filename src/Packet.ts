/**
 * One packet of the Engine.IO protocol: what it is, its text, and its bytes.
 *
 * A packet is what one WebSocket frame carries; `Payload` joins several for one poll. The functions here are pure,
 * never throw, and take time linear in their input. A server needs none of them: they are for clients, proxies and
 * tests.
 *
 * @module
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { PacketError } from "./internal/protocol/errors.ts"
import type { Message, Packet, Revision } from "./internal/protocol/packetModel.ts"
import * as revision3 from "./internal/protocol/revision3.ts"
import * as revision4 from "./internal/protocol/revision4.ts"

export type { Message, Packet, PacketType, Revision } from "./internal/protocol/packetModel.ts"
export {
  /**
   * What was received is no packet. Ends a session with the reason `ParseError`.
   *
   * **Details**
   *
   * `reason` is `Empty` for an empty text or frame, `UnknownType` where the first character or byte names no type, and
   * `InvalidUtf8` where the bytes of a text packet are not UTF-8.
   *
   * @category errors
   * @since 0.1.0
   */
  PacketError
}

/**
 * How a packet or a payload is encoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodeOptions {
  /** The revision of the protocol; 4 by default. */
  readonly revision?: Revision | undefined
  /** Whether bytes may stand for bytes, as they do by default; `false` asks for text, with base64 inside. */
  readonly binary?: boolean | undefined
}

/**
 * Reads one packet: the text or the bytes of a WebSocket frame, or one part of a payload.
 *
 * **Details**
 *
 * Text begins with the digit of its type; `b` begins base64, which is read leniently. In revision 4 bytes are a message
 * as they are; in revision 3 their first byte is the type. Bytes in the result are those given, not a
 * copy. Fails with a `PacketError`.
 *
 * **Example** (Reading packets)
 *
 * ```ts import.meta.vitest
 * import { Result } from "effect"
 * import { Packet } from "effect-engine.io"
 *
 * Packet.parse("4hello") // => Result.succeed({ type: "message", data: "hello" })
 * Packet.parse("bAQIDBA==") // => Result.succeed({ type: "message", data: new Uint8Array([1, 2, 3, 4]) })
 * Packet.parse(new Uint8Array([4, 1, 2]), 3) // => Result.succeed({ type: "message", data: new Uint8Array([1, 2]) })
 * Result.isFailure(Packet.parse("9")) // => true
 * ```
 *
 * @see {@link encode} for the inverse
 * @category decoding
 * @since 0.1.0
 */
export const parse = (data: Message, revision: Revision = 4): Result.Result<Packet, PacketError> => {
  const codec = revision === 3 ? revision3 : revision4
  const packet = typeof data === "string" ? codec.parseText(data) : codec.parseBinary(data)
  return packet instanceof PacketError ? Result.fail(packet) : Result.succeed(packet)
}

/**
 * Writes one packet: the text or the bytes of a WebSocket frame.
 *
 * **Details**
 *
 * Bytes stay bytes: in revision 4 the very ones of the packet, in revision 3 a copy behind the byte of the
 * type. With `binary: false` they become base64 text. Cannot fail.
 *
 * **Gotchas**
 *
 * In revision 4 only messages carry bytes. A packet of another type with bytes has no encoding and becomes a message.
 *
 * **Example** (Writing packets)
 *
 * ```ts import.meta.vitest
 * import { Packet } from "effect-engine.io"
 *
 * Packet.encode({ type: "ping", data: "probe" }) // => "2probe"
 * Packet.encode({ type: "message", data: new Uint8Array([1, 2]) }) // => new Uint8Array([1, 2])
 * Packet.encode({ type: "message", data: new Uint8Array([1, 2, 3, 4]) }, { binary: false }) // => "bAQIDBA=="
 * Packet.encode({ type: "message", data: new Uint8Array([1, 2]) }, { revision: 3 }) // => new Uint8Array([4, 1, 2])
 * ```
 *
 * @see {@link parse} for the inverse
 * @category encoding
 * @since 0.1.0
 */
export const encode = (packet: Packet, options?: EncodeOptions): Message => {
  const { data, type } = packet
  const binary = options?.binary ?? true
  if (options?.revision === 3) {
    return binary && data instanceof Uint8Array
      ? revision3.encodeBinary(type, data)
      : revision3.encodeText(type, data)
  }
  return binary && data instanceof Uint8Array ? data : revision4.encodeText(type, data)
}

/**
 * What the server tells a client in the open packet: the session's id, the transports it may upgrade to, the times of
 * the heartbeat in milliseconds, and the most bytes one payload or frame may have.
 *
 * **Example** (Reading an open packet)
 *
 * ```ts import.meta.vitest
 * import { Schema } from "effect"
 * import { Packet } from "effect-engine.io"
 *
 * const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Packet.HandshakeData))
 * const data = decode(
 *   `{"sid":"lv_VI97H","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
 * )
 *
 * data.upgrades // => ["websocket"]
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const HandshakeData = Schema.Struct({
  sid: Schema.String,
  upgrades: Schema.Array(Schema.Literals(["polling", "websocket", "webtransport"])),
  pingInterval: Schema.Finite,
  pingTimeout: Schema.Finite,
  maxPayload: Schema.Finite
})

/**
 * What the server tells a client in the open packet.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandshakeData extends Schema.Schema.Type<typeof HandshakeData> {}
