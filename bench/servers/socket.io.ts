/** The reference: `socket.io` on `engine.io`, with its defaults. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Server } from "socket.io"
import { controlSocketIO, path } from "./socketIO.ts"

const http = createServer()
const io = new Server(http, { path })
http.listen(0, "127.0.0.1", () => controlSocketIO(io, (http.address() as AddressInfo).port))
