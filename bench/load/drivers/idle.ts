/** Sessions that are there and do nothing. Every run adds as many as its limit says. */
import type { Target } from "../../shared/calls.ts"
import { type Connection, openMany } from "../connection.ts"
import { pongFrame } from "../frames.ts"
import { getRequest, handshake, type HttpConnection, openHttp, pollingTarget } from "../http.ts"
import type { Load, Trouble } from "../run.ts"
import { openWebSocket } from "../webSocket.ts"
import { closeAll } from "./echo.ts"

export const openIdle = (
  target: Target,
  trouble: Trouble,
  options: { readonly transport: "websocket" | "polling" }
): Load => {
  const sockets: Array<Connection> = []
  const polls: Array<HttpConnection> = []
  const openSocket = async (): Promise<void> => {
    const connection = await openWebSocket(target)
    connection.onBytes = () => connection.socket.write(pongFrame)
    connection.onClose = () => trouble.fail(new Error("the server closed an idle WebSocket"))
    sockets.push(connection)
  }
  const openPoll = async (): Promise<void> => {
    const http = await openHttp(target.port, trouble.fail)
    const get = getRequest(pollingTarget(await handshake(http)))
    http.send(get, (payload) => trouble.fail(new Error(`unexpected payload: ${payload}`)))
    polls.push(http)
  }
  return {
    run: async (limit) => {
      const start = performance.now()
      await openMany(limit.units ?? 0, options.transport === "websocket" ? openSocket : openPoll)
      return { units: limit.units ?? 0, millis: performance.now() - start }
    },
    close: async () => {
      for (const http of polls.splice(0)) http.close()
      await closeAll(sockets.splice(0))
    }
  }
}
