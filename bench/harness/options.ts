/** The command line. */
import { parseArgs } from "node:util"

export interface Options {
  readonly workloads: ReadonlyArray<string>
  readonly servers: ReadonlyArray<string> | undefined
  /** The server that ratios refer to, if not each workload's own. */
  readonly baseline: string | undefined
  readonly rounds: number
  /** Slices of one server in one round. */
  readonly passes: number
  readonly sliceMillis: number
  readonly warmupMillis: number
  readonly idleSessions: number
  /** New server processes for each round. */
  readonly fresh: boolean
  readonly profile: string | undefined
  readonly quick: boolean
}

export const usage = `npm run bench -- [options]
  --quick            fewer and shorter rounds, and only engine.io, ours and ws: for a first look, not for a claim
  --workload NAME    only workloads whose name begins with NAME (may be given more than once)
  --servers A,B      only these servers; NAME@DIRECTORY takes one from another checkout, to compare two builds
  --baseline NAME    the server that ratios refer to (engine.io, or ours-uncounted for the observed rows)
  --rounds N         rounds to take the median of (5)
  --fresh            new server processes for each round: much slower, and the spread is that between processes
  --slice MS         length of one slice of load (100)
  --profile DIR      servers write CPU profiles there; the numbers of such a run mean nothing
  --list             names of workloads`

const positive = (name: string, value: string | undefined, otherwise: number): number => {
  if (value === undefined) return otherwise
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} must be a positive integer`)
  return number
}

export const parseOptions = (args: ReadonlyArray<string>): Options | "list" | "help" => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      workload: { type: "string", multiple: true, default: [] },
      servers: { type: "string" },
      baseline: { type: "string" },
      rounds: { type: "string" },
      slice: { type: "string" },
      profile: { type: "string" },
      fresh: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help) return "help"
  if (values.list) return "list"
  const { quick } = values
  return {
    workloads: values.workload,
    servers: values.servers?.split(",") ?? (quick ? ["engine.io", "ours", "ws"] : undefined),
    baseline: values.baseline,
    rounds: positive("rounds", values.rounds, quick ? 3 : 5),
    passes: quick ? 3 : 8,
    sliceMillis: positive("slice", values.slice, 100),
    // Shorter, and what is measured is the compiler.
    warmupMillis: quick ? 2000 : 2500,
    idleSessions: quick ? 1000 : 4000,
    profile: values.profile,
    fresh: values.fresh,
    quick
  }
}
