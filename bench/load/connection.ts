/** A TCP connection that reads into one buffer shared by all, so that receiving allocates nothing. */
import { connect as connectTcp, type Socket } from "node:net"

export interface Connection {
  readonly socket: Socket
  /** The bytes are only valid during the call. */
  onBytes: (bytes: Buffer) => void
  /** Once, whoever closed. */
  onClose: () => void
}

const buffer = Buffer.allocUnsafe(256 * 1024)

export const connect = (port: number): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer,
        callback: (length: number) => {
          connection.onBytes(buffer.subarray(0, length))
          return true
        }
      }
    })
    const connection: Connection = { socket, onBytes: () => {}, onClose: () => {} }
    let failure = new Error("connection closed")
    socket.on("connect", () => resolve(connection))
    socket.on("error", (error) => {
      failure = error
    })
    socket.on("close", () => {
      reject(failure)
      connection.onClose()
    })
  })

/** Collects what arrives until `take` makes something of it; the rest of the bytes is `take`'s to return or to refuse. */
export const collect = <A>(connection: Connection, take: (bytes: Buffer) => A | undefined): Promise<A> =>
  new Promise((resolve, reject) => {
    let seen: Buffer | undefined
    connection.onClose = () => reject(new Error("connection closed while an answer was due"))
    connection.onBytes = (bytes) => {
      seen = seen === undefined ? Buffer.from(bytes) : Buffer.concat([seen, bytes])
      try {
        const taken = take(seen)
        if (taken !== undefined) resolve(taken)
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    }
  })

/** Opens `count` of something, a few at a time. */
export const openMany = async <A>(count: number, open: (index: number) => Promise<A>): Promise<Array<A>> => {
  const opened: Array<A> = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      opened[index] = await open(index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(64, count) }, worker))
  return opened
}
