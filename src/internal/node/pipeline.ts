/**
 * Requests that a client sends without waiting for the answers to those before (pipelining). Node gives a response its
 * connection when its turn comes. Behind a request to upgrade, one whose turn has not come is not told when the connection
 * closes, so that a poll would stay parked, and a route handler would wait for ever to have written its answer. And an
 * upgrade has no response: its 101 would overtake the answers before it.
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

/** The response whose turn it is: Node's own note, for want of a public one. */
const current = (socket: Net.Socket & { readonly _httpMessage?: Http.ServerResponse | null }) =>
  socket._httpMessage ?? undefined

/** Whether all requests that came before on a connection have their answers. */
export const isFirst = (socket: Net.Socket): boolean => current(socket) === undefined

/** Calls back when that is so; at once, where it is. */
export const afterAnswers = (socket: Net.Socket, done: () => void): void => {
  const response = current(socket)
  if (response === undefined || socket.destroyed) done()
  else response.once("close", () => afterAnswers(socket, done))
}

/** Lets an upgrade wait for the answers before it; calls back with whether its client is still there. */
export const whenFirst = (socket: Net.Socket, done: (isThere: boolean) => void): void => {
  // Node has stopped reading, and only a reader sees the client leave. What comes is kept.
  const look = () => void socket.read(0)
  const leave = () => void socket.destroy()
  socket.on("readable", look).on("end", leave)
  afterAnswers(socket, () => {
    socket.off("readable", look).off("end", leave)
    // Node notes in the next tick that nobody looks any more, and only then lets others read.
    process.nextTick(() => done(!socket.destroyed))
  })
}
