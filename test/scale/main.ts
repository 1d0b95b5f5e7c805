/**
 * `npm run scale -- --sessions 10000 --seconds 30`: as many sessions at a time, half of them polling and half on
 * WebSocket, with heartbeats on and messages flowing; then the server is stopped under that load and another takes its
 * place. Server and clients live in processes of their own.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { Order, Result } from "./clients.ts"
import type { Account, Question, Report } from "./server.ts"

const { values } = parseArgs({
  options: {
    sessions: { type: "string", default: "10000" },
    seconds: { type: "string", default: "30" },
    processes: { type: "string", default: "2" },
    rate: { type: "string", default: "500" }
  }
})
const seconds = Number(values.seconds)
const processes = Number(values.processes)
const share = Math.floor(Number(values.sessions) / processes)
const sessions = share * processes
const rate = Number(values.rate) / processes

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** Tells a process what to do, and waits until it says that it is done. */
const ask = async <A>(child: ChildProcess, what: unknown): Promise<A> => {
  child.send(what as Order)
  const [answer] = await once(child, "message") as [A]
  return answer
}

class Server {
  private readonly child: ChildProcess
  private output = ""
  port = 0
  constructor(child: ChildProcess) {
    this.child = child
    child.stdout!.on("data", (data: Buffer) => {
      this.output += data.toString()
    })
  }

  static async start(...args: ReadonlyArray<string>): Promise<Server> {
    const server = new Server(fork(pathOf("server.ts"), args, { stdio: ["ignore", "pipe", "inherit", "ipc"] }))
    const [port] = await once(server.child, "message") as [number]
    server.port = port
    return server
  }

  report(): Promise<Report> {
    return ask(this.child, "report" satisfies Question)
  }

  count(): Promise<number> {
    return ask(this.child, "count" satisfies Question)
  }

  /** Asks it to end, and returns how it did. */
  async stop(): Promise<Account & { readonly code: number | null; readonly millis: number }> {
    const begun = performance.now()
    this.child.kill("SIGTERM")
    const [code] = await once(this.child, "close") as [number | null]
    return { ...JSON.parse(this.output) as Account, code, millis: performance.now() - begun }
  }
}

const wrong: Array<string> = []
const expect = (what: string, actual: unknown, expected: unknown): void => {
  if (actual !== expected) wrong.push(`${what}: ${String(actual)} instead of ${String(expected)}`)
}

const server = await Server.start()
const { port } = server
const before = await server.report()
const children = Array.from({ length: processes }, () =>
  fork(pathOf("clients.ts")).on("exit", (code) => {
    if (code !== null) throw new Error(`a process of clients ended: ${code}`)
  }))
const all = (what: Order) => Promise.all(children.map((child) => ask<Result>(child, what)))
const sum = (results: ReadonlyArray<Result>, of: (result: Result) => number): number =>
  results.reduce((sum, it) => sum + of(it), 0)

// --- as many as that -------------------------------------------------------------------------------------------------

let begun = performance.now()
await all({ what: "connect", port, count: share })
const connecting = (performance.now() - begun) / 1_000
const idle = await server.report()
begun = performance.now()
const talked = await all({ what: "talk", seconds, rate })
const elapsed = performance.now() - begun
const after = await server.report()

const latencies = talked.flatMap(({ latencies }) => latencies).sort((a, b) => a - b)
const percentile = (of: number): string => (latencies[Math.floor(latencies.length * of)] ?? Number.NaN).toFixed(1)
const each = (more: number): string => `${(more / sessions / 1e3).toFixed(1)} kB`

console.log(
  `${idle.sessions} sessions, opened in ${connecting.toFixed(1)} s; ${after.sessions} after ${seconds} s, ` +
    `${after.ended} ended`
)
console.log(
  `memory per session, sockets of both transports included: heap ${each(idle.heap - before.heap)}, RSS ` +
    `${each(idle.rss - before.rss)}; heap after the messages ${each(after.heap - before.heap)}`
)
console.log(
  `${sum(talked, (it) => it.exchanged)} messages there and back, ${sum(talked, (it) => it.missing)} missing, ` +
    `${sum(talked, (it) => it.pings)} pings answered`
)
console.log(
  `CPU of the server ${(after.cpu * 100 / elapsed).toFixed(0)} % of a core; event loop p99 ` +
    `${after.delay.toFixed(1)} ms; latency p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms`
)
expect("sessions opened", idle.sessions, sessions)
expect("sessions left", after.sessions, sessions)
expect("sessions ended", sum(talked, (it) => it.ended), 0)
expect("messages missing", sum(talked, (it) => it.missing), 0)

// --- stopped and started again ---------------------------------------------------------------------------------------

const riding = all({ what: "talk", seconds: Math.max(seconds, 15), rate })
await pause(2_000)
const first = await server.stop()
begun = performance.now()
const next = await Server.start(String(port), "exits with zero")
let returned = await next.count()
while (returned < sessions && performance.now() - begun < 60_000) {
  await pause(200)
  returned = await next.count()
}
const returning = (performance.now() - begun) / 1_000
const rode = await riding
const left = all({ what: "leave" })
const second = await next.stop()
const last = await left
for (const child of children) {
  child.removeAllListeners("exit")
  child.kill()
}

const received = sum(last, (it) => it.received)
console.log(
  `SIGTERM: exit ${first.code} after ${(first.millis / 1_000).toFixed(1)} s, sessions ended by ` +
    `${JSON.stringify(first.reasons)}; all were back ${returning.toFixed(1)} s after the next server began, ` +
    `${sum(rode, (it) => it.failed)} attempts failed`
)
console.log(
  `${sum(rode, (it) => it.exchanged)} messages there and back meanwhile, ${sum(rode, (it) => it.missing)} missing; ` +
    `second SIGTERM: exit ${second.code} after ${(second.millis / 1_000).toFixed(1)} s`
)
console.log(
  `of both servers' lives: ${first.sent + second.sent} messages accepted, ${received} received, ` +
    `${first.undelivered + second.undelivered} reported as undelivered`
)
expect("exit code", first.code, 130)
expect("exit code with a teardown", second.code, 0)
expect("sessions that came back", returned, sessions)
expect("sessions whose end was noticed", sum(last, (it) => it.ended), 2 * sessions)
expect("messages missing after the restart", sum(rode, (it) => it.missing), 0)
expect("messages received or reported", received + first.undelivered + second.undelivered, first.sent + second.sent)

for (const line of wrong) console.error(`WRONG: ${line}`)
process.exit(wrong.length === 0 ? 0 : 1)
