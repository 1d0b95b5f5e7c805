/**
 * One WebTransport session with its one stream, as a connection that carries frames (rules R85, R87). Whatever a dying
 * session rejects is taken care of here: nothing of it becomes an unhandled rejection.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as CloseReason from "../../CloseReason.ts"
import { PacketError } from "../../Packet.ts"
import { fromUtf8Lenient } from "../protocol/bytes.ts"
import { mostPerTurn } from "../protocol/limits.ts"
import { FrameDecoder, type FrameError } from "../protocol/webTransportFrames.ts"
import { type FrameConnection, type FrameListener, ignore } from "./frameTransport.ts"
import type {
  WebTransportReadable,
  WebTransportSession,
  WebTransportStream,
  WebTransportWritable
} from "./webTransportSession.ts"

/** What a connection needs of the server. */
export interface ConnectionHost {
  readonly maxPayload: number
  /** Calls back in so many milliseconds; returns what cancels that. */
  after(millis: number, f: () => void): () => void
}

/** How long a stream that broke waits for its session to say why, in milliseconds. */
const patience = 100

const gone = CloseReason.transportClose()

export class WebTransportConnection implements FrameConnection {
  readonly host: ConnectionHost
  /** Completed when it has ended, for whatever reason. */
  readonly ended = Deferred.makeUnsafe<void>()
  /** Bytes written that the stream has not taken. */
  unsent = 0
  private readonly session: WebTransportSession
  private readonly decoder: FrameDecoder
  private listener: FrameListener = ignore
  private reader: ReturnType<WebTransportReadable<Uint8Array>["getReader"]> | undefined
  private writer: ReturnType<WebTransportWritable["getWriter"]> | undefined
  private reading = false
  private paused = false
  /** What was read and not looked at: its time comes in a later turn of the event loop, if reading is not paused then. */
  private rest: Uint8Array | undefined
  private frames = 0
  private turn: NodeJS.Immediate | undefined
  private failure: FrameError | undefined
  /** Writes begun and writes done; they end in order. */
  private begun = 0
  private done = 0
  private waiting: Array<readonly [upTo: number, done: (written: boolean) => void]> = []
  private broken = false
  private cancelSuspicion: (() => void) | undefined
  private end: CloseReason.CloseReason | undefined

  constructor(session: WebTransportSession, host: ConnectionHost) {
    this.session = session
    this.host = host
    this.decoder = new FrameDecoder(host.maxPayload)
  }

  /** Waits for the client's stream, and then for frames. */
  open(listener: FrameListener): void {
    this.listener = listener
    const onGone = (): void => this.fail(gone)
    Promise.resolve(this.session.closed).then((info) => this.fail(toReason(info)), onGone)
    try {
      const streams = this.session.incomingBidirectionalStreams.getReader()
      swallow(streams.closed)
      streams.read().then(({ done, value }) => done || value === undefined ? onGone() : this.use(value)).catch(onGone)
    } catch {
      // Deferred, as every other end is.
      Promise.resolve().then(onGone)
    }
  }

  private use(stream: WebTransportStream): void {
    if (this.end !== undefined) return
    this.reader = stream.readable.getReader()
    this.writer = stream.writable.getWriter()
    swallow(this.reader.closed)
    swallow(this.writer.closed)
    swallow(this.writer.ready)
    this.pump()
  }

  /** Changes who is told; a connection that has ended says so soon. */
  listen(listener: FrameListener): void {
    this.listener = listener
    const { end } = this
    if (end !== undefined) Promise.resolve().then(() => this.listener.onClose(end))
  }

  // --- in ----------------------------------------------------------------------------------------------------------

  pause(): void {
    this.paused = true
  }

  /** Goes on soon, not on the stack of whoever took a message. */
  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.goOnLater()
  }

  private goOnLater(): void {
    this.turn ??= setImmediate(pump, this)
  }

  pump(): void {
    this.turn = undefined
    if (this.paused || this.reading || this.end !== undefined) return
    if (this.rest !== undefined) return this.take(this.rest)
    if (this.broken || this.reader === undefined) return
    if (this.failure !== undefined) return this.fail(this.describe(this.failure))
    this.reading = true
    this.reader.read().then(this.onRead, this.onReadError)
  }

  private readonly onRead = (result: { readonly done: boolean; readonly value?: Uint8Array | undefined }): void => {
    this.reading = false
    if (this.end !== undefined) return
    const { done, value } = result
    // A client that has closed its half of the stream can say nothing more, not even that it lives.
    if (done || value === undefined) return this.suspect(gone)
    this.take(value)
  }

  private take(chunk: Uint8Array): void {
    this.frames = 0
    this.failure = this.decoder.push(chunk, this.onFrame)
    this.rest = this.decoder.rest
    this.listener.onTurn()
    if (this.rest === undefined) this.pump()
    else if (!this.paused) this.goOnLater()
  }

  private readonly onReadError = (): void => this.suspect(gone)

  private readonly onFrame = (data: Uint8Array, isBinary: boolean): boolean => {
    tell(this.listener, data, isBinary)
    return !this.paused && ++this.frames < mostPerTurn
  }

  private describe(error: FrameError): CloseReason.CloseReason {
    return error.reason === "TooLarge"
      ? CloseReason.transportError(new CloseReason.PayloadTooLarge({ limit: this.host.maxPayload }))
      : CloseReason.parseError(new PacketError({ reason: "Empty" }))
  }

  // --- out ---------------------------------------------------------------------------------------------------------

  get writable(): boolean {
    const { end, writer } = this
    return end === undefined && !this.broken && writer !== undefined &&
      (this.begun === this.done || (writer.desiredSize ?? 0) > 0)
  }

  write(buffers: ReadonlyArray<Uint8Array>): void {
    const { writer } = this
    if (this.end !== undefined || writer === undefined) return
    for (const buffer of buffers) {
      const size = buffer.byteLength
      this.begun++
      this.unsent += size
      try {
        writer.write(buffer).then(() => this.onWritten(size), this.onWriteError)
      } catch (cause) {
        this.onWriteError(cause)
      }
    }
  }

  private onWritten(size: number): void {
    this.done++
    this.unsent -= size
    if (this.end !== undefined) return
    while (this.waiting.length > 0 && this.waiting[0]![0] <= this.done) this.waiting.shift()![1](true)
    this.listener.onWritable()
  }

  private readonly onWriteError = (cause: unknown): void =>
    this.suspect(CloseReason.transportError(new CloseReason.WriteFailed({ cause })))

  /** Calls back once all written so far has left for the network; `false` if the connection ended first. */
  whenWritten(done: (written: boolean) => void): void {
    if (this.end !== undefined) done(false)
    else if (this.begun === this.done) done(true)
    else this.waiting.push([this.begun, done])
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  /** Closes the server's half of the stream; calls back when that is done, or cannot be. */
  finish(done: () => void): void {
    if (this.end !== undefined || this.writer === undefined) done()
    else this.writer.close().then(done, done)
  }

  /** Closes the session. Nothing is reported any more. */
  close(info?: { closeCode?: number; reason?: string }): void {
    this.listener = ignore
    this.terminate(gone, info)
  }

  /**
   * The stream broke. Mostly because the session was closed, in which case that is the reason, but libraries tell of
   * both in any order.
   */
  private suspect(reason: CloseReason.CloseReason): void {
    if (this.broken || this.end !== undefined) return
    this.broken = true
    this.cancelSuspicion = this.host.after(patience, () => this.fail(reason))
  }

  private fail(reason: CloseReason.CloseReason): void {
    if (this.end !== undefined) return
    const { listener, rest } = this
    this.terminate(reason)
    // What had arrived is not lost with the connection.
    if (rest !== undefined) this.decoder.push(rest, (data, isBinary) => tell(listener, data, isBinary))
    listener.onClose(reason)
  }

  private terminate(reason: CloseReason.CloseReason, info?: { closeCode?: number; reason?: string }): void {
    if (this.end !== undefined) return
    this.end = reason
    this.cancelSuspicion?.()
    this.rest = undefined
    this.unsent = 0
    attempt(() => this.session.close(info))
    attempt(() => this.reader?.cancel())
    attempt(() => this.writer?.abort())
    const { waiting } = this
    this.waiting = []
    for (const [, done] of waiting) done(false)
    Deferred.doneUnsafe(this.ended, Effect.void)
  }
}

const tell = (listener: FrameListener, data: Uint8Array, isBinary: boolean): void =>
  listener.onFrame(isBinary ? data : fromUtf8Lenient(data), data.length)

const pump = (connection: WebTransportConnection): void => connection.pump()

const swallow = (value: unknown): void => void Promise.resolve(value).catch(() => {})

const attempt = (f: () => unknown): void => {
  try {
    swallow(f())
  } catch {
    // It was closed already.
  }
}

const toReason = (info: unknown): CloseReason.CloseReason => {
  if (typeof info !== "object" || info === null) return gone
  const { closeCode, reason } = info as { readonly closeCode?: unknown; readonly reason?: unknown }
  // Zero and no text are what a close without either comes as.
  return CloseReason.transportClose({
    code: typeof closeCode === "number" && closeCode !== 0 ? closeCode : undefined,
    reason: typeof reason === "string" && reason !== "" ? reason : undefined
  })
}
