/** What the operating system says about this process. */
import { readFileSync } from "node:fs"

export interface Usage {
  /** User and system time of all threads so far, in microseconds. */
  readonly micros: number
  /** How long the main thread was ready to run and had no CPU, in microseconds; 0 where the system does not say. */
  readonly waited: number
}

const waited = (): number => {
  try {
    return Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[1]) / 1000
  } catch {
    return 0
  }
}

export const usage = (): Usage => {
  const { user, system } = process.cpuUsage()
  return { micros: user + system, waited: waited() }
}

export const since = (before: Usage, after: Usage = usage()): Usage => ({
  micros: after.micros - before.micros,
  waited: after.waited - before.waited
})
