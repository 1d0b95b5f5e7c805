/**
 * A program in a process of its own, as a person starts it: what it prints, where it listens, how it ends.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { eventually, stopPatience, within } from "./events.ts"
import { type Target, unwatched } from "./server.ts"

export const root = fileURLToPath(import.meta.resolve("../../"))

export class Program {
  /** What it has printed, errors too. */
  output = ""
  /** What it has printed on stdout. */
  stdout = ""
  readonly exitCode: Promise<number | null>
  readonly process: ChildProcess

  /** Runs a program, `node` by default, with these arguments in the root of the package. */
  constructor(args: ReadonlyArray<string>, env: Record<string, string> = {}, command = process.execPath) {
    this.process = spawn(command, args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: "pipe"
    })
    const collect = (data: unknown) => {
      this.output += String(data)
    }
    this.process.stdout!.on("data", collect)
    this.process.stdout!.on("data", (data) => {
      this.stdout += String(data)
    })
    // It may end before it has read what it is told.
    this.process.stdin!.on("error", () => {})
    this.process.stderr!.on("data", collect)
    // Its streams have been read to their ends then.
    this.exitCode = new Promise((resolve) => this.process.once("close", resolve))
  }

  /** Waits until it has printed something. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    await eventually(
      `${pattern} from ${this.process.spawnargs.at(-1)}`,
      () => this.output,
      (output) => pattern.test(output) || this.process.exitCode !== null
    )
    const found = pattern.exec(this.output)
    if (found === null) throw new Error(`it ended with ${this.process.exitCode}: ${this.output}`)
    return found
  }

  /** Writes lines to its stdin. */
  say(...lines: ReadonlyArray<string>): void {
    for (const line of lines) this.process.stdin!.write(`${line}\n`)
  }

  /** Where it listens, once it says so. */
  async listening(): Promise<Target> {
    const [, port] = await this.printed(/[Ll]istening on https?:\/\/\S+:(\d+)/)
    return unwatched(Number(port))
  }

  /** How it ends by itself, or after a signal. */
  end(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal !== undefined) this.process.kill(signal)
    return within(this.exitCode, `the end of ${this.process.spawnargs.at(-1)}`, stopPatience)
  }
}

/** Runs `body` with a program, which does not outlive it. */
export const withProgram = (
  args: ReadonlyArray<string>,
  body: (program: Program) => Promise<void>,
  env?: Record<string, string>
) =>
async (): Promise<void> => {
  const program = new Program(args, env)
  try {
    await body(program)
  } finally {
    program.process.kill("SIGKILL")
    await program.exitCode
  }
}
