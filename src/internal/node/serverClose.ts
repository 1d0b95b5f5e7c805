/**
 * Tells that a Node server begins to close. Its own event waits for the last connection.
 */
import type * as Http from "node:http"
import { replace } from "./serverMethod.ts"

interface Watched {
  readonly watchers: Set<() => void>
  readonly restore: () => void
}

// One wrapper for all who watch a server: from a chain of them, one in the middle could not be taken out.
const servers = new WeakMap<Http.Server, Watched>()

/** Those whose watchers are being told, while they still listen. */
const closing = new Set<Http.Server>()

/** Whether a server listens no more, or will not in a moment. */
export const isClosed = (server: Http.Server): boolean => !server.listening || closing.has(server)

/** Calls `watcher` whenever the server is told to close; returns the end of it. */
export const onServerClose = (server: Http.Server, watcher: () => void): () => void => {
  let watched = servers.get(server)
  if (watched === undefined) servers.set(server, watched = wrap(server))
  const { restore, watchers } = watched
  watchers.add(watcher)
  return () => {
    watchers.delete(watcher)
    if (watchers.size === 0) restore()
  }
}

const wrap = (server: Http.Server): Watched => {
  const watchers = new Set<() => void>()
  const { close } = server
  const restore = replace(server, "close", function(this: Http.Server, ...args: Parameters<typeof close>) {
    closing.add(server)
    // First, since who connects meanwhile would be reset.
    const closed = close.apply(this, args)
    for (const watcher of watchers) watcher()
    closing.delete(server)
    // What the watchers have answered is idle only now.
    this.closeIdleConnections?.()
    return closed
  })
  return {
    watchers,
    // Where others have wrapped it since, ours stays below theirs.
    restore: () => {
      if (restore()) servers.delete(server)
    }
  }
}
