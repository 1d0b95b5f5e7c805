/** What every measured server has beside the server itself: the harness's questions, and the trigger of its pushes. */
import { readFileSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { Memory, ServerCalls, ServerReady } from "../shared/calls.ts"
import { broadcastTexts, burstTexts, floodTexts, trigger } from "../shared/content.ts"
import { answer } from "../shared/rpc.ts"
import { usage, usageOf } from "../shared/usage.ts"

export interface Subject {
  readonly port: number
  /** Of the process that serves, where it is another. */
  readonly pid?: number | undefined
  readonly sessions: () => number | Promise<number>
  readonly broadcast: (text: string) => void
  /** Sends all of it to the one client there is. */
  readonly burst: (texts: ReadonlyArray<string>) => void
  /** The same, as an application would that minds how much waits, where the server lets it. */
  readonly flood: (texts: Iterable<string>) => void
}

/** A line of what the system says of the memory of a process, in bytes. */
const status = (pid: number | string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024

const memory = async (pid: number | undefined): Promise<Memory> => {
  // Finalizers and freed pages of one collection are only seen by the next.
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.()
    await sleep(50)
  }
  try {
    writeFileSync(`/proc/${pid ?? "self"}/clear_refs`, "5")
  } catch {
    // Without it the peak counts from the start of the process.
  }
  if (pid !== undefined) return { rss: status(pid, "VmRSS") }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed, external, rss }
}

const peak = (pid: number | undefined): number => {
  try {
    return status(pid ?? "self", "VmHWM")
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

/** Announces `subject` to the harness. `prefix` is the packet type where the server has no notion of packets. */
export const control = (subject: Subject, prefix = ""): void => {
  const prefixed = (texts: ReadonlyArray<string>) => prefix === "" ? texts : texts.map((text) => prefix + text)
  const broadcasts = prefixed(broadcastTexts)
  const { pid } = subject
  let next = 0
  const pull = (byte: number): void => {
    if (byte === trigger.broadcast) subject.broadcast(broadcasts[next++ % broadcasts.length] ?? "")
    else if (byte === trigger.burst) subject.burst(bursts())
    else if (byte === trigger.flood) subject.flood(floodTexts(prefix))
  }
  let burst: ReadonlyArray<string> | undefined
  const bursts = () => burst ??= prefixed(burstTexts)
  const listener = createServer((connection) => {
    connection.on("data", (bytes: Buffer) => bytes.forEach(pull))
    connection.on("error", () => {})
  })
  listener.listen(0, "127.0.0.1", () => {
    const ready: ServerReady = { port: subject.port, control: (listener.address() as AddressInfo).port }
    answer<ServerCalls>({
      usage: () => pid === undefined ? usage() : usageOf(pid),
      memory: () => memory(pid),
      peak: () => peak(pid),
      sessions: subject.sessions
    }, ready)
  })
}
