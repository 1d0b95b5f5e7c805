/**
 * What the pictures have in common: their colours, by the reader's choice of light or dark, and their letters.
 */

export const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

export const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escape(content)}</text>`

const style = `
  svg { font: 13px system-ui, sans-serif; --ink: #1f2430; --soft: #56606f; --line: #8a94a4; --fill: #eef2fb; --bar: #3451b2; --bar2: #8fa3e6 }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6e9ef; --soft: #a8b1c0; --line: #717c8d; --fill: #2a3041; --bar: #a8b1ff; --bar2: #5c73e7 }
  }
  text { fill: var(--ink) } .soft { fill: var(--soft); font-size: 12px } .strong { font-weight: 600 }
  .box { fill: var(--fill); stroke: var(--line) } .line { fill: none; stroke: var(--line) } .dashed { stroke-dasharray: 3 4 }
  .bar { fill: var(--bar) } .bar2 { fill: var(--bar2) } .head { fill: var(--line) }`

export const svg = (width: number, height: number, title: string, parts: ReadonlyArray<string>): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escape(title)}</title>
<style>${style}</style>
${parts.join("\n")}
</svg>
`

/** An arrow from one point to another. */
export const arrow = (x1: number, y1: number, x2: number, y2: number, dashed = false): string => {
  const angle = Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI
  return `<path class="line${dashed ? " dashed" : ""}" d="M${x1} ${y1}L${x2} ${y2}"/>` +
    `<path class="head" transform="translate(${x2} ${y2}) rotate(${angle.toFixed(1)})" d="M0 0L-8 -4L-8 4Z"/>`
}
