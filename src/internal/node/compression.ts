/**
 * Compression of the answers to polls (rule R52), negotiated with q-values; ties go to what the client names first.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import Negotiator from "negotiator"
import type { Duplex } from "node:stream"
import * as Zlib from "node:zlib"

const compressors: Record<string, () => Zlib.Zlib & Duplex> = {
  gzip: Zlib.createGzip,
  deflate: Zlib.createDeflate,
  // The default quality takes a hundred times as long for a few bytes less.
  br: () => Zlib.createBrotliCompress({ params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 4 } })
}

/** The encoding for a client with this Accept-Encoding header; `undefined` for none. */
export const negotiate = (acceptEncoding: string | undefined): string | undefined => {
  if (acceptEncoding === undefined) return undefined
  const encoding = new Negotiator({ headers: { "accept-encoding": acceptEncoding } }).encoding([
    "gzip",
    "deflate",
    "br",
    "identity"
  ])
  return encoding === "identity" ? undefined : encoding
}

/** From this size on, an answer waits for its turn to be compressed. */
const large = 64 * 1024

/** Large answers take memory, and the threads that all of Node shares: few are worked on at a time. */
const turns = Semaphore.makeUnsafe(2)

/** Calls back with the compressed bytes, or with `undefined` if that failed. Returns what gives up, silently. */
export const compress = (
  encoding: string,
  body: string | Uint8Array,
  done: (bytes: Uint8Array | undefined) => void
): () => void => {
  const job = Effect.map(compressed(encoding, body), done)
  const fiber = Effect.runFork(body.length < large ? job : turns.withPermits(1)(job))
  return () => fiber.interruptUnsafe()
}

const compressed = (encoding: string, body: string | Uint8Array): Effect.Effect<Uint8Array | undefined> =>
  Effect.callback((resume) => {
    const compressor = compressors[encoding]!()
    const chunks: Array<Buffer> = []
    compressor.on("data", (chunk: Buffer) => chunks.push(chunk))
    compressor.on("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
    compressor.on("error", () => resume(Effect.succeed(undefined)))
    compressor.end(body)
    return Effect.sync(() => compressor.destroy())
  })
