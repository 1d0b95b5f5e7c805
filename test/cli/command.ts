/**
 * The command line, run as `npx effect-engine.io` runs it.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "vitest"
import { type Program, root, withProgram } from "../kit/program.ts"

export const { bin, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly bin: Readonly<Record<string, string>>
  readonly version: string
}

export const file = join(root, bin["effect-engine.io"]!)

export const command = (flags: ReadonlyArray<string>, body: (program: Program) => Promise<void>) =>
  withProgram([file, ...flags], body)

/** A program that ends by itself with this code and text. */
export const ends = (flags: ReadonlyArray<string>, code: number, ...texts: ReadonlyArray<RegExp | string>) =>
  command(flags, async (program) => {
    program.process.stdin!.end()
    assert.strictEqual(await program.end(), code, program.output)
    for (const text of texts) {
      if (typeof text === "string") assert.include(program.output, text)
      else assert.match(program.output, text)
    }
    // A message, not what a program says that has failed.
    assert.notMatch(program.output, /^ {4}at /m)
    // A program that reads the output does not get errors for it.
    if (code !== 0) assert.strictEqual(program.stdout, "")
  })

/** Nothing that a terminal acts on. */
export const isPlain = (output: string): void => {
  for (const line of output.split("\n")) assert.match(line, /^[\x20-\x7e…]*$/)
}
