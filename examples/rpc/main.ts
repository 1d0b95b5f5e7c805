/**
 * Effect's RPC for a page: the page, bundled as the server starts, and its API over Engine.IO.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Cause, Config, Console, Context, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { RpcSerialization, RpcServer } from "effect/rpc"
import { EngineIO, EngineIOLive } from "effect-engine.io"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { build } from "rolldown"
import { Api } from "./Api.ts"
import { MarketLive } from "./Market.ts"

const path = (location: string) => fileURLToPath(import.meta.resolve(location))

const headers = { "cache-control": "no-cache", "content-security-policy": "default-src 'self'; img-src data:" }

const file = (url: `/${string}`, location: string) =>
  HttpRouter.add("GET", url, HttpServerResponse.file(path(location), { headers }))

class Script extends Context.Service<Script, string>()("Script") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const { output: [{ code }] } = yield* Effect.promise(() =>
        build({
          input: path("./page.ts"),
          platform: "browser",
          output: { minify: true },
          write: false,
          logLevel: "silent"
        })
      )
      return code
    })
  )
}

const script = HttpRouter.add(
  "GET",
  "/page.js",
  Effect.map(Script, (code) => HttpServerResponse.text(code, { contentType: "text/javascript", headers }))
)

const pages = Layer.mergeAll(file("/", "./index.html"), file("/style.css", "./style.css"), script)

const rpc = RpcServer.layer(Api).pipe(
  Layer.provide(MarketLive),
  Layer.provide(RpcServer.layerProtocolSocketServer),
  Layer.provide(EngineIO.layerSocketServer("/rpc/")),
  Layer.provide(RpcSerialization.layerJson)
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

const served = HttpRouter.serve(Layer.mergeAll(pages, rpc), { disableLogger: true, disableListenLog: true })

announce.pipe(
  Layer.provide(served),
  // Above what it serves, so that it listens when that is there: a request before would get no answer.
  Layer.provide(server),
  Layer.provide(Script.layer),
  Layer.provide(EngineIOLive),
  Layer.launch,
  // Ctrl-C and SIGTERM are how it is meant to end.
  NodeRuntime.runMain({
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  })
)
