/**
 * Compression of the answers to polls (rule R52), negotiated with q-values; ties go to what the client names first.
 */
import Negotiator from "negotiator"
import * as Zlib from "node:zlib"

const methods: Record<string, (bytes: Zlib.InputType, done: Zlib.CompressCallback) => void> = {
  gzip: Zlib.gzip,
  deflate: Zlib.deflate,
  // The default quality takes a hundred times as long for a few bytes less.
  br: (bytes, done) => Zlib.brotliCompress(bytes, { params: { [Zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }, done)
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

/** Calls back with the compressed bytes, or with `undefined` if that failed. */
export const compress = (
  encoding: string,
  body: string | Uint8Array,
  done: (bytes: Uint8Array | undefined) => void
): void => methods[encoding]!(body, (error, bytes) => done(error === null ? bytes : undefined))
