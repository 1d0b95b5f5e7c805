/**
 * What we know of the insides of Effect's server on Node. `test/effect.test.ts` names the version it was seen in, and fails
 * when it changes.
 */
import type * as Fiber from "effect/Fiber"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Tracer from "effect/Tracer"
import type * as Http from "node:http"

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
 * of the router or of the server, and nobody who collects spans. To be asked in the first step of the handler.
 */
export const isStraight = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.currentOpCount === straight &&
  // Steps are counted anew after a wait; before the first, nobody has the fiber yet.
  (fiber as { readonly _observers?: unknown })._observers === undefined &&
  fiber.getRef(Tracer.Tracer) === Tracer.nativeTracer

/** The listener by which Effect's server has its requests, where it is the only one of its kind, and the last of all. */
export const requestListener = (server: Http.Server): Http.RequestListener | undefined => {
  const all = server.listeners("request") as Array<Http.RequestListener>
  const last = all.findLast(interruptsRequests)
  return all.at(-1) === last && all.filter(interruptsRequests).length === 1 ? last : undefined
}
