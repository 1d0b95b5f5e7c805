/**
 * The recipe for Vite's dev server, run by Vite before a server.
 */
import { readFileSync } from "node:fs"
import type { Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer, type UserConfig } from "vite"
import { assert, describe, it } from "vitest"
import { EngineClient, modes } from "../kit/client.ts"
import { root } from "../kit/program.ts"
import { portOf, unwatched, withServer } from "../kit/server.ts"

const recipe = /^## Vite's dev server\n.*?```ts\n(.*?)```/ms.exec(
  readFileSync(join(root, "docs/proxies.md"), "utf8")
)![1]!

const configFor = async (port: number): Promise<UserConfig> => {
  assert.include(recipe, "localhost:3000")
  const code = recipe
    .replace("localhost:3000", `127.0.0.1:${port}`)
    .replace("import { defineConfig } from \"vite\"", "const defineConfig = (it) => it")
  const { default: config } = await import(`data:text/javascript,${encodeURIComponent(code)}`) as {
    readonly default: UserConfig
  }
  return config
}

describe("behind Vite's dev server", () => {
  for (const mode of modes) {
    it(
      `a client connects: ${mode}`,
      withServer({}, async (server) => {
        const { server: options } = await configFor(server.port)
        const vite = await createServer({
          root: tmpdir(),
          configFile: false,
          logLevel: "silent",
          server: { ...options, port: 0, host: "127.0.0.1", hmr: false, watch: null }
        })
        try {
          await vite.listen()
          const client = await EngineClient.connect(unwatched(portOf(vite.httpServer as Server)), mode)
          assert.strictEqual(await client.exchange("hello"), "hello")
          await client.close()
        } finally {
          await vite.close()
        }
      })
    )
  }
})
