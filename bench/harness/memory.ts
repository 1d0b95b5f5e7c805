/** What sessions, and messages nobody reads, cost in memory. */
import type { Options } from "./options.ts"
import type { Outcome, Row } from "./outcome.ts"
import { Site } from "./site.ts"
import type { IdleWorkload, PeakWorkload } from "./workloads.ts"

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
  const values = (of: (found: A) => number): Row["values"] =>
    Object.fromEntries(
      servers.map((server) => [
        server,
        rounds.flatMap((round) => server in round ? [[of(round[server] as A)]] : [])
      ])
    )
  return { rounds, failures, values }
}

/** How many sessions come and go before the first look, so that code loaded once is no session's cost. */
const rehearsal = 100

export const idle = async (
  workload: IdleWorkload,
  servers: ReadonlyArray<string>,
  options: Options
): Promise<Outcome> => {
  const { traffic, name, title, goal, times = 1 } = workload
  const count = workload.sessions ?? options.idleSessions * times
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
    values: values(({ before, after }) => ((after[which] ?? NaN) - (before[which] ?? NaN)) / count / 1024)
  })
  return { rows: [row("heap"), row("rss")], failures, raw: rounds }
}

/** How long the server is under load, or left with a client that does not read, before its peak is taken. */
const peakMillis = 2000

export const peak = async (workload: PeakWorkload, servers: ReadonlyArray<string>, options: Options) => {
  const { goal, inFlight, most, name, title, traffic } = workload
  const { rounds, failures, values } = await together(name, servers, options, async (site, server) => {
    await site.open(server, traffic)
    const before = await site.memory(server)
    await site.run(server, { millis: peakMillis })
    const peak = await site.peak(server)
    // What a client did not read must still arrive.
    await site.run(server, { millis: peakMillis })
    return { before: before.rss, peak }
  })
  const row: Row = {
    workload: name,
    title: `${title}: growth of rss`,
    unit: inFlight === undefined ? "MiB" : "B/B in flight",
    goal,
    most,
    values: values(({ before, peak }) => (peak - before) / (inFlight ?? 1024 * 1024))
  }
  return { rows: [row], failures, raw: rounds }
}
