/**
 * The handlers that open sessions. A session knows its handler by a name, which can be sent: another process, where the
 * same program makes its handlers in the same order, has the same names.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Route, RouteContext } from "effect/http/HttpRouter"
import type { Program } from "../session/life.ts"
import type { Socket } from "../session/model.ts"

/** The function a user passes to `EngineIO.handler`. */
export type Factory = (socket: Socket) => Effect.Effect<Program, unknown, unknown>

export interface NamedHandler {
  readonly name: string
  readonly factory: Factory
}

let made = 0

/** A handler with a name of its own: its number in the order in which the program makes them. */
export const makeHandler = (factory: Factory): NamedHandler => ({ name: `handler ${++made}`, factory })

/** The same or, where it is made while a request is handled, one with the name of the request's route. */
export const makeRouteHandler = (factory: Factory): NamedHandler => {
  const fiber = Fiber.getCurrent()
  const route = fiber && Context.getOrUndefined(fiber.context as Context.Context<RouteContext>, RouteContext)?.route
  return route === undefined ? makeHandler(factory) : { name: nameOf(route), factory }
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
