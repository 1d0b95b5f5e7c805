/**
 * What we know of the insides of Effect's server on Node. `test/effect.test.ts` names the version it was seen in, and fails
 * when it changes.
 */
import { CurrentErrorReporters } from "effect/ErrorReporter"
import type * as Fiber from "effect/Fiber"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Tracer from "effect/Tracer"
import type * as Http from "node:http"
import { requestState } from "../server/context.ts"

/**
 * Makes `response` the one that answered an upgrade, so that Effect writes nothing behind it, as after its own upgrades;
 * false where there is no place for it.
 */
export const setUpgraded = (request: HttpServerRequest, response: HttpServerResponse): boolean => {
  const { upgradeState } = request as { readonly upgradeState?: { response?: unknown } | undefined }
  if (upgradeState === undefined || !("response" in upgradeState)) return false
  upgradeState.response = response
  return true
}

/** Has a client go on that waits for status 100 before it sends a body: Effect leaves that to its own readers of bodies. */
export const writeContinue = (request: HttpServerRequest): void =>
  (request as { readonly writeContinue?: () => void }).writeContinue?.()

type Listener = (...args: Array<unknown>) => void

/** The listeners of Effect's server, for `error` and `close`, by request. */
const found = new WeakMap<Http.IncomingMessage, readonly [onError: Listener, onClose: Listener]>()

/** Whether a listener is one of those by which Effect's server interrupts a request whose client has gone. */
const interruptsRequests = (listener: Listener | Http.RequestListener): boolean =>
  /\.interruptUnsafe\(.*\bClientAbort\b/.test(String(listener))

/** To be called before Effect's server is told of an upgrade: it adds both listeners in the same turn, one after the other. */
export const remember = (request: Http.IncomingMessage): void => {
  const { socket } = request
  let onError: Listener | undefined
  const note = (event: string, listener: Listener): void => {
    if (event === "close" && onError !== undefined && interruptsRequests(listener)) {
      found.set(request, [onError, listener])
    }
    onError = event === "error" ? listener : undefined
  }
  socket.on("newListener", note)
  process.nextTick(() => socket.off("newListener", note))
}

/**
 * Takes them away when the handler of the request is done: they would keep the whole request in memory as long as the
 * connection lives. Others are never touched.
 */
export const forget = (request: Http.IncomingMessage): void => {
  const listeners = found.get(request)
  if (listeners === undefined) return
  request.socket.off("error", listeners[0]).off("close", listeners[1])
  // What a weak map holds is kept until the whole heap is collected.
  found.delete(request)
}

/** The steps of a fiber from Effect's server to the handler of a route: the server's, the router's, the handler's. */
const straight = 3

/**
 * Whether the fiber of a request has come to the handler of its route at once, with nothing of anybody between: no middleware
 * of the router or of the server, and nobody who collects spans, errors or metrics of fibers. To be asked in the first step of
 * the handler.
 */
export const isStraight = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.currentOpCount === straight &&
  isOfServer(fiber) &&
  fiber.getRef(Tracer.Tracer) === Tracer.nativeTracer &&
  fiber.getRef(CurrentErrorReporters).size === 0 &&
  fiber.cache.runtimeMetrics === undefined

/**
 * Whether Effect's server has begun this fiber, and not somebody who runs its program as a part of his own. Then nothing is
 * on its way back but what the server and the router have put there, with the server's frame between their regions, and
 * nobody waits for it yet.
 */
const isOfServer = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const { _observers, _stack } = fiber as { readonly _observers?: unknown; readonly _stack?: ReadonlyArray<unknown> }
  const frame = fiber.context.mapUnsafe.get(requestState)
  return _observers === undefined && frame !== undefined && _stack?.length === 3 && _stack[1] === frame
}

/** Whether Node made this response, and one server of Effect alone has been given it. */
export const isOfOneServer = (response: Http.ServerResponse): boolean => {
  const [effects, nodes, ...others] = response.listeners("finish")
  return /\bteardownBody\b/.test(String(effects)) && /^bound resOnFinish$/.test(String(nodes?.name)) &&
    others.length === 0
}

/** The listeners by which Effect's server has its requests. */
export interface EffectListeners {
  readonly request: Http.RequestListener
  /** Taken away when the server ends, just before its fibers are interrupted, and by nobody else. */
  readonly checkContinue: Http.RequestListener
}

/** Those of a Node server on which Effect's is the only one of its kind, and the last to have requests. */
export const effectListeners = (server: Http.Server): EffectListeners | undefined => {
  const all = server.listeners("request") as Array<Http.RequestListener>
  const [request, ...others] = all.filter(interruptsRequests)
  const [checkContinue, ...more] = server.listeners("checkContinue") as Array<Http.RequestListener>
  if (request === undefined || request !== all.at(-1) || others.length > 0 || more.length > 0) return undefined
  return /\bpendingContinue\b/.test(String(checkContinue)) ? { request, checkContinue: checkContinue! } : undefined
}
