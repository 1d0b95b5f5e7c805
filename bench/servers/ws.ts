/** A WebSocket echo without sessions, heartbeats or polling: what `ws` alone costs. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import { control } from "./control.ts"

const http = createServer()
const sockets = new WebSocketServer({ server: http, perMessageDeflate: false })
sockets.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }))
  socket.on("error", () => {})
})

const sendAll = (texts: Iterable<string>): void => {
  const [socket] = sockets.clients
  for (const text of texts) socket?.send(text)
}

http.listen(0, "127.0.0.1", () => {
  control({
    port: (http.address() as AddressInfo).port,
    sessions: () => sockets.clients.size,
    broadcast: (text) => {
      for (const socket of sockets.clients) socket.send(text)
    },
    burst: sendAll,
    flood: sendAll
  }, "4")
})
