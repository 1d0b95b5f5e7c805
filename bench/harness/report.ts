/** The table and the JSON. */
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus } from "node:os"
import { fileURLToPath } from "node:url"
import type { Options } from "./options.ts"
import { type BasedRow, type Failure, ratio, typical } from "./outcome.ts"
import type { Spread } from "./stats.ts"

const absolute = (value: number): string =>
  Number.isNaN(value) ? "-" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const spreadText = (spread: Spread | undefined): string =>
  spread === undefined
    ? "-"
    : `${spread.median.toFixed(2)} [${spread.min.toFixed(2)}..${spread.max.toFixed(2)}]`

const verdict = (row: BasedRow, server: string): string => {
  const against = ratio(row, server)
  const found = row.most === undefined ? against?.median : typical(row, server)
  const must = row.most ?? row.goal?.must
  if (must === undefined) return ""
  const goal = row.goal === undefined ? `<= ${must} ${row.unit}` : `<= ${must.toFixed(2)} (${row.goal.aim.toFixed(2)})`
  if (found === undefined || Number.isNaN(found)) return goal
  if (row.goal !== undefined && found <= row.goal.aim) return `${goal} aim met`
  if (found <= must) return `${goal} met`
  return `${goal} ${row.goal?.orSpread === true && against!.min <= 1 ? "within the spread" : "MISSED"}`
}

/** The first server of ours is shown in absolute numbers too, and beside its goals. */
const tableOf = (baseline: string, rows: ReadonlyArray<BasedRow>): string => {
  const others = [...new Set(rows.flatMap(({ values }) => Object.keys(values)))].filter((server) => server !== baseline)
  const subject = others.find((server) => server.startsWith("ours"))
  const shown = (row: BasedRow, server: string) => absolute(typical(row, server))
  const columns: Array<readonly [head: string, cell: (row: BasedRow) => string]> = [
    ["workload", (row) => row.title],
    ["unit", (row) => row.unit],
    [baseline, (row) => shown(row, baseline)]
  ]
  if (subject !== undefined) columns.push([subject, (row) => shown(row, subject)])
  for (const server of [...(subject === undefined ? [] : [subject]), ...others.filter((other) => other !== subject)]) {
    columns.push([`${server} / ${baseline}`, (row) => spreadText(ratio(row, server))])
    if (server === subject && rows.some(({ goal, most }) => goal !== undefined || most !== undefined)) {
      columns.push(["must (aim)", (row) => verdict(row, server)])
    }
  }
  const lines = rows.map((row) => columns.map(([, cell]) => cell(row)))
  const widths = columns.map(([head], index) => Math.max(head.length, ...lines.map((line) => line[index]?.length ?? 0)))
  const format = (cells: ReadonlyArray<string>): string =>
    `| ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(" | ")} |`
  return [
    format(columns.map(([head]) => head)),
    format(widths.map((width) => "-".repeat(width))),
    ...lines.map(format)
  ].join("\n")
}

/** One table for each baseline. */
export const tables = (rows: ReadonlyArray<BasedRow>): string =>
  [...Map.groupBy(rows, ({ baseline }) => baseline)].map(([baseline, same]) => tableOf(baseline, same)).join("\n\n")

/** Of a message that is a process's last output, the line that says it. */
const brief = (message: string): string => {
  const lines = message.split("\n")
  return (lines.find((line) => /error:/i.test(line)) ?? lines[0] ?? "").slice(0, 200)
}

/** One line for a failure, however many workloads it befell. */
export const failureLines = (failures: ReadonlyArray<Failure>): ReadonlyArray<string> =>
  [...Map.groupBy(failures, ({ server, message }) => `${server} failed: ${brief(message)}`)]
    .map(([text, same]) => `${text} (${[...new Set(same.map(({ workload }) => workload))].join(", ")})`)

const versionOf = (name: string): string => {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version
}

const commit = (): string | undefined => {
  try {
    return execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8", stdio: "pipe" }).trim()
  } catch {
    return undefined
  }
}

const environment = () => ({
  date: new Date().toISOString(),
  commit: commit(),
  node: process.version,
  platform: `${process.platform} ${process.arch}`,
  cpu: cpus()[0]?.model,
  cores: availableParallelism(),
  versions: Object.fromEntries(["engine.io", "effect", "ws"].map((name) => [name, versionOf(name)]))
})

export interface Report {
  readonly rows: ReadonlyArray<BasedRow>
  readonly failures: ReadonlyArray<Failure>
  readonly raw: Record<string, unknown>
}

/** Writes everything that was measured; gives the name of the file, relative to the repository. */
export const write = (report: Report, options: Options): string => {
  const directory = new URL("../results/", import.meta.url)
  mkdirSync(directory, { recursive: true })
  const { date, ...rest } = environment()
  const name = `${date.replaceAll(/[:.]/g, "-")}.json`
  const rows = report.rows.map((row) => ({
    ...row,
    medians: Object.fromEntries(Object.keys(row.values).map((server) => [server, typical(row, server)])),
    ratios: Object.fromEntries(Object.keys(row.values).map((server) => [server, ratio(row, server)]))
  }))
  const json = { date, ...rest, options, ...report, rows }
  writeFileSync(fileURLToPath(new URL(name, directory)), `${JSON.stringify(json, null, 2)}\n`)
  return `bench/results/${name}`
}
