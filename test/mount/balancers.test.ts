/**
 * The recipes for nginx and HAProxy, run by them before two servers.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { EngineClient } from "../kit/client.ts"
import { eventually, within } from "../kit/events.ts"
import { root } from "../kit/program.ts"
import { portOf, type TestServer, unwatched, withServer } from "../kit/server.ts"

const page = readFileSync(join(root, "docs/proxies.md"), "utf8")

const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const port = portOf(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

interface Balancer {
  readonly fence: string
  readonly program: string
  readonly debian: string
  readonly listens: (port: number) => readonly [inRecipe: string, inTest: string]
  /** What the recipe leaves to the machine. */
  readonly whole: (recipe: string, folder: string) => string
  readonly args: (file: string, folder: string) => ReadonlyArray<string>
}

const balancers: ReadonlyArray<Balancer> = [
  {
    fence: "nginx",
    program: "/usr/sbin/nginx",
    debian: "nginx-light",
    listens: (port) => ["listen 80;", `listen 127.0.0.1:${port};`],
    whole: (recipe, folder) => {
      const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map((name) => `${name}_temp_path ${folder}/${name};`)
      return `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events {}\n` +
        `http { access_log off; ${paths.join(" ")}\n${recipe}}\n`
    },
    args: (file, folder) => ["-p", folder, "-c", file, "-e", "stderr"]
  },
  {
    fence: "haproxy",
    program: "/usr/sbin/haproxy",
    debian: "haproxy",
    listens: (port) => ["bind :80", `bind 127.0.0.1:${port}`],
    whole: (recipe) => recipe,
    args: (file) => ["-f", file, "-q", "-db"]
  }
]

/** Runs a balancer before the servers as its recipe says, on ports of the test. */
const withBalancer = async (
  { args, fence, listens, program, whole }: Balancer,
  servers: readonly [TestServer, TestServer],
  body: (port: number) => Promise<void>
) => {
  const [, recipe] = new RegExp(`\`\`\`${fence}\n(.*?)\`\`\``, "s").exec(page)!
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), `${fence}-`))
  const replacements = [
    listens(port),
    ["127.0.0.1:3001", `127.0.0.1:${servers[0].port}`],
    ["127.0.0.1:3002", `127.0.0.1:${servers[1].port}`]
  ] as const
  for (const [text] of replacements) assert.include(recipe, text)
  const file = join(folder, "configuration")
  writeFileSync(file, whole(replacements.reduce((text, [from, to]) => text.replace(from, to), recipe!), folder))
  const running = spawn(program, args(file, folder), { stdio: "inherit" })
  const ended = new Promise((resolve) => running.once("close", resolve))
  try {
    await eventually(fence, () => isOpen(port), (open) => open)
    await body(port)
  } finally {
    running.kill("SIGTERM")
    await within(ended, `the end of ${fence}`)
    rmSync(folder, { recursive: true })
  }
}

for (const balancer of balancers) {
  const { debian, fence, program } = balancer
  const isMissing = !existsSync(program) && process.env["CI"] !== "true"
  const remedy = isMissing ? ` (skipped: there is no ${program}; on Debian, apt-get install ${debian})` : ""

  describe.skipIf(isMissing)(`behind ${fence}${remedy}`, () => {
    it("sessions stay with their server, from the first poll through the upgrade, and are spread over both", async () => {
      await withServer({}, async (one) => {
        await withServer({}, (other) =>
          withBalancer(balancer, [one, other], async (port) => {
            const clients = await Promise.all(
              Array.from({ length: 20 }, (_, i) =>
                EngineClient.connect(unwatched(port), i % 2 === 0 ? "upgrade" : "polling", {
                  localAddress: `127.0.${i}.2`
                }))
            )
            for (const client of clients) {
              assert.strictEqual(await client.exchange("hello"), "hello")
            }
            const counts = [await one.count(), await other.count()] as const
            assert.strictEqual(counts[0] + counts[1], clients.length)
            assert.isAbove(Math.min(...counts), 0)
            for (const client of clients) {
              await client.close()
            }
          }))()
      })()
    })
  })
}
