/**
 * WebTransport over real QUIC on localhost: a server for the sessions of a `TestServer`, and the real client with the
 * global `WebTransport` that browsers have.
 */
import { Socket } from "engine.io-client"
import { createSocket } from "node:dgram"
import { createHash, X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Socket as ServerSocket } from "../../src/index.ts"
import { eventually, Mailbox, within } from "./events.ts"
import type * as Moq from "./moq.d.ts"
import type { TestServer } from "./server.ts"
import { certificate } from "./tls.ts"

// ---------------------------------------------------------------------------------------------------------------------
// the package
// ---------------------------------------------------------------------------------------------------------------------

/** What a section of an ELF file says of itself. */
interface Section {
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

const dynamicSymbols = 11
const neededVersions = 0x6ffffffe
const symbolVersions = 0x6fffffff

/**
 * The binary asks for glibc 2.38 for the sake of two functions that every glibc has under an older name: `sscanf` and
 * `strtol` with the prefix of a newer C. This is a copy that asks for the older names.
 */
const relink = (library: Buffer): Buffer => {
  const bytes = Buffer.from(library)
  const u16 = (at: number) => bytes.readUInt16LE(at)
  const u32 = (at: number) => bytes.readUInt32LE(at)
  const u64 = (at: number) => Number(bytes.readBigUInt64LE(at))
  const sections = Array.from({ length: u16(60) }, (_, index): Section => {
    const at = u64(40) + index * 64
    return { type: u32(at + 4), offset: u64(at + 24), size: u64(at + 32), link: u32(at + 40) }
  })
  const find = (type: number): Section => sections.find((section) => section.type === type)!
  const symbols = find(dynamicSymbols)
  const text = (offset: number): string => {
    const at = sections[symbols.link]!.offset + offset
    return bytes.toString("latin1", at, bytes.indexOf(0, at))
  }
  let version = 0
  let library_ = find(neededVersions).offset
  for (let more = true; more;) {
    for (let at = library_ + u32(library_ + 8), next = 1; next !== 0; at += next) {
      next = u32(at + 12)
      if (text(u32(at + 8)) === "GLIBC_2.38") {
        version = u16(at + 6)
        // Weak: no error where the library lacks it.
        bytes.writeUInt16LE(2, at + 4)
      }
    }
    more = u32(library_ + 12) !== 0
    library_ += u32(library_ + 12)
  }
  const prefix = "__isoc23_"
  for (let index = 0; index < symbols.size / 24; index++) {
    const versionAt = find(symbolVersions).offset + index * 2
    const name = u32(symbols.offset + index * 24)
    if (u16(versionAt) !== version || !text(name).startsWith(prefix)) continue
    bytes.writeUInt32LE(name + prefix.length, symbols.offset + index * 24)
    bytes.writeUInt16LE(1, versionAt)
  }
  return bytes
}

/** The environment in which the package loads: none of its own, or a binary for an older glibc, which `folder` gets. */
export const moqEnvironment = (folder: string): Record<string, string> => {
  const { header } = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } }
  const glibc = header.glibcVersionRuntime?.split(".").map(Number)
  if (glibc === undefined || glibc[0]! > 2 || glibc[1]! >= 38) return {}
  const name = `web-transport.linux-${process.arch}-gnu.node`
  const entry = createRequire(import.meta.url).resolve("@moq/web-transport")
  const copy = join(folder, name)
  writeFileSync(copy, relink(readFileSync(join(entry, "../..", name))))
  return { NAPI_RS_NATIVE_LIBRARY_PATH: copy }
}

/** The package, or why it does not load here. */
export const loadMoq = async (): Promise<typeof Moq | string> => {
  const folder = mkdtempSync(join(tmpdir(), "web-transport-"))
  try {
    Object.assign(process.env, moqEnvironment(folder))
    return await import("@moq/web-transport")
  } catch (error) {
    return String(error)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const { cert, key } = certificate()

/** What a client can know the certificate by. */
export const hash = createHash("sha256").update(new X509Certificate(cert).raw).digest()

/** What makes a client trust the server. */
export const trust: Moq.ClientOptions = { serverCertificateHashes: [{ algorithm: "sha-256", value: hash }] }

// ---------------------------------------------------------------------------------------------------------------------
// server
// ---------------------------------------------------------------------------------------------------------------------

/** A UDP port that is free now. */
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
      const { port } = socket.address()
      socket.close(() => resolve(port))
    })
  })

/**
 * Accepts sessions for one server after the other. It is never closed: the package waits for the next request with a
 * lock that closing waits for.
 */
export class QuicServer {
  /** Who gets the sessions. */
  server: Pick<TestServer, "acceptWebTransport"> | undefined
  /** The server's ends of the sessions. */
  readonly sessions: Mailbox<Moq.default> = new Mailbox("a WebTransport session")
  readonly port: number
  readonly #quic: Moq.Server

  private constructor(moq: typeof Moq, port: number) {
    this.port = port
    this.#quic = moq.Server.bind(`127.0.0.1:${port}`, Buffer.from(cert), Buffer.from(key))
    void this.#accept()
  }

  static async start(moq: typeof Moq): Promise<QuicServer> {
    return new QuicServer(moq, await freePort())
  }

  async #accept(): Promise<void> {
    for (let request = await this.#quic.accept(); request !== null; request = await this.#quic.accept()) {
      const url = await request.url
      const session = await request.ok()
      this.sessions.put(session)
      await this.server!.acceptWebTransport(session, { url })
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// client
// ---------------------------------------------------------------------------------------------------------------------

/** The client's ends of the sessions, in order. */
export const clientSessions: Array<Moq.default> = []

/** Gives the client the global it looks for. */
export const installWebTransport = (moq: typeof Moq, { port }: QuicServer): void => {
  // The client looks after no rejection: it gets a session that is never ready, and streams that never fail.
  class WebTransport extends moq.default {
    constructor(url: string) {
      // Polling has the TCP port of the same test.
      super(url.replace(/:\d+\//, `:${port}/`), trust)
      const ready = this.ready.catch(() => new Promise<void>(() => {}))
      Object.assign(this, { ready })
      clientSessions.push(this)
    }

    override async createBidirectionalStream() {
      const { readable, writable } = await super.createBidirectionalStream()
      const writer = writable.getWriter()
      writer.closed.catch(() => {})
      const forgiving = new WritableStream<Uint8Array>({ write: (chunk) => writer.write(chunk).catch(() => {}) })
      return { readable, writable: forgiving }
    }
  }
  Object.assign(globalThis, { WebTransport })
}

/** The real client over WebTransport alone, or over polling first. */
export class QuicClient {
  readonly socket: Socket
  readonly messages: Mailbox<string | Buffer> = new Mailbox("a message at the client")
  /** The client forgets it with its session. */
  sid = ""
  readonly closed: Promise<string>
  readonly upgraded: Promise<string>

  private constructor(server: TestServer, transports: Array<"polling" | "webtransport">) {
    this.socket = new Socket(`ws://127.0.0.1:${server.port}`, { transports })
    this.socket.on("message", (data: string | Buffer) => this.messages.put(data))
    this.upgraded = new Promise((resolve) => {
      this.socket.on("upgrade", ({ name }: { readonly name: string }) => resolve(name))
    })
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (reason: string) => {
        this.messages.end(`closed: ${reason}`)
        resolve(reason)
      })
    })
  }

  static async connect(server: TestServer, ...transports: Array<"polling" | "webtransport">): Promise<QuicClient> {
    const client = new QuicClient(server, transports)
    server.clients.add(client as never)
    await within(
      new Promise<void>((resolve, reject) => {
        client.socket.on("open", () => {
          client.sid = (client.socket as unknown as { readonly id: string }).id
          resolve()
        })
        client.socket.on("close", (reason) => reject(new Error(`not connected: ${reason}`)))
      }),
      "a connection"
    )
    if (transports.includes("polling")) {
      await within(client.upgraded, "an upgrade")
      // The client counts itself as upgraded before the server can know; a session closed in between takes that along.
      const socket = await server.socket(client.sid)
      await eventually("an upgrade at the server", () => server.run(ServerSocket.upgraded(socket)), (it) => it)
    }
    return client
  }

  exchange(message: string | Uint8Array): Promise<string | Buffer> {
    this.socket.send(message)
    return this.messages.next()
  }
}
