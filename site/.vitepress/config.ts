/**
 * The site, for VitePress: see `site/build.ts`.
 */
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"

const page = (text: string, link: string) => ({ text, link })

const api = readdirSync(fileURLToPath(new URL("../api/", import.meta.url)), { withFileTypes: true })
  .filter(({ name }) => name !== "index.md" && name !== "testing")
  .map((it) => page(it.name.replace(".md", ""), it.isDirectory() ? `/api/${it.name}/` : `/api/${it.name}`))
  .concat(page("EngineIOTest", "/api/testing/EngineIOTest"))
  .sort((one, other) => one.text.localeCompare(other.text))

/** Links to headings are the same here as where the repository is shown. */
const slugify = (heading: string): string =>
  heading.trim().toLowerCase().replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-")

const guides = [
  {
    text: "Begin",
    items: [
      page("Overview", "/"),
      page("Getting started", "/getting-started"),
      page("Sessions and sockets", "/sessions"),
      page("Authentication", "/authentication"),
      page("Rooms and broadcast", "/rooms"),
      page("Backpressure", "/backpressure"),
      page("Effect RPC and schemas", "/rpc"),
      page("Socket.IO", "/socket-io"),
      page("Testing", "/testing"),
      page("The command", "/cli")
    ]
  },
  {
    text: "Operate",
    items: [
      page("Where to mount it", "/mounting"),
      page("Behind a proxy", "/proxies"),
      page("Shutdown and deploys", "/shutdown"),
      page("One machine and many", "/scaling"),
      page("Runtimes", "/runtimes"),
      page("Observing", "/observing"),
      page("Security", "/security")
    ]
  },
  {
    text: "Look up",
    items: [
      page("API", "/api/"),
      page("Options", "/options"),
      page("Errors", "/errors"),
      page("Migration", "/migration"),
      page("Protocol notes", "/protocol"),
      page("Design", "/design"),
      page("Speed", "/speed"),
      page("What is proved", "/source/test/README"),
      page("Changes", "/source/CHANGELOG")
    ]
  }
]

export default {
  title: "effect-engine.io",
  description: "The Engine.IO server for Effect: one ordered, two-way message channel to every browser.",
  lang: "en",
  base: process.env["SITE_BASE"] ?? "/",
  // The index of the search is large, and loaded when it is asked for.
  vite: { build: { chunkSizeWarningLimit: 4000 } },
  // What a reader runs on their machine.
  ignoreDeadLinks: "localhostLinks",
  markdown: {
    anchor: { slugify },
    languageAlias: { haproxy: "ini", caddy: "nginx" },
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" }
  },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      page("Start", "/getting-started"),
      page("Errors", "/errors"),
      page("Options", "/options"),
      page("API", "/api/")
    ],
    sidebar: {
      "/": guides,
      "/api/": [{ text: "API", items: [page("Guides", "/"), page("All modules", "/api/"), ...api] }]
    }
  }
}
