/** Our server as `serve` has it: nothing but Engine.IO, on Effect's server. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpServer from "effect/http/HttpServer"
import { createServer } from "node:http"
import { EngineIO, Socket } from "effect-engine.io"
import { maxPayload } from "../shared/content.ts"
import { announce } from "./announce.ts"

Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  yield* announce("port" in address ? address.port : 0, Socket.sendAll)
})).pipe(
  Layer.provide(EngineIO.serve(
    "/engine.io/",
    (socket) => Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
  )),
  Layer.provide(EngineIO.layer({ maxPayload })),
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
  Layer.launch,
  NodeRuntime.runMain
)
