/**
 * What we know of the insides of Effect's server on Node. `test/effect.test.ts` names the version it was seen in, and fails
 * when it changes.
 */
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
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
const interruptsRequests = (listener: Listener): boolean =>
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
