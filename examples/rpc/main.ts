/**
 * Effect's RPC for a page: the page, bundled as the server starts, and its API over Engine.IO.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Cause, Config, Console, Effect, Exit, Layer } from "effect"
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

const script = Layer.unwrap(Effect.gen(function*() {
  const { output: [{ code }] } = yield* Effect.promise(() =>
    build({ input: path("./page.ts"), platform: "browser", output: { minify: true }, write: false, logLevel: "silent" })
  )
  return HttpRouter.add("GET", "/page.js", HttpServerResponse.text(code, { contentType: "text/javascript", headers }))
}))

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

// The page is bundled by then.
announce.pipe(
  Layer.provide(served),
  Layer.provide(EngineIOLive),
  Layer.provide(server),
  Layer.launch,
  // Ctrl-C and SIGTERM are how it is meant to end.
  NodeRuntime.runMain({
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  })
)
