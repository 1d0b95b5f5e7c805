/**
 * Raw HTTP over TCP, so that a test sees each header as it was sent and can stop, abort or overlap wherever it likes,
 * and a polling client of revision 4 on top of it.
 */
import * as Net from "node:net"
import { Mailbox, NeverCame, within } from "./events.ts"
import type { Target } from "./server.ts"

/** Resets a connection; one that is being shut down already Node would only forget, and leave open. */
export const reset = (socket: Net.Socket): void => {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** An HTTP response exactly as it came. */
export class Response {
  readonly status: number
  readonly reason: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Buffer
  /** The head as it stood on the wire, without the empty line that ends it. */
  readonly head: string

  constructor(head: string, body: Buffer) {
    const [statusLine = "", ...lines] = head.split("\r\n")
    const [, status = "0", reason = ""] = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(statusLine) ?? []
    this.status = Number(status)
    this.reason = reason
    this.headers = lines.map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon), line.slice(colon + 1).trim()] as const
    })
    this.body = body
    this.head = head
  }

  get text(): string {
    return this.body.toString("utf8")
  }

  /** Every value of a header, whatever the case of its name. */
  all(name: string): Array<string> {
    return this.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  }

  /** The only value of a header; a header sent twice is a failure. */
  header(name: string): string | undefined {
    const values = this.all(name)
    if (values.length > 1) throw new Error(`header ${name} was sent ${values.length} times`)
    return values[0]
  }

  /** The packets of a revision 4 payload. */
  get packets(): Array<string> {
    return this.text.split("\x1e")
  }
}

/** What a request says besides its method and target. */
export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array | undefined
}

/** The bytes of a request. A body brings its `Content-Length`, unless the headers say how it is sent. */
export const encodeRequest = (method: string, target: string, options: RequestOptions = {}): Buffer => {
  const body = options.body === undefined ? undefined : Buffer.from(options.body)
  const given = Object.entries(options.headers ?? {})
  const names = new Set(given.map(([name]) => name.toLowerCase()))
  const lines = [`${method} ${target} HTTP/1.1`]
  if (!names.has("host")) lines.push("Host: 127.0.0.1")
  for (const [name, value] of given) lines.push(`${name}: ${value}`)
  if (body !== undefined && !names.has("content-length") && !names.has("transfer-encoding")) {
    lines.push(`Content-Length: ${body.length}`)
  }
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1")
  return body === undefined ? head : Buffer.concat([head, body])
}

/** One piece of a chunked body; an empty one ends it. */
export const encodeChunk = (data: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(data)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")])
}

/** One TCP connection that speaks HTTP/1.1: requests may be cut anywhere, responses come out in order. */
export class Connection {
  readonly socket: Net.Socket
  readonly responses: Mailbox<Response> = new Mailbox("a response")
  /** What came after a `101`, for the protocol that took over. */
  readonly upgraded: Mailbox<Buffer> = new Mailbox("bytes after the upgrade")
  /** Settles when the connection is gone; the error is that of a reset. */
  readonly closed: Promise<Error | undefined>
  #unread: Buffer = Buffer.alloc(0)
  /** What has come behind it, and how much has to come until there is something to parse. */
  readonly #chunks: Array<Buffer> = []
  #missing = 0
  #switched = false
  readonly #methods: Array<string> = []

  private constructor(socket: Net.Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on("data", (chunk) => this.#feed(chunk))
    this.closed = new Promise((resolve) => {
      let error: Error | undefined
      socket.on("error", (cause) => {
        error = cause
      })
      socket.on("end", () => this.#finish())
      socket.on("close", () => {
        const why = error === undefined ? "the connection closed" : `the connection failed: ${error.message}`
        this.responses.end(why)
        this.upgraded.end(why)
        resolve(error)
      })
    })
  }

  static async open(target: Target): Promise<Connection> {
    const socket = Net.connect({ host: "127.0.0.1", port: target.port })
    await within(
      new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve)
        socket.once("error", reject)
      }),
      "a TCP connection"
    )
    const connection = new Connection(socket)
    target.connections.add(connection)
    socket.once("close", () => target.connections.delete(connection))
    return connection
  }

  /** Bytes as they are. Requests written this way count as GETs when their response is read. */
  write(data: string | Uint8Array): void {
    this.socket.write(data)
  }

  /** Writes a whole request; its response comes from `response`. */
  send(method: string, target: string, options?: RequestOptions): void {
    this.#methods.push(method)
    this.socket.write(encodeRequest(method, target, options))
  }

  /** The next response of this connection. A test may ask for it before, and await it later or never. */
  response(milliseconds?: number): Promise<Response> {
    const response = this.responses.next(milliseconds)
    response.catch(() => undefined)
    return response
  }

  /** A whole exchange. */
  exchange(method: string, target: string, options?: RequestOptions): Promise<Response> {
    this.send(method, target, options)
    return this.response()
  }

  /** The next response, or `undefined` when the server closes the connection without one. */
  async outcome(): Promise<Response | undefined> {
    try {
      return await this.responses.next()
    } catch (error) {
      if (error instanceof NeverCame) throw error
      return undefined
    }
  }

  /** Ends the connection in an orderly way. */
  close(): Promise<Error | undefined> {
    this.socket.destroy()
    return this.closed
  }

  /** Ends the connection with a TCP reset, as a vanishing client does. */
  reset(): Promise<Error | undefined> {
    reset(this.socket)
    return this.closed
  }

  #feed(chunk: Buffer): void {
    if (this.#switched) {
      this.upgraded.put(chunk)
      return
    }
    this.#chunks.push(chunk)
    this.#missing -= chunk.length
    if (this.#missing > 0) return
    this.#join()
    while (this.#parse(false)) { /* the next response of a pipeline */ }
  }

  #finish(): void {
    this.#join()
    if (!this.#switched) this.#parse(true)
  }

  #join(): void {
    this.#unread = Buffer.concat([this.#unread, ...this.#chunks.splice(0)])
  }

  /** Takes one whole response off the unread bytes. */
  #parse(ended: boolean): boolean {
    const end = this.#unread.indexOf("\r\n\r\n")
    if (end === -1) return false
    const response = new Response(this.#unread.toString("latin1", 0, end), Buffer.alloc(0))
    const rest = this.#unread.subarray(end + 4)
    const method = this.#methods[0] ?? "GET"
    if (response.status === 101) {
      this.#switched = true
      this.#done(response, Buffer.alloc(0), Buffer.alloc(0))
      if (rest.length > 0) this.upgraded.put(rest)
      return false
    }
    const length = response.header("content-length")
    if (method === "HEAD" || response.status < 200 || response.status === 204 || response.status === 304) {
      return this.#done(response, Buffer.alloc(0), rest)
    }
    if (length !== undefined) {
      const size = Number(length)
      this.#missing = size - rest.length
      return this.#missing > 0 ? false : this.#done(response, rest.subarray(0, size), rest.subarray(size))
    }
    if (response.header("transfer-encoding") === "chunked") {
      const decoded = decodeChunks(rest)
      return decoded === undefined ? false : this.#done(response, decoded.body, decoded.rest)
    }
    return ended ? this.#done(response, rest, Buffer.alloc(0)) : false
  }

  #done(response: Response, body: Buffer, rest: Buffer): boolean {
    this.#unread = Buffer.from(rest)
    if (response.status >= 200 || response.status === 101) this.#methods.shift()
    this.responses.put(new Response(response.head, Buffer.from(body)))
    return rest.length > 0
  }
}

const decodeChunks = (bytes: Buffer): { readonly body: Buffer; readonly rest: Buffer } | undefined => {
  const parts: Array<Buffer> = []
  let at = 0
  while (true) {
    const end = bytes.indexOf("\r\n", at)
    if (end === -1) return undefined
    const size = Number.parseInt(bytes.toString("latin1", at, end), 16)
    const next = end + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { body: Buffer.concat(parts), rest: bytes.subarray(next) }
    parts.push(bytes.subarray(end + 2, end + 2 + size))
    at = next
  }
}

/** One exchange on a connection of its own. */
export const fetchRaw = async (
  target: Target,
  method: string,
  path: string,
  options?: RequestOptions
): Promise<Response> => {
  const connection = await Connection.open(target)
  const response = await connection.exchange(method, path, options)
  await connection.close()
  return response
}

/** A request that is refused. From the first the engine on a router knows of its server (rule R16). */
export const introduce = (target: Target): Promise<Response> => fetchRaw(target, "GET", engineTarget({}))

let cacheBuster = 0

/** The target of a request to the server, with a cache buster as clients send one. */
export const engineTarget = (query: Readonly<Record<string, string>>, path = "/engine.io/"): string =>
  `${path}?${new URLSearchParams({ ...query, t: `t${++cacheBuster}.` })}`

/** What the open packet says. */
export interface OpenPacket {
  readonly sid: string
  readonly upgrades: Array<string>
  readonly pingInterval: number
  readonly pingTimeout: number
  readonly maxPayload: number
}

/** A GET that waits in the server. */
export interface Poll {
  readonly connection: Connection
  readonly response: Promise<Response>
}

/** A client that polls in revision 4, on as many connections as it has requests under way. */
export class PollingClient {
  readonly target: Target
  /** The answer to the handshake. */
  readonly handshake: Response
  readonly open: OpenPacket
  readonly path: string
  readonly #idle: Array<Connection> = []

  private constructor(target: Target, handshake: Response, path: string) {
    this.target = target
    this.handshake = handshake
    this.path = path
    this.open = JSON.parse(handshake.packets[0]!.slice(1)) as OpenPacket
  }

  get sid(): string {
    return this.open.sid
  }

  static async connect(
    target: Target,
    options: {
      readonly query?: Readonly<Record<string, string>> | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
      readonly path?: string | undefined
    } = {}
  ): Promise<PollingClient> {
    const path = options.path ?? "/engine.io/"
    const connection = await Connection.open(target)
    const query = { EIO: "4", transport: "polling", ...options.query }
    const response = await connection.exchange("GET", engineTarget(query, path), { headers: options.headers })
    if (response.status !== 200 || !response.text.startsWith("0")) {
      throw new Error(`handshake refused: ${response.status} ${response.text}`)
    }
    const client = new PollingClient(target, response, path)
    client.release(connection, response)
    return client
  }

  /** The target of a request of this session. */
  url(query: Readonly<Record<string, string>> = {}): string {
    return engineTarget({ EIO: "4", transport: "polling", sid: this.sid, ...query }, this.path)
  }

  /** Any request of this session. */
  async request(method: string, options?: RequestOptions, url = this.url()): Promise<Response> {
    const connection = await this.connection()
    const response = await connection.exchange(method, url, options)
    this.release(connection, response)
    return response
  }

  /** Waits for the answer to a GET. */
  get(options?: RequestOptions): Promise<Response> {
    return this.request("GET", options)
  }

  /** The packets that the next GET brings; anything but `200` is a failure. */
  async poll(): Promise<Array<string>> {
    const response = await this.get()
    if (response.status !== 200) throw new Error(`GET answered ${response.status} ${response.text}`)
    return response.packets
  }

  /** Polls until `count` packets that are not pings and noops came, answering pings as a client does. */
  async messages(count: number): Promise<Array<string>> {
    const packets: Array<string> = []
    while (packets.length < count) {
      for (const packet of await this.poll()) {
        if (packet === "2") await this.post("3")
        else if (packet !== "6") packets.push(packet)
      }
    }
    return packets
  }

  /** Sends a GET and comes back once the server has it and had its chance to answer. */
  async park(options?: RequestOptions): Promise<Poll> {
    const connection = await this.connection()
    const url = this.url()
    connection.send("GET", url, options)
    const response = connection.response()
    response.then((it) => this.release(connection, it), () => undefined)
    await this.target.settled(url)
    return { connection, response }
  }

  /** Sends a payload. */
  post(body: string | Uint8Array, headers: Readonly<Record<string, string>> = textHeaders): Promise<Response> {
    return this.request("POST", { body, headers })
  }

  /** Sends the head of a POST and `sent` of its announced `length` bytes, and comes back once the server has them. */
  async beginPost(sent: string, length: number): Promise<Connection> {
    const connection = await this.connection()
    const url = this.url()
    connection.send("POST", url, { body: sent, headers: { ...textHeaders, "Content-Length": String(length) } })
    await this.target.settled(url)
    return connection
  }

  /** A connection of this client that is free. */
  async connection(): Promise<Connection> {
    const idle = this.#idle.pop()
    return idle !== undefined && !idle.socket.destroyed ? idle : Connection.open(this.target)
  }

  release(connection: Connection, response: Response): void {
    if (response.header("connection")?.toLowerCase() === "close" || connection.socket.destroyed) return
    this.#idle.push(connection)
  }
}

/** How clients label a POST. */
export const textHeaders = { "Content-Type": "text/plain;charset=UTF-8" }
