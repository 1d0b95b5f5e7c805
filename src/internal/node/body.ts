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

/**
 * What has come of a body. From the second chunk on it is copied: each of them is an object and memory of its own, some
 * hundred bytes for one of a byte.
 */
class Gathered {
  length = 0
  private bytes: Uint8Array = nothing
  private isOurs = false

  add(chunk: Uint8Array): void {
    const { bytes, length } = this
    this.length += chunk.byteLength
    if (length === 0) this.bytes = chunk
    else {
      if (this.length > bytes.byteLength) {
        this.bytes = Buffer.allocUnsafeSlow(Math.max(this.length, length * 2))
        this.bytes.set(bytes.subarray(0, length))
        if (this.isOurs) giveBack(bytes)
        this.isOurs = true
      }
      this.bytes.set(chunk, length)
    }
  }

  toBytes(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** As text, which is the end of the bytes. */
  toText(): string {
    const { bytes } = this
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const text = buffer.toString("utf8", 0, this.length)
    if (this.isOurs) giveBack(bytes)
    return text
  }
}

const nothing = Buffer.alloc(0)

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
  const gathered = new Gathered()
  const onData = (chunk: Buffer) => {
    if (gathered.length + chunk.length > limit) {
      request.off("data", onData)
      request.off("end", onEnd)
      request.resume()
      return done("too large")
    }
    gathered.add(chunk)
  }
  const onEnd = () => {
    // A stream of HTTP/2 ends, too, when it is reset. Its response is told of that.
    if (!request.aborted) done({ body: binary ? gathered.toBytes() : gathered.toText() })
  }
  request.on("data", onData)
  request.on("end", onEnd)
  // A middleware may have paused it before it let the request pass.
  if (request.isPaused()) request.resume()
}

/** The same for a request that is not Node's own, or whose body Node does not parse: one that asks to be upgraded. */
export const readStreamBody: ReadBody = (request, limit, binary, done, failed) => {
  const gathered = new Gathered()
  const read = request.stream.pipe(
    Stream.takeWhile((chunk) => {
      gathered.add(chunk)
      return gathered.length <= limit
    }),
    Stream.runDrain,
    Effect.matchCause({
      onFailure: failed,
      onSuccess: () =>
        done(gathered.length > limit ? "too large" : { body: binary ? gathered.toBytes() : gathered.toText() })
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
