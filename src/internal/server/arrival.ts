/**
 * What a request brings, and what the application decides on it, whatever becomes of the request.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import { type Forbidden, Unavailable } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import { parseQuery } from "../protocol/query.ts"
import { see } from "../protocol/see.ts"
import type { SocketId } from "../session/model.ts"
import * as ExtraHeaders from "./extraHeaders.ts"
import type { Engine } from "./engine.ts"
import type { NamedHandler } from "./namedHandler.ts"

export class Arrival {
  readonly engine: Engine
  readonly handler: NamedHandler
  readonly request: HttpServerRequest
  /** Whether it asks to be a WebSocket. */
  readonly isUpgrade: boolean
  /** What goes onto every answer to it, as far as that is decided. */
  extraHeaders: ExtraHeaders.ExtraHeaders = ExtraHeaders.none
  private fields: Record<string, string> | undefined
  private decideBy: number | undefined
  constructor(engine: Engine, handler: NamedHandler, request: HttpServerRequest, isUpgrade: boolean) {
    this.engine = engine
    this.handler = handler
    this.request = request
    this.isUpgrade = isUpgrade
  }

  /** A poll never asks for it. */
  get query(): Record<string, string> {
    return this.fields ??= parseQuery(this.request.url)
  }

  /** What the application's decisions on it have left of `handshakeTimeout`, since the first of them began. */
  get timeToDecide(): number {
    const now = this.engine.now()
    this.decideBy ??= now + this.engine.settings.handshakeTimeout
    return Math.max(0, this.decideBy - now)
  }
}

/** What a request gets in the end. Fails with what the application failed with. */
export type Reply = Effect.Effect<HttpServerResponse, unknown, unknown>

/** A decision of the application, which has all of them on one request in time, and as long as its server listens. */
export const inTime = <A, E, R>(
  arrival: Arrival,
  decision: Effect.Effect<A, E, R>,
  remedy = ""
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.suspend(() =>
    Effect.timeoutOrElse(Effect.raceFirst(decision, stopping(arrival.engine)), {
      duration: arrival.timeToDecide,
      orElse: () =>
        Effect.andThen(
          Effect.logWarning(
            `The application did not decide on a request within handshakeTimeout${remedy}${see("late-decision")}`
          ),
          Effect.fail(new Unavailable({ message: "Handshake timeout" }))
        )
    })
  )

export const shuttingDown = Effect.suspend(() => Effect.fail(new Unavailable({ message: "Server shutting down" })))

const stopping = (engine: Engine): Effect.Effect<never, Unavailable> =>
  Effect.andThen(engine.stopping.await, shuttingDown)

/** Asks `allowRequest`, where there is one. */
export const allow = (
  arrival: Arrival
): Effect.Effect<void, Forbidden | HttpServerResponse | Unavailable> => {
  const { allowRequest } = arrival.engine.settings
  return allowRequest === undefined ? Effect.void : Effect.suspend(() => inTime(arrival, allowRequest(arrival.request)))
}

/** Decides on the extra headers of the answer for a session. */
export const decideHeaders = (
  arrival: Arrival,
  id: SocketId,
  transport: TransportType,
  initial: boolean
): Effect.Effect<ExtraHeaders.ExtraHeaders, Unavailable> => {
  const { engine, extraHeaders, handler, request } = arrival
  const hook = handler.hooks?.responseHeaders
  const { responseHeaders } = engine.settings
  if (hook === undefined && responseHeaders === undefined) return Effect.succeed(extraHeaders)
  return Effect.gen(function*() {
    const info = { request, id, initial, transport }
    const headers = hook === undefined ? extraHeaders : ExtraHeaders.add(extraHeaders, hook(info))
    return responseHeaders === undefined
      ? headers
      : ExtraHeaders.add(headers, yield* inTime(arrival, responseHeaders(info)))
  })
}
