/**
 * The command: its flags, and the echo server they describe.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
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
import type { TransportType } from "../../Transport.ts"
import * as lines from "./lines.ts"

// --- flags -----------------------------------------------------------------------------------------------------------

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

const toMillis = (text: string): Option.Option<number> => {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)\s*(ms|s|m)$/.exec(text.trim()) ?? []
  const millis = Number(amount) * units[unit]!
  return millis > 0 ? Option.some(millis) : Option.none()
}

const duration = (name: string, description: string, normal: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("<duration>"),
    Flag.withDescription(`${description}, such as 500ms or 10s (default: ${normal})`),
    Flag.withDefault(normal),
    Flag.filterMap(toMillis, () => "a duration above zero with its unit, such as 500ms, 10s or 2m")
  )

const toTransports = (text: string): Option.Option<ReadonlyArray<TransportType>> => {
  const names = text.split(",").map((name) => name.trim())
  const isKnown = (name: string): name is TransportType => name === "polling" || name === "websocket"
  return names.every(isKnown) ? Option.some([...new Set(names)]) : Option.none()
}

const flags = {
  port: Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Port to listen on; 0 takes a free one (default: 3000)"),
    Flag.withDefault(3000),
    Flag.filter((port) => port >= 0 && port <= 65_535, () => "a port from 0 to 65535")
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
  transports: Flag.String("transports").pipe(
    Flag.withMetavar("<names>"),
    Flag.withDescription("Transports that clients may use (default: polling,websocket)"),
    Flag.withDefault("polling,websocket"),
    Flag.filterMap(toTransports, () => "polling, websocket, or both with a comma between them")
  ),
  pingInterval: duration("ping-interval", "Time between heartbeats", "25s"),
  pingTimeout: duration("ping-timeout", "Time a client has to answer one", "20s"),
  eio3: Flag.Boolean("eio3").pipe(
    Flag.withDescription("Serve protocol revision 3 too"),
    Flag.withDefault(false),
    Flag.withoutNegation
  ),
  cors: Flag.Boolean("cors").pipe(
    Flag.withDescription("Let pages of every origin in"),
    Flag.withDefault(false),
    Flag.withoutNegation
  ),
  verbose: Flag.Boolean("verbose").pipe(
    Flag.withDescription("Show the request of each session, and every packet"),
    Flag.withDefault(false),
    Flag.withoutNegation
  )
}

// --- server ----------------------------------------------------------------------------------------------------------

const print = (...texts: ReadonlyArray<string>) =>
  Effect.forEach(texts, (text) => Console.log(lines.visible(`${lines.clock(new Date())}  ${text}`)), { discard: true })

const echo = (verbose: boolean) => (socket: Socket.Socket) =>
  Effect.gen(function*() {
    yield* print(...lines.opened(socket, verbose))
    const watching = yield* Socket.events(socket).pipe(
      Stream.runForEach((event) => print(...lines.event(socket, event, verbose))),
      Effect.forkScoped({ startImmediately: true })
    )
    return {
      app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
      // The last event is the end; then the scope closes, and with it what watches.
      onDisconnect: () => Effect.asVoid(Fiber.await(watching))
    }
  })

const refusals = Layer.effectDiscard(
  EngineIO.events.pipe(
    Stream.runForEach((event) => event._tag === "ConnectionError" ? print(lines.refused(event)) : Effect.void),
    Effect.forkScoped({ startImmediately: true })
  )
)

const elsewhere = (path: string) =>
  HttpRouter.add("*", "/*", Effect.succeed(HttpServerResponse.text(`Engine.IO is at ${path}\n`, { status: 404 })))

const announce = (path: string) =>
  Layer.effectDiscard(
    Effect.flatMap(HttpServer.HttpServer, ({ address }) =>
      Console.log(
        `Echo listening on http://localhost:${"port" in address ? address.port : ""}${path}, until Ctrl-C`
      ))
  )

const isTaken = (cause: unknown): boolean => cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE"

export const serve = Command.make("effect-engine.io", flags, (input) => {
  const server = HttpRouter.serve(
    input.path === "/"
      ? EngineIO.route(input.path, echo(input.verbose))
      : Layer.merge(EngineIO.route(input.path, echo(input.verbose)), elsewhere(input.path)),
    { disableLogger: true, disableListenLog: true }
  )
  return Layer.mergeAll(server, refusals, announce(input.path)).pipe(
    Layer.provide(EngineIO.layer({
      transports: input.transports,
      pingInterval: input.pingInterval,
      pingTimeout: input.pingTimeout,
      allowEIO3: input.eio3,
      cors: input.cors
    })),
    Layer.provide(NodeHttpServer.layer(createServer, { port: input.port })),
    Layer.launch,
    Effect.mapError((error) =>
      new CliError.UserError({
        cause: error,
        userMessage: error._tag === "OptionsError"
          ? error.message
          : isTaken(error.cause)
          ? `port ${input.port} is taken: choose another with --port, or 0 for a free one`
          : String(error.cause)
      })
    )
  )
}).pipe(
  Command.withDescription("An Engine.IO server that echoes, to try clients against"),
  Command.withExamples([
    { command: "effect-engine.io --verbose", description: "Watch the packets of each session" },
    { command: "effect-engine.io --port 8080 --path /socket/ --cors", description: "Serve a page of another origin" },
    { command: "effect-engine.io --ping-interval 300ms --ping-timeout 200ms", description: "A fast heartbeat" }
  ])
)
