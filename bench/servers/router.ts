/** The program of the front page, with an application of one's choice. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import workers from "node:cluster"
import { createServer } from "node:http"
import { EngineIO, type Socket } from "effect-engine.io"
import { maxPayload } from "../shared/content.ts"
import { announce } from "./announce.ts"

export const serve = (
  app: (socket: Socket.Socket) => Effect.Effect<unknown, unknown>,
  burst: Parameters<typeof announce>[1],
  references: Layer.Layer<never> = Layer.empty,
  cluster: Layer.Layer<never, EngineIO.OptionsError> = Layer.empty,
  middleware: Layer.Layer<never, never, HttpRouter.HttpRouter> = Layer.empty
): void => {
  const echo = EngineIO.handler((socket) => Effect.succeed({ app: app(socket) }))
  const ready = Layer.effectDiscard(Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    // A worker's channel leads to its primary, which knows where all of them listen.
    if (workers.isPrimary) yield* announce("port" in address ? address.port : 0, burst)
  }))
  const served = HttpRouter.serve(Layer.merge(HttpRouter.add("*", "/engine.io/", echo), middleware), {
    disableLogger: true,
    disableListenLog: true
  })
  ready.pipe(
    Layer.provide(served),
    Layer.provide(EngineIO.layer({ maxPayload })),
    Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
    Layer.provide(references),
    Layer.provide(cluster),
    Layer.launch,
    NodeRuntime.runMain
  )
}
