/**
 * `npm run scale -- --sessions 10000 --seconds 30`: as many sessions at a time, half of them polling and half on
 * WebSocket, with heartbeats on and messages flowing. The clients live in processes of their own.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { EngineIO } from "../../src/index.ts"
import { TestServer } from "../kit/server.ts"
import type { Order, Result } from "./clients.ts"

const { values } = parseArgs({
  options: {
    sessions: { type: "string", default: "10000" },
    seconds: { type: "string", default: "30" },
    processes: { type: "string", default: "2" },
    rate: { type: "string", default: "500" }
  }
})
const sessions = Number(values.sessions)
const seconds = Number(values.seconds)
const processes = Number(values.processes)
const { gc } = globalThis
if (gc === undefined) throw new Error("to be run with --expose-gc")

const server = await TestServer.start({ pingInterval: 10_000, pingTimeout: 20_000 })
const memory = () => {
  for (const mailbox of [server.requests, server.received, server.opened]) mailbox.all.length = 0
  gc()
  return process.memoryUsage()
}

/** Tells a process what to do, and waits until it says that it is done. */
const order = async (child: ChildProcess, what: Order): Promise<Result> => {
  child.send(what)
  const [result] = await once(child, "message") as [Result]
  return result
}

const before = memory()
const children = Array.from({ length: processes }, () => fork(fileURLToPath(new URL("clients.ts", import.meta.url))))
const share = Math.floor(sessions / processes)
const all = (what: Order) => Promise.all(children.map((child) => order(child, what)))

const begun = performance.now()
await all({ what: "connect", port: server.port, count: share })
const opened = await server.count()
const connecting = (performance.now() - begun) / 1_000
const idle = memory()

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
const cpu = process.cpuUsage()
const started = performance.now()
const results = await all({ what: "talk", seconds, rate: Number(values.rate) / processes })
const elapsed = performance.now() - started
const { system, user } = process.cpuUsage(cpu)
const left = await server.count()
const lost = server.ended.all.length
const after = memory()

const latencies = results.flatMap(({ latencies }) => latencies).sort((a, b) => a - b)
const sum = (of: (result: Result) => number): number => results.reduce((sum, it) => sum + of(it), 0)
const percentile = (of: number): string => (latencies[Math.floor(latencies.length * of)] ?? Number.NaN).toFixed(1)
const each = (more: number): string => `${(more / opened / 1e3).toFixed(1)} kB`

console.log(`${opened} sessions, opened in ${connecting.toFixed(1)} s; ${left} after ${seconds} s, ${lost} ended`)
console.log(
  `memory per session, sockets of both transports included: heap ${each(idle.heapUsed - before.heapUsed)}, RSS ` +
    `${each(idle.rss - before.rss)}; heap after the messages ${each(after.heapUsed - before.heapUsed)}`
)
console.log(
  `${sum(({ exchanged }) => exchanged)} messages there and back, ${sum(({ missing }) => missing)} missing, ` +
    `${sum(({ pings }) => pings)} pings answered`
)
console.log(
  `CPU of the server ${((system + user) / 10 / elapsed).toFixed(0)} % of a core; event loop p99 ` +
    `${(delay.percentile(99) / 1e6).toFixed(1)} ms; latency p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms`
)

for (const child of children) child.kill()
await server.run(EngineIO.drain({ timeout: 1_000 }))
process.exit(lost === 0 && left === opened && sum(({ missing }) => missing) === 0 ? 0 : 1)
