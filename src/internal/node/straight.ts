/**
 * Whether a request has come from Node to the handler of its route, and nothing of anybody's was between.
 *
 * Effect's server has one listener for requests. It begins a fiber for each, and that comes to the handler of a route in three
 * steps: the server's, the router's, the handler's. So the last listener of the Node server has to be Effect's own; the fiber
 * has to be the one that it began for this request; and it has to have made three steps, and to have on its stack what server
 * and router leave there, and nothing else. A middleware, a log of requests or a tracer makes other steps, and a program that
 * runs another within its own has other fibers. What is not recognised is not straight.
 *
 * All of it is private to Effect: `test/effect.test.ts` names the version it was seen in, and fails when it changes.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { CurrentErrorReporters } from "effect/ErrorReporter"
import type * as Fiber from "effect/Fiber"
import { RouteContext } from "effect/http/HttpRouter"
import { Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type * as Http from "node:http"
import { requestState } from "../server/context.ts"

/** The listeners by which Effect's server has its requests. */
export interface EffectListeners {
  readonly request: Http.RequestListener
  /** Taken away with it when the server ends, just before its fibers are interrupted. */
  readonly checkContinue: Http.RequestListener
}

/** Those of a Node server on which Effect's is the only one of its kind, and the last. */
export const effectListeners = (server: Http.Server): EffectListeners | undefined => {
  const [request, ...more] = (server.listeners("request") as Array<Http.RequestListener>).filter(isEffects)
  // Not `listeners`, which looks behind what others have wrapped around it.
  const last = server.rawListeners("request").at(-1)
  if (request === undefined || more.length > 0 || last !== request) return undefined
  const [checkContinue, ...others] = server.listeners("checkContinue") as Array<Http.RequestListener>
  if (checkContinue === undefined || others.length > 0 || !/\bpendingContinue\b/.test(String(checkContinue))) {
    return undefined
  }
  return { request, checkContinue }
}

const isEffects = (listener: Http.RequestListener): boolean => String(listener) === textOfEffects

const textOfEffects = String(Effect.runSync(NodeHttpServer.makeHandler(Effect.never, { scope: Scope.makeUnsafe() })))

/** While Effect's listener runs: the request that it was given, and the fiber that it begins. */
let begun:
  | { readonly listener: Http.RequestListener; readonly source: Http.IncomingMessage; readonly fiber: number }
  | undefined

/** Gives Effect's listener a request in such a way that `isBegunBy` can tell its fiber from all others. */
export const callEffects = (
  listener: Http.RequestListener,
  source: Http.IncomingMessage,
  response: Http.ServerResponse<Http.IncomingMessage> & { readonly req: Http.IncomingMessage }
): void => {
  const before = begun
  begun = { listener, source, fiber: Effect.runFork(Effect.void).id + 1 }
  try {
    listener(source, response)
  } finally {
    begun = before
  }
}

/** Whether that is the very fiber which this listener began for this request, and still in its first steps. */
export const isBegunBy = (
  listener: Http.RequestListener,
  source: Http.IncomingMessage,
  fiber: Fiber.Fiber<unknown, unknown>
): boolean => begun?.listener === listener && begun.source === source && begun.fiber === fiber.id

/** The steps of a fiber from Effect's server to the handler of a route. */
const straight = 3

/**
 * Whether a fiber in the first step of a handler has come there straight, if a listener of Effect's began it. Nobody collects
 * its spans, errors or metrics either, and its steps are counted from its beginning.
 */
export const looksStraight = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.currentOpCount === straight &&
  isOnlyServers(fiber) &&
  fiber.getRef(Tracer.Tracer) === Tracer.nativeTracer &&
  fiber.getRef(CurrentErrorReporters).size === 0 &&
  fiber.cache.runtimeMetrics === undefined &&
  Context.getOrUndefined(fiber.context, Scheduler) === undefined

/** Whether nothing is on its stack but the server's frame, between the regions of server and router. */
const isOnlyServers = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const [outer, frame, inner, ...others] = stackOf(fiber)
  const { context } = fiber
  return frame !== undefined && frame === Context.getOrUndefined(context, RequestState) && others.length === 0 &&
    outer === regions[0] && inner === regions[1] &&
    // The router has matched this very request.
    isRouted(context) && !isRouted((frame as Frame).prev)
}

interface Frame {
  /** The context before the server's first step. */
  readonly prev: Context.Context<never>
}

class RequestState extends Context.Service<RequestState, unknown>()(requestState) {}

const isRouted = (context: Context.Context<never>): boolean =>
  Context.getOrUndefined(context, RouteContext) !== undefined

const stackOf = (fiber: Fiber.Fiber<unknown, unknown>): ReadonlyArray<unknown> =>
  (fiber as { readonly _stack?: ReadonlyArray<unknown> })._stack ?? []

/** What stands for an uninterruptible region, and for an interruptible one in it. */
const regions = Effect.runSync(
  Effect.uninterruptible(Effect.interruptible(Effect.withFiber((fiber) => Effect.succeed([...stackOf(fiber)]))))
)
