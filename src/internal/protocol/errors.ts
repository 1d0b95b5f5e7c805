/**
 * The errors of the protocol floor. They stand apart from `Packet` and `Payload`, which export them, because the codecs
 * below those two modules make them.
 */
import * as Data from "effect/Data"
import type { Packet } from "./packetModel.ts"

const packetMessages = {
  Empty: "an empty text or an empty frame is no packet",
  UnknownType: "the packet begins with no known type",
  InvalidUtf8: "the text of the packet is not UTF-8"
}

/** What was received is no packet (rules R60, R62, R68). */
export class PacketError extends Data.TaggedError("PacketError")<{
  readonly reason: "Empty" | "UnknownType" | "InvalidUtf8"
}> {
  override readonly message = packetMessages[this.reason]
}

const payloadMessages = {
  Empty: "an empty body is no payload",
  InvalidLength: "the payload names a length that is no number, or not that of what follows",
  TooManyPackets: "the payload holds more packets than are allowed",
  InvalidPacket: "the payload holds what is no packet"
}

/** What was received is no payload (rules R46, R68). */
export class PayloadError extends Data.TaggedError("PayloadError")<{
  readonly reason: "Empty" | "InvalidLength" | "TooManyPackets" | "InvalidPacket"
  readonly packets: ReadonlyArray<Packet>
  readonly cause?: PacketError | undefined
}> {
  override readonly message = payloadMessages[this.reason]
}

const none: ReadonlyArray<Packet> = []

/** The error of a codec that handed over the packets before the bad one already. */
export const payloadError = (reason: PayloadError["reason"], cause?: PacketError): PayloadError =>
  cause === undefined ? new PayloadError({ reason, packets: none }) : new PayloadError({ reason, packets: none, cause })
