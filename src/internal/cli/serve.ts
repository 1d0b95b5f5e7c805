/**
 * `serve`: an echo server, and what it shows of its clients.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { createServer } from "node:http"
import * as EngineIO from "../../EngineIO.ts"
import * as Socket from "../../Socket.ts"
import { Failed } from "./commandClient.ts"
import * as flags from "./flags.ts"
import * as lines from "./lines.ts"
import { type Line, print, printJson } from "./text.ts"

// --- flags -----------------------------------------------------------------------------------------------------------

const input = {
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Port to listen on; 0 takes a free one (default: 3000)"),
    Flag.withDefault(3000),
    Flag.filter((port) => port >= 0 && port <= 65_535, () => "a port from 0 to 65535")
  ),
  host: Flag.String("host").pipe(
    Flag.withMetavar("<address>"),
    Flag.withDescription("Address to listen on, such as 127.0.0.1 (default: all of this machine)"),
    Flag.optional
  ),
  path: Flag.String("path").pipe(
    Flag.withMetavar("<path>"),
    Flag.withDescription("Path of Engine.IO (default: /engine.io/)"),
    Flag.withDefault("/engine.io/"),
    Flag.filterMap(
      (path) => /^\/[\w\-.~/]*$/.test(path) ? Option.some(path as HttpRouter.PathInput) : Option.none(),
      () => "a path that begins with a slash, such as /engine.io/, of letters, digits, and - . _ ~ /"
    )
  ),
  transports: flags.transports("Transports that clients may use", "polling,websocket"),
  pingInterval: flags.duration("ping-interval", "Time between heartbeats", "25s"),
  pingTimeout: flags.duration("ping-timeout", "Time a client has to answer one", "20s"),
  eio3: flags.toggle("eio3", "Serve protocol revision 3 too"),
  cors: flags.toggle("cors", "Let pages of every origin in"),
  verbose: flags.toggle("verbose", "Show the request of each session, and every packet"),
  json: flags.json
}

// --- server ----------------------------------------------------------------------------------------------------------

type Tell = (line: Line | undefined) => Effect.Effect<void>

const teller = (json: boolean): Tell => (line) => {
  if (line === undefined) return Effect.void
  const now = new Date()
  return json
    ? printJson({ time: now.toISOString(), ...line.fields })
    : print(`${lines.clock(now)}  ${line.text}`)
}

const echo = (tell: Tell, verbose: boolean) => (socket: Socket.Socket) =>
  Effect.gen(function*() {
    yield* tell(lines.opened(socket))
    if (verbose) yield* Effect.forEach(lines.requested(socket), tell, { discard: true })
    const watching = yield* Socket.events(socket).pipe(
      Stream.runForEach((event) => tell(lines.event(socket, event, verbose))),
      Effect.forkScoped({ startImmediately: true })
    )
    return {
      app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
      // The last event is the end; then the scope closes, and with it what watches.
      onDisconnect: () => Effect.asVoid(Fiber.await(watching))
    }
  })

const refusals = (tell: Tell) =>
  Layer.effectDiscard(
    EngineIO.events.pipe(
      Stream.runForEach((event) => event._tag === "ConnectionError" ? tell(lines.refused(event)) : Effect.void),
      Effect.forkScoped({ startImmediately: true })
    )
  )

const elsewhere = (path: string) =>
  HttpRouter.add("*", "/*", Effect.succeed(HttpServerResponse.text(`Engine.IO is at ${path}\n`, { status: 404 })))

const announce = (host: string, path: string, json: boolean) =>
  Layer.effectDiscard(
    Effect.flatMap(HttpServer.HttpServer, ({ address }) => {
      const port = "port" in address ? address.port : ""
      const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}${path}`
      return json ? printJson({ event: "listening", url }) : print(`Echo listening on ${url}, until Ctrl-C`)
    })
  )

const isTaken = (cause: unknown): boolean => cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE"

export const serve = Command.make("serve", input, ({ cors, eio3, host, json, path, port, verbose, ...options }) => {
  const tell = teller(json)
  const route = EngineIO.route(path, echo(tell, verbose))
  const server = HttpRouter.serve(path === "/" ? route : Layer.merge(route, elsewhere(path)), {
    disableLogger: true,
    disableListenLog: true
  })
  return Layer.mergeAll(server, refusals(tell), announce(Option.getOrElse(host, () => "localhost"), path, json)).pipe(
    Layer.provide(EngineIO.layer({
      transports: options.transports,
      pingInterval: options.pingInterval,
      pingTimeout: options.pingTimeout,
      allowEIO3: eio3,
      cors
    })),
    Layer.provide(NodeHttpServer.layer(createServer, { port, host: Option.getOrUndefined(host) })),
    Layer.launch,
    Effect.mapError((error) => {
      const why = error._tag === "OptionsError"
        ? error.message
        : isTaken(error.cause)
        ? `port ${port} is taken: choose another with --port, or 0 for a free one`
        : String(error.cause)
      return new Failed({ exitCode: 1, why })
    })
  )
}).pipe(
  Command.withDescription("A server that echoes, to try clients against"),
  Command.withExamples([
    { command: "effect-engine.io serve --verbose", description: "Watch the packets of each session" },
    {
      command: "effect-engine.io serve --port 8080 --path /socket/ --cors",
      description: "Serve a page of another origin"
    },
    { command: "effect-engine.io serve --ping-interval 300ms --ping-timeout 200ms", description: "A fast heartbeat" }
  ])
)
