/** RPC over our sessions. */
import * as Layer from "effect/Layer"
import * as RpcServer from "effect/rpc/RpcServer"
import { EngineIO, EngineIOLive } from "effect-engine.io"
import { launch, path, serve } from "./rpc.ts"

const protocol = Layer.provide(RpcServer.layerProtocolSocketServer, EngineIO.layerSocketServer(path))

launch(Layer.provide(serve(protocol), EngineIOLive))
