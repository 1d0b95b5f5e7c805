/**
 * A WebSocket on its TCP connection: what it reads goes through the reader of frames, what it writes is batches of them.
 */
import * as Net from "node:net"
import * as CloseReason from "../../CloseReason.ts"
import type { Message } from "../../Packet.ts"
import { giveBack, toUtf8 } from "../protocol/bytes.ts"
import { encodeClose, encodeFrame, opcodes } from "../protocol/webSocketFrames.ts"
import { type Fault, type FrameHandler, FrameReader, tooLarge } from "../protocol/webSocketReader.ts"
import { type FrameListener, ignore } from "../transport/frameTransport.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import type { FrameWriter } from "../transport/webSocketBatch.ts"
import type { Place } from "../protocol/roster.ts"
import type { Connection, Lingering } from "./lingering.ts"

const nothing = new Uint8Array(0)

const connectionKey = Symbol("effect-engine.io/connection")

type Owned = Net.Socket & { [connectionKey]: NodeWebSocket }

export interface WebSocketSettings {
  readonly maxPayload: number
  /** How long the peer has for its half of the end, in milliseconds. */
  readonly closeTimeout: number
  readonly lingering: Lingering
}

/** What the peer's end of a connection says: 1005 stands for no code, 1006 for no close frame; neither is on a wire. */
const peerClosed = (code: number, reason: string): CloseReason.CloseReason =>
  CloseReason.transportClose({
    code: code === 1005 || code === 1006 ? undefined : code,
    reason: reason === "" ? undefined : reason
  })

/** What may still be written: messages; only our close frame; nothing. */
type Half = "open" | "ending" | "ended"

/** A WebSocket without permessage-deflate. */
export class NodeWebSocket implements WebSocketConnection, FrameWriter, FrameHandler {
  listener: FrameListener = ignore
  protected half: Half = "open"
  protected readonly socket: Net.Socket
  protected readonly settings: WebSocketSettings
  protected readonly reader: FrameReader
  /**
   * Whether nobody else may have a chunk: neither who gave it to the connection, nor another listener, be it one that is
   * gone. Giving its memory back makes an echo of 64 KiB cost 0.61 instead of 1.01.
   */
  private ownsChunks: boolean
  /** What was read and not looked at: its time comes in a later turn of the event loop, if reading is not paused then. */
  protected rest: Uint8Array | undefined
  private turn: NodeJS.Immediate | undefined
  /** Nothing more is read: the peer's close frame came, or it broke the protocol. */
  protected isReadOut = false
  private code = 1006
  private reason = ""
  /** What the connection died of, where that is more than a close. */
  private failure: CloseReason.TransportFailure | undefined
  private closing: NodeJS.Timeout | undefined
  /** Its place among those that linger. */
  private place: Place<Connection> | undefined
  /** The ping whose pong waits for room: of several, only the last needs one (RFC 6455, section 5.5.3). */
  private ping: Uint8Array | undefined
  constructor(socket: Net.Socket, settings: WebSocketSettings) {
    this.socket = socket
    this.settings = settings
    this.reader = new FrameReader(this, settings.maxPayload)
    ;(socket as Owned)[connectionKey] = this
    // Node serves any stream that somebody gives it as a connection.
    const isTcp = socket instanceof Net.Socket
    this.ownsChunks = isTcp && socket.listenerCount("data") + socket.listenerCount("readable") === 0
    if (isTcp) socket.setTimeout(0).setNoDelay(true)
    // Shared listeners: a connection costs no closures.
    socket.on("data", onData)
    socket.on("drain", onDrain)
    socket.on("end", onEnd)
    socket.on("error", onError)
    socket.on("close", onClose)
    socket.on("newListener", onNewListener)
  }

  get unsent(): number {
    return this.socket.writableLength
  }

  get open(): boolean {
    return this.half === "open"
  }

  get frames(): FrameWriter | undefined {
    return this
  }

  allocate(size: number, isKept = true): Uint8Array<ArrayBuffer> {
    return isKept ? new Uint8Array(Buffer.allocUnsafeSlow(size).buffer) : Buffer.allocUnsafe(size)
  }

  write(buffers: ReadonlyArray<Uint8Array>): boolean {
    const { socket } = this
    if (buffers.length === 1) return socket.write(buffers[0]!)
    let more = true
    socket.cork()
    for (const buffer of buffers) more = socket.write(buffer)
    socket.uncork()
    return more
  }

  writeMessage(data: string | Uint8Array, _compress: boolean): boolean {
    if (!this.open) return true
    return this.socket.write(
      typeof data === "string" ? encodeFrame(opcodes.text, toUtf8(data)) : encodeFrame(opcodes.binary, data)
    )
  }

  whenWritten(done: (written: boolean) => void): void {
    if (!this.socket.writable) return done(false)
    if (this.socket.writableLength === 0) return done(true)
    this.socket.write(nothing, (error) => done(error === undefined || error === null))
  }

  pause(): void {
    // The end of a connection is to be seen, whoever does not read the rest of it.
    if (this.isReadOut || !this.open) return
    this.reader.isPaused = true
    this.stopReading()
  }

  /** Once: paused again, Deno would no longer see the end of the connection. */
  private stopReading(): void {
    if (!this.socket.isPaused()) this.socket.pause()
  }

  resume(): void {
    if (!this.reader.isPaused) return
    this.reader.isPaused = false
    this.goOnLater()
  }

  protected goOnLater(): void {
    if (!this.reader.mayRead) return
    if (this.rest === undefined) this.socket.resume()
    else this.turn ??= setImmediate(goOn, this)
  }

  /** Looks at what a turn before this one has left. */
  goOn(): void {
    const { rest } = this
    this.turn = undefined
    if (rest === undefined || !this.reader.mayRead) return
    this.take(rest)
    if (this.rest === undefined && this.reader.mayRead) this.socket.resume()
  }

  terminate(): void {
    this.socket.destroy()
  }

  /** Sends our close frame, once, and waits for the peer's; then the connection ends. */
  close(code?: number, reason = ""): void {
    const { socket } = this
    this.endHalf()
    if (this.half === "ending" && socket.writable) {
      this.half = "ended"
      socket.write(encodeClose(code, reason))
    }
    this.bound()
    if (this.isReadOut) socket.end()
  }

  /** No more messages, either way; what still comes is read for the peer's close frame. */
  protected endHalf(): void {
    if (this.half === "open") this.half = "ending"
    this.reader.drop()
    this.resume()
  }

  /** From here on the peer has its time. */
  protected bound(): void {
    const { closeTimeout, lingering } = this.settings
    if (this.closing !== undefined || this.socket.closed) return
    this.closing = setTimeout(destroy, closeTimeout, this.socket)
    this.place = lingering.add(this)
  }

  onMessage(data: Message, size: number): void {
    this.listener.onFrame(data, size)
  }

  onPing(data: Uint8Array): void {
    if (!this.open) return
    if (this.socket.writableNeedDrain) this.ping = data
    else this.socket.write(encodeFrame(opcodes.pong, data))
  }

  onCloseFrame(code: number, reason: string): void {
    this.isReadOut = true
    this.code = code
    this.reason = reason
    this.close(code === 1005 ? undefined : code, reason)
  }

  onFault(fault: Fault): void {
    this.isReadOut = true
    this.failure = fault === tooLarge
      ? new CloseReason.PayloadTooLarge({ limit: this.settings.maxPayload })
      : new CloseReason.WebSocketProtocol(fault)
    this.close(fault.code)
  }

  take(chunk: Uint8Array): void {
    // While we do not read, others may read by hand, and no listener shows them.
    const isOurs = this.ownsChunks && !this.socket.isPaused()
    this.rest = this.reader.push(chunk)
    if (this.rest !== undefined || this.reader.isInflating) this.stopReading()
    if (this.rest === undefined && isOurs) giveBack(chunk)
    this.endTurn()
  }

  /** What could be read now was handed over. */
  protected endTurn(): void {
    this.listener.onTurn()
    // What came before the end is handed over; the connection itself may linger.
    if (this.isReadOut) this.report()
    else if (this.rest !== undefined) this.goOnLater()
  }

  /** Somebody else reads along from now on. */
  share(): void {
    this.ownsChunks = false
  }

  drained(): void {
    const { ping } = this
    this.ping = undefined
    if (ping !== undefined) this.onPing(ping)
    this.listener.onWritable()
  }

  /** The peer writes nothing more. */
  ended(): void {
    if (this.open) this.half = "ending"
    this.bound()
    // A second end makes Node build an error, which it tells nobody.
    if (!this.socket.writableEnded) this.socket.end()
    if (this.takeRest()) this.report()
  }

  failWrite(cause: unknown): void {
    this.failure ??= new CloseReason.WriteFailed({ cause })
  }

  /** Nothing is left of the connection but what came before and was not read. */
  gone(): void {
    const { socket } = this
    clearTimeout(this.closing)
    if (this.open) this.half = "ending"
    if (!this.takeRest()) return
    if (!this.isReadOut && !socket.readableEnded && socket.readableLength > 0) {
      this.rest = socket.read(socket.readableLength) as Uint8Array
      if (!this.takeRest()) return
    }
    if (this.place !== undefined) this.settings.lingering.delete(this.place)
    this.report()
  }

  /** Looks at what was left, whoever paused: there is no later turn. False while a message is still being inflated. */
  protected takeRest(): boolean {
    const { reader } = this
    reader.isPaused = false
    while (this.rest !== undefined && reader.mayRead) this.take(this.rest)
    clearImmediate(this.turn)
    this.turn = undefined
    return reader.mayRead
  }

  protected report(): void {
    const { listener } = this
    this.listener = ignore
    listener.onClose(
      this.failure === undefined ? peerClosed(this.code, this.reason) : CloseReason.transportError(this.failure)
    )
  }
}

const destroy = (socket: Net.Socket): void => void socket.destroy()

const goOn = (connection: NodeWebSocket): void => connection.goOn()

function onNewListener(this: Net.Socket, event: string | symbol): void {
  if (event === "data" || event === "readable") (this as Owned)[connectionKey].share()
}

function onData(this: Net.Socket, chunk: Uint8Array): void {
  ;(this as Owned)[connectionKey].take(chunk)
}

function onDrain(this: Net.Socket): void {
  ;(this as Owned)[connectionKey].drained()
}

function onEnd(this: Net.Socket): void {
  ;(this as Owned)[connectionKey].ended()
}

function onError(this: Net.Socket, error: Error & { readonly syscall?: string }): void {
  if (error.syscall === "write") (this as Owned)[connectionKey].failWrite(error)
}

function onClose(this: Net.Socket): void {
  ;(this as Owned)[connectionKey].gone()
}
