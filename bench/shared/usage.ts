/** What the operating system says about this process, and about others that serve with it or in its place. */
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

/** The same of another process, whose threads stay. */
export const usageOf = (pid: number | undefined): Usage => {
  const tasks = `/proc/${pid}/task`
  let [nanos, waitedNanos] = [0, 0]
  for (const task of readdirSync(tasks)) {
    const [ran, waited] = readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")
    nanos += Number(ran)
    waitedNanos += Number(waited)
  }
  return { micros: nanos / 1000, waited: waitedNanos / 1000 }
}

const ofWorkers = (): number =>
  Object.values(cluster.workers ?? {}).reduce((sum, worker) => sum + usageOf(worker?.process.pid).micros, 0)

export const usage = (): Usage => {
  const { user, system } = process.cpuUsage()
  return { micros: user + system + ofWorkers(), waited: waited() }
}

export const since = (before: Usage, after: Usage = usage()): Usage => ({
  micros: after.micros - before.micros,
  waited: after.waited - before.waited
})
