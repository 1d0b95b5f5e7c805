/**
 * What the codecs cost beside those of the reference: `engine.io-parser` 5 in revision 4, and the 2.x parser that
 * clients of revision 3 bring along. Run as `node bench/codec.ts`, with the words of a row's name to run those only.
 *
 * Both sides do the same work on the same input in one process, in turns; times are the median of the rounds. The ratio
 * is what to compare between machines, and a ratio near 1 between runs of one row says nothing.
 */
import * as parser4 from "engine.io-parser"
import * as revision3 from "../src/internal/protocol/revision3.ts"
import * as revision4 from "../src/internal/protocol/revision4.ts"
import type { Packet } from "../src/Packet.ts"
import { parser3, toReference } from "../test/protocol/reference.ts"

interface Row {
  readonly name: string
  readonly ours: () => unknown
  readonly theirs: () => unknown
}

const rounds = 21
const roundMillis = 10

const message = (data: string | Uint8Array): Packet => ({ type: "message", data })

/** A text in one piece, as it comes from the network; what is joined in JavaScript is flattened on first use. */
const flat = (text: string): string => Buffer.from(text).toString()

const text32 = flat("x".repeat(32))
const euros = flat("€".repeat(11))
const text4k = flat("x".repeat(4096))
const binary32 = new Uint8Array(32).fill(7)
const binary1k = new Uint8Array(1024).fill(7)
const binary64k = new Uint8Array(65_536).fill(7)

const collect = (parse: (onPacket: (packet: Packet) => boolean) => unknown) => (): unknown => {
  const packets: Array<Packet> = []
  parse((packet) => {
    packets.push(packet)
    return true
  })
  return packets
}

const packet4 = (name: string, data: string | Uint8Array): ReadonlyArray<Row> => {
  const encoded = flat(revision4.encodeMessage(data))
  const packet = { type: "message", data } as const
  return [
    {
      name: `revision 4, encode ${name}`,
      ours: () => revision4.encodeMessage(data),
      theirs: () => {
        let result: unknown
        parser4.encodePacket(packet, false, (text) => {
          result = text
        })
        return result
      }
    },
    {
      name: `revision 4, parse ${name}`,
      ours: () => revision4.parseText(encoded),
      theirs: () => parser4.decodePacket(encoded)
    }
  ]
}

const payload4 = (name: string, packets: ReadonlyArray<Packet>): ReadonlyArray<Row> => {
  const encoded = flat(revision4.encodePayload(packets))
  const references = packets.map(toReference)
  return [
    {
      name: `revision 4, encode payload of ${name}`,
      ours: () => revision4.encodePayload(packets),
      theirs: () => {
        let result: unknown
        parser4.encodePayload(references, (text) => {
          result = text
        })
        return result
      }
    },
    {
      name: `revision 4, parse payload of ${name}`,
      ours: collect((onPacket) => revision4.parsePayload(encoded, Infinity, onPacket)),
      theirs: () => parser4.decodePayload(encoded)
    }
  ]
}

const payload3 = (name: string, packets: ReadonlyArray<Packet>, supportsBinary: boolean): ReadonlyArray<Row> => {
  const encoded = revision3.encodePayload(packets, supportsBinary)
  const body = typeof encoded === "string" ? flat(encoded) : Buffer.from(encoded)
  const references = packets.map(toReference)
  return [
    {
      name: `revision 3, encode payload of ${name}`,
      ours: () => revision3.encodePayload(packets, supportsBinary),
      theirs: () => {
        let result: unknown
        parser3.encodePayload(references, supportsBinary, (payload) => {
          result = payload
        })
        return result
      }
    },
    {
      name: `revision 3, parse payload of ${name}`,
      ours: collect((onPacket) => revision3.parsePayload(body, Infinity, onPacket)),
      theirs: () => {
        const parsed: Array<unknown> = []
        parser3.decodePayload(body, (packet) => {
          parsed.push(packet)
          return undefined
        })
        return parsed
      }
    }
  ]
}

const times = <A>(count: number, value: A): ReadonlyArray<A> => Array.from({ length: count }, () => value)

const rows: ReadonlyArray<Row> = [
  ...packet4("text, 32 characters", text32),
  ...packet4("text, 4096 characters", text4k),
  ...packet4("binary as base64, 32 bytes", binary32),
  ...packet4("binary as base64, 1 KiB", binary1k),
  ...packet4("binary as base64, 64 KiB", binary64k),
  ...payload4("10 texts", times(10, message(text32))),
  ...payload4("1000 texts", times(1000, message(text32))),
  ...payload4("1000 pings", times(1000, { type: "ping" })),
  ...payload3("10 texts", times(10, message(text32)), true),
  ...payload3("1000 texts", times(1000, message(text32)), true),
  ...payload3("10 binaries as base64", times(10, message(binary32)), false),
  ...payload3("5 texts and 5 binaries", [...times(5, message(euros)), ...times(5, message(binary32))], true),
  ...payload3("one binary of 64 KiB", [message(binary64k)], true)
]

let sink: unknown

/** Nanoseconds of one call, over so many. */
const time = (run: () => unknown, calls: number): number => {
  const start = process.hrtime.bigint()
  for (let call = 0; call < calls; call++) sink = run()
  return Number(process.hrtime.bigint() - start) / calls
}

/** Warms up, and finds how many calls fill one round. */
const calibrate = (run: () => unknown): number => {
  let calls = 1
  while (time(run, calls) * calls < roundMillis * 1e6) calls *= 2
  return calls
}

const median = (values: Array<number>): number => values.sort((a, b) => a - b)[values.length >> 1]!

const measure = ({ ours, theirs }: Row): readonly [ours: number, theirs: number] => {
  const calls = [calibrate(ours), calibrate(theirs)] as const
  const measured: readonly [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) measured[0].push(time(ours, calls[0]))
    measured[1].push(time(theirs, calls[1]))
    if (round % 2 === 1) measured[0].push(time(ours, calls[0]))
  }
  return [median(measured[0]), median(measured[1])]
}

const nanos = (value: number): string => value.toFixed(value < 100 ? 1 : 0).padStart(10)

const words = process.argv.slice(2)
console.log(`${"".padEnd(56)}${"ours, ns".padStart(10)}${"theirs, ns".padStart(12)}${"ratio".padStart(8)}`)
for (const row of rows) {
  if (!words.every((word) => row.name.includes(word))) continue
  const [ours, theirs] = measure(row)
  console.log(`${row.name.padEnd(56)}${nanos(ours)}  ${nanos(theirs)}${(ours / theirs).toFixed(2).padStart(8)}`)
}
if (sink === undefined) throw new Error("a row gave nothing")
