/**
 * Takes the picture of the chat for the front page: `npm run build && npx node site/chat.ts`, where Chromium is.
 */
import { fileURLToPath } from "node:url"
import { type Browser, chromium, type Page } from "playwright-core"
import { withProgram } from "../test/kit/program.ts"

const file = fileURLToPath(new URL("../docs/pictures/chat.png", import.meta.url))

const enter = async (browser: Browser, url: string, name: string): Promise<Page> => {
  const page = await (await browser.newContext({ viewport: { width: 960, height: 560 }, deviceScaleFactor: 1.5 }))
    .newPage()
  await page.goto(url)
  await page.keyboard.type(name)
  await page.keyboard.press("Enter")
  await page.locator("#transport", { hasText: "WebSocket" }).waitFor()
  return page
}

const say = async (speaker: Page, text: string, hearer: Page): Promise<void> => {
  await speaker.getByLabel("Your message").fill(text)
  await speaker.keyboard.press("Enter")
  await hearer.locator("#log .said", { hasText: text }).waitFor()
}

await withProgram(["examples/chat/main.ts"], async (program) => {
  const [, url] = await program.printed(/Chat on (http:\/\/localhost:\d+)/)
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"]
  })
  try {
    const ada = await enter(browser, url!, "Ada")
    const grace = await enter(browser, url!, "Grace")
    await enter(browser, url!, "Alan")
    await say(grace, "The train is in a tunnel, and I am still here.", ada)
    await say(ada, "Polling, then WebSocket again. Nothing got lost.", grace)
    await say(grace, "And in order, too", ada)
    await grace.getByLabel("Your message").pressSequentially("So")
    await ada.locator("#typing", { hasText: "Grace is typing" }).waitFor()
    await ada.screenshot({ path: file, animations: "disabled" })
  } finally {
    await browser.close()
  }
}, { PORT: "0" })()
