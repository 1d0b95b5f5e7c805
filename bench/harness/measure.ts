/** How each kind of workload is measured. */
import { fileURLToPath } from "node:url"
import type { CodecCalls } from "../shared/calls.ts"
import { Child } from "./child.ts"
import { interleaved } from "./interleaved.ts"
import { idle, peak } from "./memory.ts"
import type { Options } from "./options.ts"
import type { Outcome, Row } from "./outcome.ts"
import type { CodecWorkload, Workload } from "./workloads.ts"

const codecFile = fileURLToPath(new URL("../codec/main.ts", import.meta.url))

const codec = async (workload: CodecWorkload, options: Options): Promise<Outcome> => {
  const { child } = await Child.start<CodecCalls, null>(codecFile, [])
  try {
    const rows = new Map<string, Row>()
    const round = () => child.call("round", { millis: options.sliceMillis / 4 }, 30_000)
    await round()
    for (let i = 0; i < options.rounds; i++) {
      for (const { ours, theirs, title } of await round()) {
        const row = rows.get(title) ?? {
          workload: workload.name,
          title,
          unit: "ns/call",
          values: { "engine.io": [], ours: [] }
        }
        row.values["engine.io"]?.push([theirs])
        row.values["ours"]?.push([ours])
        rows.set(title, row)
      }
    }
    return { rows: [...rows.values()], failures: [], raw: null }
  } finally {
    await child.stop()
  }
}

const apart = async (workload: Workload, servers: ReadonlyArray<string>, options: Options): Promise<Outcome> => {
  const outcomes: Array<Outcome> = []
  for (const server of servers) outcomes.push(await measure({ ...workload, apart: false }, [server], options))
  const [rows = [], ...others] = outcomes.map(({ rows }) => rows)
  rows.forEach(({ values }, index) => Object.assign(values, ...others.map((rows) => rows[index]?.values)))
  return {
    rows,
    failures: outcomes.flatMap(({ failures }) => failures),
    raw: outcomes.map(({ raw }) => raw),
    contention: Math.max(...outcomes.map(({ contention = 0 }) => contention))
  }
}

export const measure = (workload: Workload, servers: ReadonlyArray<string>, options: Options): Promise<Outcome> => {
  if (workload.apart === true) return apart(workload, servers, options)
  switch (workload.kind) {
    case "cpu":
    case "latency":
      return interleaved(workload, servers, options)
    case "idle":
      return idle(workload, servers, options)
    case "peak":
      return peak(workload, servers, options)
    case "codec":
      return codec(workload, options)
  }
}
