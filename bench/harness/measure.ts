/** How each kind of workload is measured. */
import type { Limit } from "../shared/calls.ts"
import type { Options } from "./options.ts"
import type { Outcome, Row } from "./outcome.ts"
import { Site, type Slice } from "./site.ts"
import { median } from "./stats.ts"
import type { CpuWorkload, IdleWorkload, LatencyWorkload, StalledWorkload, Workload } from "./workloads.ts"

const sum = (slices: ReadonlyArray<Slice>, of: (slice: Slice) => number): number =>
  slices.reduce((total, slice) => total + of(slice), 0)

type Slices = Record<string, Array<ReadonlyArray<Slice>>>

/**
 * Every round visits every server in short slices, there and back again (A B C C B A), starting one further each time,
 * so that neither a slow drift of the machine nor the order favours anybody.
 */
const interleaved = async (
  site: Site,
  workload: CpuWorkload | LatencyWorkload,
  servers: ReadonlyArray<string>,
  options: Options
): Promise<Slices> => {
  const most = workload.kind === "cpu" ? workload.mostUnits : undefined
  const warmup: Limit = { millis: options.warmupMillis, units: most === undefined ? undefined : most * 4 }
  const limit: Limit = { millis: options.sliceMillis, units: most }
  const passes = workload.kind === "latency" ? options.passes * 4 : options.passes
  for (const server of site.alive(servers)) {
    await site.attempt(server, async () => {
      await site.open(server, workload.traffic)
      await site.run(server, warmup)
    })
  }
  const slices: Slices = {}
  for (let round = 0; round < options.rounds; round++) {
    const first = round % servers.length
    const order = [...servers.slice(first), ...servers.slice(0, first)]
    const taken: Record<string, Array<Slice>> = {}
    for (let pass = 0; pass < passes; pass++) {
      for (const server of site.alive(pass % 2 === 0 ? order : order.toReversed())) {
        const slice = await site.attempt(server, () => site.slice(server, limit))
        if (slice !== undefined) (taken[server] ??= []).push(slice)
      }
    }
    for (const server of site.alive(servers)) (slices[server] ??= []).push(taken[server] ?? [])
  }
  for (const server of site.alive(servers)) await site.attempt(server, () => site.close(server))
  return slices
}

const perRound = (slices: Slices, of: (slices: ReadonlyArray<Slice>) => number): Record<string, Array<number>> =>
  Object.fromEntries(Object.entries(slices).map(([server, rounds]) => [server, rounds.map(of)]))

/** The share of the time in which server or load generator wanted a CPU and had none. */
const contention = (slices: Slices): number => {
  const all = Object.values(slices).flat(2)
  return sum(all, (slice) => slice.server.waited + slice.load.waited) / sum(all, (slice) => slice.millis) / 1000
}

const cpu = async (site: Site, workload: CpuWorkload, servers: ReadonlyArray<string>, options: Options) => {
  const slices = await interleaved(site, workload, servers, options)
  const row: Row = {
    workload: workload.name,
    title: workload.title,
    unit: `µs/${workload.unit}`,
    goal: workload.goal,
    values: perRound(slices, (round) => sum(round, (slice) => slice.server.micros) / sum(round, (slice) => slice.units))
  }
  return { rows: [row], raw: slices, contention: contention(slices) }
}

const latency = async (site: Site, workload: LatencyWorkload, servers: ReadonlyArray<string>, options: Options) => {
  const slices = await interleaved(site, workload, servers, options)
  const row = (which: "p50" | "p99"): Row => ({
    workload: workload.name,
    title: `${workload.title}: ${which}`,
    unit: "µs",
    goal: which === "p50" ? workload.goal50 : workload.goal99,
    // Most slices are free of what else the machine does; the median of them leaves out those that are not.
    values: perRound(slices, (round) => median(round.map((slice) => slice.latency?.[which] ?? Number.NaN)))
  })
  return { rows: [row("p50"), row("p99")], raw: slices, contention: contention(slices) }
}

/** Memory, unlike time, is the same with all servers at work together. */
const together = async <A>(
  name: string,
  servers: ReadonlyArray<string>,
  options: Options,
  one: (site: Site, server: string) => Promise<A>
) => {
  const rounds: Array<Record<string, A>> = []
  const failures: Array<Outcome["failures"][number]> = []
  let left = servers
  for (let round = 0; round < options.rounds; round++) {
    const site = await Site.start(name, left, options)
    const found: Record<string, A> = {}
    await Promise.all(
      site.alive(left).map((server) =>
        site.attempt(server, async () => {
          found[server] = await one(site, server)
          await site.close(server)
        })
      )
    )
    await site.stop()
    rounds.push(found)
    failures.push(...site.failures)
    left = site.alive(left)
  }
  const values = (of: (found: A) => number): Record<string, Array<number>> =>
    Object.fromEntries(
      servers.map((server) => [
        server,
        rounds.flatMap((round) => server in round ? [of(round[server] as A)] : [])
      ])
    )
  return { rounds, failures, values }
}

/** How many sessions come and go before the first look, so that code loaded once is no session's cost. */
const rehearsal = 100

const idle = async (workload: IdleWorkload, servers: ReadonlyArray<string>, options: Options): Promise<Outcome> => {
  const { traffic, name, title, goal } = workload
  const count = options.idleSessions
  const { rounds, failures, values } = await together(name, servers, options, async (site, server) => {
    await site.open(server, traffic)
    await site.run(server, { millis: 0, units: rehearsal })
    await site.close(server)
    await site.open(server, traffic)
    const before = await site.memory(server)
    await site.run(server, { millis: 0, units: count })
    return { before, after: await site.memory(server) }
  })
  const row = (which: "heap" | "rss"): Row => ({
    workload: name,
    title: `${title}: ${which}`,
    unit: "KiB/session",
    goal,
    values: values(({ before, after }) => (after[which] - before[which]) / count / 1024)
  })
  return { rows: [row("heap"), row("rss")], failures, raw: rounds }
}

/** How long the server is left with a client that does not read, before its peak is taken. */
const stallMillis = 2000

const stalled = async (workload: StalledWorkload, servers: ReadonlyArray<string>, options: Options) => {
  const { rounds, failures, values } = await together(workload.name, servers, options, async (site, server) => {
    await site.open(server, { kind: "stalled" })
    const before = await site.memory(server)
    await site.run(server, { millis: stallMillis })
    const peak = await site.peak(server)
    // All of it must still arrive.
    await site.run(server, { millis: stallMillis })
    return { before: before.rss, peak }
  })
  const row: Row = {
    workload: workload.name,
    title: `${workload.title}: growth of rss`,
    unit: "MiB",
    most: 32,
    values: values(({ before, peak }) => (peak - before) / 1024 / 1024)
  }
  return { rows: [row], failures, raw: rounds }
}

export const measure = async (
  workload: Workload,
  servers: ReadonlyArray<string>,
  options: Options
): Promise<Outcome> => {
  if (workload.kind === "idle") return idle(workload, servers, options)
  if (workload.kind === "stalled") return stalled(workload, servers, options)
  const site = await Site.start(workload.name, servers, options)
  try {
    const measured = workload.kind === "cpu"
      ? await cpu(site, workload, servers, options)
      : await latency(site, workload, servers, options)
    return { ...measured, failures: site.failures }
  } finally {
    await site.stop()
  }
}
