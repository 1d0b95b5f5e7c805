/**
 * A polling client that leaves payloads as they are, so that revision 3 and JSONP can be checked byte for byte, and the
 * frames of a WebSocket of revision 3.
 */
import { Connection, engineTarget, fetchRaw, type OpenPacket, type RequestOptions, type Response } from "./http.ts"
import type { Target } from "./server.ts"
import { WebSocketClient, type WebSocketOptions } from "./ws.ts"

type Query = Readonly<Record<string, string>>

/** The session that an open packet announces, whatever it is wrapped in. */
const openOf = (text: string): OpenPacket => {
  const json = /\{.*\}/s.exec(text.replaceAll("\\\"", "\""))?.[0]
  if (json === undefined) throw new Error(`no open packet but ${text}`)
  return JSON.parse(json) as OpenPacket
}

/** A polling client of revision 3, unless its query says otherwise. */
export class PlainPollingClient {
  readonly target: Target
  readonly handshake: Response
  readonly open: OpenPacket
  readonly #query: Query

  private constructor(target: Target, query: Query, handshake: Response) {
    this.target = target
    this.handshake = handshake
    this.open = openOf(handshake.text)
    this.#query = query
  }

  /** Opens a session. `query` goes with the handshake; of it, later requests repeat `EIO` alone. */
  static async connect(
    target: Target,
    query: Query = {},
    headers?: Readonly<Record<string, string>>
  ): Promise<PlainPollingClient> {
    const whole = { EIO: "3", transport: "polling", ...query }
    const handshake = await fetchRaw(target, "GET", engineTarget(whole), { headers })
    if (handshake.status !== 200) throw new Error(`handshake refused: ${handshake.status} ${handshake.text}`)
    return new PlainPollingClient(target, { EIO: whole.EIO, transport: "polling" }, handshake)
  }

  get sid(): string {
    return this.open.sid
  }

  url(): string {
    return engineTarget({ ...this.#query, sid: this.sid })
  }

  get(options?: RequestOptions): Promise<Response> {
    return fetchRaw(this.target, "GET", this.url(), options)
  }

  /** Sends a payload: text as text, bytes as `application/octet-stream`. */
  post(body: string | Uint8Array, contentType?: string): Promise<Response> {
    const type = contentType ?? (typeof body === "string" ? "text/plain;charset=UTF-8" : "application/octet-stream")
    return fetchRaw(this.target, "POST", this.url(), { body, headers: { "Content-Type": type } })
  }

  /** Sends a GET and comes back once the server has it; the answer comes later. */
  async park(): Promise<{ readonly connection: Connection; readonly response: Promise<Response> }> {
    const connection = await Connection.open(this.target)
    const url = this.url()
    connection.send("GET", url)
    const response = connection.response()
    await this.target.settled(url)
    return { connection, response }
  }
}

/** A session of revision 3 on a WebSocket. */
export const connectWebSocket3 = (target: Target, query: Query = {}, options?: WebSocketOptions) =>
  WebSocketClient.connect(target, { EIO: "3", ...query }, options)

/** A WebSocket for a session that polls, which has probed and upgraded. */
export const upgrade3 = async (target: Target, sid: string, query: Query = {}): Promise<WebSocketClient> => {
  const candidate = await WebSocketClient.open(target, { EIO: "3", sid, ...query })
  candidate.send("2probe")
  const answer = await candidate.next()
  if (answer !== "3probe") throw new Error(`the probe was answered ${answer}`)
  candidate.send("5")
  return candidate
}
