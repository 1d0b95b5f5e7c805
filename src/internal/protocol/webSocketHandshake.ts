/**
 * The opening handshake of a WebSocket: what is wrong with a request (rule R23), or the head of its 101.
 */

/** What a request to upgrade says, as far as it matters. */
export interface UpgradeRequest {
  readonly method?: string | undefined
  readonly headers: {
    readonly upgrade?: string | undefined
    readonly "sec-websocket-key"?: string | undefined
    readonly "sec-websocket-version"?: string | undefined
    readonly "sec-websocket-protocol"?: string | undefined
  }
}

/** What a request to upgrade is refused with. */
export interface Refusal {
  readonly status: number
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

const badRequest = (message: string, headers?: Readonly<Record<string, string>>): Refusal => ({
  status: 400,
  message,
  ...(headers === undefined ? undefined : { headers })
})

/** The head of the 101, without the empty line that ends it; `sha1` gives the hash of a text in base64. */
export const switchProtocols = (
  { headers, method }: UpgradeRequest,
  sha1: (text: string) => string
): string | Refusal => {
  const key = headers["sec-websocket-key"]
  const version = headers["sec-websocket-version"]
  if (method !== "GET") return { status: 405, message: "Invalid HTTP method" }
  if (headers.upgrade?.toLowerCase() !== "websocket") return badRequest("Invalid Upgrade header")
  if (key === undefined || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    return badRequest("Missing or invalid Sec-WebSocket-Key header")
  }
  if (version !== "13" && version !== "8") {
    return badRequest("Missing or invalid Sec-WebSocket-Version header", { "Sec-WebSocket-Version": "13, 8" })
  }
  const offered = headers["sec-websocket-protocol"]
  const protocol = offered === undefined ? "" : firstOf(offered)
  if (protocol === undefined) return badRequest("Invalid Sec-WebSocket-Protocol header")
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${sha1(key + guid)}\r\n` + (protocol === "" ? "" : `Sec-WebSocket-Protocol: ${protocol}\r\n`)
}

/** What every server answers a key with (RFC 6455, section 1.3). */
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** The first of the offered subprotocols, where the list of them is one. */
const firstOf = (offered: string): string | undefined => {
  const protocols = offered.split(",").map((it) => it.trim())
  const isList = !/[^\t\x20-\x7e]/.test(offered) && protocols.every((it) => /^[!#$%&'*+.^_`|~\w-]+$/.test(it))
  return isList && new Set(protocols).size === protocols.length ? protocols[0] : undefined
}
