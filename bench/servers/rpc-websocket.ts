/** RPC over WebSockets, as Effect serves it. */
import * as RpcServer from "effect/rpc/RpcServer"
import { launch, path, serve } from "./rpc.ts"

launch(serve(RpcServer.layerProtocolWebsocket({ path })))
