/**
 * A WebTransport session whose two ends are in the same program.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { type Packet, parse } from "../../Packet.ts"
import { toBytes } from "../protocol/bytes.ts"
import { FrameDecoder, frameHeader } from "../protocol/webTransportFrames.ts"
import { encodeText } from "../protocol/revision4.ts"
import type { WebTransportSession, WebTransportStream } from "../transport/webTransportSession.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A packet as a frame of its stream. */
const frameOf = ({ data, type }: Packet): Uint8Array => {
  const isBinary = typeof data === "object"
  const bytes = isBinary ? toBytes(data) : encoder.encode(encodeText(type, data))
  const header = frameHeader(bytes.byteLength, isBinary)
  const frame = new Uint8Array(header.byteLength + bytes.byteLength)
  frame.set(header)
  frame.set(bytes, header.byteLength)
  return frame
}

/** How a session was closed. */
export interface Closing {
  readonly closeCode?: number
  readonly reason?: string
}

const makePipe = () => {
  let cut!: (error: Error) => void
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
    { start: (controller) => void (cut = (error) => controller.error(error)) }
  )
  return { readable, writable, cut }
}

export class MemoryWebTransport {
  /** The server's end. */
  readonly session: WebTransportSession
  /** How the session ended, whoever ended it; `undefined` where it was lost. */
  readonly closed = Deferred.makeUnsafe<Closing | undefined>()
  private readonly toServer = makePipe()
  private readonly toClient = makePipe()
  private readonly writer = this.toServer.writable.getWriter()
  private readonly reader = this.toClient.readable.getReader()
  private readonly frames = new FrameDecoder(Infinity)
  private streams!: ReadableStreamDefaultController<WebTransportStream>
  private isOver = false
  constructor() {
    const { readable } = this.toServer
    const { writable } = this.toClient
    this.session = {
      incomingBidirectionalStreams: new ReadableStream<WebTransportStream>({
        start: (controller) => {
          this.streams = controller
          controller.enqueue({ readable, writable })
        }
      }),
      closed: Effect.runPromise(Effect.flatMap(
        Deferred.await(this.closed),
        (closing) => closing === undefined ? Effect.fail(new Error("the session was lost")) : Effect.succeed(closing)
      )),
      close: (closing = {}) => this.end(closing)
    }
    this.session.closed.catch(() => {})
    this.writer.closed.catch(() => {})
  }

  /** Sends packets; waits until the server has taken them. */
  say(packets: ReadonlyArray<Packet>): Effect.Effect<void> {
    return Effect.promise(() =>
      Promise.all(packets.map((packet) => this.writer.write(frameOf(packet)))).catch(() => {})
    )
  }

  /** Takes the packets that have come; none when the session is over. */
  readonly take: Effect.Effect<ReadonlyArray<Packet>> = Effect.promise(async () => {
    const packets: Array<Packet> = []
    while (packets.length === 0) {
      const { value } = await this.reader.read().catch(() => ({ value: undefined }))
      if (value === undefined) break
      this.frames.push(value, (bytes, isBinary) => {
        const packet = parse(isBinary ? bytes : decoder.decode(bytes))
        if (packet._tag === "Success") packets.push(packet.success)
      })
    }
    return packets
  })

  /** Closes the session or, without a closing, loses it. */
  end(closing?: Closing): void {
    if (this.isOver) return
    this.isOver = true
    Deferred.doneUnsafe(this.closed, Effect.succeed(closing) as never)
    const error = new Error("the session is over")
    this.toServer.cut(error)
    this.toClient.cut(error)
    this.streams.error(error)
  }
}
