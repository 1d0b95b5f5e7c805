/**
 * `npm run cluster -- --clients 500 --seconds 120 --seed 1`: stock clients at a cluster whose balancer knows nothing of
 * sessions. First all goes well, then each process is drained and replaced, then processes are killed at random for so many
 * seconds. `--what members` tries the cluster by Redis alone, `--what workers` that of one machine.
 */
import { fork } from "node:child_process"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Random } from "../../fuzz/random.ts"
import { pause, within } from "../../kit/events.ts"
import type { Note, Order, Session } from "./clients.ts"
import { type Cluster, Members, programs, Workers } from "./clusters.ts"
import { judge } from "./verdict.ts"

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "500" },
    seconds: { type: "string", default: "120" },
    rate: { type: "string", default: "500" },
    seed: { type: "string", default: `${Date.now() % 1e6}` },
    what: { type: "string", default: "" }
  }
})
const count = Number(values.clients)
const seconds = Number(values.seconds)
const rate = Number(values.rate)
const seed = Number(values.seed)

/** The clients of a run, in a process of their own. */
class Clients {
  readonly sessions: Array<Session> = []
  readonly wrong: Array<string> = []
  private readonly child = fork(fileURLToPath(new URL("clients.ts", import.meta.url)))
  private done: (note: Note & { readonly what: "done" }) => void = () => {}
  constructor() {
    this.child.on("message", (note: Note) => {
      if (note.what === "session") this.sessions.push(note.session)
      else if (note.what === "wrong") this.wrong.push(note.words)
      else this.done(note)
    })
  }

  /** Tells them what to do, and waits until they have done it. */
  obey(order: Order, milliseconds: number): Promise<Note & { readonly what: "done" }> {
    const done = new Promise<Note & { readonly what: "done" }>((resolve) => {
      this.done = resolve
    })
    this.child.send(order)
    return within(done, `all clients (${order.what})`, milliseconds)
  }

  stop(): void {
    this.child.kill()
  }
}

const percentile = (values: ReadonlyArray<number>, of: number): number | undefined =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * of))]

const spread = (values: ReadonlyArray<number>): string =>
  values.length === 0
    ? "none"
    : `p50 ${percentile(values, 0.5)} ms, p99 ${percentile(values, 0.99)} ms, most ${percentile(values, 1)} ms`

const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

let failures = 0

interface Talk {
  readonly seconds: number
  readonly short: number
}

/** Connects all clients, lets them talk while `meanwhile` goes on, has them leave, and judges. */
const run = async (title: string, cluster: Cluster, talk: Talk, meanwhile: () => Promise<string>): Promise<void> => {
  const clients = new Clients()
  const begun = performance.now()
  await clients.obey({ what: "connect", port: cluster.port, count, seed }, 60_000)
  const connecting = (performance.now() - begun) / 1_000
  const talking = clients.obey({ what: "talk", rate, ...talk }, talk.seconds * 1_000 + 60_000)
  const words = await meanwhile()
  const { latencies } = await talking
  const { failed } = await clients.obey({ what: "leave" }, 60_000)
  // What the processes said last has to be heard.
  await pause(1_000)
  clients.stop()

  const { sessions } = clients
  const verdict = judge(sessions, cluster.journal, cluster instanceof Members)
  const { drained, killed, left, passing, undelivered } = verdict
  const wrong = [...clients.wrong, ...verdict.wrong]
  if (sessions.length < count) wrong.push(`only ${sessions.length} sessions of ${count} clients`)
  failures += wrong.length
  const sum = (of: (session: Session) => number): number => sessions.reduce((sum, it) => sum + of(it), 0)
  const pipes = passing.filter(({ isPiped }) => isPiped).map(({ after }) => after)
  const polls = passing.filter(({ isPiped }) => !isPiped).map(({ after }) => after)
  console.log(`  ${title}: ${count} clients, there after ${connecting.toFixed(1)} s; ${words}`)
  console.log(
    `    ${sessions.length} sessions, ${sum(({ sent }) => sent)} messages to the servers and ` +
      `${sum(({ received }) => received)} from them; there and back ${spread(latencies)}`
  )
  console.log(`    ${left} were left by their clients, when all had arrived at both ends`)
  if (drained > 0) {
    console.log(`    ${drained} ended in order with their process, ${undelivered} messages reported as undelivered`)
  }
  if (killed.length > 0) {
    console.log(`    ${killed.length} ended with a process that was killed; their clients knew after ${spread(killed)}`)
  }
  if (polls.length > 0) {
    console.log(`    ${polls.length} had a request at another process that went; ended after ${spread(polls)}`)
  }
  if (pipes.length > 0) {
    console.log(`    ${pipes.length} were piped by another process that went; ended after ${spread(pipes)}`)
  }
  if (failed > 0) console.log(`    ${failed} attempts to connect failed, and were made again`)
  for (const line of wrong.slice(0, 20)) console.error(`    WRONG: ${line}`)
  if (wrong.length > 20) console.error(`    WRONG: and ${wrong.length - 20} more, ${wrong.at(-1)}`)
}

const nothing = () => Promise.resolve("nothing else happens")

const tryOut = async (start: () => Promise<Cluster>): Promise<void> => {
  const cluster = await start()
  console.log(cluster.name)
  try {
    await run("all goes well", cluster, { seconds: 20, short: 0 }, nothing)
    await run("each is replaced in turn", cluster, { seconds: 40, short: 0 }, async () => {
      await pause(2_000)
      return `they ended after ${(await cluster.replaceAll()).map((it) => `${(it / 1_000).toFixed(1)} s`).join(", ")}`
    })
    const random = new Random(seed)
    const survivor = cluster.serving()[0]!
    const reportOf = async () => (await cluster.reports()).find(({ pid }) => pid === survivor)!
    // What a process compiles and caches at first is no growth.
    await run("all goes well, sessions come and go", cluster, { seconds: 10, short: 0.05 }, nothing)
    const before = await reportOf()
    await run("killed at random", cluster, { seconds, short: 0.05 }, async () => {
      const end = performance.now() + (seconds - 2) * 1_000
      let kills = 0
      await pause(1_000)
      while (performance.now() < end) {
        const others = cluster.serving().filter((pid) => pid !== survivor)
        if (others.length > 0) cluster.kill(random.pick(others))
        kills += Math.min(1, others.length)
        await pause(random.between(1_000, 5_000))
      }
      await cluster.complete()
      return `${kills} kills`
    })
    const after = await reportOf()
    console.log(
      `    the process that was spared: heap ${mb(before.heap)} before, ${mb(after.heap)} after; ` +
        `handles ${before.handles}, ${after.handles}; sessions left ${after.sessions}`
    )
    if (after.heap - before.heap > 5e6 || after.sessions > 0 || after.handles > before.handles + 10) {
      failures++
      console.error("    WRONG: it has grown")
    }
  } finally {
    await cluster.stop()
    for (const [words, times] of cluster.journal.logs) console.log(`  logged ${times} times: ${words.slice(0, 300)}`)
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130))
console.log(`seed ${seed}`)
const missing = Object.values(programs).filter((path) => !existsSync(path))
if (values.what !== "workers") {
  if (missing.length === 0) await tryOut(Members.start)
  else {
    console.log(
      `SKIPPED the cluster by Redis: no ${missing.join(", ")} (Debian: apt-get install redis-server nginx-light)`
    )
  }
}
if (values.what !== "members") await tryOut(Workers.start)
console.log(failures === 0 ? "nothing wrong" : `${failures} things wrong`)
process.exit(failures === 0 ? 0 : 1)
