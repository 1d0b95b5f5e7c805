/**
 * The answers to requests that are refused: by the protocol's rules, by the application, or by its failure.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as HandshakeErrors from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import { refusal, toResponse } from "./answer.ts"
import type { Arrival } from "./arrival.ts"
import { UpgradeFailed } from "./platform.ts"
import { brokenHandshake } from "./verify.ts"

const classes = Object.values(HandshakeErrors)

/** An application's error may look like one of ours, and is none of the client's business. */
const isHandshakeError = (error: unknown): error is HandshakeErrors.HandshakeError =>
  classes.some((one) => error instanceof one)

/** How a request is refused. */
export interface Refused {
  readonly status: number
  readonly message: string
  /** The same as an answer of HTTP. */
  readonly response: HttpServerResponse.HttpServerResponse
}

/** What the router answers, if nobody before it does; others we tell. */
export const failed: Refused = {
  status: 500,
  message: "Internal Server Error",
  response: HttpServerResponse.empty({ status: 500 })
}

/**
 * How what failed refuses a request: by the protocol's errors and the application's own answers; everything else is a
 * failure. `undefined` where nobody is left to be told.
 */
export const refuse = Effect.fnUntraced(function*(
  { engine, extraHeaders, handler, request }: Arrival,
  cause: Cause.Cause<unknown>
): Effect.fn.Return<Refused | undefined> {
  const tell = (code: HandshakeErrors.HandshakeError["code"], message: string, context: unknown): void => {
    engine.telemetry.refused(code, message, context)
    handler.hooks?.onRefused(request.source, code, message, context)
  }
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error instanceof UpgradeFailed) {
    const { code, context, message } = brokenHandshake
    tell(code, message, context)
    return undefined
  }
  if (isHandshakeError(error)) {
    // The application's own words, which without types may be no text.
    const message = typeof error.message === "string" && error.message !== "" ? error.message : "Forbidden"
    tell(error.code, message, "context" in error ? error.context : { message })
    return { status: error.status, message, response: toResponse(refusal(error, message, extraHeaders)) }
  }
  const isResponse = HttpServerResponse.isHttpServerResponse(error)
  if (isResponse || HttpServerRespondable.isRespondable(error)) {
    tell(4, "Forbidden", { message: "refused by the application" })
    const response = isResponse ? error : yield* HttpServerRespondable.toResponse(error)
    return {
      status: response.status,
      message: bodyText(response),
      // A page must be able to read it, whoever wrote it (rule R50).
      response: HttpServerResponse.setHeaders(response, { ...extraHeaders.always, ...response.headers })
    }
  }
  if (Cause.hasInterruptsOnly(cause)) return yield* Effect.failCause(cause as Cause.Cause<never>)
  // The router may tell no one, so we do.
  yield* Effect.logError(`The application failed to decide on a handshake${see("failed-decision")}`, cause)
  return failed
})

const bodyText = ({ body }: HttpServerResponse.HttpServerResponse): string =>
  body._tag === "Uint8Array" && body.text !== undefined ? body.text : ""
