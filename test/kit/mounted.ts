/**
 * An engine beside something else: attached to a Node server that a test builds.
 */
import { type Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import type { Server } from "node:http"
import type { Socket as NodeSocket } from "node:net"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { Mailbox, within } from "./events.ts"
import { portOf, type Target, unwatched } from "./server.ts"

type Factory = (socket: Socket.Socket) => Effect.Effect<EngineIO.SocketApp<never>, EngineIO.Forbidden>

const echo: Factory = (socket) =>
  Effect.succeed({ app: Effect.ignore(Socket.forEach(socket, (message) => Socket.send(socket, message))) })

/** One engine, with its scope. */
export class Mounted {
  readonly #scope = Scope.makeUnsafe()
  #context!: Context.Context<EngineIO.EngineIO>
  /** The warnings in the log. */
  readonly warnings: Array<string> = []
  /** Why sessions ended. */
  readonly ended: Mailbox<CloseReason.CloseReason> = new Mailbox("the end of a session")

  static async make(options: EngineIO.Options = {}): Promise<Mounted> {
    const mounted = new Mounted()
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      if (logLevel === "Warn") mounted.warnings.push([message].flat().join(" "))
    })
    const layer = Layer.provideMerge(EngineIO.layer(options), Logger.layer([logger], { mergeWithExisting: true }))
    mounted.#context = await Effect.runPromise(Layer.buildWithScope(layer, mounted.#scope))
    return mounted
  }

  /** An engine that listens on a server. */
  static async attach(
    server: EngineIO.NodeServer,
    options: EngineIO.AttachOptions & { readonly engine?: EngineIO.Options; readonly application?: Factory } = {}
  ): Promise<Mounted> {
    const { application = echo, engine, ...attach } = options
    const mounted = await Mounted.make(engine)
    await mounted.run(EngineIO.attach(server, mounted.#recorded(application), attach))
    return mounted
  }

  /** The listeners of this engine, for a test to mount. */
  handlers(application = echo): Promise<EngineIO.NodeHandlers> {
    return this.run(EngineIO.toNodeHandlers(this.#recorded(application)))
  }

  run<A, E>(effect: Effect.Effect<A, E, EngineIO.EngineIO | Scope.Scope>): Promise<A> {
    return Effect.runPromise(
      effect.pipe(Effect.provideService(Scope.Scope, this.#scope), Effect.provideContext(this.#context))
    )
  }

  count(): Promise<number> {
    return this.run(EngineIO.count)
  }

  release(): Promise<void> {
    return within(Effect.runPromise(Scope.close(this.#scope, Exit.void)), "the end of the engine")
  }

  #recorded(application: Factory): Factory {
    return (socket) =>
      Effect.map(application(socket), ({ app }) => ({
        app,
        onDisconnect: (reason) => Effect.sync(() => this.ended.put(reason))
      }))
  }
}

/** Listens on a free port, runs `body`, and ends clients and server. */
export const listening = async (
  server: EngineIO.NodeServer,
  body: (target: Target) => Promise<void>
): Promise<void> => {
  // Node does not close connections that asked for an upgrade.
  const sockets = new Set<NodeSocket>()
  server.on("connection", (socket: NodeSocket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const target = unwatched(portOf(server as Server))
  try {
    await body(target)
  } finally {
    for (const client of target.clients) client.socket.close()
    for (const client of target.webSockets) client.socket.terminate()
    for (const connection of target.connections) connection.socket.destroy()
    for (const socket of sockets) socket.destroy()
    await within(new Promise<void>((resolve) => server.close(() => resolve())), "the end of the server")
  }
}
