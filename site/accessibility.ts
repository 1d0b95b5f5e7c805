/**
 * Opens every page of the built site in Chromium, on a desk in light and on a phone in dark, and asks axe what is wrong with
 * it. Fails where it finds something serious, where a page is wider than the phone, or where a script of it fails.
 *
 * With `--pictures FOLDER`, it also takes pictures of them, to look at.
 */
import axe from "axe-core"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { extname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type BrowserContext, chromium } from "playwright-core"

const executablePath = "/usr/bin/chromium"
const dist = fileURLToPath(new URL("../.site/dist/", import.meta.url))
const { values: { pictures } } = parseArgs({ options: { pictures: { type: "string" } } })

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png"
}

const site = createServer((request, response) => {
  const file = join(
    dist,
    decodeURIComponent(new URL(request.url!, "http://site/").pathname).replace(/\/$/, "/index.html")
  )
  if (!existsSync(file)) return void response.writeHead(404).end()
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" })
  response.end(readFileSync(file))
})

const check = async (context: BrowserContext, base: string, file: string, look: string): Promise<Array<string>> => {
  const page = await context.newPage()
  const found: Array<string> = []
  page.on("pageerror", (error) => found.push(String(error)))
  await page.goto(base + file, { waitUntil: "load" })
  if (pictures !== undefined) {
    await page.screenshot({ path: join(pictures, `${file.replaceAll("/", "-")}-${look}.png`) })
  }
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate<axe.AxeResults>("axe.run()")
  for (const { help, impact, nodes } of violations) {
    if (impact === "serious" || impact === "critical") found.push(`${help}: ${nodes[0]!.target.join(" ")}`)
  }
  if (await page.evaluate<boolean>("document.documentElement.scrollWidth > innerWidth")) {
    found.push("wider than the window")
  }
  await page.close()
  return found.map((it) => `${file} (${look}): ${it}`)
}

const run = async (): Promise<number> => {
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve))
  const base = `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
  const files = readdirSync(dist, { recursive: true, encoding: "utf8" })
    // Files of the repository are shown as they are, and VitePress makes the page for what is not there.
    .filter((file) => file.endsWith(".html") && !file.startsWith("source/") && file !== "404.html")
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] })
  const found: Array<string> = []
  for (const [colorScheme, width] of [["light", 1280], ["dark", 390]] as const) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } })
    for (const file of files) found.push(...await check(context, base, file, `${colorScheme}-${width}`))
  }
  await browser.close()
  site.close()
  console.log(`${files.length} pages, ${found.length} findings`)
  for (const line of found) console.error(line)
  return found.length
}

if (!existsSync(executablePath) && process.env["CI"] !== "true") {
  console.warn(`The pages are not checked by axe: there is no ${executablePath}`)
} else {
  process.exitCode = await run() === 0 ? 0 : 1
}
