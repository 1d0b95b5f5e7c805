/**
 * The WebSocket handshake: 101 with our headers, or a refusal before it.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { STATUS_CODES } from "node:http"
import type * as Http from "node:http"
import type * as Net from "node:net"
import { type ServerOptions, WebSocketServer } from "ws"
import type { Config } from "../server/config.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import { DeflatedWebSocket } from "./deflatedWebSocket.ts"
import { Lingering } from "./lingering.ts"
import { NodeWebSocket, type WebSocketSettings } from "./webSocket.ts"
import { type Refusal, switchProtocols } from "./webSocketHandshake.ts"

/** The first bytes behind a request to upgrade, where the client did not wait for the answer. */
const heads = new WeakMap<Http.IncomingMessage, Buffer>()

export const keepHead = (request: Http.IncomingMessage, head: Buffer): void => {
  if (head.length > 0) heads.set(request, head)
}

/** Headers that middlewares want on the 101. */
const middlewareHeaders = new WeakMap<Http.IncomingMessage, Http.OutgoingHttpHeaders>()

export const addHeaders = (request: Http.IncomingMessage, headers: Http.OutgoingHttpHeaders): void => {
  middlewareHeaders.set(request, headers)
}

const keepHeadOf = (request: Http.IncomingMessage, _socket: unknown, head: Buffer): void => keepHead(request, head)

/** The servers whose upgrades have their heads kept. */
const keeping = new Set<Http.Server>()

/** How many engines need that. */
let keepers = 0

const keepFrom = (event: unknown): void => {
  const { server } = (event as { readonly socket: Net.Socket & { readonly server?: Http.Server } }).socket
  // A listener of our own would make a server accept upgrades that accepted none.
  if (server === undefined || keeping.has(server) || server.listenerCount("upgrade") === 0) return
  keeping.add(server)
  server.prependListener("upgrade", keepHeadOf)
  server.once("close", dropHeads)
}

function dropHeads(this: Http.Server): void {
  keeping.delete(this)
  this.off("upgrade", keepHeadOf)
  this.off("close", dropHeads)
}

/**
 * Keeps the heads of all upgrades to any server of the process, from its first connection on: nobody tells a request
 * handler of them. Returns the end of it.
 */
export const keepHeads = (): () => void => {
  if (keepers++ === 0) subscribe("net.server.socket", keepFrom)
  return () => {
    if (--keepers > 0) return
    unsubscribe("net.server.socket", keepFrom)
    for (const server of keeping) dropHeads.call(server)
  }
}

export class Upgrades {
  /** Where compression is on, for the clients that ask for it. */
  private readonly deflating: WebSocketServer | undefined
  private readonly threshold: number
  private readonly settings: WebSocketSettings
  private readonly headers = new WeakMap<Http.IncomingMessage, Readonly<Record<string, string>>>()
  constructor({ closeTimeout, maxPayload, perMessageDeflate }: {
    readonly maxPayload: number
    readonly closeTimeout: number
    readonly perMessageDeflate: Config["perMessageDeflate"]
  }) {
    // A timer holds no more.
    this.settings = { maxPayload, closeTimeout: Math.min(closeTimeout, 2 ** 31 - 1), lingering: new Lingering() }
    this.threshold = perMessageDeflate?.threshold ?? 0
    if (perMessageDeflate === undefined) return
    // `closeTimeout` is newer than the library's published types.
    const options: ServerOptions & { readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      maxPayload,
      perMessageDeflate: { ...perMessageDeflate },
      closeTimeout: this.settings.closeTimeout
    }
    this.deflating = new WebSocketServer(options)
    this.deflating.on("headers", (lines: Array<string>, request: Http.IncomingMessage) => {
      lines.push(...this.linesFor(request, this.headers.get(request) ?? {}))
    })
  }

  get lingering(): Lingering {
    return this.settings.lingering
  }

  private linesFor(request: Http.IncomingMessage, headers: Readonly<Record<string, string>>): Array<string> {
    const lines: Array<string> = []
    for (const name in headers) lines.push(`${name}: ${headers[name]}`)
    const added = middlewareHeaders.get(request)
    for (const name in added) {
      for (const value of [added[name]!].flat()) lines.push(`${name}: ${value}`)
    }
    return lines
  }

  /** Calls back with the connection, or with `undefined` when the client is gone or broke the handshake. */
  accept(
    request: Http.IncomingMessage,
    headers: Readonly<Record<string, string>>,
    done: (connection: WebSocketConnection | undefined) => void
  ): void {
    const { socket } = request
    if (socket.destroyed) return done(undefined)
    const deflating = request.headers["sec-websocket-extensions"] === undefined ? undefined : this.deflating
    const response = deflating === undefined ? switchProtocols(request) : ""
    if (typeof response !== "string") return refuse(socket, response, () => done(undefined))
    const onClose = () => done(undefined)
    socket.once("close", onClose)
    // Whoever has ended its half does not wait for an answer.
    if (!socket.readable || !socket.writable) return void socket.destroy()
    const open = (connection: WebSocketConnection) => {
      socket.off("close", onClose)
      // The packets that open the session leave together, in a later turn than the 101 (rule R29). Not in the very next:
      // a client that is slow to wake up would still read both at once.
      socket.cork()
      setTimeout(uncork, openDelay, socket)
      done(connection)
    }
    const head = heads.get(request) ?? noHead
    process.nextTick(forget, request)
    if (deflating !== undefined) {
      this.headers.set(request, headers)
      return deflating.handleUpgrade(request, socket, head, (ws) => {
        open(new DeflatedWebSocket(ws, socket, this.settings, this.threshold))
      })
    }
    // Before somebody listens, or it would be read at once.
    if (head.length > 0) socket.unshift(head)
    const connection = new NodeWebSocket(socket, this.settings)
    // Like Node's own heads.
    socket.write(
      this.linesFor(request, headers).reduce((all, line) => `${all}${line}\r\n`, response) + "\r\n",
      "latin1"
    )
    open(connection)
  }
}

/** How long the packets that open a session wait behind their 101, in milliseconds. */
const openDelay = 1

const uncork = (socket: Net.Socket): void => socket.uncork()

type Listener = (...args: Array<unknown>) => void

const events = ["close", "error"] as const

/** The listeners that Effect's server has on the connection of an upgrade, by request. */
const effectListeners = new WeakMap<Http.IncomingMessage, ReadonlyArray<Listener | undefined>>()

/** To be called while Effect's server handles the event of an upgrade, at whose end it adds its listeners. */
export const remember = (request: Http.IncomingMessage): void => process.nextTick(findListeners, request)

const findListeners = (request: Http.IncomingMessage): void => {
  const last = events.map((event) => (request.socket.listeners(event) as Array<Listener>).at(-1))
  effectListeners.set(request, last.map((listener) => listener?.name === "" ? listener : undefined))
}

/**
 * Effect's server listens to the connection of an upgrade for the sake of its request handler, which is done; its two
 * listeners, functions without a name, would keep the whole request in memory as long as the connection lives.
 */
const forget = (request: Http.IncomingMessage): void => {
  const found = effectListeners.get(request)
  // What a weak map holds is kept until the whole heap is collected.
  effectListeners.delete(request)
  for (const [index, event] of events.entries()) {
    const listener = found?.[index]
    if (listener !== undefined) request.socket.off(event, listener)
  }
}

const noHead = Buffer.alloc(0)

/** Writes a refusal and closes the connection (rule R21); calls back when it is closed. */
export const refuse = (socket: Net.Socket, { headers, message, status }: Refusal, done: () => void): void => {
  if (socket.destroyed) return done()
  socket.once("close", () => done())
  socket.on("error", () => {})
  socket.once("finish", () => socket.destroy())
  const lines = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}\r\nConnection: close\r\nContent-type: text/html\r\n` +
      `Content-Length: ${Buffer.byteLength(message)}\r\n${lines}\r\n${message}`
  )
}
