/** The echo on two workers. A client with two connections has each on another worker. */
import { Socket } from "effect-engine.io"
import { serveOnWorkers } from "./workers.ts"

serveOnWorkers((socket) => Socket.forEach(socket, (message) => Socket.send(socket, message)))
