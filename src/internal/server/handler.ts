/**
 * One request, from its arrival to its answer: a handshake, a poll, a post, or an upgrade.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { ParsedSearchParams } from "effect/http/HttpServerRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import {
  BadRequest,
  Forbidden,
  type HandshakeError,
  Unavailable,
  UnsupportedProtocolVersion
} from "../../HandshakeError.ts"
import type { Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import * as jsonp from "../protocol/jsonp.ts"
import { parseQuery } from "../protocol/query.ts"
import { Application, type Program } from "../session/application.ts"
import type { Handshake, Socket } from "../session/model.ts"
import { Session } from "../session/session.ts"
import { entrySize, Outbound, Outgoing } from "../transport/outgoing.ts"
import { PollingTransport } from "../transport/polling.ts"
import { WebSocketCandidate, WebSocketTransport } from "../transport/webSocket.ts"
import type { Engine } from "./engine.ts"
import { preflightHeaders } from "./cors.ts"
import * as Dressing from "./dressing.ts"
import type { CorsOptions } from "./options.ts"
import * as respond from "./respond.ts"
import { generateSid } from "./sid.ts"
import { verify } from "./verify.ts"

/** The function a user passes to `EngineIO.handler`. */
export type Factory = (socket: Socket) => Effect.Effect<Program, unknown, unknown>

/** The most packets one POST may carry. */
const maxPackets = 1_000_000

/** Handles the request of the current fiber. Fails only with what the factory failed with. */
export const handle = (
  engine: Engine,
  owner: object,
  factory: Factory
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const request = Context.getUnsafe(fiber.context as Context.Context<HttpServerRequest>, HttpServerRequest)
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
  if (request.method === "OPTIONS" && engine.settings.cors !== undefined) {
    const preflighted = preflight(engine, request)
    if (preflighted !== undefined) return preflighted
  }
  const query = parseQuery(request.url)
  const verdict = verify(engine, owner, request, query, isUpgrade)
  if (verdict._tag === "Poll") return poll(engine, verdict.session, request, dressing)
  const handled = verdict._tag === "Upgrade"
    ? upgrade(engine, verdict.session, verdict.transport, request, query, dressing)
    : verdict._tag === "Handshake"
    ? handshake(engine, owner, factory, request, query, verdict.transport, isUpgrade, dressing)
    : Effect.fail(verdict)
  return Effect.catchCause(handled, (cause) => refuse(engine, request, isUpgrade, cause, dressing))
}

/** The answer to a preflight; `undefined` where it is to be treated as any other request. */
const preflight = (engine: Engine, request: HttpServerRequest) => {
  const answer = (options: CorsOptions) =>
    respond.bare(options.optionsSuccessStatus ?? 204, preflightHeaders(options, request.headers))
  const options = engine.settings.cors!(request)
  if (Effect.isEffect(options)) return Effect.map(options, answer)
  return options.preflightContinue === true ? undefined : Effect.succeed(answer(options))
}

const dressed = (
  engine: Engine,
  dressing: Dressing.Dressing,
  request: HttpServerRequest,
  session: Session,
  transport: TransportType,
  initial: boolean
): Effect.Effect<Dressing.Dressing> => {
  const whole = Dressing.ofSession(engine, dressing, request, session.id, transport, initial)
  return Effect.isEffect(whole) ? whole : Effect.succeed(whole)
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

const upgrade = Effect.fnUntraced(function*(
  engine: Engine,
  session: Session,
  transport: TransportType,
  request: HttpServerRequest,
  query: Record<string, string>,
  dressing: Dressing.Dressing
) {
  yield* allow(engine, request)
  const { success } = yield* dressed(engine, dressing, request, session, transport, false)
  const connection = yield* engine.platform.upgrade(request, success)
  // The session may have moved on while the request was decided; then the client is told by a close (rule R24).
  const isPossible = transport === "websocket" && session.state !== "closed" &&
    session.upgrade === undefined && !session.upgraded && session.transportName === "polling"
  if (isPossible) session.startUpgrade(new WebSocketCandidate(connection, isBinary(query)))
  else connection.close()
  return engine.platform.release(request)
})

// --- handshake -------------------------------------------------------------------------------------------------------

const allow = (engine: Engine, request: HttpServerRequest) => engine.settings.allowRequest?.(request) ?? Effect.void

const generateId = (engine: Engine, request: HttpServerRequest): Effect.Effect<string, BadRequest> => {
  const { generateId } = engine.settings
  const failed = (error: unknown) => Effect.fail(new BadRequest({ context: { name: "ID_GENERATION_ERROR", error } }))
  const take = (id: string) =>
    typeof id !== "string" || id === ""
      ? failed("not a non-empty string")
      : engine.reserve(id)
      ? Effect.succeed(id)
      : failed("the id is in use")
  return generateId === undefined
    ? Effect.suspend(() => take(generateSid()))
    : generateId(request).pipe(
      Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : failed(Cause.squash(cause))),
      Effect.flatMap(take)
    )
}

const handshake = Effect.fnUntraced(function*(
  engine: Engine,
  owner: object,
  factory: Factory,
  request: HttpServerRequest,
  query: Record<string, string>,
  transport: TransportType,
  isUpgrade: boolean,
  dressing: Dressing.Dressing
) {
  const { platform, settings } = engine
  if (engine.draining) return yield* new Unavailable({ message: "Server shutting down" })
  if (engine.occupied >= settings.maxSessions) return yield* new Unavailable({ message: "Too many sessions" })
  yield* allow(engine, request)
  const revision: Revision = query["EIO"] === "4" ? 4 : 3
  if (revision === 3 && !settings.allowEIO3) {
    return yield* new UnsupportedProtocolVersion({ context: { protocol: revision } })
  }
  if (transport === "polling" && isUpgrade) {
    // An upgrade request to a transport that is none (rule R24).
    const connection = yield* platform.upgrade(request, dressing.success)
    connection.close()
    return platform.release(request)
  }
  const id = yield* generateId(engine, request)
  const scope = Scope.makeUnsafe()
  let session: Session | undefined
  return yield* Effect.onExit(
    Effect.gen(function*() {
      session = new Session(id, revision, toHandshake(request, query, transport), engine, owner)
      const program = yield* decide(engine, factory(session), scope)
      if (engine.draining) return yield* new Unavailable({ message: "Server shutting down" })
      // The application closed it at once, and dropped what it had sent.
      if (session.state === "closed") return yield* new Forbidden({ message: "Forbidden" })
      const whole = yield* dressed(engine, dressing, request, session, transport, true)
      const context = yield* Effect.context<never>()
      const opened = session
      opened.application = new Application(
        opened,
        program,
        toSessionContext(context, scope),
        scope,
        () => engine.onFinished(opened)
      )
      engine.register(opened)
      return yield* isUpgrade
        ? openWebSocket(engine, opened, request, query, whole)
        : openPolling(engine, opened, request, query, whole)
    }),
    (exit) => {
      if (session?.application !== undefined) return Effect.void
      engine.unreserve(id)
      session?.end({ _tag: "ForcedClose" })
      return Scope.close(scope, Exit.asVoid(exit))
    }
  )
})

/** The open packet and the initial message, before anything the application sends (rules R27 to R30). */
const makeOpening = (engine: Engine, session: Session): Outgoing => {
  const { settings } = engine
  const transport = session.handshake.transport
  const opening = new Outgoing()
  const upgrades = transport === "polling" && settings.allowUpgrades
    ? ["websocket", "webtransport"].filter((name) => settings.transports.has(name))
    : []
  const data = JSON.stringify({
    sid: session.id,
    upgrades,
    pingInterval: settings.pingInterval,
    pingTimeout: settings.pingTimeout,
    maxPayload: settings.maxPayload
  })
  opening.push(new Outbound("open", data, true, undefined), entrySize(data))
  const { initialPacket } = settings
  if (initialPacket !== undefined) opening.push(initialPacket, entrySize(initialPacket))
  return opening
}

/** The application's decision, in time. */
const decide = (engine: Engine, program: Effect.Effect<Program, unknown, unknown>, scope: Scope.Scope) =>
  Effect.timeoutOrElse(Effect.provideService(program, Scope.Scope, scope), {
    duration: engine.settings.handshakeTimeout,
    orElse: () => Effect.fail(new Unavailable({ message: "Handshake timeout" }))
  })

const openPolling = (
  engine: Engine,
  session: Session,
  request: HttpServerRequest,
  query: Record<string, string>,
  dressing: Dressing.Dressing
) =>
  engine.platform.exchange(request, dressing, (exchange) => {
    const { j } = query
    const transport = new PollingTransport(session, {
      jsonp: j === undefined ? undefined : jsonp.callbackIndex(j),
      binary: isBinary(query) && j === undefined,
      maxPayload: engine.settings.maxPayload,
      maxPackets
    })
    session.open(transport)
    transport.onFirstGet(exchange)
    session.greet(makeOpening(engine, session))
    session.start()
  })

const openWebSocket = (
  engine: Engine,
  session: Session,
  request: HttpServerRequest,
  query: Record<string, string>,
  dressing: Dressing.Dressing
) =>
  engine.platform.upgrade(request, dressing.success).pipe(
    Effect.map((connection) => {
      session.open(new WebSocketTransport(connection, session, isBinary(query)))
      session.greet(makeOpening(engine, session))
      session.start()
      return engine.platform.release(request)
    }),
    Effect.onExit((exit) =>
      Exit.isFailure(exit) ? Effect.sync(() => session.end({ _tag: "TransportClose" })) : Effect.void
    )
  )

/** Whether the client takes bytes as bytes (rules R60, R64, R67). */
const isBinary = (query: Record<string, string>): boolean => (query["b64"] ?? "") === ""

const toHandshake = (
  request: HttpServerRequest,
  query: Record<string, string>,
  transport: TransportType
): Handshake => ({
  headers: request.headers,
  url: request.url,
  query,
  cookies: request.cookies,
  remoteAddress: Option.getOrUndefined(request.remoteAddress),
  transport,
  time: Date.now()
})

// What belongs to the request and must not outlive it; the last is Effect's own state of a request.
const requestKeys = [
  HttpServerRequest,
  ParsedSearchParams,
  HttpRouter.RouteContext,
  Context.Service<never>("effect/http/HttpEffect/CurrentRequestState")
] as const

const toSessionContext = (context: Context.Context<never>, scope: Scope.Scope): Context.Context<never> =>
  Context.add(Context.omit(...requestKeys)(context as Context.Context<unknown>), Scope.Scope, scope) as Context.Context<
    never
  >

// --- refusal ---------------------------------------------------------------------------------------------------------

const isHandshakeError = (error: unknown): error is HandshakeError =>
  error instanceof Forbidden || error instanceof Unavailable || error instanceof BadRequest ||
  (typeof error === "object" && error !== null && "code" in error && "status" in error && "context" in error)

/** Answers what failed: the protocol's errors and the application's own answers; everything else is the router's. */
const refuse = (
  engine: Engine,
  request: HttpServerRequest,
  isUpgrade: boolean,
  cause: Cause.Cause<unknown>,
  dressing: Dressing.Dressing
): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown> => {
  const found = Cause.findErrorOption(cause)
  if (Option.isNone(found)) {
    if (!Cause.hasDies(cause)) return Effect.failCause(cause)
    const log = Effect.logError("The application failed to decide on a handshake", cause)
    return Effect.andThen(log, isUpgrade ? refuseAll(engine, request, cause) : Effect.failCause(cause))
  }
  const error = found.value
  if (error === "UpgradeFailed") return Effect.succeed(engine.platform.release(request))
  if (isHandshakeError(error)) {
    engine.events?.publish({
      _tag: "ConnectionError",
      code: error.code,
      message: error.message,
      context: "context" in error ? error.context : { message: error.message }
    })
    const message = error.message === "" ? "Forbidden" : error.message
    const answer = isUpgrade
      ? engine.platform.refuse(request, error.status, message)
      : Effect.succeed(respond.refusal(error, message, dressing))
    return Effect.andThen(Effect.logDebug("Request refused", { code: error.code, message }), answer)
  }
  if (!HttpServerResponse.isHttpServerResponse(error) && !HttpServerRespondable.isRespondable(error)) {
    return isUpgrade ? refuseAll(engine, request, cause) : Effect.failCause(cause)
  }
  const response = HttpServerResponse.isHttpServerResponse(error)
    ? Effect.succeed(error)
    : HttpServerRespondable.toResponse(error)
  return isUpgrade
    ? Effect.flatMap(response, (response) => engine.platform.refuse(request, response.status, bodyText(response)))
    : response
}

/** What the router would answer with 500, on a request to upgrade. */
const refuseAll = (engine: Engine, request: HttpServerRequest, cause: Cause.Cause<unknown>) =>
  Effect.andThen(engine.platform.refuse(request, 500, "Internal Server Error"), Effect.failCause(cause))

const bodyText = (response: HttpServerResponse.HttpServerResponse): string =>
  response.body._tag === "Uint8Array" && response.body.text !== undefined ? response.body.text : ""
