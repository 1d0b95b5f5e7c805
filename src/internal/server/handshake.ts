/**
 * The opening of a session: the last checks, the id, the application's decision, the first packets (rules R12 to R19,
 * R27 to R32).
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cookies from "effect/http/Cookies"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { forcedClose } from "../../CloseReason.ts"
import {
  BadRequest,
  Forbidden,
  TooManyRequests,
  Unavailable,
  UnsupportedProtocolVersion
} from "../../HandshakeError.ts"
import { TransportType } from "../../Transport.ts"
import * as jsonp from "../protocol/jsonp.ts"
import { defuse } from "../protocol/defuse.ts"
import { takesBytes } from "../protocol/query.ts"
import { see } from "../protocol/see.ts"
import { SessionDoors } from "../session/doors.ts"
import { end } from "../session/end.ts"
import { open, type Program } from "../session/life.ts"
import type { Handshake, SocketId } from "../session/model.ts"
import * as Session from "../session/session.ts"
import type { Transport } from "../transport/contract.ts"
import { type Entry, make } from "../transport/entry.ts"
import { PollingTransport } from "../transport/polling.ts"
import { WebSocketTransport } from "../transport/webSocket.ts"
import { allow, type Arrival, decideHeaders, inTime, type Reply, shuttingDown } from "./arrival.ts"
import { idOf } from "./cluster.ts"
import { sessionContext } from "./context.ts"
import { type ExtraHeaders, of101, ofPoll } from "./extraHeaders.ts"
import type { Engine } from "./engine.ts"
import { generateSid } from "./sid.ts"
import { traced } from "./tracing.ts"

/** How sessions open on one transport. */
export interface Kind<A> {
  readonly transport: TransportType
  /** Whether the answer is one of HTTP, which has headers. */
  readonly hasHeaders: boolean
  /** Makes the transport, gives it to the session by `start`, and answers the client. */
  readonly open: (
    arrival: Arrival,
    extraHeaders: ExtraHeaders,
    session: Session.Session,
    start: (transport: Transport) => void,
    context: Context.Context<never>
  ) => Effect.Effect<A, unknown, unknown>
}

/** Opens a session. Where that comes to nothing, at whatever step, nothing is left of it. */
export const handshake = <A>(arrival: Arrival, kind: Kind<A>): Effect.Effect<A, unknown, unknown> =>
  traced("EngineIO.handshake", kind.transport, steps(arrival, kind))

const steps = Effect.fnUntraced(function*<A>(arrival: Arrival, kind: Kind<A>) {
  yield* admit(arrival)
  const id = yield* identify(arrival)
  return yield* Effect.acquireUseRelease(
    reserve(arrival, kind.transport, id),
    (session) => decide(arrival, kind, session),
    (session, exit) => abandonUnlessBegun(arrival.engine, session, exit)
  )
})

const admit = Effect.fnUntraced(function*(arrival: Arrival) {
  const { engine, query, request } = arrival
  const { allowEIO3, maxSessions } = engine.settings
  if (engine.draining) return yield* shuttingDown
  if (engine.registry.occupied >= maxSessions) return yield* tooMany
  if (engine.rate?.admit(Option.getOrUndefined(request.remoteAddress)) === false) return yield* new TooManyRequests()
  yield* allow(arrival)
  if (query["EIO"] !== "4" && !allowEIO3) return yield* new UnsupportedProtocolVersion({ context: { protocol: 3 } })
})

const tooMany = Effect.suspend(() => Effect.fail(new Unavailable({ message: "Too many sessions" })))

const identify = (arrival: Arrival): Effect.Effect<SocketId, BadRequest | Unavailable> => {
  const { engine, handler, request } = arrival
  const generateId = handler.hooks?.generateId ?? engine.settings.generateId
  if (generateId === undefined) return newSid
  const generated = Effect.catchCause(
    Effect.suspend(() => generateId(request)),
    (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.andThen(
          Effect.logError(`generateId failed${see("generateid-failed")}`, cause),
          refuseId(Cause.squash(cause))
        )
  )
  return inTime(arrival, generated)
}

const newSid = Effect.sync(generateSid)

const refuseId = (error: unknown) => Effect.fail(new BadRequest({ context: { name: "ID_GENERATION_ERROR", error } }))

/** Until the application has decided, the id is reserved, and nobody can find the session. */
const reserve = Effect.fnUntraced(function*(arrival: Arrival, transport: TransportType, part: SocketId) {
  const { engine, handler, query } = arrival
  if (typeof part !== "string" || part === "") return yield* refuseId("not a non-empty string")
  const id = idOf(engine.cluster, part)
  // Others may have come in while this one was being decided.
  if (engine.registry.occupied >= engine.settings.maxSessions) return yield* tooMany
  const told = tell(arrival, transport)
  if (!engine.registry.reserve(id)) return yield* refuseId("the id is in use")
  return yield* Session.make(id, query["EIO"] === "4" ? 4 : 3, told, handler, engine)
})

/** What the application is told of the request. */
const tell = (
  { engine, query, request: { headers, remoteAddress, url } }: Arrival,
  transport: TransportType
): Handshake => ({
  headers,
  url,
  query,
  cookies: headers["cookie"] === undefined ? noCookies : Cookies.parseHeader(headers["cookie"]),
  remoteAddress: Option.getOrUndefined(remoteAddress),
  transport,
  time: engine.currentMillis()
})

const noCookies: Handshake["cookies"] = Object.freeze({})

const decide = Effect.fnUntraced(function*<A>(arrival: Arrival, kind: Kind<A>, session: Session.Session) {
  const { engine, extraHeaders } = arrival
  const program = yield* ask(arrival, session)
  const headers = kind.hasHeaders ? yield* decideHeaders(arrival, session.id, kind.transport, true) : extraHeaders
  if (!isProgram(program)) return yield* refuseProgram((program as Program | null | undefined)?.app)
  // The application closed it at once, and dropped what it had sent; or the server went into its end meanwhile.
  if (Session.get(session.state) === "closed") return yield* new Forbidden({ message: "Forbidden" })
  if (engine.draining) return yield* shuttingDown
  const context = yield* Effect.context<never>()
  return yield* kind.open(
    arrival,
    headers,
    session,
    (transport) => begin(engine, session, transport, program, context),
    context
  )
})

/** Asks the application for its program. */
const ask = (arrival: Arrival, session: Session.Session): Effect.Effect<Program, unknown, unknown> =>
  Effect.suspend(() => {
    const decision = arrival.handler.factory(session)
    if (!Effect.isEffect(decision)) return refuseProgram(decision)
    // Most have nothing to wait for.
    return Exit.isExit(decision) && Exit.isSuccess(decision)
      ? decision
      : inTime(arrival, Effect.provideService(decision, Scope.Scope, session.scope), returnIt)
  })

// Without types, a function may run its application where it should return it.
const returnIt = ": return { app: … }, do not run the application in the function itself"

// A function without types may return anything.
const refuseProgram = (value: unknown): Effect.Effect<never> => {
  defuse(value)
  return Effect.die(
    new TypeError(
      `The function of a handler must return an Effect of { app: … }, where app is an Effect${see("no-app")}`
    )
  )
}

const isProgram = (value: Program | null | undefined): value is Program =>
  value !== null && value !== undefined && Effect.isEffect(value.app) &&
  (value.onDisconnect === undefined || typeof value.onDisconnect === "function")

/** The session is registered, and then told to the client (rule R19). */
const begin = (
  engine: Engine,
  session: Session.Session,
  transport: Transport,
  program: Program,
  context: Context.Context<never>
): void => {
  // The server may have come to its end while the connection was made.
  if (Session.get(session.state) === "closed" || engine.draining) return transport.close(false)
  engine.registry.register(session)
  engine.telemetry.opened(session)
  open(session, transport, opening(engine, session, transport), program, sessionContext(engine, context, session))
}

/** The open packet and the initial message, before anything the application sends. */
const opening = (
  { settings }: Engine,
  session: Session.Session,
  { isUpgradable, name }: Transport
): ReadonlyArray<Entry> => {
  const { all } = TransportType
  const upgrades = isUpgradable && settings.allowUpgrades
    ? all.slice(all.indexOf(name) + 1).filter((better) => settings.transports.has(better))
    : []
  const data = JSON.stringify({
    sid: session.id,
    upgrades,
    pingInterval: settings.pingInterval,
    pingTimeout: settings.pingTimeout,
    maxPayload: settings.maxPayload
  })
  const first = make("open", data)
  return settings.initialPacket === undefined ? [first] : [first, make("message", settings.initialPacket)]
}

const abandonUnlessBegun = (
  engine: Engine,
  session: Session.Session,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (session.fiber !== undefined) return Effect.void
    engine.registry.unreserve(session.id)
    end(session, forcedClose)
    return Scope.close(session.scope, Exit.asVoid(exit))
  })

/** The first GET of a client that polls: its answer carries the first packets. */
export const polling: Kind<HttpServerResponse> = {
  transport: "polling",
  hasHeaders: true,
  open: ({ engine, query, request }, extraHeaders, session, start, context) =>
    Effect.suspend(() => {
      const { platform, settings } = engine
      const headers = {
        ...ofPoll(extraHeaders, platform.header(request, "user-agent")),
        cookies: settings.cookie?.(session.id)
      }
      const exchange = platform.exchange(request, headers, context)
      const { j } = query
      // A callback without a number would make a script that is none.
      const callback = j === undefined ? undefined : jsonp.callbackIndex(j) || "0"
      const isBinary = takesBytes(query) && j === undefined
      const transport = new PollingTransport(new SessionDoors(session), settings, isBinary, callback)
      transport.onFirstGet(exchange)
      start(transport)
      return exchange.awaitAnswer
    })
}

/** A request to upgrade, to a WebSocket. */
export const webSocket: Kind<HttpServerResponse> = {
  transport: "websocket",
  hasHeaders: true,
  open: ({ engine, query, request }, extraHeaders, session, start) =>
    engine.platform.upgrade(
      request,
      of101(extraHeaders),
      (connection) => start(new WebSocketTransport(connection, new SessionDoors(session), takesBytes(query)))
    )
}

/** A request to upgrade to a transport that is none: the connection is accepted, and closed (rule R24). */
export const handshakeOfNone = (arrival: Arrival): Reply =>
  traced("EngineIO.handshake", "polling", acceptAndClose(arrival))

const acceptAndClose = Effect.fnUntraced(function*(arrival: Arrival) {
  yield* admit(arrival)
  const { extraHeaders, engine, request } = arrival
  return yield* engine.platform.upgrade(request, of101(extraHeaders), (connection) => connection.close())
})
