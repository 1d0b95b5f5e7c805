/**
 * The recipe for nginx, run by nginx itself before two servers.
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

const nginx = "/usr/sbin/nginx"
const isMissing = !existsSync(nginx) && process.env["CI"] !== "true"
const remedy = `skipped: there is no ${nginx}; on Debian, apt-get install nginx-light`

if (isMissing) console.warn(`The recipe for nginx is ${remedy}`)

const recipe = /```nginx\n(.*?)```/s.exec(readFileSync(join(root, "docs/proxies.md"), "utf8"))![1]!

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

/** Runs nginx before the servers as the recipe says, on ports of the test. */
const withNginx = async (servers: readonly [TestServer, TestServer], body: (port: number) => Promise<void>) => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "nginx-"))
  const replacements = [
    ["listen 80;", `listen 127.0.0.1:${port};`],
    ["127.0.0.1:3001;", `127.0.0.1:${servers[0].port};`],
    ["127.0.0.1:3002;", `127.0.0.1:${servers[1].port};`]
  ] as const
  for (const [text] of replacements) assert.include(recipe, text)
  const sites = replacements.reduce((text, [from, to]) => text.replace(from, to), recipe)
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
    `${name}_temp_path ${folder}/${name};`
  )
  writeFileSync(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events {}\n` +
      `http { access_log off; ${paths.join(" ")}\n${sites}}\n`
  )
  const running = spawn(nginx, ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"], { stdio: "inherit" })
  const ended = new Promise((resolve) => running.once("close", resolve))
  try {
    await eventually("nginx", () => isOpen(port), (open) => open)
    await body(port)
  } finally {
    running.kill("SIGTERM")
    await within(ended, "the end of nginx")
    rmSync(folder, { recursive: true })
  }
}

describe.skipIf(isMissing)(isMissing ? `behind nginx (${remedy})` : "behind nginx", () => {
  it("sessions stay with their server, from the first poll through the upgrade, and are spread over both", async () => {
    await withServer({}, async (one) => {
      await withServer({}, (other) =>
        withNginx([one, other], async (port) => {
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
