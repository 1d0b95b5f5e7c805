/** The Go port of `engine.io`. */
import { serveForeign } from "./foreign.ts"

await serveForeign("go", "go", ["build", "-o", "../build/go", "."], "go")
