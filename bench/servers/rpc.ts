/** An API of `effect/rpc` with one call, over a protocol of one's choice at `/engine.io/`. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { control } from "./control.ts"

export const Api = RpcGroup.make(Rpc.make("Echo", { payload: { text: Schema.String }, success: Schema.String }))

export const handlers = Api.toLayer({ Echo: ({ text }) => Effect.succeed(text) })

export const path = "/engine.io/"

const nothing = () => {}

/** What `open` needs of a router and of an HTTP server it has. */
export const serve = <R>(
  open: Layer.Layer<RpcServer.Protocol, never, R | RpcSerialization.RpcSerialization>
) => {
  const announce = Layer.effectDiscard(Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const { clientIds } = yield* RpcServer.Protocol
    control({
      port: "port" in address ? address.port : 0,
      sessions: () => Effect.runSync(clientIds).size,
      broadcast: nothing,
      burst: nothing,
      flood: nothing
    })
  }))
  return HttpRouter.serve(
    Layer.merge(announce, RpcServer.layer(Api)).pipe(
      Layer.provide(handlers),
      Layer.provide(open),
      Layer.provide(RpcSerialization.layerJson)
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })))
}

export const launch = <E>(served: Layer.Layer<never, E>): void => NodeRuntime.runMain(Layer.launch(served))
