/**
 * The example, used by a real browser over real QUIC.
 */
import { type Browser, chromium } from "playwright-core"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, it } from "vitest"
import { eventually } from "../kit/events.ts"
import { withProgram } from "../kit/program.ts"
import { loadMoq, moqEnvironment } from "../kit/quic.ts"

const executablePath = "/usr/bin/chromium"
const moq = await loadMoq()
const obstacle = typeof moq === "string"
  ? `no QUIC here: ${moq}`
  : existsSync(executablePath)
  ? undefined
  : `there is no ${executablePath}; on Debian, apt-get install chromium`

describe.skipIf(obstacle !== undefined)(`WebTransport in Chromium${obstacle ? ` (skipped: ${obstacle})` : ""}`, () => {
  let browser: Browser
  const folder = mkdtempSync(join(tmpdir(), "web-transport-"))

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run"] })
  }, 60_000)

  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true })
  })

  for (
    const [transports, first] of [
      ["webtransport", /^open on webtransport\necho of .* over webtransport\n/],
      ["polling,webtransport", /^open on polling\nupgraded to webtransport\necho of .* over webtransport\n/]
    ] as const
  ) {
    it(`R76–R78, R85: the page echoes (${transports}), and hears of the end of the server`, () =>
      withProgram(["examples/webtransport.ts"], async (program) => {
        const { port } = await program.listening()
        const page = await browser.newPage()
        await page.goto(`http://127.0.0.1:${port}/?transports=${transports}`)
        const log = async () => await page.textContent("#log") ?? ""
        await eventually("an echo", log, (text) => first.test(text))
        await program.end("SIGTERM")
        // A close, or now and then an error: the library closes the connection right behind its session, and the browser
        // may see that first.
        await eventually("the end", log, (text) => /closed: transport (close|error)/.test(text))
        await page.close()
      }, { PORT: "0", ...moqEnvironment(folder) })())
  }
})
