/**
 * A WebTransport client in memory: the server's end is a session of web streams, the client's a hand that writes bytes
 * in whatever chunks a test wants. Like on a network, a session that is closed loses what was not read.
 */
import type { EngineIO } from "../../src/index.ts"
import { FrameDecoder, frameHeader } from "../../src/internal/protocol/webTransportFrames.ts"
import { Mailbox, within } from "./events.ts"
import type { TestServer } from "./server.ts"

/** The frame of a text packet, type digit included, or of a binary message. */
export const frame = (packet: string | Uint8Array): Uint8Array => {
  const bytes = typeof packet === "string" ? Buffer.from(packet) : packet
  return new Uint8Array(Buffer.concat([frameHeader(bytes.byteLength, typeof packet !== "string"), bytes]))
}

export const frames = (...packets: ReadonlyArray<string | Uint8Array>): Uint8Array =>
  new Uint8Array(Buffer.concat(packets.map(frame)))

/** What a session was closed with. */
export interface CloseInfo {
  readonly closeCode?: number
  readonly reason?: string
}

const pipe = (highWaterMark: number) => {
  let controller: TransformStreamDefaultController<Uint8Array> | undefined
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
    {
      start: (it) => {
        controller = it
      }
    },
    { highWaterMark }
  )
  return { readable, writable, cut: (error: Error) => controller!.error(error) }
}

/** How the client behaves. */
export interface MemoryOptions {
  /** Whether it answers pings. Default: true. */
  readonly pongs?: boolean
  /** Whether it reads by itself. Default: true. */
  readonly reads?: boolean
  /** How many chunks the server's stream takes before it asks to wait. Default: 1. */
  readonly highWaterMark?: number
}

export class MemoryClient {
  /** The server's end. */
  readonly session: EngineIO.WebTransportSession
  /** The packets that came, heartbeats too. */
  readonly packets: Mailbox<string | Uint8Array> = new Mailbox("a packet at the client")
  /** How the session ended, whoever ended it. */
  readonly closed: Promise<CloseInfo | Error>
  isClosed = false
  readonly #toServer = pipe(1)
  readonly #toClient: ReturnType<typeof pipe>
  readonly #writer = this.#toServer.writable.getWriter()
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new FrameDecoder(Infinity)
  readonly #options: MemoryOptions
  #streams: ReadableStreamDefaultController<EngineIO.WebTransportStream> | undefined
  #end: ((info: CloseInfo | Error) => void) | undefined

  constructor(options: MemoryOptions = {}) {
    this.#options = options
    this.#toClient = pipe(options.highWaterMark ?? 1)
    this.#reader = this.#toClient.readable.getReader()
    this.closed = new Promise((resolve) => {
      this.#end = resolve
    })
    const { closed } = this
    this.session = {
      incomingBidirectionalStreams: new ReadableStream<EngineIO.WebTransportStream>({
        start: (controller) => {
          this.#streams = controller
        }
      }),
      closed: new Promise((resolve, reject) => {
        void closed.then((info) => info instanceof Error ? reject(info) : resolve(info))
      }),
      close: (info) => this.#terminate(info ?? {})
    }
    this.#writer.closed.catch(() => {})
  }

  /** A client whose session the server has, with its stream open. */
  static async connect(
    server: TestServer,
    options?: MemoryOptions,
    request?: EngineIO.WebTransportRequest
  ): Promise<MemoryClient> {
    const client = new MemoryClient(options)
    server.webTransports.add(client)
    client.openStream()
    await server.acceptWebTransport(client.session, request)
    return client
  }

  /** A client whose session is open, with its id. */
  static async open(
    server: TestServer,
    options?: MemoryOptions
  ): Promise<readonly [client: MemoryClient, sid: string]> {
    const client = await MemoryClient.connect(server, options)
    void client.write(frame("0"))
    return [client, await client.handshake()]
  }

  openStream(): void {
    this.#streams!.enqueue({ readable: this.#toServer.readable, writable: this.#toClient.writable })
    if (this.#options.reads !== false) void this.#readAll()
  }

  /** Resolves when the server has taken the bytes. */
  write(bytes: Uint8Array): Promise<void> {
    const written = this.#writer.write(bytes)
    written.catch(() => {})
    return written
  }

  /** The id in the open packet. */
  async handshake(): Promise<string> {
    const packet = await this.packets.next()
    return (JSON.parse(String(packet).slice(1)) as { readonly sid: string }).sid
  }

  /** The end of the session, as the client is told of it. */
  end(milliseconds?: number): Promise<CloseInfo | Error> {
    return within(this.closed, "the end of the session", milliseconds)
  }

  close(info: CloseInfo = {}): void {
    this.#terminate(info)
  }

  /** The connection dies: everything that waits for it fails. */
  kill(): void {
    this.#terminate(new Error("connection lost"))
  }

  /** Closes the client's half of the stream, and leaves the session. */
  finish(): void {
    this.#writer.close().catch(() => {})
  }

  /** Reads one chunk, where the client does not read by itself. */
  async read(): Promise<number> {
    const { value } = await this.#reader.read()
    if (value === undefined) return 0
    this.#take(value)
    return value.byteLength
  }

  async #readAll(): Promise<void> {
    try {
      while (await this.read() > 0);
    } catch {
      // The session is over.
    }
  }

  #take(chunk: Uint8Array): void {
    this.#decoder.push(chunk, (bytes, binary) => {
      const packet = binary ? bytes : Buffer.from(bytes).toString()
      if (packet === "2" && this.#options.pongs !== false) void this.write(frame("3"))
      this.packets.put(packet)
    })
  }

  #terminate(info: CloseInfo | Error): void {
    if (this.isClosed) return
    this.isClosed = true
    const error = info instanceof Error ? info : new Error("session closed")
    this.#end!(info)
    this.#toServer.cut(error)
    this.#toClient.cut(error)
    this.#streams!.error(error)
    this.packets.end("the session is closed")
  }
}
