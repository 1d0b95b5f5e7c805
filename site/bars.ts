/**
 * The benchmark as bars: one row for each workload, one bar for each of our servers, and a line where `engine.io` is.
 */
import { svg, text } from "./svg.ts"

export interface Bar {
  readonly title: string
  /** Ratios to `engine.io`: on `HttpRouter`, and attached where it was measured. */
  readonly values: ReadonlyArray<number>
}

const width = 480
/** Where the bars begin, and where the ratio 1 is. */
const [zero, one] = [4, 280] as const
/** The greatest ratio that has its true length; a longer bar is cut, and an arrow says so. */
const most = 1.5

export const bars = (rows: ReadonlyArray<Bar>): string => {
  const parts: Array<string> = []
  const legend = (x: number, kind: string, words: string) => {
    parts.push(
      `<rect class="${kind}" x="${x}" y="30" width="10" height="10"/>`,
      text(x + 15, 40, words, `class="soft"`)
    )
  }
  parts.push(text(zero, 16, "What it costs beside engine.io (less is better)", `class="strong"`))
  legend(zero, "bar", "on HttpRouter")
  legend(zero + 115, "bar2", "attached")
  parts.push(text(one + 5, 40, "engine.io = 1", `class="soft"`))
  let y = 62
  const top = y - 12
  for (const { title, values } of rows) {
    parts.push(text(zero, y, title, `class="soft"`))
    y += 6
    values.forEach((value, index) => {
      const length = Math.min(value, most) * (one - zero)
      parts.push(
        `<rect class="${index === 0 ? "bar" : "bar2"}" x="${zero}" y="${y}" width="${
          length.toFixed(1)
        }" height="11" rx="2"/>`,
        text(width - 4, y + 10, (value > most ? "→ " : "") + value.toFixed(2), `font-size="12" text-anchor="end"`)
      )
      y += 14
    })
    y += 16
  }
  parts.push(`<path class="line dashed" d="M${one} ${top}V${y - 18}"/>`)
  return svg(width, y - 8, "CPU time, memory and latency of this server as a share of what engine.io takes", parts)
}
