/**
 * Probes for what must not be left behind: timers, sockets, requests, listeners, sessions.
 */
import type { EventEmitter } from "node:events"
import { eventually } from "./events.ts"
import type { TestServer } from "./server.ts"

/** How many of each kind of resource keep the process alive. */
export type Resources = Readonly<Record<string, number>>

/** The resources that keep the process alive now: timers, sockets, requests. */
export const resources = (): Resources => {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind !== "Immediate" && kind !== "TickObject") counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

/** How many listeners an emitter has for each of its events. */
export const listeners = (emitter: EventEmitter): Resources =>
  Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]))

/** The kinds of which there is more in `after` than in `before`. */
export const grown = (before: Resources, after: Resources): Resources =>
  Object.fromEntries(
    Object.entries(after)
      .map(([kind, count]) => [kind, count - (before[kind] ?? 0)] as const)
      .filter(([, more]) => more > 0)
  )

/** What a server and the process hold at one moment. */
export interface Snapshot {
  readonly resources: Resources
  readonly serverListeners: Resources
  readonly processListeners: Resources
}

export const snapshot = (server: TestServer): Snapshot => ({
  resources: resources(),
  serverListeners: listeners(server.http),
  processListeners: listeners(process)
})

/** Waits until nothing is held that was not held in `before`, and no session is registered. */
export const nothingLeft = async (server: TestServer, before: Snapshot): Promise<void> => {
  await eventually("an empty registry", () => server.count(), (count) => count === 0)
  await eventually(
    "the release of all that was taken",
    () => {
      const after = snapshot(server)
      return {
        ...grown(before.resources, after.resources),
        ...grown(before.serverListeners, after.serverListeners),
        ...grown(before.processListeners, after.processListeners)
      }
    },
    (more) => Object.keys(more).length === 0
  )
}
