/**
 * An echo with its numbers at `/metrics`, in the text format of Prometheus: those of the server, and one of our own.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Metric } from "effect"
import { HttpRouter } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
import { createServer } from "node:http"

const shouts = Metric.counter("app_shouts_total", { description: "Messages in capitals", incremental: true })

const echo = EngineIO.route("/engine.io/", (socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) =>
      Effect.gen(function*() {
        if (message === String(message).toUpperCase()) yield* Metric.update(shouts, 1)
        yield* Socket.send(socket, message)
      }))
  }))

const server = Layer.unwrap(
  Effect.map(
    Config.Int("PORT").pipe(Config.withDefault(3000)),
    (port) => NodeHttpServer.layer(createServer, { port })
  )
)

HttpRouter.serve(Layer.merge(echo, PrometheusMetrics.layerHttp()), { disableLogger: true }).pipe(
  Layer.provide(EngineIOLive),
  Layer.provide(server),
  Layer.launch,
  NodeRuntime.runMain
)
