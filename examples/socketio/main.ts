/**
 * Socket.IO on the engine: its server as it is known, and beside it a poll whose events are Effects.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Cause, Config, Console, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import * as SocketIO from "effect-engine.io/SocketIO"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { Server } from "socket.io"
import { poll } from "./Poll.ts"

const io = new Server({ connectionStateRecovery: {} })

// As in any program of Socket.IO.
io.on("connection", (socket) => {
  const tell = () => io.emit("people", io.of("/").sockets.size)
  tell()
  socket.on("disconnect", tell)
})

const file = (url: `/${string}`, location: string) =>
  HttpRouter.add(
    "GET",
    url,
    HttpServerResponse.file(fileURLToPath(import.meta.resolve(location)), {
      headers: { "cache-control": "no-cache", "content-security-policy": "default-src 'self'; img-src data:" }
    })
  )

const pages = Layer.mergeAll(
  file("/", "./index.html"),
  file("/page.js", "./page.js"),
  file("/style.css", "./style.css")
)

const announce = Layer.effectDiscard(
  HttpServer.addressFormattedWith((address) =>
    Console.log(`Listening on ${address.replace(/\/\/(0\.0\.0\.0|\[::\])/, "//localhost")}`)
  )
)

const server = Layer.unwrap(
  Effect.map(
    Config.Int("PORT").pipe(Config.withDefault(3000)),
    (port) => NodeHttpServer.layer(createServer, { port })
  )
)

announce.pipe(
  Layer.provide(
    HttpRouter.serve(Layer.merge(pages, SocketIO.route(io)), { disableLogger: true, disableListenLog: true })
  ),
  Layer.provide(Layer.effectDiscard(poll(io))),
  Layer.provide(SocketIO.layer(io)),
  Layer.provide(server),
  Layer.launch,
  // Ctrl-C and SIGTERM are how it is meant to end.
  NodeRuntime.runMain({
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  })
)
