/** The reference: `engine.io` on a plain HTTP server, with its defaults but for the largest message. */
import { Server, type Socket } from "engine.io"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { maxPayload } from "../shared/content.ts"
import { control } from "./control.ts"

const http = createServer()
const engine = new Server({ maxHttpBufferSize: maxPayload })
engine.attach(http)
engine.on("connection", (socket: Socket) => {
  socket.on("message", (message: string | Buffer) => {
    socket.send(message)
  })
})

const clients = () => Object.values((engine as unknown as { readonly clients: Record<string, Socket> }).clients)

const sendAll = (texts: Iterable<string>): void => {
  const [socket] = clients()
  if (socket === undefined) return
  for (const text of texts) socket.send(text)
}

http.listen(0, "127.0.0.1", () => {
  control({
    port: (http.address() as AddressInfo).port,
    sessions: () => engine.clientsCount,
    broadcast: (text) => {
      for (const socket of clients()) socket.send(text)
    },
    burst: sendAll,
    flood: sendAll
  })
})
