/**
 * Draws the pictures of `docs/pictures/` from the text beside them: `npx node site/diagram.ts`.
 *
 * A picture of who says what, a line for each message:
 *
 *     client | server          who they are
 *     > GET …                  from left to right; < the other way; ~> may be lost, or comes later
 *     - opening                what follows
 *     = app runs               what the right one does
 *
 * A picture of what is behind what, a line for each chain: `app -> sendBuffer -> client`, and boxes one above the other with
 * `/`. Other lines are words. The first line is the title of either.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { arrow, svg, text } from "./svg.ts"

const width = 480

const box = (x: number, y: number, w: number, h: number, words: string): string => {
  const lines = words.split(", ")
  const first = y + h / 2 + 5 - (lines.length - 1) * 8
  return [
    `<rect class="box" x="${x}" y="${y}" width="${w}" height="${h}" rx="6"/>`,
    ...lines.map((line, i) => text(x + w / 2, first + i * 16, line, `text-anchor="middle"`))
  ].join("\n")
}

/** Who says what, from top to bottom. */
const conversation = (title: string, [actors, ...lines]: ReadonlyArray<string>): string => {
  const [left, right] = [60, width - 60] as const
  const parts: Array<string> = []
  let y = 48
  for (const line of lines) {
    const [, sign, words] = /^(~?[<>]|[-=]) (.*)$/.exec(line)!
    if (sign === "-") {
      y += 6
      parts.push(text(width / 2, y + 16, words!, `text-anchor="middle" class="strong"`))
      y += 26
    } else if (sign === "=") {
      parts.push(text(right - 10, y + 16, words!, `text-anchor="end" class="soft"`))
      y += 24
    } else {
      parts.push(text(width / 2, y + 14, words!, `text-anchor="middle"`))
      const [from, to] = sign!.endsWith(">") ? [left, right] : [right, left]
      parts.push(arrow(from, y + 22, to, y + 22, sign!.startsWith("~")))
      y += 34
    }
  }
  const [one, other] = actors!.split(" | ") as [string, string]
  const lives = [left, right].map((x) => `<path class="line" d="M${x} 38V${y + 8}"/>`)
  return svg(width, y + 16, title, [
    ...lives,
    box(left - 50, 8, 100, 30, one),
    box(right - 50, 8, 100, 30, other),
    ...parts
  ])
}

/** What is behind what, from left to right. */
const chains = (title: string, lines: ReadonlyArray<string>): string => {
  const parts: Array<string> = []
  const [height, gap] = [40, 10] as const
  let y = 4
  for (const line of lines) {
    if (!line.includes(" -> ")) {
      const heading = line.startsWith("- ")
      parts.push(text(4, y + 16, heading ? line.slice(2) : line, `class="${heading ? "strong" : "soft"}"`))
      y += heading ? 28 : 20
      if (line === "") y -= 8
      continue
    }
    const columns = line.split(" -> ").map((it) => it.split(" / "))
    const step = (width + 22) / columns.length
    const boxWidth = step - 28
    const tallest = Math.max(...columns.map(({ length }) => length)) * (height + gap) - gap
    const placed = columns.map((stack, column) => {
      const top = y + (tallest - stack.length * (height + gap) + gap) / 2
      return stack.map((words, i) => ({ x: 2 + column * step, y: top + i * (height + gap), words }))
    })
    placed.forEach((stack, column) => {
      for (const it of stack) {
        parts.push(box(it.x, it.y, boxWidth, height, it.words))
        for (const next of placed[column + 1] ?? []) {
          parts.push(arrow(it.x + boxWidth + 2, it.y + height / 2, next.x - 2, next.y + height / 2))
        }
      }
    })
    y += tallest + 10
  }
  return svg(width, y + 6, title, parts)
}

export const draw = (source: string): string => {
  const [title, ...lines] = source.trimEnd().split("\n") as [string, ...Array<string>]
  return lines[0]!.includes(" | ") ? conversation(title, lines) : chains(title, lines)
}

const folder = fileURLToPath(new URL("../docs/pictures/", import.meta.url))

/** The pictures that are drawn, with what they are drawn from. */
export const pictures = (): ReadonlyArray<readonly [file: string, source: string]> =>
  readdirSync(folder).filter((name) => name.endsWith(".txt")).map((name) => [
    `${folder}${name.replace(/txt$/, "svg")}`,
    readFileSync(folder + name, "utf8")
  ])

if (import.meta.main) { for (const [file, source] of pictures()) writeFileSync(file, draw(source)) }
