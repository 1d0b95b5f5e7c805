/**
 * A handler on the router.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"

/** Adds the handler at `path`, with and without a trailing slash. */
export const route = <E, R>(
  path: HttpRouter.PathInput,
  served: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) =>
  HttpRouter.use(Effect.fnUntraced(function*(router) {
    const { ignoreTrailingSlash = true } = yield* HttpRouter.RouterConfig
    const withSlash = (path.endsWith("/") ? path : `${path}/`) as HttpRouter.PathInput
    yield* router.add("*", withSlash, served)
    if (!ignoreTrailingSlash && withSlash !== "/") {
      yield* router.add("*", withSlash.slice(0, -1) as HttpRouter.PathInput, served)
    }
  }))

/** Serves the handler at `path`, and nothing else. */
export const serve = <E, R>(
  path: HttpRouter.PathInput,
  served: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) =>
  HttpRouter.serve(
    Layer.mergeAll(
      route(path, served),
      HttpRouter.add("*", "/*", Effect.succeed(HttpServerResponse.text("Not Implemented", { status: 501 })))
    ),
    { disableLogger: true }
  )
