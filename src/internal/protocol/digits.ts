/**
 * The packet types and their digits, which both revisions share (rules R58, R64).
 */
import type { Packet, PacketType } from "./packetModel.ts"

/** The types in the order of their digits. */
export const types: ReadonlyArray<PacketType> = ["open", "close", "ping", "pong", "message", "upgrade", "noop"]

/** The digit each type begins its text with. */
export const digits: { readonly [K in PacketType]: string } = {
  open: "0",
  close: "1",
  ping: "2",
  pong: "3",
  message: "4",
  upgrade: "5",
  noop: "6"
}

/** The byte each type begins its bytes with, in revision 3. */
export const numbers: { readonly [K in PacketType]: number } = {
  open: 0,
  close: 1,
  ping: 2,
  pong: 3,
  message: 4,
  upgrade: 5,
  noop: 6
}

/** The packets without data, in the order of their digits: made once, since most control packets are one of them. */
export const bare: ReadonlyArray<Packet> = types.map((type) => Object.freeze({ type }))
