/**
 * A process of the cluster: a member by Redis where it is told a name, else all workers of a machine. Both ends of a session
 * number their messages, and each message names its session and says how many of the other's have come. What happens is
 * printed, a line of JSON each.
 */
import { NodeHttpServer, NodeRedis, NodeRuntime } from "@effect/platform-node"
import { Effect, Fiber, Layer, Schedule } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { createServer, type IncomingMessage } from "node:http"
import * as EngineIOCluster from "../../../src/EngineIOCluster.ts"
import { EngineIO, Socket } from "../../../src/index.ts"

/** A line of what it prints. Times are of the wall clock, in milliseconds. */
export type Line =
  | { readonly what: "listening"; readonly pid: number; readonly port: number }
  | { readonly what: "open"; readonly pid: number; readonly sid: string }
  | ({ readonly what: "end" } & End)
  | ({ readonly what: "request" } & Request)
  | { readonly what: "wrong"; readonly words: string }

/** A request of a session has reached a process. */
export interface Request {
  readonly pid: number
  readonly sid: string
  readonly at: number
  readonly method: string
  readonly isUpgrade: boolean
}

/** How a session ended, and its messages. */
export interface End {
  readonly sid: string
  readonly reason: string
  readonly received: number
  /** Those that were accepted. */
  readonly sent: number
  readonly undelivered: number
}

/** What a process holds, after it has collected its garbage. */
export interface Report {
  readonly pid: number
  readonly heap: number
  readonly handles: number
  readonly sessions: number
}

const { NAME, PORT = "0", REDIS, WORKERS } = process.env
const { pid } = process

const say = (line: Line): void => console.log(JSON.stringify(line))

const sessions = EngineIO.route("/engine.io/", (socket) =>
  Effect.gen(function*() {
    const { id: sid } = socket
    let received = 0
    let numbered = 0
    let sent = 0
    const send = (rest: string) =>
      Effect.suspend(() => Socket.send(socket, `${sid} ${numbered++} ${received} ${rest}`)).pipe(
        Effect.map(() => {
          sent++
        })
      )
    say({ what: "open", pid, sid })
    return {
      app: Effect.gen(function*() {
        const talking = yield* Effect.forkChild(
          Effect.repeat(send("news"), Schedule.jittered(Schedule.spaced("2 seconds")))
        )
        yield* Socket.forEach(socket, (message) => {
          const [to, number, , rest = ""] = String(message).split(" ")
          if (to !== sid || Number(number) !== received++) {
            say({ what: "wrong", words: `${sid} got message ${number} of ${to}, not its ${received - 1}` })
          }
          return rest === "bye" ? Effect.andThen(Fiber.interrupt(talking), send(rest)) : send(rest)
        })
      }),
      onDisconnect: (reason) =>
        Effect.sync(() => {
          const undelivered = reason._tag === "ServerShutdown" ? reason.undelivered : 0
          const cause = reason._tag === "TransportError" ? ` ${reason.error._tag}` : ""
          say({ what: "end", sid, reason: `${reason._tag}${cause}`, received, sent, undelivered })
        })
    }
  }))

const report = HttpRouter.add(
  "GET",
  "/report",
  Effect.map(EngineIO.count, (sessions) => {
    globalThis.gc?.()
    const handles = process.getActiveResourcesInfo().length
    return HttpServerResponse.jsonUnsafe(
      { pid, heap: process.memoryUsage().heapUsed, handles, sessions } satisfies Report
    )
  })
)

const announce = Layer.effectDiscard(Effect.map(HttpServer.HttpServer, ({ address }) => {
  if ("port" in address) say({ what: "listening", pid, port: address.port })
}))

const makeServer = () => {
  const server = createServer()
  for (const event of ["request", "upgrade"] as const) {
    server.prependListener(event, ({ method, url }: IncomingMessage) => {
      const sid = /[?&]sid=([^&]*)/.exec(url!)?.[1]
      if (sid === undefined) return
      say({ what: "request", pid, sid, at: Date.now(), method: method!, isUpgrade: event === "upgrade" })
    })
  }
  return server
}

const members = NAME === undefined
  ? EngineIOCluster.layerNodeCluster({ workers: Number(WORKERS) })
  : EngineIOCluster.layerRedis({ secret: "secret", listen: { host: "127.0.0.1" }, name: NAME, timeToLive: "2 seconds" })
    .pipe(Layer.provide(NodeRedis.layer({ socket: { host: "127.0.0.1", port: Number(REDIS) } })))

HttpRouter.serve(Layer.merge(sessions, report), { disableLogger: true, disableListenLog: true }).pipe(
  (served) => Layer.merge(served, announce),
  Layer.provide(EngineIO.layer({ pingInterval: "5 seconds", pingTimeout: "5 seconds" })),
  Layer.provide(NodeHttpServer.layer(makeServer, { port: Number(PORT), host: "127.0.0.1" })),
  Layer.provide(members),
  Layer.launch,
  NodeRuntime.runMain
)
