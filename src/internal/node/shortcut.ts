/**
 * The short way of polls. Every request goes through Effect's server and router, and shows whether anything stands between
 * them and its handler: a middleware, a logger, a tracer. Where nothing does, later polls and posts of open sessions, which
 * are most requests, go straight to their sessions, as on a server that we are attached to.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { RouteContext } from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type * as Http from "node:http"
import type * as Net from "node:net"
import { Place, Roster } from "../protocol/roster.ts"
import type { Engine } from "../server/engine.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import { handle } from "../server/handler.ts"
import type { NamedHandler } from "../server/namedHandler.ts"
import { EngineIO } from "../server/service.ts"
import { isStraight, requestListener } from "./effectServer.ts"
import { DirectExchange, type ExchangeHost } from "./exchange.ts"
import { pollDirectly } from "./nodeHandlers.ts"
import { NodePlatform } from "./nodePlatform.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"

/** The handler, whose polls and posts go straight to their sessions once a request has shown that they may. */
export const shorten = (handler: NamedHandler): Effect.Effect<HttpServerResponse, never, EngineIO> => {
  const handled = handle(handler)
  return Effect.withFiber((fiber) => {
    if (isStraight(fiber)) learn(handler, fiber)
    return handled
  })
}

const learn = (handler: NamedHandler, { context }: Fiber.Fiber<unknown, unknown>): void => {
  const request = Context.getUnsafe(context as Context.Context<HttpServerRequest>, HttpServerRequest)
  const source = toNode(request)
  if (!isNode(source) || isUpgraded(source)) return
  const path = source.url!.slice(0, source.url!.indexOf("?"))
  const route = Context.getOrUndefined(context as Context.Context<RouteContext>, RouteContext)?.route
  // What else a router makes of paths is its own affair.
  if (route === undefined || !isPlain(path) || unslashed(route.path) !== unslashed(path)) return
  const { server } = source.socket as Net.Socket & { readonly server?: Http.Server }
  const { engine } = Context.getUnsafe(context as Context.Context<EngineIO>, EngineIO)
  if (server === undefined || !(engine.platform instanceof NodePlatform)) return
  shortcutOf(server)?.add({ method: source.method!, target: `${path}?`, engine, platform: engine.platform, handler })
}

const isPlain = (path: string): boolean => /^\/[\w./~-]*$/.test(path)

const unslashed = (path: string): string => path.endsWith("/") ? path.slice(0, -1) : path

/** By server; where there can be none, that. */
const shortcuts = new WeakMap<Http.Server, Shortcut | undefined>()

const shortcutOf = (server: Http.Server): Shortcut | undefined => {
  if (shortcuts.has(server)) return shortcuts.get(server)
  const listener = requestListener(server)
  const shortcut = listener && new Shortcut(server, listener)
  shortcuts.set(server, shortcut)
  return shortcut
}

/** Requests of which one has come to its handler with nothing between. */
interface Way {
  readonly method: string
  readonly target: string
  readonly engine: Engine
  readonly platform: ExchangeHost
  readonly handler: NamedHandler
}

/** Stands in the place of the listener of Effect's server, and leaves to that what is not its own. */
class Shortcut {
  private readonly ways: Array<Way> = []
  private readonly exchanges = new Roster<DirectExchange>()

  constructor(server: Http.Server, listener: Http.RequestListener) {
    const short: Http.RequestListener = (source, response) => {
      if (!this.take(source, response)) listener(source, response)
    }
    // Whoever takes that listener away takes this one, as Node has it for its own wrappers.
    server.off("request", listener).on("request", Object.assign(short, { listener }))
    const onRemoved = (event: string, removed: unknown): void => {
      if (event !== "request" || removed !== listener) return
      server.off("removeListener", onRemoved)
      shortcuts.delete(server)
      // Effect interrupts its fibers then.
      for (const exchange of this.exchanges) exchange.interrupt()
    }
    server.on("removeListener", onRemoved)
  }

  add(way: Way): void {
    if (!this.ways.some(({ method, target }) => method === way.method && target === way.target)) this.ways.push(way)
  }

  private take(source: Http.IncomingMessage, response: Http.ServerResponse): boolean {
    for (const way of this.ways) {
      if (way.method !== source.method || !source.url!.startsWith(way.target)) continue
      const { engine, handler, platform } = way
      return mayBeLeft(source, engine) &&
        pollDirectly(
          engine,
          handler,
          source,
          (extraHeaders) => new ScopedExchange(this.exchanges, source, response, extraHeaders, platform)
        )
    }
    return false
  }
}

/** Effect has its own way to be rid of a body that nobody reads. */
const mayBeLeft = ({ headers }: Http.IncomingMessage, { settings: { maxPayload } }: Engine): boolean =>
  headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) <= maxPayload

/** One that ends with its server, as a fiber would. */
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
