/** `npm run bench`: measures our server beside others, and prints one table. See the README beside this file. */
import { measure } from "./harness/measure.ts"
import { type Options, parseOptions, usage } from "./harness/options.ts"
import type { BasedRow, Failure, Outcome } from "./harness/outcome.ts"
import { failureLines, tables, write } from "./harness/report.ts"
import { kindOf } from "./harness/site.ts"
import { type Workload, workloads } from "./harness/workloads.ts"

/** Far beyond what a run takes: a run that hangs must still end. */
const longestMillis = 45 * 60 * 1000

/** Beyond this share of the time spent waiting for a CPU, a workload is reported as disturbed. */
const disturbing = 0.1

/** Other implementations, which are measured where they are asked for, and where `engine.io` is. */
const foreign = new Set(["go", "rust"])

const known = new Set(workloads.flatMap(({ servers }) => servers))

/** The servers that take part in a workload. Without a request, those it is about. */
const taking = ({ baseline, servers }: Workload, options: Options): ReadonlyArray<string> => {
  if (options.servers === undefined) return servers
  // Most comparisons are none of observation.
  if (baseline !== undefined && !options.servers.includes(baseline)) return []
  return options.servers.filter((server) =>
    servers.includes(kindOf(server)) ||
    (foreign.has(kindOf(server)) ? baseline === undefined : !known.has(kindOf(server)))
  )
}

/** Rows with what they refer to: what was asked for, or what the workload is about, or the first there is. */
const based = (workload: Workload, servers: ReadonlyArray<string>, options: Options, { rows }: Outcome) => {
  const { baseline: own = "engine.io" } = workload
  const wanted = options.baseline ?? own
  const baseline = servers.includes(wanted) ? wanted : servers[0] ?? wanted
  return rows.map((row): BasedRow => ({ ...row, baseline, goal: baseline === own ? row.goal : undefined }))
}

/** A failure of the whole workload is the failure of all its servers, and not the end of the run. */
const measured = (workload: Workload, servers: ReadonlyArray<string>, options: Options): Promise<Outcome> =>
  measure(workload, servers, options).catch((error: unknown) => ({
    rows: [],
    failures: [{ workload: workload.name, server: servers.join(", "), message: String(error) }],
    raw: null
  }))

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

const run = async (options: Options): Promise<void> => {
  const chosen = workloads.filter(({ long, name }) =>
    options.workloads.length === 0 ? long !== true : options.workloads.some((wanted) => name.startsWith(wanted))
  )
  if (chosen.length === 0) throw new Error("no workload has such a name; --list shows them")
  const rows: Array<BasedRow> = []
  const failures: Array<Failure> = []
  const disturbed: Array<string> = []
  const raw: Record<string, unknown> = {}
  const start = performance.now()
  for (const workload of chosen) {
    const servers = taking(workload, options)
    if (servers.length === 0) continue
    progress(`${Math.round((performance.now() - start) / 1000)} s  ${workload.name}: ${servers.join(", ")}`)
    const outcome = await measured(workload, servers, options)
    rows.push(...based(workload, servers, options, outcome))
    failures.push(...outcome.failures)
    raw[workload.name] = outcome.raw
    for (const line of failureLines(outcome.failures)) progress(line)
    if ((outcome.contention ?? 0) > disturbing) {
      disturbed.push(`${workload.name} ${Math.round((outcome.contention ?? 0) * 100)} %`)
    }
  }
  console.log(tables(rows))
  for (const line of failureLines(failures)) console.log(line)
  console.log(
    `\n${options.rounds} rounds; ratios are medians [least..greatest] of rounds. All values: ${
      write({ rows, failures, raw }, options)
    }`
  )
  if (disturbed.length > 0) console.log(`Other work took the CPU for part of the time: ${disturbed.join(", ")}.`)
  if (options.profile !== undefined) console.log("The servers were profiled: the numbers mean nothing.")
}

const stop = (): void => process.exit(130)
process.on("SIGINT", stop)
process.on("SIGTERM", stop)
setTimeout(() => {
  progress("The run took too long and was stopped.")
  process.exit(1)
}, longestMillis).unref()

const main = async (): Promise<void> => {
  const options = parseOptions(process.argv.slice(2))
  if (options === "help") console.log(usage)
  else if (options === "list") console.log(workloads.map(({ name, title }) => `${name.padEnd(22)}${title}`).join("\n"))
  else await run(options)
}

await main().catch((error: unknown) => {
  progress(error instanceof Error ? error.message : String(error))
  process.exitCode = 2
})
