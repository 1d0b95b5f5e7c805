/** `socket.io` on our engine, on `HttpRouter`. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as SocketIO from "effect-engine.io/SocketIO"
import { createServer } from "node:http"
import { Server } from "socket.io"
import { controlSocketIO, path } from "./socketIO.ts"

const io = new Server({ path })

Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  controlSocketIO(io, "port" in address ? address.port : 0)
})).pipe(
  Layer.provide(HttpRouter.serve(SocketIO.route(io), { disableLogger: true, disableListenLog: true })),
  Layer.provide(SocketIO.layer(io)),
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
  Layer.launch,
  NodeRuntime.runMain
)
