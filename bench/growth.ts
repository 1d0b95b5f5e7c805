/**
 * Publishes runs of `--workload growth`: `npx node bench/growth.ts bench/results/….json …` keeps their medians in
 * `bench/growth.json` and draws them in `docs/pictures/growth.svg`, if what a message or a session costs does not grow.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { svg, text } from "../site/svg.ts"

interface Row {
  readonly workload: string
  readonly title: string
  readonly medians: Readonly<Record<string, number>>
}

/** Of each server, what one costs among so many sessions. */
type Curve = Readonly<Record<string, ReadonlyArray<readonly [sessions: number, cost: number]>>>

export interface Growth {
  /** Microseconds for a message. */
  readonly busy: Curve
  /** KiB of heap for a session. */
  readonly idle: Curve
}

const curve = (rows: ReadonlyArray<Row>, kind: keyof Growth): Curve => {
  const points = rows.flatMap(({ medians, workload }) => {
    const sessions = Number(new RegExp(`^growth-${kind}-(\\d+)$`).exec(workload)?.[1] ?? NaN)
    return Number.isNaN(sessions) ? [] : [{ sessions, medians }]
  })
  const servers = Object.keys(points[0]!.medians)
  return Object.fromEntries(
    servers.map((server) => [server, points.map(({ medians, sessions }) => [sessions, medians[server]!] as const)])
  )
}

/** How many times what it costs among the fewest it costs among the most. */
export const growthOf = (curve: Curve, server: string): number => curve[server]!.at(-1)![1] / curve[server]![0]![1]

/** What memory of the processor that other sessions used costs a message, and no more. */
const most = { busy: 1.3, idle: 1.05 } as const

export const grows = (growth: Growth): ReadonlyArray<string> =>
  (["busy", "idle"] as const).flatMap((kind) => {
    const times = growthOf(growth[kind], "ours")
    return times <= most[kind] ? [] : [`growth-${kind}: ${times.toFixed(2)} times, and not ${most[kind]} at most`]
  })

const width = 480
const [left, right, height] = [20, width - 80, 120] as const

const panel = (top: number, title: string, curve: Curve): ReadonlyArray<string> => {
  const highest = Math.max(...Object.values(curve).flat().map(([, cost]) => cost))
  // From 100 to 10 000, each ten times as many as far from the last.
  const x = (sessions: number) => left + (right - left) * (Math.log10(sessions) - 2) / 2
  const y = (cost: number) => top + 24 + height * (1 - cost / highest)
  const parts = [
    text(4, top, title, `class="strong"`),
    `<path class="line" d="M${left} ${y(0)}H${right}"/>`
  ]
  Object.entries(curve).forEach(([server, points], index) => {
    const stroke = `stroke="var(--${index === 0 ? "bar2" : "bar"})" stroke-width="2"`
    const [sessions, cost] = points.at(-1)!
    parts.push(
      `<polyline fill="none" ${stroke} points="${
        points.map(([s, c]) => `${x(s).toFixed(1)},${y(c).toFixed(1)}`).join(" ")
      }"/>`,
      ...points.map(([s, c]) =>
        text(x(s), y(c) + (index === 0 ? -6 : 16), c.toFixed(1), `class="soft" text-anchor="middle"`)
      ),
      text(x(sessions) + 20, y(cost) + (index === 0 ? -6 : 16), server, `class="soft"`)
    )
  })
  for (const [sessions] of Object.values(curve)[0]!) {
    parts.push(text(x(sessions), y(0) + 16, String(sessions), `class="soft" text-anchor="middle"`))
  }
  return parts
}

export const picture = ({ busy, idle }: Growth): string =>
  svg(width, 384, "What a message and a session cost among 100 to 10 000 sessions", [
    ...panel(16, "CPU of a message, µs, by sessions (5 000 messages a second)", busy),
    ...panel(216, "Heap of a session, KiB, by sessions", idle)
  ])

const fileOf = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))

export const read = (): Growth => JSON.parse(readFileSync(fileOf("bench/growth.json"), "utf8")) as Growth

if (import.meta.main) {
  const rows = process.argv.slice(2).flatMap((file) =>
    (JSON.parse(readFileSync(file, "utf8")) as { readonly rows: ReadonlyArray<Row> }).rows
  ).filter(({ title }) => !title.endsWith(": rss"))
  const growth = rows.length === 0 ? read() : { busy: curve(rows, "busy"), idle: curve(rows, "idle") }
  const found = grows(growth)
  if (found.length > 0) throw new Error(found.join("\n"))
  writeFileSync(fileOf("bench/growth.json"), `${JSON.stringify(growth)}\n`)
  writeFileSync(fileOf("docs/pictures/growth.svg"), picture(growth))
}
