/**
 * One request, from its arrival to its answer.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type { Unavailable } from "../../HandshakeError.ts"
import { requestsOf, Session } from "../session/session.ts"
import type { Exchange, Requests } from "../transport/requests.ts"
import { otherMethod, preflight, toResponse, upgradeRefusal } from "./answer.ts"
import { Arrival, decideHeaders, inTime } from "./arrival.ts"
import { corsHeaders, preflightHeaders } from "./cors.ts"
import { onStop } from "./drain.ts"
import * as ExtraHeaders from "./extraHeaders.ts"
import type { Engine } from "./engine.ts"
import { handshake, handshakeOfNone, polling, webSocket } from "./handshake.ts"
import type { ForeignSession } from "./forwarding.ts"
import type { CorsOptions } from "./options.ts"
import type { NamedHandler } from "./namedHandler.ts"
import type { RoutedExchange, UpgradeFailed } from "./platform.ts"
import { failed, refuse } from "./refuse.ts"
import { EngineIO } from "./service.ts"
import { upgrade, upgradeToNone } from "./upgradeRequest.ts"
import { verify } from "./verify.ts"

/** Handles the request of the current fiber. Fails only with what the factory failed with. */
export const handle = (handler: NamedHandler): Effect.Effect<HttpServerResponse, never, EngineIO> =>
  Effect.withFiber((fiber) => {
    const { engine } = Context.getUnsafe(fiber.context as Context.Context<EngineIO>, EngineIO)
    const request = Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest)
    const { platform } = engine
    const before = platform.receive(request, stopOf(engine))
    const exchange = before === undefined
      ? poll(
        engine,
        handler,
        request.method,
        request.url,
        (name) => platform.header(request, name),
        (extraHeaders) => platform.exchange(request, extraHeaders, fiber.context)
      )
      : undefined
    if (exchange !== undefined) return exchange.awaitAnswer
    const arrival = new Arrival(engine, handler, request, platform.isUpgrade(request))
    // A poll waits outside of all this, for long: nothing of the decision is kept.
    return Effect.flatMap(
      Effect.catchCause(answer(arrival, before), (cause) => answerFailure(arrival, cause)),
      (outcome) => "awaitAnswer" in outcome ? outcome.awaitAnswer : Effect.succeed(outcome)
    )
    // What the factory fails with, and needs, stands in the types of the façade.
  }) as Effect.Effect<HttpServerResponse, never, EngineIO>

// Apart: made in `handle`, it would keep the request that is first as long as there is the server.
const stopOf = (engine: Engine) => (isStopped: boolean): void => onStop(engine, isStopped)

/**
 * Hands a poll or a post of an open session to it, where nothing has to be decided before: most requests. Returns
 * `undefined` for all others, which are for `answer`.
 */
export const poll = <A extends Exchange>(
  engine: Engine,
  handler: NamedHandler,
  method: string,
  url: string,
  header: (name: string) => string | undefined,
  toExchange: (extraHeaders: ExtraHeaders.ExtraHeaders) => A
): A | undefined => {
  const { cors, responseHeaders } = engine.settings
  if (cors !== undefined || responseHeaders !== undefined || engine.stopped) return undefined
  if (handler.hooks?.responseHeaders !== undefined) return undefined
  // A handshake is none, and `answer` looks at it anyway.
  if ((method !== "GET" && method !== "POST") || !url.includes("sid=")) return undefined
  const asked = verify(engine, handler, method, header("origin"), url, false)
  if (asked._tag !== "Get" && asked._tag !== "Post") return undefined
  const exchange = toExchange(ExtraHeaders.ofPoll(ExtraHeaders.none, header("user-agent")))
  hand(asked._tag, asked.requests, exchange)
  return exchange
}

const hand = (method: "Get" | "Post", requests: Requests, exchange: Exchange): void =>
  method === "Get" ? requests.onGet(exchange) : requests.onPost(exchange)

/** What becomes of any request: its answer, or the exchange that will have it. */
const answer = Effect.fnUntraced(function*(
  arrival: Arrival,
  before: Effect.Effect<void, UpgradeFailed> | undefined
): Effect.gen.Return<HttpServerResponse | RoutedExchange, unknown, unknown> {
  if (before !== undefined) yield* before
  const { engine, isUpgrade, request } = arrival
  const cors = yield* decideCors(arrival)
  let headers: Record<string, string> | undefined
  if (cors !== undefined && cors.origin !== false) {
    // A request to upgrade is no preflight, and answered on its connection alone, where others may wait for answers too.
    const isPreflight = !isUpgrade && request.method === "OPTIONS"
    headers = isPreflight ? preflightHeaders(cors, request.headers) : corsHeaders(cors, request.headers)
    if (isPreflight && cors.preflightContinue !== true) {
      return toResponse(preflight(cors.optionsSuccessStatus ?? 204, headers))
    }
  }
  arrival.extraHeaders = ExtraHeaders.ofRequest(engine.stopped, headers)
  const origin = engine.platform.header(request, "origin")
  const verified = verify(engine, arrival.handler, request.method, origin, request.url, isUpgrade)
  const asked = verified._tag === "Elsewhere" ? yield* verified.verified : verified
  switch (asked._tag) {
    case "OpenPolling":
      return yield* handshake(arrival, polling)
    case "OpenWebSocket":
      return yield* handshake(arrival, webSocket)
    case "OpenNone":
      return yield* handshakeOfNone(arrival)
    case "Get":
    case "Post":
      return yield* exchange(arrival, asked._tag, asked.session)
    case "OtherMethod":
      return toResponse(otherMethod(arrival.extraHeaders))
    case "Upgrade":
      return yield* upgrade(arrival, asked.session)
    case "UpgradeToNone":
      return yield* upgradeToNone(arrival, asked.session)
    default:
      return yield* asked
  }
})

const decideCors = (arrival: Arrival): Effect.Effect<CorsOptions | undefined, Unavailable> => {
  const decide = arrival.engine.settings.cors
  if (decide === undefined) return Effect.undefined
  return Effect.suspend(() => {
    const cors = decide(arrival.request)
    return Effect.isEffect(cors) ? inTime(arrival, cors) : Effect.succeed(cors)
  })
}

const exchange = Effect.fnUntraced(function*(
  arrival: Arrival,
  method: "Get" | "Post",
  session: Session | ForeignSession
) {
  const { engine: { platform }, request } = arrival
  const extraHeaders = yield* decideHeaders(arrival, session.id, "polling", false)
  const headers = ExtraHeaders.ofPoll(extraHeaders, platform.header(request, "user-agent"))
  const exchange = platform.exchange(request, headers, yield* Effect.context<never>())
  const requests = session instanceof Session ? requestsOf(session) : session
  // The session may have ended or moved on while the headers were decided.
  if (requests === undefined) exchange.reject(400)
  else hand(method, requests, exchange)
  return exchange
})

/** Writes the refusal. A failure is the router's too. */
const answerFailure = Effect.fnUntraced(function*(
  arrival: Arrival,
  cause: Cause.Cause<unknown>
): Effect.fn.Return<HttpServerResponse, unknown> {
  const { engine: { platform }, isUpgrade, request } = arrival
  const refused = yield* refuse(arrival, cause)
  if (refused === undefined) return platform.release(request)
  const response = isUpgrade ? yield* platform.refuse(request, upgradeRefusal(refused)) : refused.response
  return refused === failed ? yield* Effect.failCause(cause) : response
})
