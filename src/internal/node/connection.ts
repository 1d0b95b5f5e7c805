/**
 * A WebSocket of the `ws` library, read through the library and, without permessage-deflate, written past it: we hand
 * `ws` its TCP socket, so we can put a batch of frames on it with one system call.
 */
import type * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Net from "node:net"
import type { RawData, WebSocket } from "ws"
import * as CloseReason from "../../CloseReason.ts"
import { type FrameListener, ignore } from "../transport/frameListener.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"

const nothing = new Uint8Array(0)

const connectionKey = Symbol("effect-engine.io/connection")

type Owned<T> = T & { [connectionKey]: NodeConnection }

// What the library says of the errors of its receiver; each carries the close code it answered with.
const codeOf: Record<string, number> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008
}

/** The connections of a server that wait for the peer's half of their end. */
export class Lingering {
  private readonly connections = new Set<NodeConnection>()
  private readonly none = Latch.makeUnsafe(true)

  add(connection: NodeConnection): void {
    this.connections.add(connection)
    this.none.closeUnsafe()
  }

  delete(connection: NodeConnection): void {
    if (this.connections.delete(connection) && this.connections.size === 0) this.none.openUnsafe()
  }

  /** Waits until there are none. */
  get gone(): Effect.Effect<void> {
    return this.none.await
  }

  /** Waits no longer. */
  cut(): void {
    for (const connection of this.connections) connection.terminate()
  }
}

export class NodeConnection implements WebSocketConnection {
  listener: FrameListener = ignore
  readonly raw: boolean
  private readonly ws: WebSocket
  private readonly socket: Net.Socket
  private readonly maxPayload: number
  /** Messages given to the library's compressor and not written yet. */
  private compressing = 0
  private onQuiet: (() => void) | undefined
  /** What the connection died of, where that is more than a close. */
  private failure: CloseReason.TransportFailure | undefined
  private closing = false

  /** The fewest bytes worth compressing. */
  private readonly threshold: number

  private readonly lingering: Lingering

  constructor(ws: WebSocket, socket: Net.Socket, maxPayload: number, threshold: number, lingering: Lingering) {
    this.threshold = threshold
    this.lingering = lingering
    this.ws = ws
    this.socket = socket
    this.maxPayload = maxPayload
    this.raw = ws.extensions === ""
    const owned = ws as Owned<WebSocket>
    const ownedSocket = socket as Owned<Net.Socket>
    owned[connectionKey] = this
    ownedSocket[connectionKey] = this
    // Shared listeners: a connection costs no closures.
    ws.on("message", onMessage)
    ws.on("error", onError)
    ws.on("close", onClose)
    // Behind the library's own listener: when it runs, all frames of the chunk were reported.
    socket.on("data", onData)
    socket.on("drain", onDrain)
    socket.on("error", onSocketError)
  }

  // The library answers a close frame before we hear of it.
  get open(): boolean {
    return this.ws.readyState === this.ws.OPEN
  }

  get unsent(): number {
    return this.raw ? this.socket.writableLength : this.ws.bufferedAmount
  }

  writeFrames(buffers: ReadonlyArray<Uint8Array>): boolean {
    const { socket } = this
    if (buffers.length === 1) return socket.write(buffers[0]!)
    let more = true
    socket.cork()
    for (const buffer of buffers) more = socket.write(buffer)
    socket.uncork()
    return more
  }

  writeMessage(data: string | Uint8Array, compress: boolean): boolean {
    const size = typeof data === "string" ? Buffer.byteLength(data) : data.byteLength
    const options = { binary: typeof data !== "string", compress: compress && size >= this.threshold }
    if (this.raw) {
      this.ws.send(data, options)
    } else {
      this.compressing++
      this.ws.send(data, options, (error) => this.onCompressed(error))
    }
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
    this.lingering.add(this)
    this.ws.close(code, reason)
  }

  terminate(): void {
    this.ws.terminate()
  }

  /** Nothing is left of the connection. */
  gone(code: number, reason: string): void {
    this.lingering.delete(this)
    this.report(code, reason)
  }

  report(code: number, reason: string): void {
    this.closing = true
    const { listener } = this
    this.listener = ignore
    if (this.failure !== undefined) return listener.onClose(CloseReason.transportError(this.failure))
    listener.onClose({
      _tag: "TransportClose",
      // 1005 stands for no code and 1006 for no close frame: neither is ever on the wire.
      ...(code === 1005 || code === 1006 ? {} : { code }),
      ...(reason === "" ? {} : { reason })
    })
  }

  fail(error: Error & { readonly code?: string }): void {
    const code = error.code ?? ""
    this.failure = code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
      ? new CloseReason.PayloadTooLarge({ limit: this.maxPayload })
      : code.startsWith("WS_ERR_")
      ? new CloseReason.WebSocketProtocol({ code: codeOf[code] ?? 1002, message: error.message })
      // What cannot be inflated.
      : code.startsWith("Z_")
      ? new CloseReason.WebSocketProtocol({ code: 1007, message: error.message })
      : new CloseReason.WriteFailed({ cause: error })
    // The library has sent its close frame; what the peer still says does not matter.
    this.lingering.add(this)
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
  connection.listener.onFrame(data as Buffer, isBinary)
  // Inflating is asynchronous, so there is no chunk to wait for.
  if (!connection.raw) connection.listener.onTurn()
}

function onData(this: Net.Socket): void {
  ;(this as Owned<Net.Socket>)[connectionKey].listener.onTurn()
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
