/**
 * Reads WebSocket frames as a server gets them: masked, whole or in fragments, cut into chunks anyhow (RFC 6455,
 * sections 5 to 8; rule R70).
 */
import { isUtf8 } from "node:buffer"
import { PayloadTooLarge, type TransportFailure, WebSocketProtocol } from "../../CloseReason.ts"
import { copyOf } from "../protocol/bytes.ts"
import { opcodes } from "../transport/webSocketFrames.ts"
import { release, rotated, unmask } from "./frameBytes.ts"

export interface FrameHandler {
  /** A whole message. The bytes of a text are to be read at once; those of a binary message are the receiver's. */
  onMessage(data: Uint8Array, isBinary: boolean): void
  /** The bytes of a compressed message; reading waits until `isInflating` is false again. Without it there are none. */
  onCompressed?(data: Uint8Array, isBinary: boolean): void
  /** A ping, whose bytes are to be read at once. */
  onPing(data: Buffer): void
  /** The peer's close frame, behind which nothing is read; its code is 1005 where it has none. */
  onCloseFrame(code: number, reason: string): void
  /** The peer broke the protocol, and is to be told `code`; nothing more is read. */
  onBreach(failure: TransportFailure, code: number): void
}

const { binary, close, ping, pong, text } = opcodes

/** More fragments of one message than this are an attack. */
const maxFragments = 16 * 1024

/** After so many frames of one chunk it is somebody else's turn. */
const framesPerTurn = 1024

const noBytes = Buffer.alloc(0)

export class FrameReader {
  private readonly handler: FrameHandler
  private readonly maxPayload: number
  /** Whether nothing is to be read behind the frame that is being read. */
  isPaused = false
  /** Whether a message is being inflated, which those behind it wait for. */
  isInflating = false
  private stopped = false
  /** Whether messages are dropped unread. */
  private isDeaf = false
  /** The beginning of a header that the last chunk cut off, and how much of it there is. */
  private head: Buffer | undefined
  private headLength = 0
  /** The frame that is being read: its header, and how much of its payload has come; -1 before its header. */
  private final = false
  private opcode = 0
  private length = 0
  private mask = 0
  private received = -1
  /** The message that is being read, where it does not lie in one chunk: 0 between messages. */
  private messageOpcode = 0
  private isCompressed = false
  private fragments = 0
  private message: Buffer = noBytes
  private stored = 0
  private isAscii = true
  /** A control frame that the last chunk cut off. */
  private control: Buffer | undefined
  constructor(handler: FrameHandler, maxPayload: number) {
    this.handler = handler
    this.maxPayload = maxPayload
  }

  get mayRead(): boolean {
    return !this.isPaused && !this.isInflating
  }

  /** Takes the next chunk, whose bytes are the reader's from then on. Returns what is to be pushed again, later. */
  push(chunk: Buffer): Buffer | undefined {
    let at = 0
    let frames = 0
    while (!this.stopped) {
      if (this.received < 0) {
        if (!this.mayRead || frames === framesPerTurn) return at < chunk.length ? chunk.subarray(at) : undefined
        frames++
        at = this.takeHeader(chunk, at)
        if (this.received < 0) break
      }
      const missing = this.length - this.received
      const size = Math.min(missing, chunk.length - at)
      if (size === 0 && missing > 0) break
      const end = at + size
      if (this.opcode >= close) this.takeControl(chunk, at, end)
      else if (this.isDeaf) this.skipData(size)
      else if (this.final && this.stored === 0 && this.received === 0 && size === missing) {
        this.received = -1
        this.fragments = 0
        this.takeWhole(chunk, at, end)
      } else this.takeData(chunk, at, end)
      at = end
    }
    return undefined
  }

  /** From now on nothing counts but the peer's close frame. */
  deafen(): void {
    this.isDeaf = true
    this.message = noBytes
    this.stored = 0
  }

  private skipData(size: number): void {
    this.received += size
    if (this.received < this.length) return
    this.received = -1
    if (this.final) this.messageOpcode = 0
  }

  /** Takes a message that lies in one chunk. */
  private takeWhole(chunk: Buffer, start: number, end: number): void {
    if (this.messageOpcode === binary || this.isCompressed) {
      // A copy is the receiver's own, and does not keep the chunk.
      const data = copyOf(chunk, start, end)
      unmask(data, 0, data.length, this.mask)
      this.deliver(data, true)
    } else {
      const isAscii = unmask(chunk, start, end, this.mask)
      this.deliver(chunk.subarray(start, end), isAscii)
    }
  }

  /** Reads the header, or as much of it as there is; returns where the chunk goes on. */
  private takeHeader(chunk: Buffer, at: number): number {
    if (this.headLength === 0) {
      const size = this.readHeader(chunk, at, chunk.length)
      if (size > 0) return at + size
      if (!this.stopped && at < chunk.length) {
        this.head = Buffer.allocUnsafeSlow(14)
        this.headLength = chunk.copy(this.head, 0, at)
      }
      return chunk.length
    }
    const head = this.head!
    while (at < chunk.length && !this.stopped) {
      head[this.headLength++] = chunk[at++]!
      if (this.readHeader(head, 0, this.headLength) > 0) {
        this.headLength = 0
        this.head = undefined
        break
      }
    }
    return at
  }

  /** Reads a header that is complete; returns its size, and zero for all others. */
  private readHeader(bytes: Buffer, at: number, end: number): number {
    if (end - at < 2) return 0
    const first = bytes[at]!
    const second = bytes[at + 1]!
    const fault = this.faultOf(first, second)
    if (fault !== undefined) {
      this.breach(1002, fault)
      return 0
    }
    const short = second & 0x7f
    const size = short < 126 ? 6 : short === 126 ? 8 : 14
    // The length is judged before the mask is there, and the message before any of it.
    if (end - at < size - 4) return 0
    const length = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : bytes.readUInt32BE(at + 2) * 0x1_0000_0000 + bytes.readUInt32BE(at + 6)
    const opcode = first & 0x0f
    if (opcode < close && this.stored + length > this.maxPayload) {
      this.stop()
      this.handler.onBreach(new PayloadTooLarge({ limit: this.maxPayload }), 1009)
      return 0
    }
    if (end - at < size) return 0
    this.final = first >= 0x80
    this.opcode = opcode
    this.length = length
    this.mask = bytes.readInt32LE(at + size - 4)
    this.received = 0
    if (opcode === text || opcode === binary) {
      this.messageOpcode = opcode
      this.isCompressed = (first & 0x40) !== 0
    }
    return size
  }

  private faultOf(first: number, second: number): string | undefined {
    const opcode = first & 0x0f
    const isContinuation = opcode === 0
    if ((first & 0x30) !== 0) return "RSV2 and RSV3 must be clear"
    const mayBeCompressed = this.handler.onCompressed !== undefined && !isContinuation && opcode < close
    if ((first & 0x40) !== 0 && !mayBeCompressed) return "RSV1 must be clear"
    if (opcode <= binary) {
      if (isContinuation !== (this.messageOpcode !== 0)) return `invalid opcode ${opcode}`
    } else if (opcode < close || opcode > pong) return `invalid opcode ${opcode}`
    else {
      if (first < 0x80) return "FIN must be set"
      const length = second & 0x7f
      if (length > 125 || (opcode === close && length === 1)) return `invalid payload length ${length}`
    }
    return second < 0x80 ? "MASK must be set" : undefined
  }

  /** Keeps a piece of a message that does not lie in one chunk. */
  private takeData(chunk: Buffer, start: number, end: number): void {
    const stored = this.stored + end - start
    if (stored > this.message.length) {
      // Memory follows what was received, not what a header promises.
      const most = this.final ? this.stored + this.length - this.received : this.maxPayload
      const grown = Buffer.allocUnsafeSlow(Math.min(most, Math.max(stored * 2, 1024)))
      this.message.copy(grown, 0, 0, this.stored)
      release(this.message)
      this.message = grown
    }
    chunk.copy(this.message, this.stored, start, end)
    const isAscii = unmask(this.message, this.stored, stored, rotated(this.mask, this.received))
    this.isAscii &&= isAscii
    this.stored = stored
    this.received += end - start
    if (this.received < this.length) return
    this.received = -1
    if (++this.fragments > maxFragments) return this.breach(1008, undefined)
    if (!this.final) return
    const { isAscii: allAscii, message } = this
    const isKept = this.messageOpcode === binary || this.isCompressed
    // A message is not to hold on to more memory than it needs.
    const data = !isKept
      ? message.subarray(0, stored)
      : message.length === stored
      ? new Uint8Array(message.buffer)
      : copyOf(message, 0, stored)
    this.message = noBytes
    this.stored = 0
    this.fragments = 0
    this.isAscii = true
    this.deliver(data, allAscii)
    if (data.buffer !== message.buffer || !isKept) release(message)
  }

  private deliver(data: Uint8Array, isAscii: boolean): void {
    const isBinary = this.messageOpcode === binary
    if (this.isCompressed) {
      this.messageOpcode = 0
      this.isInflating = true
      return this.handler.onCompressed!(data, isBinary)
    }
    if (!isBinary && !isAscii && !isUtf8(data)) return this.breach(1007, "invalid UTF-8 sequence")
    this.messageOpcode = 0
    this.handler.onMessage(data, isBinary)
  }

  /** Hands over what a compressed message was; `data` are the receiver's. */
  inflated(data: Uint8Array, isBinary: boolean): void {
    this.isInflating = false
    if (!isBinary && !isUtf8(data)) this.breach(1007, "invalid UTF-8 sequence")
    else this.handler.onMessage(data, isBinary)
  }

  private takeControl(chunk: Buffer, start: number, end: number): void {
    const isWhole = this.received === 0 && end - start === this.length
    const data = isWhole
      ? chunk.subarray(start, end)
      : (this.control ??= Buffer.allocUnsafeSlow(this.length))
    if (!isWhole) chunk.copy(data, this.received, start, end)
    this.received += end - start
    if (this.received < this.length) return
    this.received = -1
    this.control = undefined
    unmask(data, 0, data.length, this.mask)
    if (this.opcode === ping) this.handler.onPing(data)
    else if (this.opcode === close) this.takeClose(data)
  }

  private takeClose(data: Buffer): void {
    const code = data.length === 0 ? 1005 : data.readUInt16BE(0)
    const reason = data.subarray(2)
    if (data.length > 0 && !mayBeSent(code)) return this.breach(1002, `invalid status code ${code}`)
    if (!isUtf8(reason)) return this.breach(1007, "invalid UTF-8 sequence")
    this.stop()
    this.handler.onCloseFrame(code, reason.toString("utf8"))
  }

  private breach(code: number, fault: string | undefined): void {
    const message = fault === undefined ? "Too many message fragments" : `Invalid WebSocket frame: ${fault}`
    this.stop()
    this.handler.onBreach(new WebSocketProtocol({ code, message }), code)
  }

  private stop(): void {
    this.stopped = true
    this.message = noBytes
    this.head = this.control = undefined
  }
}

/** Whether a close frame may carry this status (RFC 6455, section 7.4). */
const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)
