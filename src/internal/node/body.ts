/**
 * Reads the body of a POST under a limit (rules R44, R45).
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"
import { utf8Length } from "../protocol/bytes.ts"

type Done = (body: string | Uint8Array | undefined) => void

/** `failed` is called instead of `done` where the body ends before its time. */
type ReadBody = (
  request: HttpServerRequest,
  limit: number,
  binary: boolean,
  done: Done,
  failed: () => void
) => void

/** Reads from Node's request: calls back with the body, or with `undefined` as soon as it is too large; its rest is discarded. */
export const readNodeBody = (
  request: Http.IncomingMessage,
  limit: number,
  binary: boolean,
  done: Done
): void => {
  if (Number(request.headers["content-length"] ?? 0) > limit) {
    request.resume()
    return done(undefined)
  }
  let first: Buffer | undefined
  let rest: Array<Buffer> | undefined
  let length = 0
  const onData = (chunk: Buffer) => {
    length += chunk.length
    if (length > limit) {
      request.off("data", onData)
      request.off("end", onEnd)
      request.resume()
      return done(undefined)
    }
    if (first === undefined) first = chunk
    else (rest ??= [first]).push(chunk)
  }
  const onEnd = () => {
    const body = rest === undefined ? first ?? Buffer.alloc(0) : Buffer.concat(rest, length)
    done(binary ? body : body.toString("utf8"))
  }
  request.on("data", onData)
  request.on("end", onEnd)
}

/** The same for a request that is not Node's own, or whose body Node does not parse: one that asks to be upgraded. */
export const readStreamBody: ReadBody = (request, limit, binary, done, failed) => {
  const chunks: Array<Uint8Array> = []
  let length = 0
  const read = request.stream.pipe(
    Stream.takeWhile((chunk) => {
      length += chunk.byteLength
      chunks.push(chunk)
      return length <= limit
    }),
    Stream.runDrain,
    Effect.matchCause({
      onFailure: failed,
      onSuccess: () => {
        const body = length > limit ? undefined : Buffer.concat(chunks)
        done(body === undefined || binary ? body : body.toString("utf8"))
      }
    })
  )
  Effect.runFork(read)
}

/** The same for a request whose body a middleware has read, where Effect remembers it. */
export const readBody: ReadBody = (request, limit, binary, done, failed) => {
  const read: Effect.Effect<string | Uint8Array, unknown> = binary
    ? Effect.map(request.arrayBuffer, (bytes) => new Uint8Array(bytes))
    : request.text
  Effect.runFork(Effect.matchCause(read, {
    onFailure: failed,
    onSuccess: (body) => {
      const size = typeof body === "string" ? utf8Length(body) : body.byteLength
      done(size > limit ? undefined : body)
    }
  }))
}
