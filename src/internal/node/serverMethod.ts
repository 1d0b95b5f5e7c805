/**
 * Puts something of ours before a Node server's own methods.
 */
import type * as Http from "node:http"

/** Puts `method` in the place of a server's own; returns its removal, which fails where others have wrapped it since. */
export const replace = <K extends "close" | "emit">(
  server: Http.Server,
  name: K,
  method: Http.Server[K]
): () => boolean => {
  const own = Object.getOwnPropertyDescriptor(server, name)
  server[name] = method
  return () => {
    if (server[name] !== method) return false
    if (own === undefined) Reflect.deleteProperty(server, name)
    else Object.defineProperty(server, name, own)
    return true
  }
}
