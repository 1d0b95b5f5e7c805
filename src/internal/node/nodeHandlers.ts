/**
 * The listeners of a Node server, which take requests and upgrades from Node to the engine.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type { Duplex } from "node:stream"
import { leave } from "../server/drain.ts"
import type { Engine } from "../server/engine.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import { handle, poll } from "../server/handler.ts"
import { type Factory, makeHandler, type NamedHandler } from "../server/namedHandler.ts"
import { EngineIO } from "../server/service.ts"
import { type AttachOptions, checkNodeHandlers } from "./attachOptions.ts"
import { DirectExchange } from "./exchange.ts"
import { keepHead } from "./heads.ts"
import { keepReasons, type Middleware, type OnRefused, run, runOnUpgrade } from "./middleware.ts"
import { nodePlatformOf } from "./nodePlatform.ts"
import { attend } from "./undecided.ts"

/**
 * The listeners of a Node server.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeHandlers {
  readonly handleRequest: (request: Http.IncomingMessage, response: Http.ServerResponse) => void
  readonly handleUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** Makes the listeners for sessions of the factory, which end with the scope. */
export const toNodeHandlers = Effect.fnUntraced(function*(
  factory: Factory,
  options: Pick<AttachOptions, "middleware">
): Effect.fn.Return<NodeHandlers, never, EngineIO | Scope.Scope> {
  yield* Effect.orDie(checkNodeHandlers(options))
  const { engine } = yield* EngineIO
  const platform = nodePlatformOf(engine)
  const handler = makeHandler(factory)
  const handlers = yield* makeHandlers(
    handle(handler),
    (source, response) =>
      pollDirectly(
        engine,
        handler,
        source,
        (extraHeaders) => new DirectExchange(source, response, extraHeaders, platform)
      ),
    options.middleware ?? [],
    ({ code, context, message }, source) => {
      engine.telemetry.refused(code, message, context)
      handler.hooks?.onRefused(source, code, message, context)
    }
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => leave(engine, handler.name)))
  return handlers
})

/** Hands a poll or a post to its session, without a fiber; false for all other requests. */
export const pollDirectly = (
  engine: Engine,
  handler: NamedHandler,
  source: Http.IncomingMessage,
  toExchange: (extraHeaders: ExtraHeaders) => DirectExchange
): boolean =>
  poll(
    engine,
    handler,
    source.method!,
    source.url!,
    (name) => source.headers[name] as string | undefined,
    toExchange
  ) !== undefined

/** Makes the listeners for a handler; their requests live as long as the scope. */
const makeHandlers = <E, R>(
  handler: Effect.Effect<HttpServerResponse, E, R>,
  direct: (source: Http.IncomingMessage, response: Http.ServerResponse) => boolean,
  middleware: ReadonlyArray<Middleware>,
  onRefused: OnRefused
): Effect.Effect<NodeHandlers, never, Scope.Scope | Exclude<R, HttpServerRequest | Scope.Scope>> =>
  Effect.gen(function*() {
    // Its requests end when it does, and not before all that was added to the scope between.
    const scope = yield* Scope.fork(yield* Effect.scope, "parallel")
    // Requests run uninterruptibly unless said otherwise; a client that goes away must end its poll (rule R37).
    const interruptible = Effect.interruptible(handler)
    const fiber: NodeHandlers["handleRequest"] = yield* NodeHttpServer.makeHandler(interruptible, { scope })
    // Most requests are polls and posts of open sessions, for which a fiber would do nothing.
    const request: NodeHandlers["handleRequest"] = (source, response) => {
      keepReasons(response)
      if (!direct(source, response)) fiber(source, response)
    }
    const upgrade = yield* NodeHttpServer.makeUpgradeHandler(
      Effect.die("the upgrade is ours: Effect's own WebSocket server is never asked"),
      interruptible,
      { scope }
    )
    const accept = (source: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      keepHead(source, head)
      upgrade(source, socket, head)
    }
    // The list may grow.
    return {
      handleRequest: (source, response) =>
        middleware.length === 0
          ? request(source, response)
          : run(middleware, onRefused, source, response, () => request(source, response)),
      handleUpgrade: (source, socket, head) => {
        if (middleware.length === 0) return accept(source, socket, head)
        socket.on("error", ignoreError)
        // What asks for another protocol may stay HTTP, and have a body (rule R26).
        if (source.headers.upgrade?.toLowerCase() === "websocket") attend(source)
        runOnUpgrade(middleware, onRefused, source, () => {
          socket.off("error", ignoreError)
          accept(source, socket, head)
        })
      }
    }
  })

const ignoreError = (): void => {}
