/**
 * Requests that were answered before all of their body had come. Their connections stay open, so that clients can read
 * the answer; but Node does not count them as idle, so a server that closes would wait for them.
 */
import type * as Http from "node:http"
import * as Net from "node:net"
import { isClosed } from "./serverClose.ts"

type Socket = Net.Socket & { readonly server?: Http.Server }

const connections = new WeakMap<Http.Server, Set<Socket>>()

/** Whether nothing of an HTTP/1 request is left on its connection: one without a body is whole before Node says so. */
export const isRead = ({ complete, headers, httpVersionMajor }: Http.IncomingMessage): boolean =>
  httpVersionMajor === 1 &&
  (complete || (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined))

/** Whether the rest of a request is not worth waiting for: the server that took it has closed meanwhile. */
export const isForNobody = (request: Http.IncomingMessage): boolean => {
  if (isRead(request)) return false
  const { server } = request.socket as Socket
  return server !== undefined && isClosed(server)
}

/** Looks, when a request is answered, whether all of it has come. */
export const lookForRest = (request: Http.IncomingMessage, response: Http.ServerResponse): void => {
  if (request.httpVersionMajor === 1 && !isRead(request)) response.on("close", look)
}

function look(this: Http.ServerResponse): void {
  const { req } = this
  const socket = req.socket as Socket
  const { server } = socket
  if (req.complete || server === undefined || !socket.writable) return
  if (isClosed(server)) return socket.destroySoon()
  const all = connections.get(server) ?? new Set()
  connections.set(server, all.add(socket))
  const forget = (): void => {
    all.delete(socket)
    req.off("end", forget)
    socket.off("close", forget)
  }
  req.on("end", forget)
  socket.on("close", forget)
}

/** Closes what is left of such connections. */
export const closeUnfinished = (server: Http.Server): void => {
  for (const socket of connections.get(server) ?? []) socket.destroySoon()
}

/**
 * Closes the connections of a server on which nothing has ever come. Browsers open some in advance; Node does not count
 * them as idle, and a server that closes would wait for them too.
 */
export const closeSilent = (server: Http.Server): void => void setTimeout(destroySilent, silentTimeout, server)

/** How long a request may be on its way, on a connection that is new when the server closes, in milliseconds. */
const silentTimeout = 100

const destroySilent = (server: Http.Server): void => {
  if (!isClosed(server)) return
  // Node's own list, for want of a public one.
  const { _getActiveHandles: handles } = process as { readonly _getActiveHandles?: () => ReadonlyArray<object> }
  for (const handle of handles?.() ?? []) {
    if (handle instanceof Net.Socket && (handle as Socket).server === server && handle.bytesRead === 0) handle.destroy()
  }
}
