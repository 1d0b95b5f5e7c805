/**
 * Reads the body of a POST from Node's request, under a limit (rules R44, R45).
 */
import type * as Http from "node:http"

/** Calls back with the body, or with `undefined` as soon as it is too large; its rest is discarded. */
export const readBody = (
  request: Http.IncomingMessage,
  limit: number,
  binary: boolean,
  done: (body: string | Uint8Array | undefined) => void
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
