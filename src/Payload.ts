import * as Data from "effect/Data"
import type { Packet, PacketError } from "./Packet.ts"
export class PayloadError extends Data.TaggedError("PayloadError")<{
  readonly reason: "Empty" | "InvalidLength" | "TooManyPackets" | "InvalidPacket"
  readonly packets: ReadonlyArray<Packet>
  readonly cause?: PacketError | undefined
}> {}
