/**
 * The first bytes behind a request to upgrade, where the client did not wait for the answer. Node gives them to those who
 * listen for upgrades, and Effect does not hand them on.
 */
import type * as Http from "node:http"
import { remember } from "./effectServer.ts"

const noHead: Buffer = Buffer.alloc(0)

const heads = new WeakMap<Http.IncomingMessage, Buffer>()

/** To be called before Effect's server is told of an upgrade. */
export const keepHead = (request: Http.IncomingMessage, head: Buffer): void => {
  // An empty one would keep the chunk that it was cut from.
  heads.set(request, head.length === 0 ? noHead : head)
  remember(request)
}

const onUpgrade = (request: Http.IncomingMessage, _socket: unknown, head: Buffer): void => keepHead(request, head)

/** Who needs the heads of a server: what each does when nobody serves it any more. */
const keepers = new WeakMap<Http.Server, Set<() => void>>()

// Without a listener Node treats requests to upgrade as ordinary ones: ours is there only while there is another.
function onAdded(this: Http.Server, event: string, listener: unknown): void {
  if (event === "upgrade" && listener !== onUpgrade && this.listenerCount("upgrade") === 0) {
    this.prependListener("upgrade", onUpgrade)
  }
}

function onRemoved(this: Http.Server, event: string, listener: unknown): void {
  if (event !== "upgrade" || listener === onUpgrade || this.listenerCount("upgrade") > 1) return
  this.off("upgrade", onUpgrade)
  if (this.listenerCount("request") === 0) { for (const onUnserved of keepers.get(this) ?? []) onUnserved() }
}

/** Keeps the heads of a server's upgrades; returns the end of it. `onUnserved` is called when its listeners are gone. */
export const keepHeads = (server: Http.Server, onUnserved: () => void): () => void => {
  const all = keepers.get(server) ?? new Set()
  all.add(onUnserved)
  if (all.size === 1) {
    keepers.set(server, all)
    if (server.listenerCount("upgrade") > 0) server.prependListener("upgrade", onUpgrade)
    server.on("newListener", onAdded).on("removeListener", onRemoved)
  }
  return () => {
    if (!all.delete(onUnserved) || all.size > 0) return
    keepers.delete(server)
    server.off("newListener", onAdded).off("removeListener", onRemoved).off("upgrade", onUpgrade)
  }
}

/**
 * Takes the head of a request. That of the first request to a server, from which we know of the server, is lost: only
 * clients that break RFC 6455 would have written to it.
 */
export const takeHead = (request: Http.IncomingMessage): Buffer => {
  const head = heads.get(request) ?? noHead
  // What a weak map holds is kept until the whole heap is collected.
  heads.delete(request)
  return head
}
