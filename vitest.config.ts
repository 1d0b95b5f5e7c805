import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: process.env["CI"] === "true" ? ["verbose"] : ["default"],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    maxWorkers: 2,
    dangerouslyIgnoreUnhandledErrors: false
  }
})
