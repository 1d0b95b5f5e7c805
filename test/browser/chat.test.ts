/**
 * The chat as people meet it: its page in a real browser, its server in a process of its own.
 */
import axe from "axe-core"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer, request as forward, type Server } from "node:http"
import { fileURLToPath } from "node:url"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { eventually, stopPatience, within } from "../kit/events.ts"
import { portOf } from "../kit/server.ts"

const executablePath = "/usr/bin/chromium"
const isMissing = !existsSync(executablePath) && process.env["CI"] !== "true"
const remedy = `skipped: there is no ${executablePath}; on Debian, apt-get install chromium`

/** A page that lost its server tries again ever more seldom. */
const patience = 15_000

if (isMissing) console.warn(`The chat in a browser is ${remedy}`)

/** The example, as `npm start` runs it. */
class Chat {
  readonly process: ChildProcess
  readonly exitCode: Promise<number | null>

  private constructor(port: number, args: ReadonlyArray<string>) {
    const main = fileURLToPath(import.meta.resolve("../../examples/chat/main.ts"))
    this.process = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "pipe", "inherit"]
    })
    this.process.stdout!.on("data", (data) => {
      for (const [, pid] of String(data).matchAll(/, by process (\d+)\n/g)) this.workers.push(Number(pid))
    })
    this.exitCode = new Promise((resolve) => this.process.once("exit", resolve))
  }

  url = ""
  readonly workers: Array<number> = []

  static async start(port = 0, ...args: ReadonlyArray<string>): Promise<Chat> {
    const chat = new Chat(port, args)
    const line = await within(
      new Promise<string>((resolve) => chat.process.stdout!.once("data", (data) => resolve(String(data)))),
      "the line that says where the chat is"
    )
    chat.url = /^Chat on (http:\/\/localhost:\d+)(?:, by process \d+)?\n/.exec(line)?.[1] ?? assert.fail(line)
    return chat
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  stop(): Promise<number | null> {
    this.process.kill("SIGTERM")
    return within(this.exitCode, "the end of the chat", stopPatience)
  }
}

/** A proxy of the kind that knows no WebSockets. */
const oldProxy = async (port: number): Promise<Server> => {
  const proxy = createServer((incoming, outgoing) => {
    const { headers, method, url } = incoming
    const request = forward({ port, host: "localhost", headers, method, path: url }, (response) => {
      outgoing.writeHead(response.statusCode!, response.headers)
      response.pipe(outgoing)
    })
    request.on("error", () => outgoing.destroy())
    outgoing.on("close", () => request.destroy())
    incoming.pipe(request)
  })
  proxy.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
  await new Promise<void>((resolve) => proxy.listen(0, resolve))
  return proxy
}

describe.skipIf(isMissing)(isMissing ? `the chat (${remedy})` : "the chat", () => {
  let browser: Browser
  let chat: Chat
  const errors: Array<string> = []

  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync"
      ]
    })
  }, 60_000)

  afterAll(() => browser?.close())

  beforeEach(async () => {
    errors.length = 0
    chat = await Chat.start()
  })

  afterEach(async () => {
    for (const context of browser.contexts()) await context.close()
    await chat.stop()
  })

  const open = async (name: string, url: string, options?: BrowserContextOptions): Promise<Page> => {
    const page = await (await browser.newContext(options)).newPage()
    page.on("pageerror", (error) => errors.push(String(error)))
    await page.goto(url)
    // With the keyboard alone: the name has the focus, Enter joins, and then one writes.
    await page.keyboard.type(name)
    await page.keyboard.press("Enter")
    await sees(page, "#title", (text) => text === "Lobby")
    return page
  }

  const say = async (page: Page, text: string): Promise<void> => {
    await page.getByLabel("Your message").fill(text)
    await page.keyboard.press("Enter")
  }

  const sees = (page: Page, selector: string, accept: (text: string) => boolean) =>
    eventually(selector, async () => (await page.locator(selector).allInnerTexts()).join("\n"), accept, patience)

  const hears = (page: Page, text: string) =>
    sees(page, "#log .words:not(.waiting) .said", (said) => said.includes(text))

  it("lets two people talk, and shows who is here, who types, and the transport", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", chat.url, { viewport: { width: 390, height: 780 }, colorScheme: "dark" })
    await sees(ada, "#transport", (text) => text === "WebSocket")
    await sees(ada, "#people", (text) => /Ada \(you\)\s+websocket\s+.*Grace\s+websocket/s.test(text))
    await sees(ada, "#latency", (text) => /^\d+(\.\d)? ms$/.test(text))

    await grace.getByLabel("Your message").pressSequentially("Hel")
    await sees(ada, "#typing", (text) => text === "Grace is typing…")
    await say(grace, "Hello Ada 🚀\u001e<b>&")
    await hears(ada, "Hello Ada 🚀\u001e<b>&")
    await sees(ada, "#typing", (text) => text === "")
    await say(ada, "Hello Grace")
    await hears(grace, "Hello Grace")

    await grace.getByRole("button", { name: "Rooms and people" }).click()
    await grace.getByLabel("Name of a new room").fill("Ships")
    await grace.keyboard.press("Enter")
    await sees(grace, "#title", (text) => text === "Ships")
    await sees(ada, "#log", (text) => text.includes("Grace left"))
    await ada.getByRole("button", { name: "Ships 1 person" }).click()
    await sees(grace, "#log", (text) => text.includes("Ada joined"))
    assert.isFalse((await grace.locator("#log").innerText()).includes("Hello"))
    assert.deepStrictEqual(errors, [])
  })

  const looks: ReadonlyArray<readonly [name: string, options: BrowserContextOptions]> = [
    ["light, on a desk", { colorScheme: "light", viewport: { width: 1280, height: 800 } }],
    ["dark, on a desk", { colorScheme: "dark", viewport: { width: 1280, height: 800 } }],
    ["light, on a phone", { colorScheme: "light", viewport: { width: 390, height: 780 }, hasTouch: true }],
    ["dark, on a phone", { colorScheme: "dark", viewport: { width: 390, height: 780 }, hasTouch: true }]
  ]

  /** What axe has to say against the page, once nothing on it moves. */
  const violations = async (page: Page): Promise<ReadonlyArray<string>> => {
    await page.evaluate(
      "Promise.allSettled(document.getAnimations().filter((it) => it.effect.getTiming().iterations === 1).map((it) => it.finished))"
    )
    await page.evaluate(axe.source)
    const rules = { "label-content-name-mismatch": { enabled: true }, "target-size": { enabled: true } }
    const found = await page.evaluate<axe.AxeResults>(`axe.run(document, ${JSON.stringify({ rules })})`)
    return found.violations.map(({ help, id, nodes }) =>
      `${id}: ${help}: ${nodes.map(({ target }) => target).join(", ")}`
    )
  }

  for (const [name, options] of looks) {
    it(`gives axe nothing to complain of: ${name}`, async () => {
      const ada = await open("Ada", chat.url, options)
      const grace = await open("Grace", chat.url)
      await say(ada, "Have you seen https://effect.website?")
      await hears(grace, "Have you seen")
      await say(grace, "Yes")
      await hears(ada, "Yes")
      await grace.getByLabel("Your message").pressSequentially("An")
      await sees(ada, "#typing", (text) => text === "Grace is typing…")
      assert.deepStrictEqual(await violations(ada), [])

      const menu = ada.getByRole("button", { name: "Rooms and people" })
      if (options.hasTouch === true) {
        await menu.click()
        assert.deepStrictEqual(await violations(ada), [])
        await menu.click()
      }
      await ada.context().setOffline(true)
      await sees(ada, "#transport", (text) => text === "offline")
      await say(ada, "Wait for me")
      assert.deepStrictEqual(await violations(ada), [])

      const stranger = await (await browser.newContext(options)).newPage()
      await stranger.goto(chat.url)
      await sees(stranger, "#choices", (text) => text.includes("Lobby"))
      assert.deepStrictEqual(await violations(stranger), [])
      assert.deepStrictEqual(errors, [])
    }, 40_000)
  }

  it("makes links of addresses of pages, and of nothing else", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", chat.url)
    const text = "<b>(https://a.example/b_(c)?d=e&f#g), HTTP://B.example. https://c.example/\u202ed " +
      "https://<i> http:// javascript:alert(1) ftp://d.example data:text/html,e https://[f"
    await say(ada, text)
    for (const page of [ada, grace]) {
      await hears(page, text)
      const links = page.locator("#log a")
      assert.deepStrictEqual(await links.allInnerTexts(), [
        "https://a.example/b_(c)?d=e&f#g",
        "HTTP://B.example",
        "https://c.example/"
      ])
      for (const link of await links.all()) {
        assert.strictEqual(await link.getAttribute("rel"), "noopener noreferrer")
        assert.strictEqual(await link.getAttribute("href"), await link.innerText())
      }
      assert.strictEqual(await page.locator("#log .said :not(a)").count(), 0)
    }
    assert.deepStrictEqual(errors, [])
  })

  it("on a phone, covers the talk behind the drawer, and closes that with a touch beside it", async () => {
    const ada = await open("Ada", chat.url, { viewport: { width: 390, height: 780 }, hasTouch: true })
    const menu = ada.getByRole("button", { name: "Rooms and people" })
    assert.isFalse(await ada.locator("#scrim").isVisible())
    await menu.tap()
    assert.strictEqual(await menu.getAttribute("aria-expanded"), "true")
    await ada.locator("#scrim").waitFor()
    assert.isNotNull(await ada.locator("#talk").getAttribute("inert"))
    await ada.touchscreen.tap(370, 740)
    assert.strictEqual(await menu.getAttribute("aria-expanded"), "false")
    await ada.locator("#scrim").waitFor({ state: "hidden" })
    assert.isNull(await ada.locator("#talk").getAttribute("inert"))
    assert.deepStrictEqual(errors, [])
  })

  it("notices that the browser is offline, and when it is back", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", chat.url)
    await sees(ada, "#transport", (text) => text === "WebSocket")
    await ada.context().setOffline(true)
    await sees(ada, "#transport", (text) => text === "offline")
    await sees(ada, "#outage", (text) => text.includes("You are offline"))
    await say(ada, "from the tunnel")
    assert.strictEqual(await ada.locator(".waiting .said").innerText(), "from the tunnel")
    await ada.context().setOffline(false)
    await hears(grace, "from the tunnel")
    await hears(ada, "from the tunnel")
    await sees(ada, "#transport", (text) => text === "WebSocket")
    assert.deepStrictEqual(await grace.locator("#log .said").allInnerTexts(), ["from the tunnel"])
    assert.deepStrictEqual(errors, [])
  })

  it("opens with an address that cannot be read and without storage, and keeps its room when one skips to the message", async () => {
    const page = await (await browser.newContext()).newPage()
    page.on("pageerror", (error) => errors.push(String(error)))
    await page.addInitScript("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })")
    await page.goto(`${chat.url}/#%`)
    await page.keyboard.type("Ada")
    await page.keyboard.press("Enter")
    await sees(page, "#title", (text) => text === "Lobby")
    await eventually<string>("its address", () => page.evaluate("location.hash"), (hash) => hash === "#Lobby")
    await page.getByRole("link", { name: "Skip to your message" }).press("Enter")
    await page.keyboard.type("here")
    assert.strictEqual(await page.getByLabel("Your message").inputValue(), "here")
    assert.strictEqual(await page.evaluate("location.hash"), "#Lobby")
    assert.deepStrictEqual(errors, [])
  })

  it("works over polling alone", async () => {
    const ada = await open("Ada", `${chat.url}/?transports=polling`)
    const grace = await open("Grace", `${chat.url}/?transports=polling`)
    for (let i = 0; i < 10; i++) {
      await say(ada, `from Ada ${i}`)
      await say(grace, `from Grace ${i}`)
    }
    await hears(ada, "from Grace 9")
    await hears(grace, "from Ada 9")
    const words = await ada.locator("#log .said").allInnerTexts()
    assert.deepStrictEqual(
      words.filter((text) => text.includes("Grace")),
      words.slice(0, 10).map((_, i) => `from Grace ${i}`)
    )
    await sees(grace, "#transport", (text) => text === "HTTP polling")
    assert.deepStrictEqual(errors, [])
  })

  it("stays with polling behind a proxy that knows no WebSockets", async () => {
    const proxy = await oldProxy(chat.port)
    try {
      const ada = await open("Ada", `http://localhost:${portOf(proxy)}`)
      const grace = await open("Grace", chat.url)
      await say(ada, "through the wall")
      await hears(grace, "through the wall")
      await sees(grace, "#people", (text) => /Ada\s+polling\s+.*Grace \(you\)\s+websocket/s.test(text))
      assert.strictEqual(await ada.locator("#transport").innerText(), "HTTP polling")
      assert.deepStrictEqual(errors, [])
    } finally {
      proxy.closeAllConnections()
      proxy.close()
    }
  })

  it("comes back by itself when the server does, and sends what was written meanwhile", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", `${chat.url}/?transports=polling`)
    await say(ada, "before")
    await hears(grace, "before")

    assert.strictEqual(await chat.stop(), 0)
    await sees(ada, "#transport", (text) => text === "offline")
    await sees(ada, "#outage", (text) => text.includes("The server does not answer") && /Next try in \d+ s/.test(text))
    await say(ada, "meanwhile")
    assert.strictEqual(await ada.locator(".waiting .said").innerText(), "meanwhile")

    chat = await Chat.start(chat.port)
    await hears(grace, "meanwhile")
    await hears(ada, "meanwhile")
    assert.isFalse(await ada.locator("#outage").isVisible())
    await sees(ada, "#transport", (text) => text === "WebSocket")
    await sees(ada, "#people", (text) => text.includes("Grace"))
    assert.deepStrictEqual(await ada.locator("#log .said").allInnerTexts(), ["before", "meanwhile"])
    assert.deepStrictEqual(errors, [])
  }, 40_000)

  it("has what was said just before the server was replaced reach who was away then, once", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", chat.url)
    // In the middle of an upgrade nothing would tell the server that she has gone, and its end would wait for her.
    await sees(grace, "#transport", (text) => text === "WebSocket")
    await grace.context().setOffline(true)
    await sees(grace, "#transport", (text) => text === "offline")
    for (const text of ["one", "two"]) await say(ada, text)
    await hears(ada, "two")
    await chat.stop()
    await sees(ada, "#transport", (text) => text === "offline")
    await say(ada, "three")

    chat = await Chat.start(chat.port)
    await grace.context().setOffline(false)
    for (const page of [ada, grace]) {
      await hears(page, "three")
      assert.deepStrictEqual(await page.locator("#log .said").allInnerTexts(), ["one", "two", "three"])
    }
    assert.deepStrictEqual(errors, [])
  }, 40_000)

  it("loses and repeats no words when the server is drained while people talk", async () => {
    const ada = await open("Ada", chat.url)
    const grace = await open("Grace", `${chat.url}/?transports=polling`)
    const { port } = chat
    let stopped: Promise<number | null> | undefined
    for (let i = 0; i < 12; i++) {
      await say(ada, `Ada ${i}`)
      await say(grace, `Grace ${i}`)
      if (i === 5) stopped = chat.stop()
    }
    assert.strictEqual(await stopped, 0)
    for (const page of [ada, grace]) {
      await sees(page, "#transport", (text) => text === "offline")
      await sees(page, "#log", (text) => text.includes("Connection lost"))
      await sees(page, ".waiting .said", (text) => text.includes("11"))
    }

    chat = await Chat.start(port)
    const words = (name: string) => Array.from({ length: 12 }, (_, i) => `${name} ${i}`)
    for (const page of [ada, grace]) {
      await hears(page, "Ada 11")
      await hears(page, "Grace 11")
      await sees(page, "#log", (text) => text.includes("Connected again"))
      const said = await page.locator("#log .said").allInnerTexts()
      for (const name of ["Ada", "Grace"]) {
        assert.deepStrictEqual(said.filter((text) => text.startsWith(name)), words(name))
      }
    }
    assert.deepStrictEqual(errors, [])
  }, 40_000)

  it("lets two people at different workers talk, and has them back when one of the workers is killed", async () => {
    await chat.stop()
    chat = await Chat.start(0, "--workers=2")
    await eventually("two workers", () => chat.workers, ({ length }) => length === 2)
    const workerOf = new Map<Page, string>()
    const openAt = async (name: string, accept: (worker: string) => boolean): Promise<Page> => {
      for (let i = 0; i < 20; i++) {
        const page = await open(name, chat.url)
        const requests = await eventually<string>(
          "a request of the session",
          () => page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name).join()"),
          (names) => names.includes("sid="),
          patience
        )
        const worker = /sid=(\w+)/.exec(requests)![1]!
        workerOf.set(page, worker)
        if (accept(worker)) return page
        await page.context().close()
      }
      return assert.fail("no page reached the other worker")
    }
    const ada = await openAt("Ada", () => true)
    const grace = await openAt("Grace", (worker) => worker !== workerOf.get(ada))
    const bothAreHere = (text: string) =>
      /^\S+\s+Ada\b[^]*\S+\s+Grace\b/.test(text) && text.match(/websocket/g)?.length === 2
    for (const page of [ada, grace]) await sees(page, "#people", bothAreHere)
    await say(ada, "from one worker")
    await hears(grace, "from one worker")
    await say(grace, "to the other")
    await hears(ada, "to the other")

    process.kill(chat.workers[0]!, "SIGKILL")
    await eventually(
      "who was lost",
      async () => (await Promise.all([ada, grace].map((page) => page.locator("#log").innerText()))).join(),
      (log) => log.includes("Connected again"),
      patience
    )
    for (const page of [ada, grace]) await sees(page, "#people", bothAreHere)
    await say(ada, "still here")
    await say(grace, "so am I")
    for (const page of [ada, grace]) {
      await hears(page, "still here")
      await hears(page, "so am I")
      assert.lengthOf(await page.locator("#log .said").all(), 4)
    }
    assert.deepStrictEqual(errors, [])
  }, 60_000)
})
