/** `engine.io` over WebTransport. */
import { Server, type Socket } from "engine.io"
import { maxPayload } from "../shared/content.ts"
import { control } from "./control.ts"
import { listen, pingInterval } from "./webTransport.ts"

const engine = new Server({ maxHttpBufferSize: maxPayload, pingInterval, transports: ["webtransport"] })
engine.on("connection", (socket: Socket) => {
  socket.on("message", (message: string | Buffer) => {
    socket.send(message)
  })
})

const nothing = (): void => {}

control({
  port: await listen((session) => void engine.onWebTransportSession(session)),
  sessions: () => engine.clientsCount,
  broadcast: nothing,
  burst: nothing,
  flood: nothing
})
