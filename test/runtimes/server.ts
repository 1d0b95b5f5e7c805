/**
 * The server that each runtime runs, from the built package: an echo, on a router or attached to a Node server. It prints
 * who left, and why; what is not Engine.IO it answers with the number of sessions.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { type CloseReason, EngineIO, type Packet, Socket } from "effect-engine.io"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const answer = (socket: Socket.Socket, message: Packet.Message) => {
  if (message === "burst") return Socket.sendAll(socket, Array.from({ length: 10_000 }, (_, i) => `${i}`))
  if (message === "large") return Socket.send(socket, "x".repeat(20_000_000))
  if (message === "wait") return Effect.never
  if (message === "end") return Socket.close(socket)
  return Socket.send(socket, message)
}

const application = (socket: Socket.Socket) =>
  socket.handshake.query["name"] === "nobody"
    ? Effect.fail(new EngineIO.Forbidden({ message: "not you" }))
    : Effect.succeed({
      app: Socket.forEach(socket, (message) => answer(socket, message)),
      onDisconnect: (reason: CloseReason.CloseReason) => Console.log(`${socket.id} left: ${reason._tag}`)
    })

const count = Effect.map(EngineIO.count, String)

const router = HttpRouter.serve(
  Layer.merge(
    EngineIO.route("/engine.io/", application),
    HttpRouter.add("GET", "/", Effect.map(count, (text) => HttpServerResponse.text(text)))
  ),
  { disableLogger: true }
).pipe(Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

const attached = Layer.effectDiscard(Effect.gen(function*() {
  const run = Effect.runPromiseWith(yield* Effect.context<EngineIO.EngineIO>())
  const server = createServer((_request, response) => void run(count).then((text) => response.end(text)))
  yield* EngineIO.attach(server, application)
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  yield* Console.log(`Listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}))

const engine = EngineIO.layer({
  allowEIO3: true,
  cookie: true,
  cors: { origin: "http://page.example", credentials: true },
  maxPayload: 2_000_000,
  perMessageDeflate: true,
  responseHeaders: () => Effect.succeed({ "x-served-by": "effect" }),
  ...JSON.parse(process.argv[3] ?? "{}") as EngineIO.Options
})

Layer.launch(Layer.provide(process.argv[2] === "attached" ? attached : router, engine)).pipe(NodeRuntime.runMain)
