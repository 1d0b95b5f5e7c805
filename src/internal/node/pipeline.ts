/**
 * Requests that a client sends without waiting for the answers to those before (pipelining). Node gives a response its
 * connection when its turn comes. Behind a request to upgrade, one whose turn has not come is not told when the connection
 * closes, so that a poll would stay parked, and a route handler would wait for ever to have written its answer.
 */
import type * as Http from "node:http"
import type * as Net from "node:net"

/** The responses that wait for their turn, by connection. */
const waiting = new WeakMap<Net.Socket, Set<Http.ServerResponse>>()

/** Tells the response of its connection's end even if that comes before its turn. */
export const tellOfClose = (
  { httpVersionMajor, socket }: Http.IncomingMessage,
  response: Http.ServerResponse
): void => {
  if (response.socket !== null || httpVersionMajor !== 1) return
  const responses = waiting.get(socket) ?? watch(socket)
  responses.add(response)
  response.once("socket", () => responses.delete(response))
}

const watch = (socket: Net.Socket): Set<Http.ServerResponse> => {
  const responses = new Set<Http.ServerResponse>()
  waiting.set(socket, responses)
  socket.once("close", () => {
    for (const response of responses) {
      response.destroy()
      response.emit("close")
    }
  })
  return responses
}
