import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
import { createServer } from "node:http"

const echo = EngineIO.route("/engine.io/", (socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
    onDisconnect: (reason) => Effect.logInfo(`${socket.handshake.remoteAddress} left: ${reason._tag}`)
  }))

HttpRouter.serve(echo, { disableLogger: true }).pipe(
  Layer.provide(EngineIOLive), // or EngineIO.layer({ pingInterval: "10 seconds" })
  Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })),
  Layer.launch,
  NodeRuntime.runMain
)
