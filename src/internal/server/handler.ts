/**
 * One request, from its arrival to its answer.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import { requestsOf, type Session } from "../session/session.ts"
import type { Exchange, Requests } from "../transport/requests.ts"
import { otherMethod, preflight, toResponse } from "./answer.ts"
import { Arrival, decideHeaders, inTime, type Reply } from "./arrival.ts"
import { corsHeaders, preflightHeaders } from "./cors.ts"
import { onStop } from "./drain.ts"
import * as ExtraHeaders from "./extraHeaders.ts"
import type { Engine } from "./engine.ts"
import { handshake, handshakeOfNone, polling, webSocket } from "./handshake.ts"
import type { CorsOptions } from "./options.ts"
import type { NamedHandler } from "./namedHandler.ts"
import { refuse, type RefuseRaw } from "./refuse.ts"
import { upgrade } from "./upgradeRequest.ts"
import { verify } from "./verify.ts"

/** Handles the request of the current fiber. Fails only with what the factory failed with. */
export const handle = (toEngine: (context: Context.Context<never>) => Engine, handler: NamedHandler): Reply =>
  Effect.withFiber((fiber) => {
    const engine = toEngine(fiber.context)
    const request = Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest)
    const arrival = new Arrival(engine, handler, request, engine.platform.isUpgrade(request))
    return Effect.catchCause(Effect.suspend(() => takeTurn(arrival)), (cause) => answerFailure(arrival, cause))
  })

// Polls have nothing to wait for until they are with their session; a generator would make one cost 3 % more.

const takeTurn = (arrival: Arrival): Reply => {
  const { engine, request } = arrival
  engine.platform.watch(request, (isStopped) => onStop(engine, isStopped))
  const turn = engine.platform.turn(request)
  return turn === undefined ? decideCors(arrival) : Effect.flatMap(turn, () => decideCors(arrival))
}

const decideCors = (arrival: Arrival): Reply => {
  const { engine, request } = arrival
  engine.platform.prepare(request)
  const cors = engine.settings.cors?.(request)
  return Effect.isEffect(cors)
    ? Effect.flatMap(inTime(engine, cors), (cors) => answer(arrival, cors))
    : answer(arrival, cors)
}

const answer = (arrival: Arrival, cors: CorsOptions | undefined): Reply => {
  const { engine, isUpgrade, request } = arrival
  let headers: Record<string, string> | undefined
  if (cors !== undefined && cors.origin !== false) {
    // A request to upgrade is no preflight, and answered on its connection alone, where others may wait for answers too.
    const isPreflight = !isUpgrade && request.method === "OPTIONS"
    headers = isPreflight ? preflightHeaders(cors, request.headers) : corsHeaders(cors, request.headers)
    if (isPreflight && cors.preflightContinue !== true) {
      return Effect.succeed(toResponse(preflight(cors.optionsSuccessStatus ?? 204, headers)))
    }
  }
  arrival.extraHeaders = ExtraHeaders.ofRequest(engine, headers)
  return dispatch(arrival)
}

const dispatch = (arrival: Arrival): Reply => {
  const { extraHeaders, engine, isUpgrade, handler, request } = arrival
  const asked = verify(
    engine,
    handler,
    request.method,
    engine.platform.header(request, "origin"),
    request.url,
    isUpgrade
  )
  switch (asked._tag) {
    case "OpenPolling":
      return handshake(arrival, polling)
    case "OpenWebSocket":
      return handshake(arrival, webSocket)
    case "OpenNone":
      return handshakeOfNone(arrival)
    case "Get":
      return exchange(arrival, asked.session, onGet)
    case "Post":
      return exchange(arrival, asked.session, onPost)
    case "OtherMethod":
      return Effect.succeed(toResponse(otherMethod(extraHeaders)))
    case "Upgrade":
      return upgrade(arrival, asked.session, asked.transport)
    default:
      return Effect.fail(asked)
  }
}

const exchange = (
  arrival: Arrival,
  session: Session,
  hand: (requests: Requests, exchange: Exchange) => void
): Reply =>
  Effect.flatMap(
    decideHeaders(arrival, session.id, "polling", false),
    (extraHeaders) =>
      arrival.engine.platform.exchange(arrival.request, extraHeaders, (exchange) => {
        const requests = requestsOf(session)
        // The session may have ended or moved on while the headers were decided.
        if (requests === undefined) exchange.reject(400)
        else hand(requests, exchange)
      })
  )

const onGet = (requests: Requests, exchange: Exchange): void => requests.onGet(exchange)
const onPost = (requests: Requests, exchange: Exchange): void => requests.onPost(exchange)

const answerFailure = ({ extraHeaders, engine, isUpgrade, request }: Arrival, cause: Cause.Cause<unknown>): Reply => {
  const raw: RefuseRaw | undefined = isUpgrade
    ? (status, message) => engine.platform.refuse(request, status, message)
    : undefined
  return refuse(engine, request, raw, cause, extraHeaders)
}

/**
 * Serves a poll or a post without a fiber, where nothing has to be waited for; returns false for everything else, which
 * is for `handle`.
 */
export const handleDirectly = (
  engine: Engine,
  handler: NamedHandler,
  method: string,
  url: string,
  header: (name: string) => string | undefined,
  toExchange: (extraHeaders: ExtraHeaders.ExtraHeaders) => Exchange
): boolean => {
  const { cors, responseHeaders } = engine.settings
  if (cors !== undefined || responseHeaders !== undefined || engine.stopped) return false
  if (method !== "GET" && method !== "POST") return false
  const asked = verify(engine, handler, method, header("origin"), url, false)
  switch (asked._tag) {
    case "Get":
      asked.requests.onGet(toExchange(ExtraHeaders.ofPoll(ExtraHeaders.none, header("user-agent"))))
      return true
    case "Post":
      asked.requests.onPost(toExchange(ExtraHeaders.ofPoll(ExtraHeaders.none, header("user-agent"))))
      return true
    default:
      return false
  }
}
