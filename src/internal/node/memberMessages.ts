/**
 * The messages of cluster members as bytes: a head in JSON, and the payload as it is behind it.
 */
import { isMessage, type Message } from "../server/clusterMessages.ts"

/** The length of the head, that of the payload, and what the payload is. */
const prefix = 9

const kinds = { none: 0, text: 1, bytes: 2 } as const

export const encode = (message: Message): Buffer => {
  let payload: string | Uint8Array = ""
  let head: object = message
  let kind: number = kinds.none
  if ("payload" in message) {
    payload = message.payload
    kind = typeof payload === "string" ? kinds.text : kinds.bytes
    head = { ...message, payload: "" }
  }
  const text = JSON.stringify(head)
  const headLength = Buffer.byteLength(text)
  const payloadLength = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length
  const bytes = Buffer.allocUnsafe(prefix + headLength + payloadLength)
  bytes.writeUInt32BE(headLength, 0)
  bytes.writeUInt32BE(payloadLength, 4)
  bytes[8] = kind
  bytes.write(text, prefix)
  if (typeof payload === "string") bytes.write(payload, prefix + headLength)
  else bytes.set(payload, prefix + headLength)
  return bytes
}

/** Takes messages out of what arrives. */
export class MessageReader {
  /** The largest message, in bytes. */
  most: number
  private chunks: Array<Buffer> = []
  private size = 0
  /** How much has to be there before it is worth a look. */
  private needed = prefix
  constructor(most: number) {
    this.most = most
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk)
    this.size += chunk.length
  }

  /** The next message, `undefined` where not all of it is there, `"malformed"` where it is none, and nothing after it. */
  next(): Message | "malformed" | undefined {
    if (this.size < this.needed) return undefined
    const rest = this.join()
    const headEnd = prefix + rest.readUInt32BE(0)
    const end = headEnd + rest.readUInt32BE(4)
    if (end > this.most) return "malformed"
    if (rest.length < end) {
      this.chunks = [rest]
      this.needed = end
      return undefined
    }
    this.chunks = rest.length === end ? [] : [rest.subarray(end)]
    this.size -= end
    this.needed = prefix
    try {
      const head: unknown = JSON.parse(rest.toString("utf8", prefix, headEnd))
      const kind = rest[8]!
      const message = kind === kinds.none
        ? head
        : Object.assign(head as object, {
          payload: kind === kinds.text ? rest.toString("utf8", headEnd, end) : Buffer.from(rest.subarray(headEnd, end))
        })
      return isMessage(message) ? message : "malformed"
    } catch {
      return "malformed"
    }
  }

  /** What has come behind the last message. */
  takeRest(): Buffer {
    const rest = this.join()
    this.chunks = []
    this.size = 0
    return Buffer.from(rest)
  }

  private join(): Buffer {
    return this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks)
  }
}
