/**
 * The WebSocket handshake: 101 with our headers, or a refusal before it.
 */
import { hash } from "node:crypto"
import { STATUS_CODES } from "node:http"
import type * as Http from "node:http"
import type * as Net from "node:net"
import { longestTimer } from "../protocol/limits.ts"
import { type Refusal, switchProtocols } from "../protocol/webSocketHandshake.ts"
import { type Answer, upgradeRefusal } from "../server/answer.ts"
import type { Config } from "../server/config.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import { type Agreed, negotiate } from "./deflate.ts"
import { DeflatedWebSocket } from "./deflatedWebSocket.ts"
import { forget } from "./effectServer.ts"
import { takeHead } from "./heads.ts"
import { Lingering } from "./lingering.ts"
import { decide } from "./undecided.ts"
import { NodeWebSocket, type WebSocketSettings } from "./webSocketConnection.ts"

/** Headers that middlewares want on the 101. */
const middlewareHeaders = new WeakMap<Http.IncomingMessage, Http.OutgoingHttpHeaders>()

export const addHeaders = (request: Http.IncomingMessage, headers: Http.OutgoingHttpHeaders): void => {
  middlewareHeaders.set(request, headers)
}

/** Takes the connection of a request from Node and Effect; returns what its client has sent behind the request. */
export const takeOver = (request: Http.IncomingMessage): Buffer => {
  process.nextTick(forget, request)
  const head = takeHead(request)
  const early = decide(request)
  return early.length === 0 ? head : Buffer.concat([head, ...early])
}

/** Headers to write: of several values, each is a line. */
export type Lines = Readonly<Record<string, string | ReadonlyArray<string>>>

export class Upgrades {
  private readonly perMessageDeflate: Config["perMessageDeflate"]
  private readonly settings: WebSocketSettings
  constructor({ closeTimeout, maxPayload, perMessageDeflate }: {
    readonly maxPayload: number
    readonly closeTimeout: number
    readonly perMessageDeflate: Config["perMessageDeflate"]
  }) {
    this.settings = { maxPayload, closeTimeout: Math.min(closeTimeout, longestTimer), lingering: new Lingering() }
    this.perMessageDeflate = perMessageDeflate
  }

  get lingering(): Lingering {
    return this.settings.lingering
  }

  private negotiate(request: Http.IncomingMessage): Agreed | Refusal | undefined {
    const offered = request.headers["sec-websocket-extensions"]
    if (this.perMessageDeflate === undefined || offered === undefined) return undefined
    return negotiate(offered, { ...this.perMessageDeflate, maxPayload: this.settings.maxPayload })
  }

  /** Calls back with the connection, or with `undefined` when the client is gone or broke the handshake. */
  accept(
    request: Http.IncomingMessage,
    headers: Lines,
    done: (connection: WebSocketConnection | undefined) => void
  ): void {
    const { socket } = request
    const early = takeOver(request)
    if (socket.destroyed) return done(undefined)
    const response = switchProtocols(request, sha1)
    if (typeof response !== "string") return this.refuse(socket, upgradeRefusal(response), () => done(undefined))
    const agreed = this.negotiate(request)
    if (agreed !== undefined && "status" in agreed) {
      return this.refuse(socket, upgradeRefusal(agreed), () => done(undefined))
    }
    const onClose = () => done(undefined)
    socket.once("close", onClose)
    // Whoever has ended its half does not wait for an answer.
    if (!socket.readable || !socket.writable) return void socket.destroy()
    const open = (connection: WebSocketConnection) => {
      socket.off("close", onClose)
      // The packets that open the session leave together, in a later turn than the 101 (rule R29). Not in the very next:
      // a client that is slow to wake up would still read both at once.
      socket.cork()
      done(connection)
      // To a candidate for an upgrade there is nothing to say yet.
      if (socket.writableLength === 0) socket.uncork()
      else setTimeout(uncork, openDelay, socket)
    }
    // Before somebody listens, or it would be read at once.
    if (early.length > 0) socket.unshift(early)
    const connection = agreed === undefined
      ? new NodeWebSocket(socket, this.settings)
      : new DeflatedWebSocket(socket, this.settings, agreed.deflate, this.perMessageDeflate?.threshold ?? 0)
    const lines = [...linesOf(headers), ...linesOf(middlewareHeaders.get(request))]
    if (agreed !== undefined) lines.unshift(agreed.line)
    // Like Node's own heads.
    socket.write(
      lines.reduce((all, line) => `${all}${line}\r\n`, response) + "\r\n",
      "latin1"
    )
    open(connection)
  }

  /** Writes a refusal and closes the connection (rule R21); calls back when it is closed. */
  refuse(socket: Net.Socket, { body, headers, status }: Answer, done: () => void): void {
    if (socket.destroyed) return done()
    this.lingering.watch(socket)
    socket.once("close", () => done())
    socket.on("error", () => {})
    const lines = linesOf({ ...headers, "Content-Length": `${Buffer.byteLength(body)}` })
    socket.cork()
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}\r\n${lines.join("\r\n")}\r\n\r\n`)
    socket.write(body)
    socket.uncork()
    socket.destroySoon()
  }
}

const linesOf = (headers: Lines | Http.OutgoingHttpHeaders | undefined): Array<string> =>
  Object.entries(headers ?? {}).flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}`))

const sha1 = (text: string): string => hash("sha1", text, "base64")

/** How long the packets that open a session wait behind their 101, in milliseconds. */
const openDelay = 1

const uncork = (socket: Net.Socket): void => socket.uncork()
