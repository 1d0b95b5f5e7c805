/**
 * A WebSocket with permessage-deflate, which the `ws` library reads and writes.
 */
import type { EventEmitter } from "node:events"
import type * as Net from "node:net"
import type { RawData, WebSocket } from "ws"
import * as CloseReason from "../../CloseReason.ts"
import { type FrameListener, ignore } from "../transport/frameListener.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import { peerClosed, type WebSocketSettings } from "./webSocket.ts"

const nothing = new Uint8Array(0)

const connectionKey = Symbol("effect-engine.io/connection")

type Owned<T> = T & { [connectionKey]: DeflatedWebSocket }

// What the library says of the errors of its receiver; each carries the close code it answered with.
const codeOf: Record<string, number> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008
}

export class DeflatedWebSocket implements WebSocketConnection {
  listener: FrameListener = ignore
  private readonly ws: WebSocket
  private readonly socket: Net.Socket
  /** Messages given to the library's compressor and not written yet. */
  private compressing = 0
  private onQuiet: (() => void) | undefined
  /** What the connection died of, where that is more than a close. */
  private failure: CloseReason.TransportFailure | undefined
  private closing = false
  private cutting: NodeJS.Timeout | undefined
  private readonly settings: WebSocketSettings
  /** The fewest bytes worth compressing. */
  private readonly threshold: number
  constructor(ws: WebSocket, socket: Net.Socket, settings: WebSocketSettings, threshold: number) {
    this.ws = ws
    this.socket = socket
    this.settings = settings
    this.threshold = threshold
    const owned = ws as Owned<WebSocket>
    const ownedSocket = socket as Owned<Net.Socket>
    owned[connectionKey] = this
    ownedSocket[connectionKey] = this
    // Shared listeners: a connection costs no closures.
    ws.on("message", onMessage)
    ws.on("error", onError)
    ws.on("close", onClose)
    // The library itself tells of the peer's end only when the connection is gone.
    const { _receiver: receiver } = ws as unknown as { readonly _receiver: Owned<EventEmitter> }
    receiver[connectionKey] = this
    receiver.on("conclude", onConclude)
    receiver.on("finish", onFinish)
    socket.on("drain", onDrain)
    socket.on("error", onSocketError)
  }

  // The library answers a close frame before we hear of it.
  get open(): boolean {
    return this.ws.readyState === this.ws.OPEN
  }

  get unsent(): number {
    return this.ws.bufferedAmount
  }

  writeMessage(data: string | Uint8Array, compress: boolean): boolean {
    const size = typeof data === "string" ? Buffer.byteLength(data) : data.byteLength
    const options = { binary: typeof data !== "string", compress: compress && size >= this.threshold }
    this.compressing++
    this.ws.send(data, options, (error) => this.onCompressed(error))
    return this.ws.bufferedAmount < this.socket.writableHighWaterMark
  }

  private onCompressed(error: Error | null | undefined): void {
    this.compressing--
    // The library does not say when its own queue has room again.
    const isWritten = error === undefined || error === null
    if (isWritten && this.ws.bufferedAmount < this.socket.writableHighWaterMark) this.listener.onWritable()
    if (this.compressing === 0) this.onQuiet?.()
  }

  whenWritten(done: (written: boolean) => void): void {
    if (this.socket.destroyed) return done(false)
    if (this.compressing > 0) {
      const before = this.onQuiet
      this.onQuiet = () => {
        this.onQuiet = undefined
        before?.()
        this.whenWritten(done)
      }
      return
    }
    if (this.socket.writableLength === 0) return done(true)
    this.socket.write(nothing, (error) => done(error === undefined || error === null))
  }

  pause(): void {
    this.ws.pause()
  }

  resume(): void {
    if (this.ws.isPaused) this.ws.resume()
  }

  close(code?: number, reason?: string): void {
    if (this.closing) return
    this.closing = true
    // Paused, it would never see the peer's half.
    this.resume()
    this.settings.lingering.add(this)
    this.ws.close(code, reason)
  }

  terminate(): void {
    this.ws.terminate()
  }

  /** The peer says nothing more; the connection itself may linger. */
  ended(code: number, reason: string): void {
    const { closeTimeout, lingering } = this.settings
    // The library bounds the wait behind a close frame, but not behind the end of the peer's half.
    this.cutting ??= setTimeout(() => this.terminate(), closeTimeout)
    lingering.add(this)
    this.report(code, reason)
  }

  /** Nothing is left of the connection. */
  gone(code: number, reason: string): void {
    clearTimeout(this.cutting)
    this.settings.lingering.delete(this)
    this.report(code, reason)
  }

  report(code: number, reason: string): void {
    this.closing = true
    const { listener } = this
    this.listener = ignore
    if (this.failure !== undefined) return listener.onClose(CloseReason.transportError(this.failure))
    listener.onClose(peerClosed(code, reason))
  }

  fail(error: Error & { readonly code?: string }): void {
    const code = error.code ?? ""
    this.failure = code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
      ? new CloseReason.PayloadTooLarge({ limit: this.settings.maxPayload })
      : code.startsWith("WS_ERR_")
      ? new CloseReason.WebSocketProtocol({ code: codeOf[code] ?? 1002, message: error.message })
      // What cannot be inflated.
      : code.startsWith("Z_")
      ? new CloseReason.WebSocketProtocol({ code: 1007, message: error.message })
      : new CloseReason.WriteFailed({ cause: error })
    // The library has sent its close frame; what the peer still says does not matter.
    this.settings.lingering.add(this)
    this.report(1006, "")
  }

  failWrite(cause: unknown): void {
    this.failure ??= new CloseReason.WriteFailed({ cause })
  }

  drained(): void {
    this.listener.onWritable()
  }
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const connection = (this as Owned<WebSocket>)[connectionKey]
  // The library's bytes are views, of what it inflated or of what it read.
  connection.listener.onFrame(isBinary ? new Uint8Array(data as Buffer) : data as Buffer, isBinary)
  // Inflating is asynchronous, so there is no chunk to wait for.
  connection.listener.onTurn()
}

function onConclude(this: Owned<EventEmitter>, code: number, reason: Buffer): void {
  this[connectionKey].ended(code, reason.toString())
}

function onFinish(this: Owned<EventEmitter>): void {
  this[connectionKey].ended(1006, "")
}

function onDrain(this: Net.Socket): void {
  ;(this as Owned<Net.Socket>)[connectionKey].drained()
}

function onError(this: WebSocket, error: Error): void {
  ;(this as Owned<WebSocket>)[connectionKey].fail(error)
}

function onSocketError(this: Net.Socket, error: Error & { readonly syscall?: string }): void {
  if (error.syscall === "write") (this as Owned<Net.Socket>)[connectionKey].failWrite(error)
}

function onClose(this: WebSocket, code: number, reason: Buffer): void {
  ;(this as Owned<WebSocket>)[connectionKey].gone(code, reason.toString())
}
