/**
 * `npm run soak -- --minutes 10`: sessions come, upgrade, talk and go in every way, at a steady rate, while what the
 * process holds is written down. At the end the regression of the heap after garbage collection says whether it grows.
 */
import { Option } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { parseArgs } from "node:util"
import { EngineIO, Socket } from "../../src/index.ts"
import { Random } from "../fuzz/random.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { pause } from "../kit/events.ts"
import { TestServer } from "../kit/server.ts"

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, rate: { type: "string", default: "40" } }
})
const minutes = Number(values.minutes)
const rate = Number(values.rate)
const { gc } = globalThis
if (gc === undefined) throw new Error("to be run with --expose-gc")

const server = await TestServer.start({ pingInterval: 1_000, pingTimeout: 5_000, closeTimeout: 1_000 })
const counts = { sessions: 0, messages: 0, lost: 0, failed: 0 }

/** One client's life: some messages there and back, and an end by chance. */
const live = async (random: Random): Promise<void> => {
  counts.sessions++
  const client = await EngineClient.connect(server, random.pick(modes))
  for (let left = random.between(1, 10); left > 0; left--) {
    const message = random.chance(0.3) ? random.bytes(random.below(2_000)) : `${random.next()}`
    const answer = await client.exchange(message)
    counts.messages++
    if (!Buffer.from(answer).equals(Buffer.from(message))) counts.lost++
    if (random.chance(0.2)) await pause(random.below(200))
  }
  switch (random.below(3)) {
    case 0:
      client.socket.close()
      break
    case 1:
      // Nothing is said: the connection goes.
      for (const socket of sockets(client)) socket.destroy()
      client.socket.close()
      break
    default: {
      const socket = await server.run(EngineIO.socket(client.sid))
      if (Option.isSome(socket)) await server.run(Socket.close(socket.value))
    }
  }
  await client.closed
  server.clients.delete(client)
}

interface Destroyable {
  destroy(): void
}

const sockets = (client: EngineClient): Array<Destroyable> => {
  const { transport } = client.socket as unknown as {
    readonly transport: { readonly ws?: { readonly _socket?: Destroyable } }
  }
  return transport.ws?._socket === undefined ? [] : [transport.ws._socket]
}

interface Sample {
  readonly seconds: number
  readonly heap: number
  readonly rss: number
  readonly handles: number
  readonly sessions: number
  /** The event loop's delay at the 99th percentile, in milliseconds. */
  readonly delay: number
}

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
const begun = performance.now()
const samples: Array<Sample> = []

const sample = async (): Promise<void> => {
  for (const mailbox of [server.requests, server.received, server.opened, server.ended]) mailbox.all.length = 0
  server.logs.length = 0
  gc()
  await pause(5)
  gc()
  const { heapUsed, rss } = process.memoryUsage()
  const it: Sample = {
    seconds: Math.round((performance.now() - begun) / 1_000),
    heap: heapUsed,
    rss,
    handles: process.getActiveResourcesInfo().length,
    sessions: await server.count(),
    delay: delay.percentile(99) / 1e6
  }
  delay.reset()
  samples.push(it)
  console.log(
    `${it.seconds} s: heap ${mb(it.heap)}, RSS ${mb(it.rss)}, ${it.handles} handles, ${it.sessions} sessions, ` +
      `event loop p99 ${it.delay.toFixed(1)} ms, ${counts.sessions} sessions and ${counts.messages} messages so far`
  )
}

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** The slope of the values over time, and its standard error, both per minute. */
const slope = (points: ReadonlyArray<readonly [seconds: number, value: number]>) => {
  const n = points.length
  const mean = (values: ReadonlyArray<number>) => values.reduce((sum, it) => sum + it, 0) / n
  const [x, y] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const xx = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0)
  const value = points.reduce((sum, [at, it]) => sum + (at - x) * (it - y), 0) / xx
  const rest = points.reduce((sum, [at, it]) => sum + (it - y - value * (at - x)) ** 2, 0)
  return { perMinute: value * 60, error: Math.sqrt(rest / Math.max(1, n - 2) / xx) * 60 }
}

const random = new Random(1)
const running = new Set<Promise<void>>()
const every = Math.max(1, minutes * 60 / 60)
let nextSample = 0
while (performance.now() - begun < minutes * 60_000) {
  if ((performance.now() - begun) / 1_000 >= nextSample) {
    await sample()
    nextSample += every
  }
  const life = live(random.fork()).catch(() => void counts.failed++)
  running.add(life)
  void life.then(() => running.delete(life))
  await pause(1_000 / rate)
}
await Promise.all(running)
await sample()

// What is compiled and cached at first is no leak.
const late = samples.filter(({ seconds }) => seconds >= minutes * 60 / 4)
const { error, perMinute } = slope(late.map(({ heap, seconds }) => [seconds, heap]))
console.log(
  `heap after GC: ${(perMinute / 1e3).toFixed(1)} kB a minute, standard error ${(error / 1e3).toFixed(1)} kB; ` +
    (Math.abs(perMinute) <= 2 * error || perMinute < 0 ? "not distinguishable from no growth" : "it grows")
)
console.log(JSON.stringify({ minutes, ...counts, left: await server.count() }))
await server.stop()
process.exit(counts.lost + counts.failed === 0 ? 0 : 1)
