/** WebSocket clients that send `window` messages at once and send the next when all of them are back. */
import type { Dialect, Target } from "../../shared/calls.ts"
import { bytesOf, differentOf, framed, textOf } from "../../shared/content.ts"
import { type Connection, openMany } from "../connection.ts"
import { clientFrame, opcode, pongFrame } from "../frames.ts"
import { type Load, Run, type Trouble } from "../run.ts"
import { type Expected, expected, FrameStream } from "../stream.ts"
import { closeWebSocket, openWebSocket } from "../webSocket.ts"

export interface Messages {
  /** All masked frames, one after the other. */
  readonly sent: Buffer
  readonly sentSize: number
  readonly count: number
  readonly expected: Expected
}

export const echoMessages = (dialect: Dialect, size: number, binary: boolean): Messages => {
  const count = differentOf(size)
  const code = binary ? opcode.binary : opcode.text
  const payloads = Array.from(
    { length: count },
    (_, index) => binary ? bytesOf(size, index) : Buffer.from(framed(dialect, textOf(size, index)))
  )
  return exchanges(code, payloads, payloads)
}

/** Messages to send, all of one size, and what is due for each. */
export const exchanges = (
  code: number,
  sent: ReadonlyArray<Uint8Array>,
  due: ReadonlyArray<Uint8Array>
): Messages => {
  const frames = sent.map((payload) => clientFrame(code, payload))
  return {
    sent: Buffer.concat(frames),
    sentSize: frames[0]?.length ?? 0,
    count: frames.length,
    expected: expected(code, due)
  }
}

export interface EchoClient {
  readonly connection: Connection
  /** Sends the next `count` messages in one write. */
  readonly send: (count: number) => void
}

export const openEchoClient = async (
  target: Target,
  trouble: Trouble,
  messages: Messages,
  onEcho: (index: number, count: number) => void,
  index: number
): Promise<EchoClient> => {
  const connection = await openWebSocket(target)
  const { socket } = connection
  const stream = new FrameStream(messages.expected, () => socket.write(pongFrame))
  let next = 0
  connection.onClose = () => trouble.fail(new Error("the server closed a WebSocket"))
  connection.onBytes = (bytes) => {
    try {
      const count = stream.take(bytes)
      if (count > 0) onEcho(index, count)
    } catch (error) {
      trouble.fail(error)
    }
  }
  return {
    connection,
    send: (count) => {
      const start = next * messages.sentSize
      next = (next + count) % messages.count
      socket.write(messages.sent.subarray(start, start + count * messages.sentSize))
    }
  }
}

export const closeAll = async (connections: ReadonlyArray<Connection>): Promise<void> => {
  await Promise.all(connections.map(closeWebSocket))
}

export const openEcho = async (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly window: number; readonly size: number; readonly binary: boolean }
): Promise<Load> => openExchange(target, trouble, options, echoMessages(target.dialect, options.size, options.binary))

/** Clients that send `window` messages at once, and the next when all that is due for them is there. */
export const openExchange = async (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly window: number },
  messages: Messages
): Promise<Load> => {
  const { window } = options
  const missing: Array<number> = Array.from({ length: options.clients }, () => 0)
  let run: Run | undefined
  const start = (index: number): void => {
    missing[index] = window
    clients[index]?.send(window)
  }
  const onEcho = (index: number, count: number): void => {
    const left = (missing[index] ?? 0) - count
    missing[index] = left
    if (left < 0) return trouble.fail(new Error("more echoes than messages"))
    if (left > 0 || run === undefined) return
    if (run.begin(window)) start(index)
    run.finish(window)
  }
  const clients = await openMany(
    options.clients,
    (index) => openEchoClient(target, trouble, messages, onEcho, index)
  )
  return {
    run: (limit) => {
      const current = new Run(limit)
      run = current
      for (let index = 0; index < clients.length; index++) {
        if (current.begin(window)) start(index)
      }
      return current.done
    },
    close: () => closeAll(clients.map((client) => client.connection))
  }
}
