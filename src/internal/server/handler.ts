/**
 * One request, from its arrival to its answer: a handshake, a poll, a post, or an upgrade.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { TransportType } from "../../Transport.ts"
import { parseQuery } from "../protocol/query.ts"
import type { Session } from "../session/session.ts"
import { type Exchange, PollingTransport } from "../transport/polling.ts"
import { WebSocketCandidate } from "../transport/webSocket.ts"
import { preflightHeaders } from "./cors.ts"
import * as Dressing from "./dressing.ts"
import type { Engine } from "./engine.ts"
import { type Factory, Handshaking, inTime, isBinary } from "./handshake.ts"
import type { CorsOptions } from "./options.ts"
import { refuse, type RefuseRaw } from "./refuse.ts"
import * as respond from "./respond.ts"
import { traced } from "./tracing.ts"
import { verify } from "./verify.ts"

/** Handles the request of the current fiber. Fails only with what the factory failed with. */
export const handle = (
  toEngine: (context: Context.Context<never>) => Engine,
  owner: object,
  factory: Factory
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const request = Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest)
    const engine = toEngine(fiber.context)
    const { platform } = engine
    platform.watch(request, engine.onStop)
    platform.prepare(request)
    const isUpgrade = platform.isUpgrade(request)
    const dressing = Dressing.ofRequest(engine, request)
    return Effect.isEffect(dressing)
      ? Effect.flatMap(dressing, (dressing) => dispatch(engine, owner, factory, request, isUpgrade, dressing))
      : dispatch(engine, owner, factory, request, isUpgrade, dressing)
  })

const dispatch = (
  engine: Engine,
  owner: object,
  factory: Factory,
  request: HttpServerRequest,
  isUpgrade: boolean,
  dressing: Dressing.Dressing
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown> => {
  // A request to upgrade is no preflight, and answered on its connection alone, where others may wait for answers too.
  if (isUpgrade || request.method !== "OPTIONS" || engine.settings.cors === undefined) {
    return decide(engine, owner, factory, request, isUpgrade, dressing)
  }
  const preflight = (options: CorsOptions) =>
    options.preflightContinue === true
      ? decide(engine, owner, factory, request, isUpgrade, dressing)
      : Effect.succeed(
        respond.bare(options.optionsSuccessStatus ?? 204, preflightHeaders(options, request.headers))
      )
  const options = engine.settings.cors(request)
  return Effect.isEffect(options) ? Effect.flatMap(options, preflight) : preflight(options)
}

const decide = (
  engine: Engine,
  owner: object,
  factory: Factory,
  request: HttpServerRequest,
  isUpgrade: boolean,
  dressing: Dressing.Dressing
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown> => {
  const query = parseQuery(request.url)
  const origin = engine.platform.header(request, "origin")
  const verdict = verify(engine, owner, request.method, origin, query, isUpgrade)
  if (verdict._tag === "Poll") return poll(engine, verdict.session, request, dressing)
  const handled = verdict._tag === "Upgrade"
    ? traced(
      "EngineIO.upgrade",
      verdict.transport,
      upgrade(engine, verdict.session, verdict.transport, request, query, dressing)
    )
    : verdict._tag === "Handshake"
    ? new Handshaking(engine, owner, factory, request, query, verdict.transport, isUpgrade, dressing).run()
    : Effect.fail(verdict)
  return Effect.catchCause(handled, (cause) => {
    const { platform } = engine
    const raw: RefuseRaw | undefined = isUpgrade
      ? (status, message) => platform.refuse(request, status, message)
      : undefined
    return refuse(engine, request, raw, cause, dressing)
  })
}

// --- sessions that exist ---------------------------------------------------------------------------------------------

const poll = (
  engine: Engine,
  session: Session,
  request: HttpServerRequest,
  dressing: Dressing.Dressing
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  if (request.method !== "GET" && request.method !== "POST") {
    return Effect.succeed(respond.bare(405, { ...dressing.always, allow: "GET, POST" }))
  }
  const whole = Dressing.ofSession(engine, dressing, request, session.id, "polling", false)
  return Effect.isEffect(whole)
    ? Effect.flatMap(whole, (whole) => exchange(engine, session, request, whole))
    : exchange(engine, session, request, whole)
}

const exchange = (engine: Engine, session: Session, request: HttpServerRequest, dressing: Dressing.Dressing) =>
  engine.platform.exchange(request, dressing, (exchange) => {
    const { transport } = session
    // The session may have ended or moved on while the headers were decided.
    if (!(transport instanceof PollingTransport) || session.state === "closed") exchange.reject(400)
    else if (request.method === "GET") transport.onGet(exchange)
    else transport.onPost(exchange)
  })

/**
 * Serves a poll or a post without a fiber, where nothing has to be waited for; returns false for everything else, which
 * is for `handle`.
 */
export const handleDirectly = (
  engine: Engine,
  owner: object,
  method: string,
  url: string,
  header: (name: string) => string | undefined,
  toExchange: (dressing: Dressing.Dressing) => Exchange
): boolean => {
  const { cors, responseHeaders } = engine.settings
  if (cors !== undefined || responseHeaders !== undefined || engine.stopped) return false
  if (method !== "GET" && method !== "POST") return false
  const verdict = verify(engine, owner, method, header("origin"), parseQuery(url), false)
  if (verdict._tag !== "Poll") return false
  const { session } = verdict
  const dressing = Dressing.ofPoll(Dressing.plain, header("user-agent"))
  const transport = session.transport as PollingTransport
  if (method === "GET") transport.onGet(toExchange(dressing))
  else transport.onPost(toExchange(dressing))
  return true
}

const upgrade = Effect.fnUntraced(function*(
  engine: Engine,
  session: Session,
  transport: TransportType,
  request: HttpServerRequest,
  query: Record<string, string>,
  dressing: Dressing.Dressing
) {
  const { allowRequest } = engine.settings
  if (allowRequest !== undefined) yield* inTime(engine, allowRequest(request))
  const whole = Dressing.ofSession(engine, dressing, request, session.id, transport, false)
  const { success } = Effect.isEffect(whole) ? yield* whole : whole
  const connection = yield* engine.platform.upgrade(request, success)
  // The session may have moved on while the request was decided; then the client is told by a close (rule R24).
  if (transport === "websocket" && session.isUpgradable) {
    session.startUpgrade(new WebSocketCandidate(connection, isBinary(query)))
  } else connection.close()
  return engine.platform.release(request)
})
