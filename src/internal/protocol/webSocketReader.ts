/**
 * Reads WebSocket frames as a server gets them: masked, whole or in fragments, cut into chunks anyhow (RFC 6455,
 * sections 5 to 8; rule R70). What it is given it leaves as it is: others may read the same chunk.
 */
import { copyOf, fromUtf8, giveBack } from "./bytes.ts"
import * as limits from "./limits.ts"
import { mayBeSent, opcodes, rotated, rsv1, unmask, unmaskTo } from "./webSocketFrames.ts"

/** How the peer broke the protocol; `code` is what it is to be told. */
export interface Fault {
  readonly code: number
  readonly message: string
}

/** What a reader tells. All bytes are the receiver's. */
export interface FrameHandler {
  /** Memory of its own for a message, whatever is in it: only what was written is handed over. */
  allocate(size: number): Uint8Array<ArrayBuffer>
  /** A whole message, and its size in bytes. */
  onMessage(data: string | Uint8Array, size: number): void
  /** The bytes of a compressed message; reading waits until they are `inflated`. Without it there are none. */
  onCompressed?(data: Uint8Array, isBinary: boolean): void
  onPing(data: Uint8Array): void
  /** The peer's close frame, behind which nothing is read; its code is 1005 where it has none. */
  onCloseFrame(code: number, reason: string): void
  /** Nothing more is read. */
  onFault(fault: Fault): void
}

/** What becomes of frames: messages are told, or dropped unread; after the last frame nothing is read. */
type State = "reading" | "dropping" | "over"

const { binary, close, ping, pong, text } = opcodes

/** More fragments of one message than this are an attack. */
const maxFragments = 16 * 1024

const firstAllocation = 1024

/** Where a text that lies in one chunk loses its mask. */
const scratch = new Uint8Array(64 * 1024)

export const tooLarge: Fault = { code: 1009, message: limits.tooLarge }
const tooManyFragments: Fault = { code: 1008, message: "Too many message fragments" }
const invalid = (what: string, code = 1002): Fault => ({ code, message: `Invalid WebSocket frame: ${what}` })
const notUtf8 = invalid("invalid UTF-8 sequence", 1007)

export class FrameReader {
  private readonly handler: FrameHandler
  private readonly maxPayload: number
  private state: State = "reading"
  /** Whether nothing is to be read behind the frame that is being read. */
  isPaused = false
  /** Whether a message is being inflated, which those behind it wait for. */
  isInflating = false
  /** The beginning of a header that the last chunk cut off, and how much of it there is. */
  private head: Uint8Array | undefined
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
  private message: Uint8Array<ArrayBuffer> | undefined
  private stored = 0
  /** A control frame that the last chunk cut off. */
  private control: Uint8Array | undefined
  constructor(handler: FrameHandler, maxPayload: number) {
    this.handler = handler
    this.maxPayload = maxPayload
  }

  get mayRead(): boolean {
    return !this.isPaused && !this.isInflating
  }

  /** Takes the next chunk. Returns what is to be pushed again, later. */
  push(chunk: Uint8Array): Uint8Array | undefined {
    let at = 0
    let frames = 0
    while (this.state !== "over") {
      if (this.received < 0) {
        if (!this.mayRead || frames === limits.mostPerTurn) return at < chunk.length ? chunk.subarray(at) : undefined
        frames++
        at = this.takeHeader(chunk, at)
        if (this.received < 0) break
      }
      const missing = this.length - this.received
      const size = Math.min(missing, chunk.length - at)
      if (size === 0 && missing > 0) break
      const end = at + size
      if (this.opcode >= close) this.takeControl(chunk, at, end)
      else if (this.state === "dropping") this.skipData(size)
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
  drop(): void {
    if (this.state === "reading") this.state = "dropping"
    this.message = undefined
    this.stored = 0
  }

  private skipData(size: number): void {
    this.received += size
    if (this.received < this.length) return
    this.received = -1
    if (this.final) this.messageOpcode = 0
  }

  /** Takes a message that lies in one chunk. */
  private takeWhole(chunk: Uint8Array, start: number, end: number): void {
    const size = end - start
    if (this.messageOpcode === binary || this.isCompressed || size > scratch.length) {
      const data = copyOf(chunk, start, end)
      unmask(data, 0, size, this.mask)
      this.deliver(data)
    } else {
      unmaskTo(scratch, chunk, start, end, this.mask)
      this.deliver(scratch.subarray(0, size))
    }
  }

  /** Reads the header, or as much of it as there is; returns where the chunk goes on. */
  private takeHeader(chunk: Uint8Array, at: number): number {
    if (this.headLength === 0) {
      const size = this.readHeader(chunk, at, chunk.length)
      if (size > 0) return at + size
      if (this.state !== "over" && at < chunk.length) {
        this.head = new Uint8Array(14)
        this.head.set(chunk.subarray(at))
        this.headLength = chunk.length - at
      }
      return chunk.length
    }
    const head = this.head!
    while (at < chunk.length && this.state !== "over") {
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
  private readHeader(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < 2) return 0
    const first = bytes[at]!
    const second = bytes[at + 1]!
    const fault = this.faultOf(first, second)
    if (fault !== undefined) {
      this.fail(invalid(fault))
      return 0
    }
    const short = second & 0x7f
    const size = short < 126 ? 6 : short === 126 ? 8 : 14
    // The length is judged before the mask is there, and the message before any of it.
    if (end - at < size - 4) return 0
    const length = short < 126
      ? short
      : short === 126
      ? uint16(bytes, at + 2)
      : uint32(bytes, at + 2) * 0x1_0000_0000 + uint32(bytes, at + 6)
    const opcode = first & 0x0f
    if (opcode < close && this.stored + length > this.maxPayload) {
      this.fail(tooLarge)
      return 0
    }
    if (end - at < size) return 0
    const key = at + size - 4
    this.final = first >= 0x80
    this.opcode = opcode
    this.length = length
    this.mask = bytes[key]! | bytes[key + 1]! << 8 | bytes[key + 2]! << 16 | bytes[key + 3]! << 24
    this.received = 0
    if (opcode === text || opcode === binary) {
      this.messageOpcode = opcode
      this.isCompressed = (first & rsv1) !== 0
    }
    return size
  }

  private faultOf(first: number, second: number): string | undefined {
    const opcode = first & 0x0f
    const isContinuation = opcode === 0
    if ((first & 0x30) !== 0) return "RSV2 and RSV3 must be clear"
    const mayBeCompressed = this.handler.onCompressed !== undefined && !isContinuation && opcode < close
    if ((first & rsv1) !== 0 && !mayBeCompressed) return "RSV1 must be clear"
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
  private takeData(chunk: Uint8Array, start: number, end: number): void {
    const stored = this.stored + end - start
    const message = this.roomFor(stored)
    message.set(chunk.subarray(start, end), this.stored)
    unmask(message, this.stored, stored, rotated(this.mask, this.received))
    this.stored = stored
    this.received += end - start
    if (this.received < this.length) return
    this.received = -1
    if (++this.fragments > maxFragments) return this.fail(tooManyFragments)
    if (!this.final) return
    this.message = undefined
    this.stored = 0
    this.fragments = 0
    if (this.messageOpcode === binary || this.isCompressed) {
      // A message is not to hold on to more memory than it needs.
      return this.deliver(message.length === stored ? message : new Uint8Array(message.buffer.transfer(stored)))
    }
    this.deliver(message.subarray(0, stored))
    giveBack(message)
  }

  /** The memory of the message, in which so many bytes have room; it follows what came, not what a header promises. */
  private roomFor(size: number): Uint8Array<ArrayBuffer> {
    const { message } = this
    if (message !== undefined && size <= message.length) return message
    const most = this.final ? this.stored + this.length - this.received : this.maxPayload
    const length = Math.min(most, Math.max(size * 2, firstAllocation))
    this.message = message === undefined
      ? this.handler.allocate(length)
      : new Uint8Array(message.buffer.transfer(length))
    return this.message
  }

  /** Hands over a message. The bytes of a text are read at once. */
  private deliver(data: Uint8Array): void {
    const isBinary = this.messageOpcode === binary
    if (this.isCompressed) {
      this.messageOpcode = 0
      this.isInflating = true
      this.handler.onCompressed!(data, isBinary)
    } else this.tell(data, isBinary)
  }

  /** Goes on behind a compressed message: with what it was, or with what was wrong with it. */
  inflated(data: Uint8Array | Fault, isBinary: boolean): void {
    this.isInflating = false
    if (data instanceof Uint8Array) this.tell(data, isBinary)
    else this.fail(data)
  }

  private tell(data: Uint8Array, isBinary: boolean): void {
    const told = isBinary ? data : fromUtf8(data)
    if (told === undefined) return this.fail(notUtf8)
    this.messageOpcode = 0
    this.handler.onMessage(told, data.length)
  }

  private takeControl(chunk: Uint8Array, start: number, end: number): void {
    const data = this.control ??= new Uint8Array(this.length)
    data.set(chunk.subarray(start, end), this.received)
    this.received += end - start
    if (this.received < this.length) return
    this.received = -1
    this.control = undefined
    unmask(data, 0, data.length, this.mask)
    if (this.opcode === ping) this.handler.onPing(data)
    else if (this.opcode === close) this.takeClose(data)
  }

  private takeClose(data: Uint8Array): void {
    const code = data.length === 0 ? 1005 : uint16(data, 0)
    const reason = fromUtf8(data.subarray(2))
    if (data.length > 0 && !mayBeSent(code)) return this.fail(invalid(`invalid status code ${code}`))
    if (reason === undefined) return this.fail(notUtf8)
    this.stop()
    this.handler.onCloseFrame(code, reason)
  }

  private fail(fault: Fault): void {
    this.stop()
    this.handler.onFault(fault)
  }

  private stop(): void {
    this.state = "over"
    this.message = this.head = this.control = undefined
  }
}

const uint16 = (bytes: Uint8Array, at: number): number => bytes[at]! << 8 | bytes[at + 1]!

const uint32 = (bytes: Uint8Array, at: number): number => uint16(bytes, at) * 0x1_0000 + uint16(bytes, at + 2)
