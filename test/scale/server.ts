/**
 * The server of the run in a process of its own: an echo, run as applications are. It tells its port, and what it holds
 * when it is asked; at its end, what it sent and what of that it says it could not deliver.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Cause, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { writeSync } from "node:fs"
import { createServer } from "node:http"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { EngineIO, Socket } from "../../src/index.ts"

/** What it is asked: a report collects garbage, a count costs nothing. */
export type Question = "report" | "count"

/** What the server holds, and has used since it was last asked. */
export interface Report {
  readonly sessions: number
  readonly ended: number
  readonly heap: number
  readonly rss: number
  /** Milliseconds of CPU time. */
  readonly cpu: number
  /** The 99th percentile of the event loop's delay, in milliseconds. */
  readonly delay: number
}

/** The account of its whole life. */
export interface Account {
  readonly sent: number
  readonly undelivered: number
  readonly reasons: Readonly<Record<string, number>>
}

const [port = "0", exitsWithZero] = process.argv.slice(2)
const { gc } = globalThis
if (gc === undefined) throw new Error("to be run with --expose-gc")

let sent = 0
let undelivered = 0
let ended = 0
const reasons: Record<string, number> = {}

const handler = EngineIO.handler((socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) =>
      Effect.map(Socket.send(socket, message), () => {
        sent++
      })),
    onDisconnect: (reason) =>
      Effect.sync(() => {
        ended++
        reasons[reason._tag] = (reasons[reason._tag] ?? 0) + 1
        if (reason._tag === "ServerShutdown") undelivered += reason.undelivered
      })
  })
)

const delay = monitorEventLoopDelay({ resolution: 10 })
let used = process.cpuUsage()

const report = Effect.map(EngineIO.sockets, (sockets): Report => {
  const { system, user } = process.cpuUsage(used)
  const lag = delay.percentile(99) / 1e6
  gc()
  const { heapUsed, rss } = process.memoryUsage()
  used = process.cpuUsage()
  delay.reset()
  delay.enable()
  return { sessions: sockets.size, ended, heap: heapUsed, rss, cpu: (system + user) / 1e3, delay: lag }
})

const announce = Effect.map(HttpServer.HttpServer, ({ address }) => {
  if ("port" in address) process.send!(address.port)
})

const asked = Effect.callback<Question>((resume) =>
  void process.once("message", (question: Question) => resume(Effect.succeed(question)))
)

const answer = Effect.forever(Effect.gen(function*() {
  const question = yield* asked
  process.send!(question === "count" ? yield* EngineIO.count : yield* report)
}))

process.on("exit", () => void writeSync(1, JSON.stringify({ sent, undelivered, reasons } satisfies Account)))

NodeRuntime.runMain(
  Layer.launch(
    Layer.effectDiscard(Effect.andThen(announce, Effect.forkScoped(answer))).pipe(
      Layer.provide(
        HttpRouter.serve(HttpRouter.add("*", "/engine.io/", handler), { disableListenLog: true, disableLogger: true })
      ),
      Layer.provide(EngineIO.layer({ pingInterval: 10_000, pingTimeout: 20_000 })),
      Layer.provide(NodeHttpServer.layer(createServer, { port: Number(port), host: "127.0.0.1" }))
    )
  ),
  exitsWithZero === undefined ? {} : {
    teardown: (exit, done) => done(Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? 1 : 0)
  }
)
