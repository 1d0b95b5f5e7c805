/**
 * WebSocket clients: the one of `ws` for ordinary use, and one that writes its frames by hand, right or wrong.
 */
import { createHash, randomBytes } from "node:crypto"
import { WebSocket } from "ws"
import { Mailbox, within } from "./events.ts"
import { Connection, encodeRequest, engineTarget, type OpenPacket, type Response } from "./http.ts"
import type { Target } from "./server.ts"

/** The close of a WebSocket as the client saw it: 1005 is a close frame without a status, 1006 no close frame. */
export interface WebSocketClose {
  readonly code: number
  readonly reason: string
}

type Query = Readonly<Record<string, string>>

const webSocketTarget = (query: Query): string => engineTarget({ EIO: "4", transport: "websocket", ...query })

/** An ordinary WebSocket client. Text frames come as strings, binary ones as buffers. */
export class WebSocketClient {
  readonly socket: WebSocket
  readonly frames: Mailbox<string | Buffer> = new Mailbox("a frame")
  readonly closed: Promise<WebSocketClose>

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on("message", (data: Buffer, isBinary) => this.frames.put(isBinary ? data : data.toString("utf8")))
    socket.on("error", () => undefined)
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => {
        this.frames.end(`closed with ${code}`)
        resolve({ code, reason: reason.toString("utf8") })
      })
    })
  }

  /** Opens a WebSocket to the server; fails when it is refused. */
  static async open(target: Target, query: Query = {}, options: WebSocketOptions = {}): Promise<WebSocketClient> {
    const { path, protocols = [], ...rest } = options
    const url = webSocketTarget(query).replace("/engine.io/", path ?? "/engine.io/")
    const socket = new WebSocket(`ws://127.0.0.1:${target.port}${url}`, [...protocols], {
      perMessageDeflate: false,
      ...rest
    })
    const client = new WebSocketClient(socket)
    target.webSockets.add(client)
    await within(
      new Promise<void>((resolve, reject) => {
        socket.once("open", resolve)
        socket.once("error", reject)
      }),
      "an open WebSocket"
    )
    return client
  }

  /** Opens a WebSocket and a session on it. */
  static async connect(
    target: Target,
    query: Query = {},
    options?: WebSocketOptions
  ): Promise<WebSocketClient & { readonly open: OpenPacket; readonly sid: string }> {
    const client = await WebSocketClient.open(target, query, options)
    const frame = await client.next()
    if (typeof frame !== "string" || frame[0] !== "0") throw new Error(`no open packet but ${frame}`)
    const open = JSON.parse(frame.slice(1)) as OpenPacket
    return Object.assign(client, { open, sid: open.sid })
  }

  next(milliseconds?: number): Promise<string | Buffer> {
    return this.frames.next(milliseconds)
  }

  /** The next `count` frames that are not pings, answering those. */
  async messages(count: number): Promise<Array<string | Buffer>> {
    const frames: Array<string | Buffer> = []
    while (frames.length < count) {
      const frame = await this.next()
      if (frame === "2") this.send("3")
      else frames.push(frame)
    }
    return frames
  }

  send(data: string | Uint8Array): void {
    this.socket.send(data)
  }

  close(code?: number, reason?: string): Promise<WebSocketClose> {
    this.socket.close(code, reason)
    return this.closed
  }
}

/** Options of a `WebSocketClient`. */
export interface WebSocketOptions {
  readonly path?: string | undefined
  readonly protocols?: ReadonlyArray<string> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly origin?: string
  readonly perMessageDeflate?: boolean
}

/** The operation codes of frames. */
export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** A frame as it came. */
export interface Frame {
  readonly fin: boolean
  readonly rsv: number
  readonly opcode: number
  readonly masked: boolean
  readonly payload: Buffer
}

/** How a hand-made frame departs from the ordinary: one whole, masked, without extension bits. */
export interface FrameOptions {
  readonly fin?: boolean | undefined
  readonly rsv?: number | undefined
  readonly masked?: boolean | undefined
  /** The length to announce instead of the true one. */
  readonly length?: number | undefined
}

/** The bytes of a frame. */
export const encodeFrame = (opcode: number, data: string | Uint8Array, options: FrameOptions = {}): Buffer => {
  const payload = Buffer.from(data)
  const length = options.length ?? payload.length
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const masked = options.masked ?? true
  const header = Buffer.alloc(2 + extended)
  header[0] = (options.fin ?? true ? 0x80 : 0) | ((options.rsv ?? 0) << 4) | opcode
  header[1] = (masked ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127)
  if (extended === 2) header.writeUInt16BE(length, 2)
  if (extended === 8) header.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([header, payload])
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78])
  const hidden = Buffer.from(payload)
  for (let i = 0; i < hidden.length; i++) hidden[i] = hidden[i]! ^ mask[i & 3]!
  return Buffer.concat([header, mask, hidden])
}

/** A request to upgrade, complete unless told otherwise; a header set to `undefined` is left out. */
export const upgradeHeaders = (
  changes: Readonly<Record<string, string | undefined>> = {}
): Readonly<Record<string, string>> => {
  const headers: Record<string, string | undefined> = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    ...changes
  }
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)
  )
}

/** A WebSocket whose frames are written and read by hand. */
export class RawWebSocket {
  readonly connection: Connection
  readonly response: Response
  readonly frames: Mailbox<Frame> = new Mailbox("a raw frame")
  /** Settles when the TCP connection is gone. */
  readonly closed: Promise<Error | undefined>

  private constructor(connection: Connection, response: Response) {
    this.connection = connection
    this.response = response
    this.closed = connection.closed
    void this.#read()
  }

  /** Opens a WebSocket; `early` is written in the same packet as the request, before the server said anything. */
  static async open(
    target: Target,
    query: Query = {},
    options: { readonly early?: Uint8Array; readonly headers?: Readonly<Record<string, string | undefined>> } = {}
  ): Promise<RawWebSocket> {
    const connection = await Connection.open(target)
    const headers = upgradeHeaders(options.headers)
    const url = webSocketTarget(query)
    connection.write(Buffer.concat([encodeRequest("GET", url, { headers }), options.early ?? Buffer.alloc(0)]))
    const response = await connection.response()
    if (response.status !== 101) throw new Error(`upgrade refused: ${response.status} ${response.text}`)
    const accept = createHash("sha1")
      .update(`${headers["Sec-WebSocket-Key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64")
    if (response.header("sec-websocket-accept") !== accept) throw new Error("wrong Sec-WebSocket-Accept")
    return new RawWebSocket(connection, response)
  }

  write(opcode: number, data: string | Uint8Array = "", options?: FrameOptions): void {
    this.connection.write(encodeFrame(opcode, data, options))
  }

  next(): Promise<Frame> {
    return this.frames.next()
  }

  /** The status of the next frame, which must be a close frame; `undefined` when it has none. */
  async closeCode(): Promise<number | undefined> {
    const frame = await this.frames.find((frame) => frame.opcode === Opcode.close, "a close frame")
    return frame.payload.length === 0 ? undefined : frame.payload.readUInt16BE(0)
  }

  async #read(): Promise<void> {
    let unread: Buffer = Buffer.alloc(0)
    try {
      while (true) {
        unread = Buffer.concat([unread, await this.connection.upgraded.next(2 ** 31 - 1)])
        while (true) {
          const decoded = decodeFrame(unread)
          if (decoded === undefined) break
          unread = Buffer.from(decoded.rest)
          this.frames.put(decoded.frame)
        }
      }
    } catch {
      this.frames.end("the connection closed")
    }
  }
}

const decodeFrame = (bytes: Buffer): { readonly frame: Frame; readonly rest: Buffer } | undefined => {
  if (bytes.length < 2) return undefined
  const short = bytes[1]! & 0x7f
  const start = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < start) return undefined
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  const masked = (bytes[1]! & 0x80) !== 0
  if (masked) throw new Error("a server must not mask its frames")
  if (bytes.length < start + length) return undefined
  return {
    frame: {
      fin: (bytes[0]! & 0x80) !== 0,
      rsv: (bytes[0]! >> 4) & 7,
      opcode: bytes[0]! & 0x0f,
      masked,
      payload: Buffer.from(bytes.subarray(start, start + length))
    },
    rest: bytes.subarray(start + length)
  }
}

/** Sends a request to upgrade that is to be refused, and gives all the server wrote until it closed the connection. */
export const refusedUpgrade = async (
  target: Target,
  query: Query,
  options: { readonly method?: string; readonly headers?: Readonly<Record<string, string | undefined>> } = {}
): Promise<{ readonly response: Response; readonly raw: string }> => {
  const connection = await Connection.open(target)
  const chunks: Array<Buffer> = []
  connection.socket.on("data", (chunk: Buffer) => chunks.push(chunk))
  const url = engineTarget({ EIO: "4", transport: "websocket", ...query })
  connection.send(options.method ?? "GET", url, { headers: upgradeHeaders(options.headers) })
  await within(connection.closed, "the end of a refused connection")
  const response = connection.responses.all[0]
  if (response === undefined) throw new Error("the connection was closed without an answer")
  return { response, raw: Buffer.concat(chunks).toString("latin1") }
}
