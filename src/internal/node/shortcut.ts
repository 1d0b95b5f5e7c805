/**
 * The way of `serve`, which has nothing but Engine.IO on it. A request goes through Effect's server and router like any
 * other, but polls and posts of open sessions, which are most, go straight to their sessions, as on a server that we are
 * attached to.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Net from "node:net"
import { Place, Roster } from "../protocol/roster.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import { handle } from "../server/handler.ts"
import type { NamedHandler } from "../server/namedHandler.ts"
import { EngineIO } from "../server/service.ts"
import { isStraight, requestListener } from "./effectServer.ts"
import { DirectExchange, type ExchangeHost } from "./exchange.ts"
import { pollDirectly } from "./nodeHandlers.ts"
import { NodePlatform } from "./nodePlatform.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"

/** One that ends with its scope, as a fiber would. */
class ScopedExchange extends DirectExchange {
  private readonly all: Roster<DirectExchange>
  private readonly place: Place<DirectExchange>
  constructor(
    all: Roster<DirectExchange>,
    source: Http.IncomingMessage,
    response: Http.ServerResponse,
    extraHeaders: ExtraHeaders,
    host: ExchangeHost
  ) {
    super(source, response, extraHeaders, host)
    this.all = all
    this.place = all.enter(new Place(this))
  }

  override onClose(written: boolean): void {
    this.all.leave(this.place)
    super.onClose(written)
  }
}

/**
 * Lets polls and posts at `path` go straight to the sessions of its handler, from the first request on that shows the Node
 * server, and that nothing stands between that and the handler. Returns what handles all others, and them until then.
 */
export const shorten = Effect.fnUntraced(function*(
  path: string,
  handler: NamedHandler
): Effect.fn.Return<Effect.Effect<HttpServerResponse, never, EngineIO>, never, EngineIO | Scope.Scope> {
  const handled = handle(handler)
  const { engine } = yield* EngineIO
  const { platform } = engine
  // What else a router makes of paths is its own affair.
  if (!(platform instanceof NodePlatform) || !/^\/[\w./~-]*$/.test(path)) return handled
  const target = `${path.endsWith("/") ? path : `${path}/`}?`
  const all = new Roster<DirectExchange>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const exchange of all) exchange.interrupt()
    })
  )
  const { maxPayload } = engine.settings
  const poll: (...args: Parameters<Http.RequestListener>) => boolean = (source, response) =>
    source.url!.startsWith(target) &&
    // Effect has its own way to be rid of a body that nobody reads.
    source.headers["transfer-encoding"] === undefined && Number(source.headers["content-length"] ?? 0) <= maxPayload &&
    pollDirectly(
      engine,
      handler,
      source,
      (extraHeaders) => new ScopedExchange(all, source, response, extraHeaders, platform)
    )

  let isKnown = false
  const lookAt = (fiber: Fiber.Fiber<unknown, unknown>): void => {
    const source = toNode(Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest))
    if (!isNode(source) || isUpgraded(source)) return
    isKnown = true
    const { server } = source.socket as Net.Socket & { readonly server?: Http.Server }
    const listener = server && isStraight(fiber) ? requestListener(server) : undefined
    if (listener === undefined) return
    const short: Http.RequestListener = (source, response) => {
      if (!poll(source, response)) listener(source, response)
    }
    // Whoever takes that listener away takes this one, as Node has it for its own wrappers.
    server!.off("request", listener).on("request", Object.assign(short, { listener }))
  }
  return Effect.withFiber((fiber) => {
    if (!isKnown) lookAt(fiber)
    return handled
  })
})
