/**
 * The answers to requests that are refused: by the protocol's rules, by the application, or by its failure.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as HandshakeErrors from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import { refusal, toResponse } from "./answer.ts"
import type { ExtraHeaders } from "./extraHeaders.ts"
import type { Engine } from "./engine.ts"
import type { Hooks } from "./namedHandler.ts"
import { UpgradeFailed } from "./platform.ts"

const classes = Object.values(HandshakeErrors)

/** An application's error may look like one of ours, and is none of the client's business. */
const isHandshakeError = (error: unknown): error is HandshakeErrors.HandshakeError =>
  classes.some((one) => error instanceof one)

const notUpgraded = new HandshakeErrors.BadRequest({ context: { name: "TRANSPORT_HANDSHAKE_ERROR" } })

/** Refuses what is no plain HTTP: a request to upgrade, a WebTransport session. */
export type RefuseRaw = (status: number, message: string) => Effect.Effect<HttpServerResponse.HttpServerResponse>

/** Answers what failed: the protocol's errors and the application's own answers; everything else is the router's. */
export const refuse = (
  engine: Engine,
  request: HttpServerRequest,
  raw: RefuseRaw | undefined,
  cause: Cause.Cause<unknown>,
  extraHeaders: ExtraHeaders,
  hooks: Hooks | undefined
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> => {
  const tell = (code: HandshakeErrors.HandshakeError["code"], message: string, context: unknown): void => {
    engine.telemetry.refused(code, message, context)
    hooks?.onRefused(request.source, code, message, context)
  }
  const found = Cause.findErrorOption(cause)
  if (Option.isNone(found)) return Cause.hasDies(cause) ? failed(raw, cause) : Effect.failCause(cause)
  const error = found.value
  if (error instanceof UpgradeFailed) {
    const { code, context, message } = notUpgraded
    tell(code, message, context)
    return Effect.succeed(engine.platform.release(request))
  }
  if (isHandshakeError(error)) {
    // The application's own words, which without types may be no text.
    const message = typeof error.message === "string" && error.message !== "" ? error.message : "Forbidden"
    const answer = raw === undefined
      ? Effect.succeed(toResponse(refusal(error, message, extraHeaders)))
      : raw(error.status, message)
    tell(error.code, message, "context" in error ? error.context : { message })
    return answer
  }
  if (!HttpServerResponse.isHttpServerResponse(error) && !HttpServerRespondable.isRespondable(error)) {
    return failed(raw, cause)
  }
  tell(4, "Forbidden", { message: "refused by the application" })
  const response = HttpServerResponse.isHttpServerResponse(error)
    ? Effect.succeed(error)
    : HttpServerRespondable.toResponse(error)
  return raw === undefined
    ? Effect.map(response, (response) => {
      // A page must be able to read it, whoever wrote it (rule R50).
      const { always } = extraHeaders
      return HttpServerResponse.setHeaders(response, { ...always, ...response.headers })
    })
    : Effect.flatMap(response, (response) => raw(response.status, bodyText(response)))
}

/** What the router answers with 500, if nobody before it does: it may tell no one, so we do. */
const failed = (raw: RefuseRaw | undefined, cause: Cause.Cause<unknown>) =>
  Effect.logError(`The application failed to decide on a handshake${see("failed-decision")}`, cause).pipe(
    Effect.andThen(raw === undefined ? Effect.void : raw(500, "Internal Server Error")),
    Effect.andThen(Effect.failCause(cause))
  )

const bodyText = (response: HttpServerResponse.HttpServerResponse): string =>
  response.body._tag === "Uint8Array" && response.body.text !== undefined ? response.body.text : ""
