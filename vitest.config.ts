import { defineConfig } from "vitest/config"
import type { Reporter } from "vitest/node"

/** Closes the output with one plain line. */
const closingLine: Reporter = {
  onTestRunEnd(modules) {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) for (const test of module.children.allTests()) counts[test.result().state]++
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "tests", include: ["test/**/*.test.ts"] } },
      {
        // Polls go straight to their sessions where nothing stands between. Here a middleware does.
        extends: true,
        test: {
          name: "behind a middleware",
          include: [
            "test/wire/{compression,incoming,jsonp,polling-*,revision3}.test.ts",
            "test/e2e/leaks.test.ts"
          ],
          env: { BEHIND_MIDDLEWARE: "true" }
        }
      }
    ],
    // Each rule of the protocol is named by its tests: the run prints them all.
    reporters: ["verbose", closingLine],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    maxWorkers: 2,
    // The package is TypeScript, which Node does not run below node_modules.
    server: { deps: { inline: [/@moq\/web-transport\/src\//] } },
    dangerouslyIgnoreUnhandledErrors: false
  }
})
