/** What a workload gives: rows of values per server and round. */
import { type Spread, spread } from "./stats.ts"
import type { Goal } from "./workloads.ts"

export interface Row {
  readonly workload: string
  readonly title: string
  readonly unit: string
  readonly goal?: Goal | undefined
  /** The most it may be, in its unit, where the baseline is no measure. */
  readonly most?: number | undefined
  /** One value per round. */
  readonly values: Record<string, Array<number>>
}

/** A row with the server that its ratios refer to. */
export interface BasedRow extends Row {
  readonly baseline: string
}

export interface Failure {
  readonly workload: string
  readonly server: string
  readonly message: string
}

export interface Outcome {
  readonly rows: ReadonlyArray<Row>
  readonly failures: ReadonlyArray<Failure>
  /** How much of the time other work on the machine stood in the way, from 0. */
  readonly contention?: number
  /** Everything that was read, for the JSON. */
  readonly raw: unknown
}

/** Ratios are taken round by round, so that what slows a whole round down cancels out. */
export const ratio = (row: BasedRow, server: string): Spread | undefined => {
  const values = row.values[server]
  const base = row.values[row.baseline]
  if (values === undefined || base === undefined || values.length === 0) return undefined
  const ratios = values.flatMap((value, round) => {
    const reference = base[round]
    return reference === undefined ? [] : [value / reference]
  })
  return ratios.length === 0 ? undefined : spread(ratios)
}
