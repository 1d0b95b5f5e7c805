/**
 * The Node reference, `engine.io`, as a server for comparisons.
 */
import { attach, type Server, type ServerOptions } from "engine.io"
import { createServer } from "node:http"
import { within } from "./events.ts"
import { portOf, type Target, unwatched } from "./server.ts"

/** Runs `body` with a server of the reference, whose sessions echo. */
export const withReference = async <A>(
  options: ServerOptions,
  body: (target: Target, engine: Server) => Promise<A>
): Promise<A> => {
  const http = createServer()
  const engine = attach(http, options)
  engine.on(
    "connection",
    (socket: { on: (event: string, listener: (data: unknown) => void) => void; send: (data: unknown) => void }) => {
      socket.on("message", (data) => socket.send(data))
    }
  )
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  const target = unwatched(portOf(http))
  try {
    return await body(target, engine)
  } finally {
    for (const client of target.webSockets) client.socket.terminate()
    for (const connection of target.connections) connection.socket.destroy()
    engine.close()
    http.closeAllConnections()
    await within(new Promise((resolve) => http.close(resolve)), "the end of the reference")
  }
}
