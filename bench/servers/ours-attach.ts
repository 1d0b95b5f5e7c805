/** Our server on a plain Node server, without the router. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { EngineIO, EngineIOLive, Socket } from "../../src/index.ts"
import { announce } from "./announce.ts"

const http = createServer()

const listen = Effect.callback<number>((resume) => {
  http.listen(0, "127.0.0.1", () => resume(Effect.succeed((http.address() as AddressInfo).port)))
})

EngineIO.attach(
  http,
  (socket) => Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
).pipe(
  Effect.andThen(listen),
  Effect.flatMap((port) => announce(port, Socket.sendAll)),
  Effect.andThen(Effect.never),
  Effect.scoped,
  Effect.provide(EngineIOLive),
  NodeRuntime.runMain
)
