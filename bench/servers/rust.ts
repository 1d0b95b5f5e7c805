/** The Rust server `engineioxide`. */
import { serveForeign } from "./foreign.ts"

await serveForeign("rust", "cargo", ["build", "--release", "--quiet"], "rust/release/peer")
