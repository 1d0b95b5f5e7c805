/**
 * One request, from its arrival to its answer: a handshake, a poll, a post, or an upgrade.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import { parseQuery } from "../protocol/query.ts"
import { requestsOf, type Session } from "../session/session.ts"
import type { Exchange, Requests } from "../transport/requests.ts"
import { type Arrival, inTime, type Reply } from "./arrival.ts"
import { corsHeaders, preflightHeaders } from "./cors.ts"
import { onStop } from "./drain.ts"
import * as Dressing from "./dressing.ts"
import type { Engine } from "./engine.ts"
import { handshake, handshakeOfNone, polling, webSocket } from "./handshake.ts"
import type { CorsOptions } from "./options.ts"
import type { Owner } from "./owner.ts"
import { refuse, type RefuseRaw } from "./refuse.ts"
import * as respond from "./respond.ts"
import { upgrade } from "./upgradeRequest.ts"
import { verify } from "./verify.ts"

/** Handles the request of the current fiber. Fails only with what the factory failed with. */
export const handle = (toEngine: (context: Context.Context<never>) => Engine, owner: Owner): Reply => {
  let handler: Handler | undefined
  return Effect.withFiber((fiber) => {
    const engine = toEngine(fiber.context)
    if (handler?.engine !== engine) handler = new Handler(engine, owner)
    return handler.handle(Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest))
  })
}

/** What stands on a path: one engine, and whose sessions it opens there. */
export class Handler {
  readonly engine: Engine
  private readonly owner: Owner
  private readonly onStop = (isStopped: boolean): void => onStop(this.engine, isStopped)
  constructor(engine: Engine, owner: Owner) {
    this.engine = engine
    this.owner = owner
  }

  handle(request: HttpServerRequest): Reply {
    const { platform } = this.engine
    platform.watch(request, this.onStop)
    const turn = platform.turn(request)
    return turn === undefined
      ? this.answer(request)
      : Effect.matchCauseEffect(turn, {
        onFailure: (cause) => this.refuse(request, true, cause, Dressing.plain),
        onSuccess: () => this.answer(request)
      })
  }

  private answer(request: HttpServerRequest): Reply {
    const { engine } = this
    const { platform, settings } = engine
    platform.prepare(request)
    const isUpgrade = platform.isUpgrade(request)
    const cors = settings.cors?.(request)
    return Effect.isEffect(cors)
      ? Effect.matchCauseEffect(inTime(engine, cors), {
        onFailure: (cause) => this.refuse(request, isUpgrade, cause, Dressing.plain),
        onSuccess: (cors) => this.dispatch(request, isUpgrade, cors)
      })
      : this.dispatch(request, isUpgrade, cors)
  }

  private refuse(
    request: HttpServerRequest,
    isUpgrade: boolean,
    cause: Cause.Cause<unknown>,
    dressing: Dressing.Dressing
  ): Reply {
    const { engine } = this
    const raw: RefuseRaw | undefined = isUpgrade
      ? (status, message) => engine.platform.refuse(request, status, message)
      : undefined
    return refuse(engine, request, raw, cause, dressing)
  }

  private dispatch(request: HttpServerRequest, isUpgrade: boolean, cors: CorsOptions | undefined): Reply {
    const { engine, owner } = this
    const { platform } = engine
    let headers: Record<string, string> | undefined
    if (cors !== undefined && cors.origin !== false) {
      // A request to upgrade is no preflight, and answered on its connection alone, where others may wait for answers too.
      const isPreflight = !isUpgrade && request.method === "OPTIONS"
      headers = isPreflight ? preflightHeaders(cors, request.headers) : corsHeaders(cors, request.headers)
      if (isPreflight && cors.preflightContinue !== true) {
        return Effect.succeed(respond.bare(cors.optionsSuccessStatus ?? 204, headers))
      }
    }
    const dressing = Dressing.ofRequest(engine, headers)
    const verdict = verify(engine, owner, request.method, platform.header(request, "origin"), request.url, isUpgrade)
    if (verdict._tag === "Poll") return this.poll(verdict.session, request, dressing)
    const arrival: Arrival = { engine, owner, request, query: parseQuery(request.url), dressing }
    const reply = verdict._tag === "Upgrade"
      ? upgrade(arrival, verdict.session, verdict.transport)
      : verdict._tag !== "Handshake"
      ? Effect.fail(verdict)
      : verdict.transport === "websocket"
      ? handshake(arrival, webSocket)
      : isUpgrade
      ? handshakeOfNone(arrival)
      : handshake(arrival, polling)
    return Effect.catchCause(reply, (cause) => this.refuse(request, isUpgrade, cause, dressing))
  }

  private poll(session: Session, request: HttpServerRequest, dressing: Dressing.Dressing): Reply {
    if (request.method !== "GET" && request.method !== "POST") {
      return Effect.succeed(respond.bare(405, { ...dressing.always, allow: "GET, POST" }))
    }
    const whole = Dressing.ofSession(this.engine, dressing, request, session.id, "polling", false)
    return Effect.isEffect(whole)
      ? Effect.matchCauseEffect(inTime(this.engine, whole), {
        onFailure: (cause) => this.refuse(request, false, cause, dressing),
        onSuccess: (whole) => this.exchange(session, request, whole)
      })
      : this.exchange(session, request, whole)
  }

  private exchange(session: Session, request: HttpServerRequest, dressing: Dressing.Dressing) {
    return this.engine.platform.exchange(request, dressing, (exchange) => {
      const requests = requestsOf(session)
      // The session may have ended or moved on while the headers were decided.
      if (requests === undefined) exchange.reject(400)
      else hand(requests, request.method, exchange)
    })
  }

  /**
   * Serves a poll or a post without a fiber, where nothing has to be waited for; returns false for everything else, which
   * is for `handle`.
   */
  handleDirectly(
    method: string,
    url: string,
    header: (name: string) => string | undefined,
    toExchange: (dressing: Dressing.Dressing) => Exchange
  ): boolean {
    const { engine, owner } = this
    const { cors, responseHeaders } = engine.settings
    if (cors !== undefined || responseHeaders !== undefined || engine.stopped) return false
    if (method !== "GET" && method !== "POST") return false
    const verdict = verify(engine, owner, method, header("origin"), url, false)
    if (verdict._tag !== "Poll") return false
    hand(verdict.requests, method, toExchange(Dressing.ofPoll(Dressing.plain, header("user-agent"))))
    return true
  }
}

const hand = (requests: Requests, method: string, exchange: Exchange): void =>
  method === "GET" ? requests.onGet(exchange) : requests.onPost(exchange)
