/** What the two servers of Socket.IO have in common: an echo, and one room for all. */
import type { Server } from "socket.io"
import { control } from "./control.ts"

/** Where the load generator looks for a server. */
export const path = "/engine.io/"

export const controlSocketIO = (io: Server, port: number): void => {
  io.on("connection", (socket) => {
    void socket.join("all")
    socket.on("message", (text: string) => socket.emit("message", text))
  })
  const sendAll = (texts: Iterable<string>): void => {
    for (const text of texts) io.emit("message", text)
  }
  control({
    port,
    sessions: () => io.engine.clientsCount,
    broadcast: (text) => io.to("all").emit("message", text),
    burst: sendAll,
    flood: sendAll
  })
}
