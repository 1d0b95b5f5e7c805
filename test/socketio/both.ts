/**
 * Tests of what Socket.IO does on either engine.
 */
import type { Server, ServerOptions } from "socket.io"
import { it } from "vitest"
import { type Kind, Site } from "../kit/socketIO.ts"

interface Config extends Partial<ServerOptions> {
  /** Attaches ours to the Node server, instead of serving it on a router. */
  readonly attached?: boolean
  /** What is done with the server before it listens. */
  readonly prepare?: (io: Server) => void
}

/** A test of what Socket.IO does, whichever of the two it runs on. */
export const onBoth = (name: string, config: Config, body: (site: Site) => Promise<void>): void => {
  const { attached = false, prepare, ...options } = config
  for (const kind of ["engine.io", attached ? "ours, attached" : "ours"] as const) {
    it(`${name} (${kind})`, () => run(kind, options, prepare, body))
  }
}

/** Runs `body` with a server of its own. */
export const run = async (
  kind: Kind,
  options: Partial<ServerOptions>,
  prepare: ((io: Server) => void) | undefined,
  body: (site: Site) => Promise<void>
): Promise<void> => {
  // Socket.IO completes the options that it is given.
  const site = await Site.start(kind, { ...options }, prepare)
  try {
    await body(site)
  } finally {
    await site.stop()
  }
}
