/**
 * What the fuzzer sends: requests, payloads and frames, some of them right and most of them not quite.
 */
import { encodeChunk, encodeRequest } from "../kit/http.ts"
import { encodeFrame, Opcode, upgradeHeaders } from "../kit/ws.ts"
import type { Random } from "./random.ts"

const special = [
  "\r\n",
  "\r\n\r\n",
  "\0",
  "\x1e",
  ":",
  "%",
  "%ff",
  "?",
  "&",
  "=",
  " ",
  "\t",
  "\x7f",
  "é",
  "\ud83d\ude00",
  "__proto__"
]

/** A text or some bytes with a few faults. */
export const mutate = (random: Random, input: Buffer): Buffer => {
  let bytes = Buffer.from(input)
  for (let count = random.between(1, 4); count > 0; count--) {
    const at = random.below(bytes.length + 1)
    const rest = bytes.subarray(Math.min(bytes.length, at + random.between(0, 8)))
    switch (random.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256)
        break
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), rest])
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(random.pick(special)), bytes.subarray(at)])
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random.below(40)))])
        break
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(random.below(20)), rest])
        break
      default:
        bytes = bytes.subarray(0, at)
    }
  }
  return bytes
}

/** The same bytes in pieces. */
export const split = (random: Random, bytes: Buffer): Array<Buffer> => {
  if (random.chance(0.5) || bytes.length < 2) return [bytes]
  if (random.chance(0.1) && bytes.length < 400) return Array.from(bytes, (byte) => Buffer.from([byte]))
  const at = random.between(1, bytes.length - 1)
  return [bytes.subarray(0, at), bytes.subarray(at)]
}

const text = (random: Random): string =>
  random.pick([
    "",
    "hello",
    "é€\ud83d\ude00",
    "\u2028",
    "\ud800",
    "x".repeat(random.below(300)),
    random.bytes(8).toString("latin1")
  ])

/** A packet of either revision: mostly one that there is. */
export const packet = (random: Random): string =>
  random.chance(0.6)
    ? `4${text(random)}`
    : random.pick([
      "0",
      "0{\"sid\":\"x\"}",
      "1",
      "1x",
      "2",
      "2probe",
      "3",
      "3probe",
      "5",
      "6",
      "7",
      "x",
      "",
      "b",
      "bAQID",
      "b4AQID",
      "bé",
      "b====",
      `4${"y".repeat(1_200)}`
    ])

/** The body of a POST. */
export const payload = (random: Random): Buffer => {
  const packets = random.list(1, random.chance(0.05) ? 300 : 5, () => packet(random))
  switch (random.below(8)) {
    case 0:
      return Buffer.from(packets.map((it) => `${it.length}:${it}`).join(""))
    case 1:
      return Buffer.concat(packets.map((it) => {
        const bytes = Buffer.from(it)
        const length = Buffer.from(Array.from(String(bytes.length), Number))
        return Buffer.concat([Buffer.from([random.below(2)]), length, Buffer.from([255]), bytes])
      }))
    case 2:
      return Buffer.from(`d=${encodeURIComponent(packets.join("\x1e").toWellFormed())}`)
    case 3:
      return mutate(random, Buffer.from(packets.join("\x1e")))
    case 4:
      return random.bytes(random.below(100))
    default:
      return Buffer.from(packets.join("\x1e"))
  }
}

/** The target of a request. */
export const target = (random: Random, sid: string | undefined, transport?: string): string => {
  const fields: Record<string, string> = {
    EIO: random.chance(0.8) ? "4" : random.pick(["3", "5", "", "x"]),
    transport: transport ??
      random.pick(["polling", "polling", "polling", "websocket", "webtransport", "x", "__proto__"])
  }
  if (sid !== undefined) fields["sid"] = sid
  if (random.chance(0.1)) fields["j"] = random.pick(["0", "x", "]", ""])
  if (random.chance(0.1)) fields["b64"] = random.pick(["1", "0", ""])
  if (random.chance(0.5)) fields["t"] = "t"
  return `/engine.io/?${new URLSearchParams(fields)}`
}

const contentTypes = ["text/plain;charset=UTF-8", "application/octet-stream", "application/x-www-form-urlencoded", "x"]

/** The bytes of a request, right or wrong. */
export const request = (random: Random, sid: string | undefined): Buffer => {
  const method = random.pick(["GET", "GET", "POST", "POST", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "CONNECT", "X"])
  const headers: Record<string, string> = {}
  if (random.chance(0.2)) Object.assign(headers, upgradeHeaders())
  if (random.chance(0.3)) headers["Content-Type"] = random.pick(contentTypes)
  if (random.chance(0.2)) headers["Accept-Encoding"] = random.pick(["gzip", "deflate", "br;q=0.5, gzip", "*", "x", ""])
  if (random.chance(0.2)) headers["Origin"] = random.pick(["http://a", "null", "\x01", "é"])
  if (random.chance(0.1)) headers["Connection"] = random.pick(["close", "keep-alive", "upgrade", "x"])
  if (random.chance(0.1)) headers["Expect"] = "100-continue"
  const body = method === "GET" && random.chance(0.9) ? undefined : payload(random)
  let bytes: Buffer
  if (body !== undefined && random.chance(0.2)) {
    const head = encodeRequest(method, target(random, sid), { headers: { ...headers, "Transfer-Encoding": "chunked" } })
    bytes = Buffer.concat([head, encodeChunk(body), ...(random.chance(0.8) ? [encodeChunk("")] : [])])
  } else {
    if (body !== undefined && random.chance(0.1)) {
      headers["Content-Length"] = random.pick([
        String(body.length + 5),
        String(Math.max(0, body.length - 1)),
        "-1",
        "x",
        "99999999999"
      ])
    }
    bytes = encodeRequest(method, target(random, sid), { headers, body })
  }
  return random.chance(0.4) ? mutate(random, bytes) : bytes
}

/** The bytes of a frame, right or wrong. */
export const frame = (random: Random): Buffer => {
  if (random.chance(0.1)) return random.bytes(random.below(20))
  const opcode = random.chance(0.8) ? random.pick(Object.values(Opcode)) : random.below(16)
  const data = random.chance(0.7) ? Buffer.from(packet(random)) : random.bytes(random.below(200))
  const bytes = encodeFrame(opcode, data, {
    fin: random.chance(0.85),
    rsv: random.chance(0.1) ? random.below(8) : 0,
    masked: random.chance(0.95),
    ...(random.chance(0.05) ? { length: random.pick([0, 125, 126, 65_535, 65_536, 1_000_001, 2 ** 40]) } : {})
  })
  return random.chance(0.1) ? mutate(random, bytes) : bytes
}
