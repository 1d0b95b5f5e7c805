/**
 * A chat: the pages, the Engine.IO server, and the line that says where they are.
 *
 * `--workers` runs it on all cores, `--workers=2` on two.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Cause, Config, Console, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { EngineIO, EngineIOLive } from "effect-engine.io"
import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Chat } from "./Chat.ts"

const file = (path: `/${string}`, location: string) =>
  HttpRouter.add(
    "GET",
    path,
    HttpServerResponse.file(fileURLToPath(import.meta.resolve(location)), {
      headers: { "cache-control": "no-cache", "content-security-policy": "default-src 'self'; img-src data:" }
    })
  )

const pages = Layer.mergeAll(
  file("/", "./index.html"),
  file("/chat.js", "./chat.js"),
  file("/style.css", "./style.css"),
  file("/engine.io.js", "engine.io-client/dist/engine.io.esm.min.js")
)

const chat = EngineIO.route("/engine.io/", (socket) => Effect.map(Chat, ({ attend }) => ({ app: attend(socket) })))

const { workers } = parseArgs({ options: { workers: { type: "string" } }, strict: false }).values

const cores = workers === undefined
  ? Layer.empty
  : EngineIOCluster.layerNodeCluster({ workers: workers === true ? undefined : Number(workers) })

const announce = Layer.effectDiscard(
  HttpServer.addressFormattedWith((address) => {
    const url = address.replace(/\/\/(0\.0\.0\.0|\[::\])/, "//localhost")
    return Console.log(`Chat on ${url}${workers === undefined ? "" : `, by process ${process.pid}`}`)
  })
)

const server = Layer.unwrap(
  Effect.map(
    Config.Int("PORT").pipe(Config.withDefault(3000)),
    (port) => NodeHttpServer.layer(createServer, { port })
  )
)

HttpRouter.serve(Layer.mergeAll(pages, chat), { disableLogger: true, disableListenLog: true }).pipe(
  (served) => Layer.merge(served, announce),
  // Above what it serves, so that it listens when that is there: a request before would get no answer.
  Layer.provide(server),
  Layer.provide(Chat.layer),
  Layer.provide(EngineIOLive),
  Layer.provide(cores),
  Layer.launch,
  // Ctrl-C and SIGTERM are how it is meant to end.
  NodeRuntime.runMain({
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  })
)
