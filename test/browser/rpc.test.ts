/**
 * The example of RPC as people meet it: its page in a real browser, its server in a process of its own.
 */
import axe from "axe-core"
import { existsSync } from "node:fs"
import { type Browser, chromium, type Page } from "playwright-core"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "vitest"
import { gzipSync } from "node:zlib"
import { eventually } from "../kit/events.ts"
import { Program, withProgram } from "../kit/program.ts"

const executablePath = "/usr/bin/chromium"
const isMissing = !existsSync(executablePath) && process.env["CI"] !== "true"
const remedy = `skipped: there is no ${executablePath}; on Debian, apt-get install chromium`

const sees = (page: Page, selector: string, accept: (text: string) => boolean) =>
  eventually(selector, () => page.locator(selector).innerText(), accept)

describe.skipIf(isMissing)(isMissing ? `RPC in a browser (${remedy})` : "RPC in a browser", () => {
  let browser: Browser
  const errors: Array<string> = []

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run"] })
  }, 60_000)

  afterAll(() => browser?.close())

  afterEach(async () => {
    for (const context of browser.contexts()) await context.close()
    assert.deepStrictEqual(errors.splice(0), [])
  })

  const open = async (port: number): Promise<Page> => {
    const page = await browser.newPage()
    page.on("pageerror", (error) => errors.push(String(error)))
    await page.goto(`http://127.0.0.1:${port}`)
    await sees(page, "#Oak-price", (text) => /^\d+\.\d\d €$/.test(text))
    return page
  }

  const movesOn = async (page: Page) => {
    const before = await page.locator("#rows").innerText()
    await sees(page, "#rows", (text) => text !== before)
  }

  it(
    "streams prices, buys, says what it cannot buy, and does without WebSocket when told to",
    withProgram(["examples/rpc/main.ts"], async (program) => {
      const { port } = await program.listening()
      const script = Buffer.from(await (await fetch(`http://127.0.0.1:${port}/page.js`)).arrayBuffer())
      const size = gzipSync(script).length
      console.log(`The page's script: ${script.length} bytes minified, ${size} gzipped`)
      assert.isBelow(size, 60_000)

      const page = await open(port)
      await sees(page, "#transport", (text) => text === "WebSocket")
      await movesOn(page)
      await page.evaluate(axe.source)
      const violations = await page.evaluate(async () =>
        (await (globalThis as unknown as { readonly axe: typeof axe }).axe.run()).violations.map(({ id }) => id)
      )
      assert.deepStrictEqual(violations, [])
      await sees(page, "#latency", (text) => /^\d+ ms$/.test(text))

      await page.getByRole("button", { name: "Buy a share of Elm" }).click()
      await sees(page, "#Elm-shares", (text) => text === "1")
      const buyAsh = page.getByRole("button", { name: "Buy a share of Ash" })
      for (let shares = 1; shares < 10 && await page.locator("#problem").innerText() === ""; shares++) {
        await buyAsh.click()
        await sees(
          page,
          "main",
          (text) => text.includes("Too expensive") || new RegExp(`Ash\\s[^€]*€\\s+${shares}\\b`).test(text)
        )
      }
      await sees(page, "#problem", (text) => /^Too expensive: \d+\.\d\d € are missing\.$/.test(text))

      await page.getByRole("button", { name: "Polling only" }).click()
      await sees(page, "#transport", (text) => text === "Polling")
      await movesOn(page)
      await sees(page, "#Elm-shares", (text) => text === "1")
      await page.getByRole("button", { name: "Buy a share of Fir" }).click()
      await page.getByRole("button", { name: "Polling only" }).click()
      await sees(page, "#transport", (text) => text === "WebSocket")
      assert.strictEqual(await program.end("SIGTERM"), 0)
    }, { PORT: "0" })
  )

  it(
    "goes on with the next server",
    withProgram(["examples/rpc/main.ts"], async (first) => {
      const { port } = await first.listening()
      const page = await open(port)
      await sees(page, "#transport", (text) => text === "WebSocket")
      await first.end("SIGTERM")
      await sees(page, "#outage", (text) => text.includes("does not answer"))
      const next = new Program(["examples/rpc/main.ts"], { PORT: String(port) })
      try {
        await next.listening()
        await sees(page, "#transport", (text) => text === "WebSocket")
        await movesOn(page)
        await eventually("an end of the outage", () => page.locator("#outage").isHidden(), (isHidden) => isHidden)
      } finally {
        await next.end("SIGTERM")
      }
    }, { PORT: "0" })
  )
})
