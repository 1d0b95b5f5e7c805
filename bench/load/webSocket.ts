/** A WebSocket client that knows only what the workloads need. */
import type { Target } from "../shared/calls.ts"
import { collect, connect, type Connection } from "./connection.ts"
import { closeFrame, opcode, pingBytes, pongFrame, readFrame, textFrame } from "./frames.ts"

const request = (target: string): Buffer =>
  Buffer.from(
    `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
  )
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

const handshake = request("/engine.io/?EIO=4&transport=websocket")

const headEnd = Buffer.from("\r\n\r\n")

/** Where the frames start, once the whole head is there. */
const afterHead = (bytes: Buffer): number | undefined => {
  const end = bytes.indexOf(headEnd)
  if (end < 0) return undefined
  const head = bytes.toString("latin1", 0, end)
  if (!head.startsWith("HTTP/1.1 101 ") || !head.includes(accept)) throw new Error(`no upgrade: ${head.slice(0, 200)}`)
  return end + headEnd.length
}

const nothingMore = (bytes: Buffer, end: number): true => {
  if (bytes.length !== end) throw new Error(`unexpected bytes: ${bytes.toString("latin1", end, end + 40)}`)
  return true
}

const textOf = (bytes: Buffer, start: number): { readonly text: string; readonly end: number } | undefined => {
  const frame = readFrame(bytes, start)
  if (frame !== undefined && frame.code !== opcode.text) throw new Error(`unexpected opcode ${frame.code}`)
  return frame && { text: frame.payload.toString(), end: frame.end }
}

const connectFrame = textFrame("40")

/** A session over WebSocket alone; the server's greetings have arrived. A bare server sends none. */
export const openWebSocket = async ({ dialect, port }: Target): Promise<Connection> => {
  const connection = await connect(port)
  connection.socket.write(handshake)
  await collect(connection, (bytes) => {
    const start = afterHead(bytes)
    if (start === undefined) return undefined
    if (dialect === "bare") return nothingMore(bytes, start)
    const greeting = textOf(bytes, start)
    if (greeting === undefined) return undefined
    if (!/^0\{.*"sid":"/.test(greeting.text)) throw new Error(`unexpected greeting: ${greeting.text}`)
    // Some servers begin with a ping.
    if (!pingBytes.equals(bytes.subarray(greeting.end))) return nothingMore(bytes, greeting.end)
    return connection.socket.write(pongFrame)
  })
  if (dialect === "socket.io") {
    connection.socket.write(connectFrame)
    await collect(connection, (bytes) => {
      const greeting = textOf(bytes, 0)
      if (greeting === undefined) return undefined
      if (!greeting.text.startsWith("40{\"sid\":\"")) throw new Error(`unexpected greeting: ${greeting.text}`)
      return nothingMore(bytes, greeting.end)
    })
  }
  return connection
}

/** The second connection of a session that polls, probed; it may be switched to. */
export const probeWebSocket = async (port: number, sid: string, probe: Buffer): Promise<Connection> => {
  const connection = await connect(port)
  connection.socket.write(request(`/engine.io/?EIO=4&transport=websocket&sid=${sid}`))
  await collect(connection, (bytes) => {
    const start = afterHead(bytes)
    return start === undefined ? undefined : nothingMore(bytes, start)
  })
  connection.socket.write(probe)
  await expectText(connection, "3probe")
  return connection
}

export const expectText = (connection: Connection, expected: string): Promise<true> =>
  collect(connection, (bytes) => {
    const frame = textOf(bytes, 0)
    if (frame === undefined) return undefined
    if (frame.text !== expected) throw new Error(`expected ${expected}, got ${frame.text}`)
    return nothingMore(bytes, frame.end)
  })

/** Whether these frames end with the server's close frame; a heartbeat may have come before it. */
const endsWithClose = (bytes: Buffer): boolean => {
  let frame = readFrame(bytes, 0)
  while (frame !== undefined && frame.code !== opcode.close) frame = readFrame(bytes, frame.end)
  return frame !== undefined
}

/** The closing handshake; done when the server has closed the TCP connection. */
export const closeWebSocket = (connection: Connection): Promise<void> =>
  new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0)
    connection.onBytes = (bytes) => {
      seen = Buffer.concat([seen, bytes])
    }
    connection.onClose = () => endsWithClose(seen) ? resolve() : reject(new Error("closed without a close frame"))
    connection.socket.write(closeFrame)
  })
