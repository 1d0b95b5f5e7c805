/**
 * The client's own files, which a Socket.IO server serves below its path. The methods for it are private there, so they are
 * used here alone.
 */
import type * as Http from "node:http"
import type { AnyServer } from "./boundEngine.ts"

interface Serving {
  serve(name: string, request: Http.IncomingMessage, response: Http.ServerResponse): void
  readonly _corsMiddleware?: (request: Http.IncomingMessage, response: Http.ServerResponse, next: () => void) => void
}

const file = /\/(socket\.io(?:\.(?:esm\.min|min|msgpack\.min))?\.js(?:\.map)?)(?:\?|$)/

/** The name of the client's file that a URL asks for. */
export const clientFileOf = (url: string | undefined): string | undefined => file.exec(url ?? "")?.[1]

/** Answers a request for one of the files. */
export const serveClientFile = (
  io: AnyServer,
  request: Http.IncomingMessage,
  response: Http.ServerResponse
): void => {
  const serving = io as unknown as Serving
  const serve = () => serving.serve(clientFileOf(request.url)!, request, response)
  if (serving._corsMiddleware === undefined) serve()
  else serving._corsMiddleware(request, response, serve)
}
