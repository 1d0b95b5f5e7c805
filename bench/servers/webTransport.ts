/** WebTransport sessions whose one stream is a TCP connection: all that a server does above QUIC, and nothing of QUIC. */
import { createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { Duplex } from "node:stream"
import type { EngineIO } from "effect-engine.io"

/** Heartbeats are not what is measured. */
export const pingInterval = 600_000

const sessionOf = (connection: Socket): EngineIO.WebTransportSession => {
  connection.on("error", () => {})
  const stream = Duplex.toWeb(connection) as EngineIO.WebTransportStream
  return {
    incomingBidirectionalStreams: ReadableStream.from([stream]),
    closed: new Promise<void>((resolve) => connection.on("close", () => resolve())),
    close: () => connection.destroy()
  }
}

/** Gives the port, once it listens. */
export const listen = (accept: (session: EngineIO.WebTransportSession) => void): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer({ noDelay: true }, (connection) => accept(sessionOf(connection)))
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  })
