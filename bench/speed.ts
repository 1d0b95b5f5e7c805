/**
 * Publishes a run of the benchmark: `npx node bench/speed.ts bench/results/….json` keeps its medians in `bench/speed.json`,
 * and writes from them the tables of `docs/speed.md` and the bars of `docs/pictures/speed.svg`.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { bars } from "../site/bars.ts"
import type { Spread } from "./harness/stats.ts"

interface Row {
  readonly title: string
  readonly unit: string
  readonly baseline: string
  readonly medians: Readonly<Record<string, number>>
  readonly ratios: Readonly<Record<string, Spread>>
}

/** What of a run is published. */
export interface Run {
  readonly date: string
  readonly commit: string
  readonly node: string
  readonly cpu: string
  readonly cores: number
  readonly versions: Readonly<Record<string, string>>
  readonly options: { readonly rounds: number }
  readonly rows: ReadonlyArray<Row>
}

const fileOf = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))

const published = ({ commit, cores, cpu, date, node, options: { rounds }, rows, versions }: Run): Run => ({
  date,
  commit,
  node,
  cpu,
  cores,
  versions,
  options: { rounds },
  rows: rows.map(({ baseline, medians, ratios, title, unit }) => ({ title, unit, baseline, medians, ratios }))
})

const absolute = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const spread = (it: Spread | undefined): string =>
  it === undefined ? "" : `${it.median.toFixed(2)} [${it.min.toFixed(2)}–${it.max.toFixed(2)}]`

/** In the order of their columns; others come behind. */
const names: Readonly<Record<string, string>> = {
  ours: "on `HttpRouter`",
  "ours-behind": "behind a middleware",
  "ours-serve": "by `serve`",
  "ours-attach": "attached",
  ws: "`ws`",
  "ours-loop": "with a loop",
  "router-alone": "`HttpRouter` alone",
  "node-alone": "`node:http` alone",
  "engine.io-effect": "`engine.io`, Effect loaded",
  "ours-uncounted": "without metrics",
  "ours-observed": "observed",
  "ours-foreign": "at another member",
  "ours-workers": "on two workers",
  "ours-socket.io": "on this engine",
  "rpc-ours": "over sessions"
}

/** What the comparison with a server is about. */
const headings: Readonly<Record<string, string>> = {
  "engine.io": "Beside `engine.io`",
  "socket.io": "Socket.IO, beside its own engine",
  "rpc-websocket": "`effect/rpc`, beside Effect's own WebSockets",
  ours: "Through another process, beside one",
  "ours-uncounted": "What it costs to observe"
}

const nameOf = (server: string): string => names[server] ?? `\`${server}\``

/** One table for each server that the others are compared with. */
export const tables = ({ rows }: Run): string =>
  [...Map.groupBy(rows, ({ baseline }) => baseline)].map(([baseline, rows]) => {
    const found = new Set(rows.flatMap(({ ratios }) => Object.keys(ratios)))
    const servers = [...new Set([...Object.keys(names), ...found])].filter((it) => it !== baseline && found.has(it))
    const lines = [
      ["workload", "unit", nameOf(baseline), ...servers.map(nameOf)],
      ["---", "---", "---:", ...servers.map(() => "---")],
      ...rows.map(({ medians, ratios, title, unit }) => [
        title,
        unit,
        absolute(medians[baseline]!),
        ...servers.map((it) => spread(ratios[it]))
      ])
    ]
    return `### ${headings[baseline] ?? `Beside ${nameOf(baseline)}`}\n\n${
      lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n")
    }`
  }).join("\n\n")

/** The bars of the front page: our two servers beside `engine.io`. */
export const picture = ({ rows }: Run): string =>
  bars(
    rows.filter(({ baseline, title }) => baseline === "engine.io" && !title.startsWith("codec")).map(
      ({ ratios, title }) => ({
        title,
        values: [ratios["ours"], ratios["ours-attach"]].flatMap((it) => it === undefined ? [] : [it.median])
      })
    )
  )

/** The ratios to `engine.io` that the front page names. */
export const named = ({ rows }: Run): ReadonlyArray<string> =>
  ([
    ["50 000 x 1 KiB to a client that stopped reading: growth of rss", "ours"],
    ["burst of 10 000 x 32 B to one client", "ours"],
    ["broadcast of 32 B to 500 clients, 4 in flight", "ours"],
    ["ws echo, 32 B text, one in flight", "ours"],
    ["polling, POST one, then GET its echo", "ours"],
    ["polling, POST one, then GET its echo", "ours-attach"]
  ] as const).map(([title, server]) =>
    rows.find((row) => row.baseline === "engine.io" && row.title === title)!.ratios[server]!.median.toFixed(2)
  )

export const read = (): Run => JSON.parse(readFileSync(fileOf("bench/speed.json"), "utf8")) as Run

const [begin, end] = ["<!-- from bench/speed.json -->", "<!-- to here -->"] as const

/** The page with the tables of a run, and the machine it ran on. */
export const page = (text: string, run: Run): string => {
  const before = text.slice(0, text.indexOf(begin) + begin.length)
  const versions = Object.entries(run.versions).map(([name, version]) => `\`${name}\` ${version}`).join(", ")
  const machine = `${run.date.slice(0, 10)}, ${run.cores} cores of a shared ${run.cpu} machine, Node ${
    run.node.slice(1)
  }, ${versions}, ${run.options.rounds} rounds.`
  return `${before}\n\n${machine}\n\n${tables(run)}\n\n${text.slice(text.indexOf(end))}`
}

if (import.meta.main) {
  const [result] = process.argv.slice(2)
  if (result !== undefined) {
    const run = published(JSON.parse(readFileSync(result, "utf8")) as Run)
    writeFileSync(fileOf("bench/speed.json"), `${JSON.stringify(run, null, 2)}\n`)
  }
  writeFileSync(fileOf("docs/speed.md"), page(readFileSync(fileOf("docs/speed.md"), "utf8"), read()))
  writeFileSync(fileOf("docs/pictures/speed.svg"), picture(read()))
}
