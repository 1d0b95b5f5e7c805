/**
 * Reads the body of a POST under a limit (rules R44, R45), or takes what a middleware made of it that has read it.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Stream from "effect/Stream"
import type * as Http from "node:http"
import { giveBack, sizeOf, utf8Length } from "../protocol/bytes.ts"
import type { Body } from "../transport/requests.ts"

type Done = (body: Body) => void

/** `failed` is called instead of `done` where the body ends before its time. */
type ReadBody = (
  request: HttpServerRequest,
  limit: number,
  binary: boolean,
  done: Done,
  failed: () => void
) => void

/** Whether somebody has read from the body, so that not all of it is left. */
export const isTaken = (request: Http.IncomingMessage): boolean => request.readableDidRead || request.readableEnded

/** Then takes what body parsers leave on a request, if it is text or bytes. */
export const readTakenBody = (
  request: Http.IncomingMessage & { readonly body?: unknown },
  limit: number,
  binary: boolean,
  done: Done
): void => {
  const { body } = request
  if (typeof body === "string" && !binary) return done(utf8Length(body) > limit ? "too large" : { body })
  if (!(body instanceof Uint8Array)) return done("taken")
  if (body.byteLength > limit) return done("too large")
  done({ body: binary ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8") })
}

/** Reads from Node's request. Of a body that is too large the rest is discarded. */
export const readNodeBody = (
  request: Http.IncomingMessage,
  limit: number,
  binary: boolean,
  done: Done
): void => {
  if (Number(request.headers["content-length"] ?? 0) > limit) {
    request.resume()
    return done("too large")
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
      return done("too large")
    }
    if (first === undefined) first = chunk
    else (rest ??= [first]).push(chunk)
  }
  const onEnd = () => {
    const body = rest === undefined ? first ?? Buffer.alloc(0) : Buffer.concat(rest, length)
    if (binary) return done({ body })
    const text = body.toString("utf8")
    // Only we had what we put together.
    if (rest !== undefined) giveBack(body)
    done({ body: text })
  }
  request.on("data", onData)
  request.on("end", onEnd)
  // A middleware may have paused it before it let the request pass.
  if (request.isPaused()) request.resume()
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
        if (length > limit) return done("too large")
        const body = Buffer.concat(chunks)
        done({ body: binary ? body : body.toString("utf8") })
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
      const size = sizeOf(body)
      // Of a body that was not read through it, Effect finds nothing.
      const isRead = size > 0 || request.headers["content-length"] === "0"
      done(!isRead ? "taken" : size > limit ? "too large" : { body })
    }
  }))
}
