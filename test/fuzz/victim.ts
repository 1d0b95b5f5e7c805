/**
 * Servers under siege in a process of their own, so that what their turns and memory cost is not mixed with what the
 * attack costs. Beside them stand neighbours, HTTP servers that are not ours. It answers questions over IPC.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { type Context, Effect, Exit, Layer, Logger, Scope, Stream } from "effect"
import { HttpRouter, type HttpServerRequest } from "effect/http"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import { createServer as createTcpServer, type Socket as TcpSocket } from "node:net"
import { Duplex } from "node:stream"
import { WebSocket, WebSocketServer } from "ws"
import { EngineIO, Socket } from "../../src/index.ts"
import { portOf } from "../kit/server.ts"

/** One server. */
export interface Post {
  /** Whether the engine is attached to a Node server, which it shares, or mounted on a router. */
  readonly attached: boolean
  readonly options:
    & EngineIO.ScalarOptions
    & Pick<
      EngineIO.Options,
      "transports" | "sendBuffer" | "receiveBuffer" | "perMessageDeflate" | "httpCompression" | "cookie"
    >
  /** Whether headers of its answers say what the query of the request wants them to. */
  readonly mirrors: boolean
}

/** The ports of a server, and of the one that takes TCP connections for WebTransport sessions. */
export interface Ports {
  readonly http: number
  readonly webTransport: number
}

/** Where everything is. */
export interface Places {
  readonly posts: ReadonlyArray<Ports>
  readonly neighbours: Readonly<Record<"plain" | "webSocket" | "left", number>>
}

/** What it is asked: what it measured, or to end its servers. */
export type Question = "report" | "stop"

/** What was measured since the last time it was asked. */
export interface Report {
  /** Registered sessions by server. */
  readonly sessions: ReadonlyArray<number>
  /** Sessions whose application has not ended. */
  readonly applications: number
  /** Bytes in use after a collection of garbage, in the heap and outside. */
  readonly held: number
  /** The most bytes that were in use, garbage too. */
  readonly peak: number
  /** The most CPU time between two looks, which a busy machine does not lengthen, in milliseconds. */
  readonly turn: number
  /** Errors that nobody handled, or that were logged. */
  readonly faults: ReadonlyArray<string>
}

let faults: Array<string> = []
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (cause: unknown) => faults.push(`${event}: ${cause instanceof Error ? cause.stack : cause}`))
}

// --- applications ----------------------------------------------------------------------------------------------------

const some = randomBytes(48 * 1024).toString("base64")
const kept: Array<unknown> = []

/** What a session may run: an attacker picks it by the query of its handshake. */
const applications: Readonly<Record<string, (socket: Socket.Socket) => Effect.Effect<unknown, unknown, Scope.Scope>>> =
  {
    echo: (socket) => Socket.forEach(socket, (message) => Socket.send(socket, message)),
    /** Takes nothing. */
    idle: () => Effect.never,
    /** Takes its time. */
    slow: (socket) => Socket.forEach(socket, () => Effect.sleep(500)),
    /** Sends as many times 64 KiB as a message says. */
    generous: (socket) =>
      Socket.forEach(socket, (message) => Effect.replicateEffect(Socket.send(socket, some), Number(message))),
    /** Sends a message that is as many times 64 KiB. */
    lavish: (socket) => Socket.forEach(socket, (message) => Socket.send(socket, some.repeat(Number(message)))),
    /** Sends as many at a time as a message says, none of which may take long. */
    impatient: (socket) =>
      Socket.forEach(
        socket,
        (message) =>
          Effect.replicateEffect(Effect.timeoutOption(Socket.send(socket, some), 300), Number(message), {
            concurrency: "unbounded"
          })
      ),
    /** Looks at every packet, slowly, beside a loop that is fast. */
    observer: (socket) =>
      Effect.andThen(
        Effect.forkScoped(Stream.runForEach(Socket.packets(socket), () => Effect.sleep(500))),
        Socket.forEach(socket, () => Effect.void)
      ),
    /** Remembers short texts. */
    keeper: (socket) =>
      Socket.forEach(socket, (message) => Effect.sync(() => message.length < 100 && kept.push(message))),
    /** Does not let itself be ended. */
    stubborn: () => Effect.uninterruptible(Effect.never)
  }

const running = new Set<Socket.Socket>()
const ended = new WeakSet<Socket.Socket>()

const factory = (socket: Socket.Socket) =>
  Effect.gen(function*() {
    const { app = "echo" } = socket.handshake.query
    if (app === "undecided") yield* Effect.never
    return {
      app: Effect.suspend(() => {
        running.add(socket)
        return applications[app]!(socket)
      }),
      onDisconnect: () =>
        Effect.sync(() => {
          if (ended.has(socket)) faults.push(`session ${socket.id} ended twice`)
          ended.add(socket)
          running.delete(socket)
        })
    }
  })

// --- servers ---------------------------------------------------------------------------------------------------------

const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
  if (logLevel === "Error" || logLevel === "Fatal") {
    faults.push(`logged: ${[message, cause].flat().map(String).join(" ")}`)
  }
})

const mirrored = (request: HttpServerRequest.HttpServerRequest, name: string): string | undefined =>
  new URL(request.url, "http://a").searchParams.get(name) ?? undefined

const mirrors: Pick<EngineIO.Options, "cors" | "responseHeaders"> = {
  cors: (request) =>
    Effect.succeed({ origin: mirrored(request, "origin") ?? true, exposedHeaders: mirrored(request, "exposed") }),
  responseHeaders: ({ request }) => Effect.succeed({ "x-mirror": mirrored(request, "mirror") ?? "none" })
}

const listen = async (server: Server): Promise<number> => {
  await once(server.listen(0, "127.0.0.1"), "listening")
  return portOf(server)
}

const attached = (http: Server) =>
  Layer.effectDiscard(Effect.gen(function*() {
    http.on("request", (_, response) => response.writeHead(404).end())
    // Another library's path, in front of ours.
    const others = new WebSocketServer({ noServer: true })
    http.on("upgrade", (request, socket, head) => {
      if (request.url?.startsWith("/others/")) others.handleUpgrade(request, socket, head, echo)
    })
    yield* EngineIO.attach(http, factory)
    yield* Effect.acquireRelease(
      Effect.promise(() => listen(http)),
      () => Effect.callback<void>((resume) => void http.close(() => resume(Effect.void)))
    )
  }))

const echo = (socket: WebSocket): void => {
  socket.on("error", () => {})
  socket.on("message", (data, binary) => socket.send(data, { binary }))
}

const start = async ({ attached: isAttached, mirrors: isMirror, options }: Post) => {
  const http = createServer()
  const scope = Scope.makeUnsafe()
  const engine = EngineIO.layer({ ...options, ...(isMirror ? mirrors : {}) })
  const handler = EngineIO.handler(factory)
  const layer = isAttached ? Layer.provideMerge(attached(http), engine) : HttpRouter.serve(
    Layer.merge(HttpRouter.add("*", "/engine.io/", handler), HttpRouter.add("*", "/another/", handler)),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(engine),
    Layer.provideMerge(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
  )
  const context: Context.Context<EngineIO.EngineIO> = await Effect.runPromise(
    Layer.buildWithScope(Layer.provide(layer, Logger.layer([logger])), scope)
  )
  const run = <A>(effect: Effect.Effect<A, never, EngineIO.EngineIO | Scope.Scope>): Promise<A> =>
    Effect.runPromise(Effect.provideContext(Scope.provide(effect, scope), context))

  /** A TCP connection is a session with one stream, behind a line that says the query. */
  const accept = (socket: TcpSocket, query: string): void => {
    const closed = new Promise<object>((resolve) => socket.once("close", () => resolve({})))
    const stream = Duplex.toWeb(socket) as EngineIO.WebTransportStream
    const incomingBidirectionalStreams = new ReadableStream<EngineIO.WebTransportStream>({
      start: (controller) => controller.enqueue(stream)
    })
    const session = { incomingBidirectionalStreams, closed, close: () => void socket.destroy() }
    void run(EngineIO.acceptWebTransport(session, factory, { url: `/engine.io/?${query}` }))
  }
  const webTransport = createTcpServer((socket) => {
    socket.on("error", () => {})
    socket.once("data", (first) => {
      const end = first.indexOf("\n")
      socket.pause()
      if (end + 1 < first.length) socket.unshift(first.subarray(end + 1))
      accept(socket, first.toString("latin1", 0, end))
    })
  })
  await once(webTransport.listen(0, "127.0.0.1"), "listening")
  return {
    ports: { http: portOf(http), webTransport: (webTransport.address() as { readonly port: number }).port },
    count: () => run(EngineIO.count),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** An HTTP server that had WebSockets, ours and others', and has none any more. */
const left = async (): Promise<number> => {
  const http = createServer((_, response) => response.end("left"))
  const port = await listen(http)
  const scope = Scope.makeUnsafe()
  await Effect.runPromise(
    EngineIO.attach(http, factory).pipe(Scope.provide(scope), Effect.provide(EngineIO.layer()), Effect.scoped)
  )
  await Effect.runPromise(Scope.close(scope, Exit.void))
  const server = new WebSocketServer({ server: http })
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  await once(client, "open")
  client.close()
  await once(client, "close")
  server.close()
  return port
}

const webSocketServer = (): Server => {
  const http = createServer((_, response) => response.end("webSocket"))
  new WebSocketServer({ server: http }).on("connection", echo)
  return http
}

// --- measuring -------------------------------------------------------------------------------------------------------

const { gc } = globalThis
if (gc === undefined) throw new Error("to be run with --expose-gc")

const spent = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (system + user) / 1e3
}

const used = (): number => {
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

let last = spent()
let turn = 0
let peak = 0

/** Immediates run once in a turn, timers more than once when there are many. */
const look = (): void => {
  const now = spent()
  turn = Math.max(turn, now - last)
  last = now
  peak = Math.max(peak, used())
  setTimeout(setImmediate, 10, look)
}
look()

const collect = async (): Promise<number> => {
  for (let n = 0; n < 2; n++) {
    gc()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  gc()
  last = spent()
  return used()
}

// --- questions -------------------------------------------------------------------------------------------------------

const posts = await Promise.all((JSON.parse(process.argv[2]!) as ReadonlyArray<Post>).map(start))

const answer = async (question: Question): Promise<unknown> => {
  if (question === "stop") return Promise.all(posts.map((post) => post.stop()))
  const measured = { turn, peak, faults }
  const sessions = await Promise.all(posts.map((post) => post.count()))
  const held = await collect()
  turn = 0
  peak = held
  faults = []
  return { sessions, applications: running.size, held, ...measured } satisfies Report
}

process.on("message", (question: Question) => {
  void answer(question).then((it) => process.send!(it ?? null), (cause: unknown) => faults.push(String(cause)))
})
process.on("disconnect", () => process.exit())

process.send!(
  {
    posts: posts.map(({ ports }) => ports),
    neighbours: {
      plain: await listen(createServer((_, response) => response.end("plain"))),
      webSocket: await listen(webSocketServer()),
      left: await left()
    }
  } satisfies Places
)
