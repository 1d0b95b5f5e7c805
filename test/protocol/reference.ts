/**
 * The parsers of the reference: `engine.io-parser` 5 for revision 4, and the 2.x clients of revision 3 bring along.
 */
import { type Packet as ReferencePacket, type RawData } from "engine.io-parser"
import { createRequire } from "node:module"
import { type Packet } from "../../src/Packet.ts"

interface Parser3 {
  readonly encodePacket: (
    packet: ReferencePacket,
    supportsBinary: boolean,
    utf8encode: boolean,
    callback: (encoded: string | Buffer) => void
  ) => void
  readonly decodePacket: (data: string | Buffer) => ReferencePacket
  readonly encodePayload: (
    packets: ReadonlyArray<ReferencePacket>,
    supportsBinary: boolean,
    callback: (encoded: string | Buffer) => void
  ) => void
  readonly decodePayload: (
    data: string | Buffer,
    callback: (packet: ReferencePacket, index: number, total: number) => boolean | undefined
  ) => void
}

const require = createRequire(import.meta.url)

/** The parser of clients of revision 3. */
export const parser3: Parser3 = createRequire(require.resolve("engine.io-client-3"))("engine.io-parser")

/** A packet as the parsers of the reference want it. */
export const toReference = (packet: Packet): ReferencePacket =>
  typeof packet.data === "object" ? { type: packet.type, data: Buffer.from(packet.data) } : packet

/** A packet of either side in one form that compares by value. */
export const plain = (packet: { readonly type: string; readonly data?: RawData | undefined }) => ({
  type: packet.type,
  data: packet.data === undefined || typeof packet.data === "string" ? packet.data : [...packet.data as Uint8Array]
})

/** What a payload holds: the packets before the first bad one, and whether there was a bad one. */
export interface Outcome {
  readonly packets: ReadonlyArray<ReturnType<typeof plain>>
  readonly failed: boolean
}

/** The outcome of the packets of the reference, among which bad ones have the type "error" or, from base64, none. */
export const outcome = (packets: ReadonlyArray<ReferencePacket>): Outcome => {
  const bad = packets.findIndex((packet) => packet.type === "error" || packet.type === undefined)
  return { packets: packets.slice(0, bad < 0 ? undefined : bad).map(plain), failed: bad >= 0 }
}

/** The packets the 2.x parser finds in a payload. */
export const decodePayload3 = (body: string | Uint8Array): Outcome => {
  const packets: Array<ReferencePacket> = []
  parser3.decodePayload(typeof body === "string" ? body : Buffer.from(body), (packet) => {
    packets.push(packet)
    return undefined
  })
  return outcome(packets)
}

/** The payload the 2.x parser makes. */
export const encodePayload3 = (packets: ReadonlyArray<Packet>, supportsBinary: boolean): string | Uint8Array => {
  let encoded: string | Buffer = ""
  parser3.encodePayload(packets.map(toReference), supportsBinary, (result) => {
    encoded = result
  })
  return typeof encoded === "string" ? encoded : new Uint8Array(encoded)
}
