/** What work costs in CPU and time, the servers taking turns. */
import type { Limit } from "../shared/calls.ts"
import type { Options } from "./options.ts"
import type { Failure, Outcome, Row } from "./outcome.ts"
import { Site, type Slice } from "./site.ts"
import type { CpuWorkload, LatencyWorkload } from "./workloads.ts"

const sum = (slices: ReadonlyArray<Slice>, of: (slice: Slice) => number): number =>
  slices.reduce((total, slice) => total + of(slice), 0)

type Slices = Record<string, Array<ReadonlyArray<Slice>>>

/**
 * Every round visits every server in short slices, there and back again (A B C C B A), starting one further each time,
 * so that neither a slow drift of the machine nor the order favours anybody.
 */
const takeSlices = async (
  site: Site,
  workload: CpuWorkload | LatencyWorkload,
  servers: ReadonlyArray<string>,
  options: Options,
  rounds: ReadonlyArray<number>,
  slices: Slices
): Promise<void> => {
  const most = workload.kind === "cpu" ? workload.mostUnits : undefined
  const warmup: Limit = { millis: options.warmupMillis, units: most === undefined ? undefined : most * 16 }
  // A tail needs more samples than a mean.
  const usual = workload.kind === "latency" ? options.sliceMillis * 3 : options.sliceMillis
  const { count, millis } = (options.quick ? undefined : workload.slices) ?? { count: options.passes, millis: usual }
  const limit: Limit = { millis, units: most }
  const runIn: Limit = { millis: 30, units: most === undefined ? undefined : most / 20 }
  const [first] = site.alive(servers)
  if (first !== undefined) await site.attempt(first, () => site.warmUp(first, workload.traffic, warmup))
  for (const server of site.alive(servers)) {
    await site.attempt(server, async () => {
      await site.open(server, workload.traffic)
      await site.run(server, warmup)
    })
  }
  for (const round of rounds) {
    const first = round % Math.max(1, servers.length)
    const order = [...servers.slice(first), ...servers.slice(0, first)]
    const taken: Record<string, Array<Slice>> = {}
    for (let pass = 0; pass < count; pass++) {
      for (const server of site.alive(pass % 2 === 0 ? order : order.toReversed())) {
        const slice = await site.attempt(server, () => site.slice(server, limit, runIn))
        if (slice !== undefined) (taken[server] ??= []).push(slice)
      }
    }
    for (const server of site.alive(servers)) (slices[server] ??= []).push(taken[server] ?? [])
  }
  for (const server of site.alive(servers)) await site.attempt(server, () => site.close(server))
}

const perSlice = (slices: Slices, of: (slice: Slice) => number): Row["values"] =>
  Object.fromEntries(Object.entries(slices).map(([server, rounds]) => [server, rounds.map((round) => round.map(of))]))

/** The share of the time in which server or load generator wanted a CPU and had none. */
const contention = (slices: Slices): number => {
  const all = Object.values(slices).flat(2)
  return sum(all, (slice) => slice.server.waited + slice.load.waited) / sum(all, (slice) => slice.millis) / 1000
}

const cpuRows = (workload: CpuWorkload, slices: Slices): ReadonlyArray<Row> => [{
  workload: workload.name,
  title: workload.title,
  unit: `µs/${workload.unit}`,
  goal: workload.goal,
  values: perSlice(
    slices,
    (slice) => (workload.isTime === true ? slice.millis * 1000 : slice.server.micros) / slice.units
  )
}]

const latencyRows = (workload: LatencyWorkload, slices: Slices): ReadonlyArray<Row> =>
  // In a short slice, p99.9 is its one worst message.
  (workload.slices === undefined ? ["p50", "p99"] as const : ["p50", "p99", "p99.9"] as const).map((which) => ({
    workload: workload.name,
    title: `${workload.title}: ${which}`,
    unit: "µs",
    goal: { p50: workload.goal50, p99: workload.goal99, "p99.9": undefined }[which],
    values: perSlice(slices, (slice) => slice.latency?.[which] ?? Number.NaN)
  }))

export const interleaved = async (
  workload: CpuWorkload | LatencyWorkload,
  servers: ReadonlyArray<string>,
  options: Options
): Promise<Outcome> => {
  const rounds = Array.from({ length: options.rounds }, (_, round) => round)
  const slices: Slices = {}
  const failures: Array<Failure> = []
  for (const together of options.fresh || workload.fresh === true ? rounds.map((round) => [round]) : [rounds]) {
    const left = servers.filter((server) => !failures.some((failure) => failure.server === server))
    const site = await Site.start(workload.name, left, options)
    try {
      await takeSlices(site, workload, left, options, together, slices)
      failures.push(...site.failures)
    } finally {
      await site.stop()
    }
  }
  const rows = workload.kind === "cpu" ? cpuRows(workload, slices) : latencyRows(workload, slices)
  return { rows, failures, raw: slices, contention: contention(slices) }
}
