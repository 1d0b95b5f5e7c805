/**
 * Which links of a built site lead nowhere: to a file or to a heading that is not there.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"

/** `page: link` for each; links that leave the site are not followed. */
export const brokenLinks = (folder: string): ReadonlyArray<string> => {
  const pages = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".html"))
  const html = new Map(pages.map((page) => [page, readFileSync(join(folder, page), "utf8")]))
  const ids = new Map(
    [...html].map(([page, text]) => [page, new Set(Array.from(text.matchAll(/\sid="([^"]+)"/g), ([, id]) => id!))])
  )
  return [...html].flatMap(([page, text]) =>
    Array.from(text.matchAll(/\s(?:href|src)="([^"]+)"/g), ([, link]) => link!.replaceAll("&amp;", "&"))
      .filter((link) => {
        const { hash, hostname, pathname, protocol } = new URL(link, `http://site/${page}`)
        if (!protocol.startsWith("http") || hostname !== "site") return false
        const name = decodeURIComponent(pathname.slice(1)) + (pathname.endsWith("/") ? "index.html" : "")
        if (!existsSync(join(folder, name)) || statSync(join(folder, name)).isDirectory()) return true
        return hash !== "" && !(ids.get(name)?.has(decodeURIComponent(hash.slice(1))) ?? false)
      })
      .map((link) => `${page}: ${link} leads nowhere`)
  )
}
