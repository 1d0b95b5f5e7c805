/**
 * Every block of TypeScript in the README, in the pages of `docs/` and in the doc comments: all are type-checked, in one
 * program, and those fenced with `ts import.meta.vitest` run, where `expression // => value` is an assertion.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as growth from "../bench/growth.ts"
import * as speed from "../bench/speed.ts"
import { draw, pictures } from "../site/diagram.ts"
import { table } from "../src/internal/server/config.ts"

const root = fileURLToPath(import.meta.resolve("../"))
const folder = join(root, "test", ".snippets")

interface Snippet {
  /** The file and line it stands at. */
  readonly at: string
  readonly file: string
  readonly code: string
  readonly runs: boolean
}

/** The blocks of a text whose lines all begin with `prefix`. */
const snippetsOf = (name: string): Array<Snippet> => {
  const lines = readFileSync(join(root, name), "utf8").split("\n")
  const snippets: Array<Snippet> = []
  for (let start = 0; start < lines.length; start++) {
    const [, prefix, info] = /^( *\* |)```ts\b(.*)$/.exec(lines[start]!) ?? []
    if (prefix === undefined) continue
    let end = start + 1
    while (lines[end]!.trimEnd() !== `${prefix}\`\`\``) end++
    snippets.push({
      at: `${name}:${start + 1}`,
      file: `${name.replaceAll(/\W/g, "_")}_${start + 1}.ts`,
      code: lines.slice(start + 1, end).map((line) => line.slice(prefix.length)).join("\n"),
      runs: info!.trim() === "import.meta.vitest"
    })
    start = end
  }
  return snippets
}

const filesOf = (folder: string, end: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(end))
    .map((name) => `${folder}/${name}`)

const pages = ["README.md", ...filesOf("docs", ".md")]
/** What the site has beside them, since they link to it. */
const others = [
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "bench/README.md",
  "test/README.md",
  "test/WIRE.md",
  ...filesOf("examples", ".md")
]
const documents = [...pages, ...others, ...filesOf("src", ".ts")]
const snippets = documents.flatMap(snippetsOf)

/** The same with assertions that assert, and on the source. */
const runnable = ({ at, code }: Snippet): string => {
  const lines = code
    .replace(
      /"effect-engine\.io(\/testing)?"/g,
      (_, path = "") => JSON.stringify(pathToFileURL(join(root, `src${path || "/index"}.ts`)).href)
    )
    .split("\n")
    .map((line) => {
      const [, expression, value] = /^(.*\S)\s+\/\/ => (.+)$/.exec(line) ?? []
      return expression === undefined
        ? line
        : `check(${expression}, ${value}, ${JSON.stringify(`${at}: ${expression}`)})`
    })
  return ["import { assert } from \"vitest\"", "const check = assert.deepStrictEqual", ...lines].join("\n")
}

/** Words of a doc comment as the page of the options has them. */
const shortened = (words: string): string =>
  words.replaceAll("`", "").replace(" seconds", " s").replace(" messages or ", ", ")

const grouped = (value: number): string => String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, " ")

/** A default as the page of the options has it; `undefined` where only words can say what the server does without the option. */
const inWords = (value: unknown): string | undefined => {
  if (value === undefined) return undefined
  if (value === Infinity) return "no limit"
  if (typeof value === "string") return shortened(value)
  if (typeof value === "number") return grouped(value)
  if (typeof value === "object" && "bytes" in value! && "messages" in value) {
    return `${grouped(value.messages as number)}, ${value.bytes as number / 2 ** 20} MiB`
  }
  return JSON.stringify(value).replace(/^\{"(\w+)":(.*)\}$/, "{ $1: $2 }").replaceAll(",", ", ")
}

/** The links to the headings of a page. */
const headingsOf = (page: string): ReadonlySet<string> =>
  new Set(
    Array.from(
      readFileSync(join(root, page), "utf8").matchAll(/^#+ (.*)$/gm),
      ([, title]) => `#${title!.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")}`
    )
  )

const linksOf = (page: string): ReadonlyArray<string> =>
  Array.from(readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!)

describe("the documents", () => {
  beforeAll(() => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(join(folder, "run"), { recursive: true })
    for (const snippet of snippets) {
      writeFileSync(join(folder, snippet.file), `${snippet.code}\nexport {}\n`)
      if (snippet.runs) writeFileSync(join(folder, "run", snippet.file), runnable(snippet))
    }
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: "../../tsconfig.json",
        // A recipe may show what it does not use.
        compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
        files: snippets.map(({ file }) => file),
        include: []
      })
    )
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it("have programs in them", () => {
    assert.isAbove(snippets.filter(({ at }) => at.startsWith("docs/")).length, 20)
    assert.isAbove(snippets.filter(({ runs }) => runs).length, 5)
  })

  it("have programs that type-check", () => {
    const tsc = fileURLToPath(import.meta.resolve("typescript/package.json")).replace("package.json", "bin/tsc")
    try {
      execFileSync(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { encoding: "utf8" })
    } catch (error) {
      const output = (error as { readonly stdout: string }).stdout.replaceAll(
        /\S*?([\w.]+\.ts)\((\d+),/g,
        (_, file, line) => {
          const [name, start] = snippets.find((snippet) => snippet.file === file)?.at.split(":") ?? [file, 0]
          return `${name}:${Number(start) + Number(line)} (`
        }
      )
      assert.fail(output)
    }
  }, 60_000)

  for (const snippet of snippets.filter(({ runs }) => runs)) {
    it(`say what happens at ${snippet.at}`, async () => {
      assert.match(snippet.code, /\/\/ => /)
      await import(/* @vite-ignore */ pathToFileURL(join(folder, "run", snippet.file)).href)
    })
  }

  it("link to files and headings that are there", () => {
    assert.isAbove(linksOf("README.md").length, 20)
    for (const page of [...pages, ...others]) {
      const missing = linksOf(page).filter((link) => {
        if (link.startsWith("https://")) return false
        const { hash, pathname } = new URL(link, `file:///${page}`)
        const file = pathname.slice(1)
        if (!existsSync(join(root, file)) || statSync(join(root, file)).isDirectory()) return true
        return hash !== "" && !headingsOf(file).has(hash)
      })
      assert.deepStrictEqual(missing, [], page)
    }
  })

  it("have fewer than ten fragments that nobody checks", () => {
    const config = ["sh", "text", "json", "yaml", "nginx", "haproxy", "caddy"]
    const fragments = [...pages, ...others].flatMap((page) =>
      Array.from(
        readFileSync(join(root, page), "utf8").matchAll(/^```(.*)\n[^]*?^```$/gm),
        ([, info]) => `${page}: ${info}`
      ).filter((it) => !/: ts\b/.test(it) && !config.some((language) => it.endsWith(`: ${language}`)))
    )
    assert.isBelow(fragments.length, 10, fragments.join())
  })

  it("begin with a page of at most two hundred lines", () => {
    assert.isAtMost(readFileSync(join(root, "README.md"), "utf8").split("\n").length, 200)
  })

  describe("answer a newcomer within two clicks from the front page", () => {
    const questions: ReadonlyArray<readonly [question: string, page: string, heading: string, answer: RegExp]> = [
      ["How do I install it?", "getting-started", "Install", /npm install effect-engine\.io/],
      ["How do I make a page that talks to it?", "getting-started", "A page", /new Socket\(\)/],
      ["How do I know who a client is?", "authentication", "Authentication", /HandshakeError\.Forbidden/],
      ["How do I send to everybody in a room?", "rooms", "To a room", /Rooms\.broadcast/],
      ["What happens when a client is slow?", "backpressure", "Towards the client", /`Socket\.send` waits/],
      ["What does nginx need?", "proxies", "nginx", /proxy_set_header Upgrade/],
      ["How do I deploy without losing messages?", "shutdown", "A deploy without lost messages", /[Dd]rain/],
      ["Why does my client get \"Session ID unknown\"?", "errors", "Code 1: Session ID unknown", /sticky/],
      ["How do I test my application?", "testing", "Testing", /EngineIOTest\.connect/],
      ["What is server.clients of engine.io here?", "migration", "Functions and options", /EngineIO\.sockets/],
      ["May a page of another origin connect?", "security", "What you must set", /allowedOrigins/],
      ["Where is it slower?", "speed", "Where this server loses", /HttpRouter/]
    ]
    for (const [question, page, heading, answer] of questions) {
      it(question, () => {
        assert.include(linksOf("README.md"), `docs/${page}.md`)
        const text = readFileSync(join(root, `docs/${page}.md`), "utf8")
        const [, level] = new RegExp(`^(#+) ${heading}$`, "m").exec(text) ?? assert.fail(`no "${heading}"`)
        const [section] = new RegExp(`^${level} ${heading}$[^]*?(?=^#{1,${level!.length}} |(?![^]))`, "m").exec(text)!
        assert.match(section, answer)
      })
    }
  })

  it("have the pictures that their texts draw", () => {
    for (const [file, source] of pictures()) assert.strictEqual(readFileSync(file, "utf8"), draw(source), file)
  })

  it("have the figures of the last published run of the benchmark", () => {
    const page = readFileSync(join(root, "docs/speed.md"), "utf8")
    assert.strictEqual(page, speed.page(page, speed.read()))
    const readme = readFileSync(join(root, "README.md"), "utf8")
    const [, reasons] = /^## Five reasons\n([^]*?)(?=^## )/m.exec(readme)!
    assert.deepStrictEqual(reasons!.match(/\b\d\.\d\d\b/g), [...speed.named(speed.read())])
    assert.strictEqual(readFileSync(join(root, "docs/pictures/speed.svg"), "utf8"), speed.picture(speed.read()))
    assert.strictEqual(readFileSync(join(root, "docs/pictures/growth.svg"), "utf8"), growth.picture(growth.read()))
    assert.deepStrictEqual(growth.grows(growth.read()), [])
  })

  it("explain every message that refers to them", () => {
    const headings = headingsOf("docs/errors.md")
    const referred = filesOf("src", ".ts").flatMap((name) =>
      Array.from(readFileSync(join(root, name), "utf8").matchAll(/\bsee\("(.*?)"\)/g), ([, heading]) => `#${heading}`)
    )
    assert.isAbove(referred.length, 20)
    assert.deepStrictEqual(referred.filter((heading) => !headings.has(heading)), [])
  })

  it("have cause and remedy for every code and every reason", () => {
    const page = readFileSync(join(root, "docs/errors.md"), "utf8")
    const [reasons, refusals] = ["CloseReason.ts", "HandshakeError.ts"].map((name) =>
      readFileSync(join(root, "src", name), "utf8")
    ) as [string, string]
    const names = [
      ...reasons.matchAll(/readonly _tag: "(\w+)"|TaggedError\("(\w+)"\)/g),
      ...refusals.matchAll(/override readonly message = "([^"]+)"|name: "(\w+)"/g)
    ].map(([, one, other]) => (one ?? other)!)
    for (const [, code] of refusals.matchAll(/readonly code = (\d)/g)) names.push(`### Code ${code}:`)
    assert.isAbove(names.length, 30)
    assert.deepStrictEqual(names.filter((name) => !page.includes(name)), [])
  })

  it("have no warning or error in the log that does not refer to them", () => {
    const calls = filesOf("src", ".ts").flatMap((name) =>
      Array.from(
        readFileSync(join(root, name), "utf8").matchAll(/Effect\.log(?:Warning|Error)\((?:[^()]|\([^()]*\))*\)/g),
        ([call]) => `${name}: ${call}`
      )
    )
    assert.isAbove(calls.length, 10)
    assert.deepStrictEqual(calls.filter((call) => !/\bsee\("|\(words\)/.test(call)), [])
  })

  it("give every option the default that it has", () => {
    const section = /^## The server\n[^]*?(?=^## )/m.exec(readFileSync(join(root, "docs/options.md"), "utf8"))![0]
    const rows = Array.from(
      section.matchAll(/^\| `(\w+)` \| .*? \| (.*?) \|/gm),
      ([, name, words]) => [name!, words!.replaceAll("`", "")] as const
    )
    const interfaces = readFileSync(join(root, "src/internal/server/options.ts"), "utf8")
      .match(/^export interface (?:Scalar)?Options\b[^]*?^}/gm)!.join()
    const comments = Array.from(
      interfaces.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\n {2}readonly (\w+)\?/g),
      ([, comment, name]) => {
        const [, words = "none is named"] = /Default: (.*?)(?:, which .*)?\.(?= |$)/
          .exec(comment!.replaceAll(/\s+(?:\* )?/g, " ").trim()) ?? []
        return [name!, shortened(words)] as const
      }
    )
    // What the server does without an option that has no default, the two have to say in the same words.
    const defaults = Object.entries(table).map(([name, row]) =>
      [name, inWords(row.default) ?? new Map(rows).get(name)!] as const
    )
    assert.deepStrictEqual(Object.fromEntries(rows), Object.fromEntries(defaults))
    assert.deepStrictEqual(Object.fromEntries(comments), Object.fromEntries(defaults))
  })

  it("leave out nothing that users can set, see or call", () => {
    const text = pages.map((page) => readFileSync(join(root, page), "utf8")).join()
    const read = (name: string) => readFileSync(join(root, "src", name), "utf8")
    const all = (text: string, pattern: RegExp) => Array.from(text.matchAll(pattern), ([, name]) => name!)
    const members = (text: string, name: string) =>
      all(new RegExp(`^export interface ${name}\\b[^]*?^}`, "m").exec(text)![0], /^ {2}readonly (\w+)\??:/gm)
    const options = read("internal/server/options.ts")
    const names = [
      ...members(options, "ScalarOptions"),
      ...members(options, "Options"),
      ...members(read("internal/node/attachOptions.ts"), "AttachOptions"),
      ...members(read("internal/node/networkMembers.ts"), "NetworkOptions"),
      ...members(read("internal/node/redisMembers.ts"), "RedisOptions"),
      ...members(read("internal/node/listedMembers.ts"), "MembersOptions"),
      ...members(read("internal/node/workers.ts"), "NodeClusterOptions"),
      ...all(read("internal/server/events.ts") + read("internal/session/model.ts"), /readonly _tag: "(\w+)"/g),
      ...all(read("CloseReason.ts"), /readonly _tag: "(\w+)"/g),
      ...all(read("CloseReason.ts"), /TaggedError\("(\w+)"\)/g),
      ...all(read("HandshakeError.ts"), /^ {2}override readonly message = "([^"]+)"/gm),
      ...all(read("internal/server/metrics.ts"), /"(engineio_\w+)"/g),
      ...all(read("internal/server/tracing.ts"), /"(EngineIO\.\w+)"/g),
      ...all(
        [
          "ClusterRooms",
          "EngineIO",
          "EngineIOClient",
          "EngineIOCluster",
          "Rooms",
          "Socket",
          "SocketIO",
          "TypedSocket",
          "testing/EngineIOTest"
        ].map((
          name
        ) => read(`${name}.ts`)).join(),
        /^export const (\w+)/gm
      )
    ]
    assert.isAbove(names.length, 90)
    assert.deepStrictEqual(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text)), [])
  })
})
