/**
 * A WebSocket with permessage-deflate. Both ways, one message at a time is worked on and the others wait.
 */
import type * as Net from "node:net"
import { copyOf } from "../protocol/bytes.ts"
import { encodeFrame, opcodes, rsv1 } from "../protocol/webSocketFrames.ts"
import { tooLarge } from "../protocol/webSocketReader.ts"
import type { Deflate } from "./deflate.ts"
import { NodeWebSocket, type WebSocketSettings } from "./webSocketConnection.ts"

interface Outgoing {
  readonly opcode: number
  readonly data: Uint8Array
  readonly compress: boolean
}

export class DeflatedWebSocket extends NodeWebSocket {
  private readonly deflate: Deflate
  /** The fewest bytes worth compressing. */
  private readonly threshold: number
  /** Messages behind the one that is being compressed. */
  private queue: Array<Outgoing> = []
  private queuedBytes = 0
  private isCompressing = false
  /** What waits until all is compressed. */
  private onQuiet: Array<() => void> = []
  private isGone = false
  constructor(socket: Net.Socket, settings: WebSocketSettings, deflate: Deflate, threshold: number) {
    super(socket, settings)
    this.deflate = deflate
    this.threshold = threshold
  }

  // --- out ---------------------------------------------------------------------------------------------------------

  override get unsent(): number {
    return super.unsent + this.queuedBytes
  }

  override get frames(): undefined {
    return undefined
  }

  override writeMessage(message: string | Uint8Array, compress: boolean): boolean {
    if (!this.open) return true
    const isText = typeof message === "string"
    const data = isText ? Buffer.from(message) : message
    this.queuedBytes += data.length
    this.queue.push({
      opcode: isText ? opcodes.text : opcodes.binary,
      data,
      compress: compress && data.length >= this.threshold
    })
    this.writeQueued()
    return this.unsent < this.socket.writableHighWaterMark
  }

  private writeQueued(): void {
    while (!this.isCompressing) {
      const next = this.queue.shift()
      if (next === undefined) break
      if (!next.compress) {
        this.queuedBytes -= next.data.length
        this.socket.write(encodeFrame(next.opcode, next.data))
        continue
      }
      this.isCompressing = true
      this.deflate.compress(next.data, true, (error, data) => {
        this.isCompressing = false
        this.queuedBytes -= next.data.length
        if (!this.socket.writable) return this.drop()
        if (error !== null) {
          this.failWrite(error)
          return this.terminate()
        }
        this.socket.write(encodeFrame(next.opcode | rsv1, data))
        this.writeQueued()
        // Nobody else says that there is room again.
        if (this.unsent < this.socket.writableHighWaterMark) this.listener.onWritable()
      })
    }
    if (this.isCompressing) return
    const { onQuiet } = this
    this.onQuiet = []
    for (const f of onQuiet) f()
  }

  /** Nothing more can be written. */
  private drop(): void {
    for (const { data } of this.queue) this.queuedBytes -= data.length
    this.queue = []
    this.writeQueued()
  }

  override whenWritten(done: (written: boolean) => void): void {
    if (this.isCompressing) this.onQuiet.push(() => this.whenWritten(done))
    else super.whenWritten(done)
  }

  override close(code?: number, reason?: string): void {
    // What was accepted goes out before our close frame, unless the peer has closed.
    if (this.isReadOut) this.drop()
    if (!this.isCompressing) return super.close(code, reason)
    this.endHalf()
    this.bound()
    this.onQuiet.push(() => super.close(code, reason))
  }

  // --- in ----------------------------------------------------------------------------------------------------------

  override pause(): void {
    if (this.isGone) this.reader.isPaused = true
    else super.pause()
  }

  onCompressed(compressed: Uint8Array, isBinary: boolean): void {
    this.deflate.decompress(compressed, true, (error, data) => {
      if (error !== null) {
        const isTooLarge = error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
        this.reader.inflated(isTooLarge ? tooLarge : { code: 1007, message: error.message }, isBinary)
        // A copy is the receiver's own: the library's bytes are a piece of what it inflates into.
      } else this.reader.inflated(isBinary ? copyOf(data, 0) : data, isBinary)
      this.endTurn()
      if (this.isGone) this.gone()
      else this.goOnLater()
    })
  }

  override gone(): void {
    this.isGone = true
    do {
      // Nobody knows how much it would be: once there is no room, nothing more is inflated.
      if (this.reader.isPaused) {
        this.rest = undefined
        this.isReadOut = true
      }
      super.gone()
    } while (this.reader.isPaused)
    if (!this.reader.isInflating) this.deflate.cleanup()
  }
}
