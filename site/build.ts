/**
 * Builds the site into `.site/dist`: the README, the pages of `docs/`, the reference of the API, and the files of the
 * repository that any of them links to. Fails where a link points at nothing.
 *
 * Its tools are installed into `.site/` by `npm run docs`, and not with the dependencies: they are many.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, extname, join, posix } from "node:path"
import { fileURLToPath } from "node:url"
import { brokenLinks } from "./links.ts"

const root = fileURLToPath(new URL("../", import.meta.url))
const pages = join(root, ".site/pages")

const read = (name: string) => readFileSync(join(root, name), "utf8")

/** Where the site has a file of the repository. */
const placeOf = (name: string): string => {
  if (name === "README.md") return "/index.md"
  if (name.startsWith("docs/")) return name.slice("docs".length)
  return `/source/${name.endsWith(".md") ? name : `${name}.md`}`
}

/** Files that a page links to, and that have no page yet. */
const wanted = [
  "README.md",
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)
]
const seen = new Set(wanted)

/** A link of a file of the repository, as the site has it. */
const moved = (from: string) => (link: string): string => {
  if (/^(?:https?:|#)/.test(link)) return link
  const [path, hash] = link.split("#") as [string, string | undefined]
  const target = posix.normalize(posix.join(posix.dirname(from), path))
  if (!existsSync(join(root, target))) throw new Error(`${from} links to ${link}, which is not there`)
  if (/\.(?:svg|png)$/.test(target)) return placeOf(target)
  if (!seen.has(target)) {
    seen.add(target)
    wanted.push(target)
  }
  return placeOf(target) + (hash === undefined ? "" : `#${hash}`)
}

/** Everything outside of blocks of code. */
const outsideOfCode = (text: string, change: (prose: string) => string): string =>
  text.split(/(^```[^]*?^```$)/m).map((part, i) => i % 2 === 0 ? change(part) : part).join("")

const prose = (name: string): string =>
  outsideOfCode(read(name), (text) =>
    text
      .replaceAll(/\]\(([^)\s]+)\)/g, (_, link: string) => `](${moved(name)(link)})`)
      .replaceAll(/src="([^"]+)"/g, (_, link: string) => `src="${moved(name)(link)}"`))

const source = (name: string): string => {
  const language = extname(name).slice(1) || "text"
  return `---\nsearch: false\n---\n\n# ${name}\n\n\`\`\`\`\`\`${language}\n${read(name)}\n\`\`\`\`\`\`\n`
}

const put = (place: string, text: string): void => {
  const file = join(pages, place)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

/** Runs a tool, which says itself what is wrong. */
const run = (tool: string, ...args: ReadonlyArray<string>): void => {
  const { status } = spawnSync(process.execPath, [join(root, ".site/node_modules", tool), ...args], {
    cwd: root,
    stdio: "inherit"
  })
  if (status !== 0) process.exit(1)
}

rmSync(pages, { recursive: true, force: true })
run("typedoc/bin/typedoc")
for (const name of readdirSync(join(pages, "api"), { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".md")) continue
  const text = readFileSync(join(pages, "api", name), "utf8")
  // A line is enough for it, where typedoc has a heading.
  put(`api/${name}`, text.replaceAll(/^#+ Since\n\n(\S+)$/gm, "*Since $1.*"))
}
cpSync(join(root, "site/.vitepress"), join(pages, ".vitepress"), { recursive: true })
cpSync(join(root, "docs/pictures"), join(pages, "public/pictures"), { recursive: true })
// The repository's is not for these tools.
put("tsconfig.json", "{}")
for (const name of wanted) put(placeOf(name), name.endsWith(".md") ? prose(name) : source(name))
run("vitepress/bin/vitepress.js", "build", pages, "--outDir", join(root, ".site/dist"))
const broken = brokenLinks(join(root, ".site/dist"))
for (const line of broken) console.error(line)
if (broken.length > 0) process.exit(1)
