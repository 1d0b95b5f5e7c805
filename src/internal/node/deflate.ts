/**
 * permessage-deflate (RFC 7692), as the `ws` library negotiates and does it.
 */
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Ws from "ws"
import type { Refusal } from "../protocol/webSocketHandshake.ts"

/** What was deflated or inflated, or why not. */
export type Deflated = (error: (Error & { readonly code?: string }) | null, data: Buffer) => void

/** The state of one connection. */
export interface Deflate {
  compress(data: Uint8Array, fin: boolean, done: Deflated): void
  decompress(data: Uint8Array, fin: boolean, done: Deflated): void
  /** Gives its memory back; not while it inflates. */
  cleanup(): void
}

type Parameters = Record<string, unknown>

// Not in the library's published types, but of its exports.
interface Library {
  readonly PerMessageDeflate: new(
    options: object
  ) => Deflate & { accept(offers: ReadonlyArray<Parameters>): Parameters }
  readonly extension: {
    parse(header: string): Record<string, ReadonlyArray<Parameters> | undefined>
    format(extensions: Record<string, ReadonlyArray<Parameters>>): string
  }
}

/** The library from its own folder: some runtimes have something of theirs under its name, which is not all of it. */
const fromFolder = (): unknown => {
  const require = createRequire(import.meta.url)
  return require(join(dirname(require.resolve("ws/package.json")), "index.js"))
}

const { PerMessageDeflate, extension } = ("PerMessageDeflate" in Ws ? Ws : fromFolder()) as Library

const name = "permessage-deflate"

const refusal: Refusal = { status: 400, message: "Invalid or unacceptable Sec-WebSocket-Extensions header" }

/** What a client that offers it and a server agreed upon. */
export interface Agreed {
  readonly deflate: Deflate
  /** The line of the 101 that says so. */
  readonly line: string
}

/** Nothing is agreed upon where the client does not offer it. */
export const negotiate = (offered: string, options: object): Agreed | Refusal | undefined => {
  try {
    const offers = extension.parse(offered)[name]
    if (offers === undefined) return undefined
    const deflate = new PerMessageDeflate({ ...options, isServer: true })
    return { deflate, line: `Sec-WebSocket-Extensions: ${extension.format({ [name]: [deflate.accept(offers)] })}` }
  } catch {
    return refusal
  }
}
