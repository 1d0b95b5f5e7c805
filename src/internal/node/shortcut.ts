/**
 * The short way of polls. Every request goes through Effect's server and router, and shows whether anything stands between
 * them and its handler: a middleware, a logger, a tracer. Where nothing does, later polls and posts of open sessions, which
 * are most requests, go straight to their sessions, as on a server that we are attached to.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { type Route, RouteContext } from "effect/http/HttpRouter"
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
import { DirectExchange, type ExchangeHost } from "./exchange.ts"
import { pollDirectly } from "./nodeHandlers.ts"
import { NodePlatform } from "./nodePlatform.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"
import { callEffects, type EffectListeners, effectListeners, isBegunBy, looksStraight } from "./straight.ts"

/** The handler, whose polls and posts go straight to their sessions once a request has shown that they may. */
export const shorten = (handler: NamedHandler): Effect.Effect<HttpServerResponse, never, EngineIO> => {
  const handled = handle(handler)
  return Effect.withFiber((fiber) => {
    if (looksStraight(fiber)) learn(handler, fiber)
    return handled
  })
}

/** Only a later request can show it: the first has us put our listener before Effect's. */
const learn = (handler: NamedHandler, fiber: Fiber.Fiber<unknown, unknown>): void => {
  const context = fiber.context as Context.Context<HttpServerRequest | RouteContext | EngineIO>
  const source = toNode(Context.getUnsafe(context, HttpServerRequest))
  if (!isNode(source) || isUpgraded(source)) return
  const server = (source.socket as Net.Socket & { readonly server?: Http.Server } | null)?.server
  if (server === undefined) return
  const shortcut = shortcuts.get(server)
  if (shortcut === undefined) return putBefore(server)
  if (!shortcut.hasBegun(fiber, source)) return
  const path = pathOf(source.url!)
  const { route } = Context.getUnsafe(context, RouteContext)
  const { engine } = Context.getUnsafe(context, EngineIO)
  // Where its path is a pattern, clients could find ever more of them.
  if (path === undefined || unslashed(route.path) !== unslashed(path)) return
  if (!(engine.platform instanceof NodePlatform)) return
  shortcut.add({
    method: source.method!,
    path,
    route,
    served: route.handler,
    engine,
    platform: engine.platform,
    handler
  })
}

/** The path of a URL that has a query, if it is one that no router understands in its own way. */
const pathOf = (url: string): string | undefined => /^(\/[\w./~-]*)\?/.exec(url)?.[1]

const unslashed = (path: string): string => path.endsWith("/") ? path.slice(0, -1) : path

const shortcuts = new WeakMap<Http.Server, Shortcut>()

/** Puts a shortcut before the listener of Effect's server, if that is the only one of its kind there, and the last. */
const putBefore = (server: Http.Server): void => {
  const listeners = effectListeners(server)
  if (listeners !== undefined) shortcuts.set(server, new Shortcut(server, listeners))
}

/** Requests of which one has come straight to its handler. */
interface Way {
  readonly method: string
  readonly path: string
  readonly route: Route<unknown, unknown>
  /** What the route led to. */
  readonly served: unknown
  readonly engine: Engine
  readonly platform: ExchangeHost
  readonly handler: NamedHandler
}

/** Has requests before the listener of Effect's server, which it gives all but polls and posts of open sessions. */
class Shortcut {
  private readonly listeners: EffectListeners
  private readonly ways: Array<Way> = []
  private readonly exchanges = new Roster<DirectExchange>()

  constructor(server: Http.Server, listeners: EffectListeners) {
    this.listeners = listeners
    const { checkContinue, request } = listeners
    const short: Http.RequestListener = (source, response) => {
      if (!isPoll(source)) return request(source, response)
      const way = this.find(source)
      if (way === undefined) callEffects(request, source, response)
      else if (!this.take(way, source, response)) request(source, response)
    }
    // Whoever takes that listener away takes this one, as Node has it for its own wrappers.
    server.off("request", request).on("request", Object.assign(short, { listener: request }))
    const onRemoved = (): void => {
      // A program may put others in the place of one of them.
      if (server.listeners("request").includes(request) || server.listeners("checkContinue").includes(checkContinue)) {
        return
      }
      server.off("removeListener", onRemoved)
      shortcuts.delete(server)
      for (const exchange of this.exchanges) exchange.interrupt()
    }
    server.on("removeListener", onRemoved)
  }

  /** Whether it has given this very request to Effect's listener, and that has begun this fiber for it. */
  hasBegun(fiber: Fiber.Fiber<unknown, unknown>, source: Http.IncomingMessage): boolean {
    return isBegunBy(this.listeners.request, source, fiber)
  }

  add(way: Way): void {
    this.ways.push(way)
  }

  private find({ method, url }: Http.IncomingMessage): Way | undefined {
    for (const way of this.ways) {
      if (way.method === method && url![way.path.length] === "?" && url!.startsWith(way.path)) return way
    }
    return undefined
  }

  private take(way: Way, source: Http.IncomingMessage, response: Http.ServerResponse): boolean {
    const { engine, handler, platform, route, served } = way
    return route.handler === served && isPlain(source, engine.settings.maxPayload) &&
      !response.headersSent && !response.writableEnded &&
      pollDirectly(
        engine,
        handler,
        source,
        (extraHeaders) => new ScopedExchange(this.exchanges, source, response, extraHeaders, platform)
      )
  }
}

/** Whether it may be one of ours: others are not to pay for it. */
const isPoll = ({ method, url }: Http.IncomingMessage): boolean =>
  (method === "GET" || method === "POST") && /[?&]sid=/.test(url!)

/** From here on Effect closes the connection of a body that nobody has read, in bytes. */
const mostUnread = 256 * 1024

/** Whether it has no body, or one so small that Effect would not close the connection over it. HTTP/2 need not say. */
const isPlain = ({ headers, httpVersionMajor, method }: Http.IncomingMessage, maxPayload: number): boolean => {
  const length = headers["content-length"]
  if (httpVersionMajor !== 1 || headers["transfer-encoding"] !== undefined) return false
  return length === undefined || (method === "POST" && Number(length) <= Math.min(maxPayload, mostUnread))
}

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
