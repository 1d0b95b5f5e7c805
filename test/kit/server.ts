/**
 * A real server on a real port for each test, with everything it and its sessions did written down.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { type Context, Effect, Exit, type Fiber, Layer, Logger, Option, References, Scope, Stream } from "effect"
import { HttpRouter, type HttpServerRequest } from "effect/http"
import { createServer, type Server } from "node:http"
import { CloseReason, EngineIO, type Packet, Socket } from "../../src/index.ts"
import type { EngineClient } from "./client.ts"
import { Mailbox, pause, stopPatience, turn, within } from "./events.ts"
import { Connection } from "./http.ts"
import type { WebSocketClient } from "./ws.ts"

/** What raw clients need of a server: where it is, and when it has seen a request. */
export interface Target {
  readonly port: number
  /** Waits until the server has received the request with this target, and has had its chance to act on it. */
  readonly settled: (url: string) => Promise<void>
  /** Connections, WebSockets and clients of the test, ended with it. */
  readonly connections: Set<Connection>
  readonly webSockets: Set<WebSocketClient>
  readonly clients: Set<EngineClient>
}

/** A server that is not watched: one in another process, or one that a test builds itself. */
export const unwatched = (port: number): Target => ({
  port,
  settled: () => pause(50),
  connections: new Set(),
  webSockets: new Set(),
  clients: new Set()
})

/** The port a server listens on. */
export const portOf = (http: Server): number => {
  const address = http.address()
  if (address === null || typeof address === "string") throw new Error("the server does not listen")
  return address.port
}

/** What runs for a session; what it needs beyond the request is its own affair. */
export interface App {
  readonly app: Effect.Effect<unknown, unknown, Scope.Scope>
  readonly onDisconnect?: ((reason: CloseReason.CloseReason) => Effect.Effect<void>) | undefined
}

/** A factory of `App`s, run once for each handshake. */
export type AppFactory = (
  socket: Socket.Socket,
  server: TestServer
) => Effect.Effect<App, unknown, HttpServerRequest.HttpServerRequest>

/** A message with the session it came from. */
export interface Received {
  readonly sid: string
  readonly message: Packet.Message
}

/** The end of a session. */
export interface Ended {
  readonly sid: string
  readonly reason: CloseReason.CloseReason
}

/** A line of the log. */
export interface LogLine {
  readonly level: string
  readonly text: string
  readonly annotations?: Readonly<Record<string, unknown>>
}

/** Options of the engine, and the application; without one, an echo. */
export interface Config extends EngineIO.Options<unknown, never> {
  readonly application?: AppFactory | undefined
  /** Reads requests leniently, so that bytes no header may carry reach the server. */
  readonly lenient?: boolean | undefined
  /** Attaches the engine to the Node server, where other requests get 404, instead of serving a router. */
  readonly attached?: boolean | undefined
  /** Serves the engine and nothing else, by `EngineIO.serve`. */
  readonly served?: boolean | undefined
  /** References that the server runs with: a tracer, a registry of metrics, a level of the log. */
  readonly references?: Layer.Layer<never> | undefined
  /** Routes beside `/engine.io/`. */
  readonly routes?: ((server: TestServer) => Layer.Layer<never, never, HttpRouter.HttpRouter>) | undefined
}

/** A running server. */
export class TestServer implements Target {
  readonly connections: Set<Connection> = new Set()
  readonly webSockets: Set<WebSocketClient> = new Set()
  readonly clients: Set<EngineClient> = new Set()
  readonly webTransports: Set<{ kill(): void }> = new Set()
  readonly http: Server
  /** The sessions that were opened. */
  readonly opened: Mailbox<Socket.Socket> = new Mailbox("a new session")
  /** The messages that reached an `app`. */
  readonly received: Mailbox<Received> = new Mailbox("a message at the application")
  /** The sessions whose `onDisconnect` ran. */
  readonly ended: Mailbox<Ended> = new Mailbox("the end of a session")
  /** The targets of all requests, upgrades too. */
  readonly requests: Mailbox<string> = new Mailbox("a request")
  readonly logs: Array<LogLine> = []
  /** What the handler runs for every handshake. */
  readonly factory: (socket: Socket.Socket) => ReturnType<typeof recorded>
  /** Where WebTransport sessions are served; closed before the layers. */
  readonly accepting = Scope.makeUnsafe()
  readonly #scope = Scope.makeUnsafe()
  readonly #watching: Array<Fiber.Fiber<void>> = []
  #context: Context.Context<EngineIO.EngineIO> | undefined

  constructor(lenient: boolean, application: AppFactory = echo) {
    this.factory = (socket) => recorded(this, application, socket)
    this.http = createServer({ insecureHTTPParser: lenient })
    this.http.on("request", (request) => this.requests.put(request.url ?? ""))
    this.http.on("upgrade", (request) => this.requests.put(request.url ?? ""))
  }

  static async start(config: Config = {}): Promise<TestServer> {
    const {
      application = echo,
      attached = false,
      lenient = false,
      references = Layer.empty,
      routes,
      served = false,
      ...options
    } = config
    const server = new TestServer(lenient, application)
    const way = attached ? "attached" : served ? "served" : routes?.(server) ?? Layer.empty
    const context = await Effect.runPromise(
      Layer.buildWithScope(Layer.provide(layer(server, way, options), references), server.#scope)
    )
    server.#context = context
    return server
  }

  get port(): number {
    return portOf(this.http)
  }

  /** Runs an Effect with the engine of this server. */
  run<A, E>(effect: Effect.Effect<A, E, EngineIO.EngineIO>): Promise<A> {
    return Effect.runPromise(Effect.provide(effect, this.#running))
  }

  /** Serves a WebTransport session with what the handler runs. */
  acceptWebTransport(
    session: EngineIO.WebTransportSession,
    request: EngineIO.WebTransportRequest = { url: "/engine.io/?EIO=4&transport=webtransport" }
  ): Promise<void> {
    return this.run(Scope.provide(EngineIO.acceptWebTransport(session, this.factory, request), this.accepting))
  }

  get #running(): Context.Context<EngineIO.EngineIO> {
    if (this.#context === undefined) throw new Error("the server has not started")
    return this.#context
  }

  /** Collects a stream until the server stops. */
  async collect<A>(what: string, stream: Stream.Stream<A, unknown, EngineIO.EngineIO>): Promise<Mailbox<A>> {
    const mailbox = new Mailbox<A>(what)
    const collecting = Stream.runForEach(stream, (value) => Effect.sync(() => mailbox.put(value))).pipe(
      Effect.ensuring(Effect.sync(() => mailbox.end("the stream ended"))),
      Effect.ignore
    )
    this.#watching.push(Effect.runFork(Effect.provide(collecting, this.#running)))
    await turn()
    return mailbox
  }

  /** How many sessions the registry holds. */
  count(): Promise<number> {
    return this.run(EngineIO.count)
  }

  /** The registered session with this id. */
  async socket(sid: string): Promise<Socket.Socket> {
    return Option.getOrThrow(await this.run(EngineIO.socket(sid)))
  }

  /** The reason of a session's end, once its `onDisconnect` has run. */
  async reason(sid: string, milliseconds?: number): Promise<CloseReason.CloseReason> {
    const ended = await this.ended.find((it) => it.sid === sid, `the end of session ${sid}`, milliseconds)
    return ended.reason
  }

  /** The protocol's text for that reason. */
  async reasonText(sid: string, milliseconds?: number): Promise<string> {
    return CloseReason.message(await this.reason(sid, milliseconds))
  }

  /** The messages that reached the application from one session. */
  messagesOf(sid: string): Array<Packet.Message> {
    return this.received.all.filter((it) => it.sid === sid).map((it) => it.message)
  }

  async settled(url: string): Promise<void> {
    await this.requests.find((it) => it === url, `the request ${url}`)
    await this.barrier()
  }

  /** Round trips through the server and its router: what came before them has been acted on. */
  async barrier(): Promise<void> {
    const connection = await Connection.open(this)
    for (let round = 0; round < 3; round++) await connection.exchange("GET", "/barrier")
    await connection.close()
  }

  /** Ends the test's clients, then the server. */
  async stop(): Promise<void> {
    for (const client of this.clients) client.socket.close()
    for (const client of this.webSockets) client.socket.terminate()
    for (const client of this.webTransports) client.kill()
    for (const connection of this.connections) connection.socket.destroy()
    for (const fiber of this.#watching) fiber.interruptUnsafe()
    await this.release()
  }

  /** Closes the scope of the layers, as the end of the application does. */
  release(): Promise<void> {
    const end = Effect.andThen(Scope.close(this.accepting, Exit.void), Scope.close(this.#scope, Exit.void))
    return within(Effect.runPromise(end), "the end of the server", stopPatience)
  }
}

const layer = (
  server: TestServer,
  way: "attached" | "served" | Layer.Layer<never, never, HttpRouter.HttpRouter>,
  options: EngineIO.Options<unknown, never>
) => {
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    server.logs.push({ level: logLevel, text: [...parts, cause].map(String).join(" "), annotations })
  })
  if (way === "attached") {
    return attached(server).pipe(
      Layer.provideMerge(EngineIO.layer(options)),
      Layer.provideMerge(Logger.layer([logger]))
    )
  }
  const handler = EngineIO.handler(server.factory)
  const serving = way === "served"
    ? EngineIO.serve("/engine.io/", server.factory)
    : HttpRouter.serve(Layer.mergeAll(HttpRouter.add("*", "/engine.io/", handler), way, middleware), {
      disableLogger: true,
      disableListenLog: true
    })
  return serving.pipe(
    Layer.provideMerge(EngineIO.layer(options)),
    Layer.provideMerge(NodeHttpServer.layer(() => server.http, { port: 0, host: "127.0.0.1" })),
    Layer.provideMerge(Logger.layer([logger]))
  )
}

/** One that does nothing, but for which every request has to pass through the router. */
export const passing = HttpRouter.middleware((app) => Effect.andThen(Effect.void, app), { global: true })

const middleware: Layer.Layer<never, never, HttpRouter.HttpRouter> = process.env["BEHIND_MIDDLEWARE"] === undefined
  ? Layer.empty
  : passing

const attached = (server: TestServer) =>
  Layer.effectDiscard(Effect.gen(function*() {
    const { http } = server
    http.on("request", (_, response) => response.writeHead(404).end())
    yield* EngineIO.attach(http, server.factory)
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void http.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          http.close(() => resume(Effect.void))
        })
    )
  }))

/** An application whose sessions and their ends are written down in `server`. */
export const recorded = (server: TestServer, application: AppFactory, socket: Socket.Socket) =>
  Effect.map(application(socket, server), (it) => {
    const { app, onDisconnect } = it
    return {
      app: Effect.suspend(() => {
        server.opened.put(socket)
        return app
      }),
      onDisconnect: (reason: CloseReason.CloseReason) =>
        Effect.suspend(() => {
          server.ended.put({ sid: socket.id, reason })
          return onDisconnect === undefined ? Effect.void : onDisconnect(reason)
        })
    }
  })

/** Sends back what it gets. */
export const echo: AppFactory = (socket, server) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => {
      server.received.put({ sid: socket.id, message })
      return Socket.send(socket, message)
    })
  })

/** Takes messages and keeps silent. */
export const sink: AppFactory = (socket, server) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => Effect.sync(() => server.received.put({ sid: socket.id, message })))
  })

/** Takes nothing and never ends. */
export const idle: AppFactory = () => Effect.succeed({ app: Effect.never })

/** Runs `body` with a server of its own, which ends with it. */
export const withServer = (config: Config, body: (server: TestServer) => Promise<void>) => async (): Promise<void> => {
  const server = await TestServer.start(config)
  try {
    await body(server)
  } catch (error) {
    await server.stop().catch(() => undefined)
    throw error
  }
  await server.stop()
}
