/**
 * Balancers that run the recipes of the guides, on ports of the test.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert } from "vitest"
import { eventually } from "./events.ts"
import { Program, root } from "./program.ts"

export interface Balancer {
  /** What its recipes stand under. */
  readonly heading: string
  readonly program: string
  readonly debian: string
  /** Where a recipe says that it listens, and what a test has there. */
  readonly listens: readonly [inRecipe: string, inTest: (port: number) => string]
  /** How a recipe writes the port of a server. */
  readonly server: (port: number) => string
  /** What the recipe leaves to the machine. */
  readonly whole: (recipe: string, folder: string) => string
  readonly args: (file: string, folder: string) => ReadonlyArray<string>
}

const asItIs = (recipe: string): string => recipe

/** Debian has no Envoy: the tests run it where they are told of one. */
const envoy = process.env["ENVOY"]

export const balancers: ReadonlyArray<Balancer> = [
  {
    heading: "nginx",
    program: "/usr/sbin/nginx",
    debian: "nginx-light",
    listens: ["listen 80;", (port) => `listen 127.0.0.1:${port};`],
    server: (port) => `127.0.0.1:${port}`,
    whole: (recipe, folder) => {
      const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((name) => `${name}_temp_path ${folder}/${name};`)
      return `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events {}\n` +
        `http { access_log off; ${paths.join(" ")}\n${recipe}}\n`
    },
    args: (file, folder) => ["-p", folder, "-c", file, "-e", "stderr"]
  },
  {
    heading: "HAProxy",
    program: "/usr/sbin/haproxy",
    debian: "haproxy",
    listens: ["bind :80", (port) => `bind 127.0.0.1:${port}`],
    server: (port) => `127.0.0.1:${port}`,
    whole: asItIs,
    args: (file) => ["-f", file, "-q", "-db"]
  },
  {
    heading: "Caddy",
    program: "/usr/bin/caddy",
    debian: "caddy",
    listens: ["example.com", (port) => `http://127.0.0.1:${port}`],
    server: (port) => `127.0.0.1:${port}`,
    whole: (recipe, folder) => `{\n  admin off\n  grace_period 1ms\n  storage file_system ${folder}\n}\n${recipe}`,
    args: (file) => ["run", "--adapter", "caddyfile", "--config", file]
  },
  ...(envoy === undefined ? [] : [{
    heading: "Envoy",
    program: envoy,
    debian: "",
    listens: [
      "address: 0.0.0.0, port_value: 80 ",
      (port: number) => `address: 127.0.0.1, port_value: ${port} `
    ] as const,
    server: (port: number) => `address: 127.0.0.1, port_value: ${port} `,
    whole: asItIs,
    args: (file: string) => ["-c", file, "--log-level", "error", "--use-dynamic-base-id", "--concurrency", "1"]
  }])
]

/** Says what is missing of some programs, where it may be; in CI nothing may. */
export const missingOf = (all: ReadonlyArray<{ readonly program: string; readonly debian: string }>): string => {
  const missing = process.env["CI"] === "true" ? [] : all.filter(({ program }) => !existsSync(program))
  return missing.length === 0 ? "" : ` (skipped: there is no ${missing.map(({ program }) => program).join(", ")}; ` +
    `on Debian, apt-get install ${missing.map(({ debian }) => debian).join(" ")})`
}

export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

export const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

/** Runs `body` with a balancer before two servers, as its recipe on a page says, but for what `change` changes of that. */
export const withBalancer = async (
  { args, heading, listens, program, server, whole }: Balancer,
  page: string,
  servers: readonly [port: number, port: number],
  body: (port: number) => Promise<void>,
  change: (recipe: string) => string = asItIs
): Promise<void> => {
  const text = readFileSync(join(root, "docs", page), "utf8")
  const [, fence, recipe] = new RegExp(`^##+ ${heading}\n.*?\`\`\`(\\w+)\n(.*?)\`\`\``, "ms").exec(text)!
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), `${heading}-`))
  const replacements = [
    [listens[0], listens[1](port)],
    [server(3001), server(servers[0])],
    [server(3002), server(servers[1])]
  ] as const
  for (const [inRecipe] of replacements) assert.include(recipe, inRecipe)
  const file = join(folder, `configuration.${fence}`)
  writeFileSync(
    file,
    whole(replacements.reduce((all, [from, to]) => all.replaceAll(from, to), change(recipe!)), folder)
  )
  const running = new Program(args(file, folder), {}, program)
  try {
    await eventually(heading, async () => await isOpen(port) || running.process.exitCode !== null, (it) => it)
    assert.isNull(running.process.exitCode, running.output)
    await body(port)
  } finally {
    await running.end("SIGTERM")
    rmSync(folder, { recursive: true })
  }
}
