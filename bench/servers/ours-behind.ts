/** The same behind a middleware, so that every poll goes through the router. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import { Socket } from "effect-engine.io"
import { serve } from "./router.ts"

serve(
  (socket) => Socket.forEach(socket, (message) => Socket.send(socket, message)),
  Socket.sendAll,
  Layer.empty,
  Layer.empty,
  HttpRouter.middleware((app) => Effect.andThen(Effect.void, app), { global: true })
)
