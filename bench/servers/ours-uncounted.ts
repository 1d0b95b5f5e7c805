/** `ours`, from the same build, with the calls of its metrics replaced by ones that do nothing. */
import { registerHooks } from "node:module"

const counting = "/dist/internal/server/metrics.js"
let replaced = false

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context)
    if (!found.url.endsWith(counting)) return found
    replaced = true
    return { ...found, url: new URL("./stubs/metrics.ts", import.meta.url).href, format: "module-typescript" }
  }
})

await import("./ours.ts")

if (!replaced) throw new Error(`nothing imports ${counting} any more`)
