/**
 * `bench`: a short load on a server that echoes, and how long it takes to answer.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type { SocketError } from "effect/socket/Socket"
import * as Stdio from "effect/Stdio"
import type { OptionsError } from "../../EngineIO.ts"
import type { Client } from "../../EngineIOClient.ts"
import { Failed, load, stopwatch, toFailed } from "./commandClient.ts"
import * as flags from "./flags.ts"
import { print, printJson } from "./text.ts"

const input = {
  url: flags.url,
  connections: flags.count("connections", "Connections, all at once", 20).pipe(Flag.withAlias("c")),
  messages: flags.count("messages", "Messages of each connection, one after the other", 50).pipe(Flag.withAlias("n")),
  size: flags.count("size", "Characters of each message", 64),
  transports: flags.transports("Transports to use: it connects by the first", "websocket"),
  headers: flags.headers,
  json: flags.toggle("json", "Print the result as JSON")
}

// --- progress --------------------------------------------------------------------------------------------------------

const width = 30

/** Draws a bar on a terminal, until its scope ends. */
const draw = (progress: () => number) =>
  Effect.gen(function*() {
    const { stderrIsTerminal } = yield* Stdio.Stdio
    if (!(yield* stderrIsTerminal) || process.env["TERM"] === "dumb") return
    const write = (text: string) => void process.stderr.write(`\r\u001b[2K${text}`)
    yield* Effect.addFinalizer(() => Effect.sync(() => write("")))
    const frame = Effect.sync(() => {
      const done = Math.floor(progress() * width)
      write(`[${"=".repeat(done)}${" ".repeat(width - done)}] ${Math.floor(progress() * 100)} %`)
    })
    yield* Effect.forkScoped(Effect.repeat(frame, Schedule.spaced("100 millis")), { startImmediately: true })
  })

// --- result ----------------------------------------------------------------------------------------------------------

const percentiles = { p50: 0.5, p90: 0.9, p99: 0.99, max: 1 }

/** The smallest time that so many are not above. */
const summary = (times: ReadonlyArray<number>) => {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]
  return Object.fromEntries(Object.entries(percentiles).map(([name, part]) => [name, at(part)]))
}

const table = (rows: Readonly<Record<string, ReadonlyArray<number>>>): ReadonlyArray<string> => {
  const row = (first: string, others: ReadonlyArray<string>) =>
    first.padEnd(12) + others.map((text) => text.padStart(11)).join("")
  return [
    row("", ["count", ...Object.keys(percentiles)]),
    ...Object.entries(rows).map(([name, times]) =>
      row(name, [
        String(times.length),
        ...Object.values(summary(times)).map((millis) => millis === undefined ? "–" : `${millis.toFixed(1)} ms`)
      ])
    )
  ]
}

// --- load ------------------------------------------------------------------------------------------------------------

const noEcho = new Failed({ exitCode: 1, why: "no answer within 10 seconds: the server has to echo" })

export const bench = Command.make(
  "bench",
  input,
  ({ connections, headers, json, messages, size, transports, url }) =>
    Effect.gen(function*() {
      const EngineIOClient = yield* load("bench")
      const opening: Array<number> = []
      const answering: Array<number> = []
      const failures: Array<Failed> = []

      const connect = Effect.gen(function*() {
        const time = stopwatch()
        const client = yield* EngineIOClient.connect(url, { transports, extraHeaders: headers })
        opening.push(time())
        return client
      })

      // Messages differ, so that an answer is known among what else the server sends.
      const exchange = (client: Client, message: string) =>
        Effect.gen(function*() {
          const time = stopwatch()
          yield* EngineIOClient.send(client, message)
          while ((yield* EngineIOClient.receive(client)) !== message);
          answering.push(time())
        }).pipe(Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => noEcho }))

      const converse = (connection: Exit.Exit<Client, SocketError | OptionsError>, index: number) =>
        Effect.gen(function*() {
          const client = yield* connection
          for (let number = 0; number < messages; number++) {
            yield* exchange(client, `${index}:${number}:`.padEnd(size, "x"))
          }
        }).pipe(
          Effect.catch((error) => Effect.sync(() => failures.push(error._tag === "Failed" ? error : toFailed(error))))
        )

      const millis = yield* Effect.scoped(Effect.gen(function*() {
        yield* draw(() => (opening.length + answering.length) / (connections * (messages + 1)))
        const all = Array.from({ length: connections })
        const opened = yield* Effect.forEach(all, () => Effect.exit(connect), { concurrency: "unbounded" })
        const time = stopwatch()
        yield* Effect.forEach(opened, converse, { concurrency: "unbounded", discard: true })
        return time()
      }))

      const seconds = Math.round(millis) / 1000
      const perSecond = answering.length === 0 ? 0 : Math.round(answering.length / millis * 1000)
      if (json) {
        yield* printJson({
          connections: { count: opening.length, millis: summary(opening) },
          messages: { count: answering.length, size, seconds, perSecond, millis: summary(answering) },
          failures: failures.map(({ why }) => why)
        })
      } else {
        yield* print(`${answering.length} messages of ${size} characters in ${seconds} s, ${perSecond} a second`)
        yield* Effect.forEach(table({ connect: opening, "round trip": answering }), print, { discard: true })
      }
      if (failures.length > 0) {
        const reasons = new Set(failures.map(({ why }) => why))
        return yield* new Failed({
          exitCode: failures[0]!.exitCode,
          why: `${failures.length} of ${connections} connections failed: ${[...reasons].join("; ")}`
        })
      }
    })
).pipe(
  Command.withDescription(
    "A short load on a server that echoes: connections that each send a message when the last one has come back. Its " +
      "exit codes are those of connect, and 1 when an answer takes longer than 10 seconds"
  ),
  Command.withShortDescription("A short load on a server that echoes"),
  Command.withExamples([
    { command: "effect-engine.io bench localhost:3000", description: "1000 messages over 20 WebSockets" },
    {
      command: "effect-engine.io bench localhost:3000 -c 100 -n 10 --transports polling --json",
      description: "The same number by polling, for a program to read"
    }
  ])
)
