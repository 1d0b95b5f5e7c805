/** What a workload gives: rows of values per server and round. */
import { median, type Spread, spread } from "./stats.ts"
import type { Goal } from "./workloads.ts"

export interface Row {
  readonly workload: string
  readonly title: string
  readonly unit: string
  readonly goal?: Goal | undefined
  /** The most it may be, in its unit, where the baseline is no measure. */
  readonly most?: number | undefined
  /** By round, one value for each time the server had its turn. */
  readonly values: Record<string, Array<ReadonlyArray<number>>>
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

/** What a server's row says in its unit. */
export const typical = (row: Row, server: string): number => median((row.values[server] ?? []).flat())

/**
 * Ratios are taken turn by turn, so that what slows a machine down for a while slows down both sides; that of a round is
 * their median, which leaves out the turns in which it slowed down one.
 */
export const ratio = (row: BasedRow, server: string): Spread | undefined => {
  const values = row.values[server]
  const base = row.values[row.baseline]
  if (values === undefined || base === undefined || values.length === 0) return undefined
  const ratios = values.flatMap((turns, round) => {
    const pairs = turns.flatMap((value, turn) => {
      const reference = base[round]?.[turn]
      return reference === undefined || Number.isNaN(value) ? [] : [value / reference]
    })
    return pairs.length === 0 ? [] : [median(pairs)]
  })
  return ratios.length === 0 ? undefined : spread(ratios)
}
