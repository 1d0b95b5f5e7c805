/**
 * The handlers that open sessions. A session knows its handler by a name, which can be sent: another process, where the
 * same program makes its handlers in the same order, has the same names.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Route, RouteContext } from "effect/http/HttpRouter"
import type * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { Program } from "../session/life.ts"
import type { Socket, SocketId } from "../session/model.ts"
import type { ResponseInfo } from "./options.ts"

export const HooksId: unique symbol = Symbol.for("effect-engine.io/Hooks")

/** The function a user passes to `EngineIO.handler`. One that is not a user's may have hooks. */
export interface Factory {
  (socket: Socket): Effect.Effect<Program, unknown, unknown>
  readonly [HooksId]?: Hooks
}

/** What one handler does beside the options of its server. Where nothing is to be done, a hook is `undefined`. */
export interface Hooks {
  /** Makes the ids of its sessions, in the place of the option of this name. */
  readonly generateId: ((request: HttpServerRequest) => Effect.Effect<SocketId, unknown>) | undefined
  /** Adds headers to the answers of its sessions, before the option of this name. */
  readonly responseHeaders: ((info: ResponseInfo) => Headers.Input) | undefined
  /** Is told of every request that is refused; `source` is what the request was made of. */
  readonly onRefused: (source: object, code: HandshakeError["code"], message: string, context: unknown) => void
}

export interface NamedHandler {
  readonly name: string
  readonly factory: Factory
  readonly hooks: Hooks | undefined
}

export const named = (name: string, factory: Factory): NamedHandler => ({ name, factory, hooks: factory[HooksId] })

let made = 0

/** A handler with a name of its own: its number in the order in which the program makes them. */
export const makeHandler = (factory: Factory): NamedHandler => named(`handler ${++made}`, factory)

/**
 * The same or, where it is made while a request is handled, one with the name of the request's route. At once, not when
 * its first request comes: requests have another order in every process.
 */
export const makeRouteHandler = (factory: Factory): NamedHandler => {
  const fiber = Fiber.getCurrent()
  const route = fiber && Context.getOrUndefined(fiber.context as Context.Context<RouteContext>, RouteContext)?.route
  return route === undefined ? makeHandler(factory) : named(nameOf(route), factory)
}

const routeNames = new WeakMap<object, string>()
/** How many routes have the same method and path: a process may have several routers. */
const routeCounts = new Map<string, number>()

const nameOf = (route: Route<unknown, unknown>): string => {
  const known = routeNames.get(route)
  if (known !== undefined) return known
  const path = `${route.method} ${route.path}`
  const count = (routeCounts.get(path) ?? 0) + 1
  routeCounts.set(path, count)
  const name = `route ${path} ${count}`
  routeNames.set(route, name)
  return name
}
