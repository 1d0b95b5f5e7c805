/** What the operating system says about this process. */
import cluster from "node:cluster"
import { readdirSync, readFileSync } from "node:fs"

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

/** The time of all threads of the workers of this process, in microseconds. */
const ofWorkers = (): number => {
  let nanos = 0
  for (const worker of Object.values(cluster.workers ?? {})) {
    const tasks = `/proc/${worker?.process.pid}/task`
    for (const task of readdirSync(tasks)) {
      nanos += Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0])
    }
  }
  return nanos / 1000
}

export const usage = (): Usage => {
  const { user, system } = process.cpuUsage()
  return { micros: user + system + ofWorkers(), waited: waited() }
}

export const since = (before: Usage, after: Usage = usage()): Usage => ({
  micros: after.micros - before.micros,
  waited: after.waited - before.waited
})
