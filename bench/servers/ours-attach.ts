/** Our server on a plain Node server, without the router. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { EngineIO, Socket } from "effect-engine.io"
import { maxPayload } from "../shared/content.ts"
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
  Effect.provide(EngineIO.layer({ maxPayload })),
  NodeRuntime.runMain
)
