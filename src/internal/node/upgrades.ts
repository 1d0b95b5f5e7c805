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
import { Lingering, NodeConnection } from "./connection.ts"

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
  private readonly server: WebSocketServer
  private readonly maxPayload: number
  private readonly threshold: number
  readonly lingering = new Lingering()
  private readonly headers = new WeakMap<Http.IncomingMessage, Readonly<Record<string, string>>>()
  constructor(options: {
    readonly maxPayload: number
    readonly closeTimeout: number
    readonly perMessageDeflate: Config["perMessageDeflate"]
  }) {
    this.maxPayload = options.maxPayload
    this.threshold = options.perMessageDeflate?.threshold ?? 0
    // `closeTimeout` is newer than the library's published types.
    const serverOptions: ServerOptions & { readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      maxPayload: options.maxPayload,
      perMessageDeflate: options.perMessageDeflate === undefined ? false : { ...options.perMessageDeflate },
      // A timer holds no more.
      closeTimeout: Math.min(options.closeTimeout, 2 ** 31 - 1)
    }
    this.server = new WebSocketServer(serverOptions)
    this.server.on("headers", (lines: Array<string>, request: Http.IncomingMessage) => {
      const headers = this.headers.get(request)
      if (headers !== undefined) { for (const name in headers) lines.push(`${name}: ${headers[name]}`) }
      const added = middlewareHeaders.get(request)
      for (const name in added) {
        for (const value of [added[name]!].flat()) lines.push(`${name}: ${value}`)
      }
    })
  }

  /** Calls back with the connection, or with `undefined` when the client is gone or broke the handshake. */
  accept(
    request: Http.IncomingMessage,
    headers: Readonly<Record<string, string>>,
    done: (connection: WebSocketConnection | undefined) => void
  ): void {
    const socket = request.socket
    if (socket.destroyed) return done(undefined)
    const onClose = () => done(undefined)
    socket.once("close", onClose)
    this.headers.set(request, headers)
    // The 101 and the packets that open the session leave in one write, at the end of this turn.
    socket.cork()
    process.nextTick(uncork, socket, request)
    this.server.handleUpgrade(request, socket, heads.get(request) ?? noHead, (ws) => {
      socket.off("close", onClose)
      done(new NodeConnection(ws, socket, this.maxPayload, this.threshold, this.lingering))
    })
  }
}

const uncork = (socket: Net.Socket, request: Http.IncomingMessage): void => {
  socket.uncork()
  forget(request)
}

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
  for (const [index, event] of events.entries()) {
    const listener = found?.[index]
    if (listener !== undefined) request.socket.off(event, listener)
  }
}

const noHead = Buffer.alloc(0)

/** Writes a refusal and closes the connection (rule R21); calls back when it is closed. */
export const refuse = (socket: Net.Socket, status: number, message: string, done: () => void): void => {
  if (socket.destroyed) return done()
  socket.once("close", () => done())
  socket.on("error", () => {})
  socket.once("finish", () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}\r\nConnection: close\r\nContent-type: text/html\r\n` +
      `Content-Length: ${Buffer.byteLength(message)}\r\n\r\n${message}`
  )
}
