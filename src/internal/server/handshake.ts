/**
 * The opening of a session: the last checks, the id, the application's decision, the first packets (rules R12 to R19,
 * R27 to R32). Each step is taken at once where nothing has to be waited for.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cookies from "effect/http/Cookies"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import {
  BadRequest,
  Forbidden,
  TooManyRequests,
  Unavailable,
  UnsupportedProtocolVersion
} from "../../HandshakeError.ts"
import type { Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import * as jsonp from "../protocol/jsonp.ts"
import { parseQuery } from "../protocol/query.ts"
import { Application, type Program } from "../session/application.ts"
import type { Handshake, Socket, SocketId } from "../session/model.ts"
import { Session } from "../session/session.ts"
import type { Transport } from "../transport/contract.ts"
import { entrySize, Outbound, Outgoing } from "../transport/outgoing.ts"
import { PollingTransport } from "../transport/polling.ts"
import { WebSocketTransport } from "../transport/webSocket.ts"
import { sessionContext } from "./context.ts"
import * as Dressing from "./dressing.ts"
import type { Engine } from "./engine.ts"
import * as respond from "./respond.ts"
import { generateSid } from "./sid.ts"
import { traced } from "./tracing.ts"

/** The function a user passes to `EngineIO.handler`. */
export type Factory = (socket: Socket) => Effect.Effect<Program, unknown, unknown>

/** Sessions belong to the handler that opened them: one of these, compared by identity. */
export class Owner {
  readonly factory: Factory
  constructor(factory: Factory) {
    this.factory = factory
  }
}

type Response = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown>

/** Whether the client takes bytes as bytes (rules R60, R64, R67). */
export const isBinary = (query: Record<string, string>): boolean => (query["b64"] ?? "") === ""

/** A decision of the application, which has `handshakeTimeout` for it. */
export const inTime = <A, E, R>(
  engine: Engine,
  decision: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.timeoutOrElse(decision, {
    duration: engine.settings.handshakeTimeout,
    orElse: () => Effect.fail(new Unavailable({ message: "Handshake timeout" }))
  })

export class Handshaking {
  private readonly engine: Engine
  private readonly owner: object
  private readonly factory: Factory
  private readonly request: HttpServerRequest
  private readonly query: Record<string, string>
  private readonly transport: TransportType
  private readonly isUpgrade: boolean
  private dressing: Dressing.Dressing
  private readonly toTransport: ((session: Session) => Transport) | undefined
  /** `toTransport` gives the session its transport where the request is none of HTTP that could be answered. */
  constructor(
    engine: Engine,
    owner: object,
    factory: Factory,
    request: HttpServerRequest,
    query: Record<string, string>,
    transport: TransportType,
    isUpgrade: boolean,
    dressing: Dressing.Dressing,
    toTransport?: (session: Session) => Transport
  ) {
    this.engine = engine
    this.owner = owner
    this.factory = factory
    this.request = request
    this.query = query
    this.transport = transport
    this.isUpgrade = isUpgrade
    this.dressing = dressing
    this.toTransport = toTransport
  }

  run(): Response {
    return traced("EngineIO.handshake", this.transport, Effect.suspend(() => this.admit()))
  }

  private admit(): Response {
    const { engine, request } = this
    const { allowRequest, maxSessions } = engine.settings
    if (engine.draining) return Effect.fail(new Unavailable({ message: "Server shutting down" }))
    if (engine.occupied >= maxSessions) return Effect.fail(new Unavailable({ message: "Too many sessions" }))
    if (engine.rate?.admit(Option.getOrUndefined(request.remoteAddress)) === false) {
      return Effect.fail(new TooManyRequests())
    }
    return allowRequest === undefined
      ? this.identify()
      : Effect.andThen(inTime(engine, allowRequest(request)), Effect.suspend(() => this.identify()))
  }

  private identify(): Response {
    const { engine, query, request } = this
    const { allowEIO3, generateId } = engine.settings
    if (query["EIO"] !== "4" && !allowEIO3) {
      return Effect.fail(new UnsupportedProtocolVersion({ context: { protocol: 3 } }))
    }
    // An upgrade request to a transport that is none (rule R24).
    if (this.transport === "polling" && this.isUpgrade) return this.upgradeToNothing()
    if (generateId === undefined) return this.decideAs(generateSid())
    const generated = Effect.catchCause(
      generateId(request),
      (cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : refuseId(Cause.squash(cause))
    )
    return Effect.flatMap(inTime(engine, generated), (id) => this.decideAs(id))
  }

  private upgradeToNothing(): Response {
    const { platform } = this.engine
    return Effect.map(platform.upgrade(this.request, this.dressing.success), (connection) => {
      connection.close()
      return platform.release(this.request)
    })
  }

  /** Lets the application decide. Until it has, the id is reserved, and nothing else exists of the session. */
  private decideAs(id: SocketId): Response {
    const { engine } = this
    if (typeof id !== "string" || id === "") return refuseId("not a non-empty string")
    // Others may have come in while this one was being decided.
    if (engine.occupied >= engine.settings.maxSessions) {
      return Effect.fail(new Unavailable({ message: "Too many sessions" }))
    }
    if (!engine.reserve(id)) return refuseId("the id is in use")
    const revision: Revision = this.query["EIO"] === "4" ? 4 : 3
    const session = new Session(id, revision, this.describe(), engine, this.owner)
    const scope = Scope.makeUnsafe()
    let decision: ReturnType<Factory>
    try {
      decision = this.factory(session)
    } catch (defect) {
      decision = Effect.die(defect)
    }
    const { responseHeaders } = engine.settings
    if (isSuccess(decision) && responseHeaders === undefined) {
      const { value } = decision
      return Effect.withFiber((fiber) => this.open(session, value, fiber.context, scope))
    }
    const decided = inTime(engine, Effect.provideService(decision, Scope.Scope, scope))
    return Effect.onExit(
      Effect.flatMap(
        decided,
        (program) =>
          Effect.flatMap(
            this.dress(session),
            () => Effect.withFiber((fiber) => this.open(session, program, fiber.context, scope))
          )
      ),
      (exit) => session.application === undefined ? this.abandon(session, scope, exit) : Effect.void
    )
  }

  /** The handshake came to nothing. */
  private abandon(session: Session, scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    this.engine.unreserve(session.id)
    session.end({ _tag: "ForcedClose" })
    return Scope.close(scope, Exit.asVoid(exit))
  }

  private dress(session: Session): Effect.Effect<void> {
    if (this.toTransport !== undefined) return Effect.void
    const whole = Dressing.ofSession(this.engine, this.dressing, this.request, session.id, this.transport, true)
    if (!Effect.isEffect(whole)) return Effect.void
    return Effect.map(whole, (dressing) => {
      this.dressing = dressing
    })
  }

  /** The application has agreed: the session is registered, and then told to the client (rule R19). */
  private open(session: Session, program: Program, context: Fiber["context"], scope: Scope.Closeable): Response {
    const { engine, request } = this
    // The application closed it at once, and dropped what it had sent; or the server went into its end meanwhile.
    const refusal = session.state === "closed"
      ? new Forbidden({ message: "Forbidden" })
      : engine.draining
      ? new Unavailable({ message: "Server shutting down" })
      : undefined
    if (refusal !== undefined) {
      const exit = Exit.fail(refusal)
      return Effect.andThen(this.abandon(session, scope, exit), exit)
    }
    if (engine.settings.responseHeaders === undefined) {
      const whole = Dressing.ofSession(engine, this.dressing, request, session.id, this.transport, true)
      if (!Effect.isEffect(whole)) this.dressing = whole
    }
    session.application = new Application(session, program, sessionContext(engine, context, scope), scope, engine)
    engine.register(session)
    if (this.toTransport !== undefined) {
      this.begin(session, this.toTransport(session))
      return Effect.succeed(respond.nothing)
    }
    return this.isUpgrade ? this.openWebSocket(session) : this.openPolling(session)
  }

  private begin(session: Session, transport: Transport): void {
    session.open(transport)
    session.greet(this.opening(session))
    session.start()
  }

  private openPolling(session: Session): Response {
    const { engine, query } = this
    return engine.platform.exchange(this.request, this.dressing, (exchange) => {
      const { j } = query
      const transport = new PollingTransport(session, {
        // A callback without a number would make a script that is none.
        jsonp: j === undefined ? undefined : jsonp.callbackIndex(j) || "0",
        binary: isBinary(query) && j === undefined,
        maxPayload: engine.settings.maxPayload,
        maxPackets: engine.settings.maxPacketsPerPayload
      })
      session.open(transport)
      transport.onFirstGet(exchange)
      session.greet(this.opening(session))
      session.start()
    })
  }

  private openWebSocket(session: Session): Response {
    const { platform } = this.engine
    return Effect.onExit(
      Effect.map(platform.upgrade(this.request, this.dressing.success), (connection) => {
        this.begin(session, new WebSocketTransport(connection, session, isBinary(this.query)))
        return platform.release(this.request)
      }),
      // Refused by the library, or given up by the client before the 101: there is no transport to tell of the end.
      (exit) => Exit.isFailure(exit) ? Effect.sync(() => session.end({ _tag: "TransportClose" })) : Effect.void
    )
  }

  /** The open packet and the initial message, before anything the application sends. */
  private opening(session: Session): Outgoing {
    const { settings } = this.engine
    const upgrades = this.transport === "polling" && settings.allowUpgrades
      ? ["websocket", "webtransport"].filter((name) => settings.transports.has(name))
      : []
    const data = JSON.stringify({
      sid: session.id,
      upgrades,
      pingInterval: settings.pingInterval,
      pingTimeout: settings.pingTimeout,
      maxPayload: settings.maxPayload
    })
    const opening = new Outgoing()
    opening.push(new Outbound("open", data, true, undefined), entrySize(data))
    const { initialPacket } = settings
    if (initialPacket !== undefined) opening.push(initialPacket, entrySize(initialPacket))
    return opening
  }

  private describe(): Handshake {
    const { request } = this
    return new RequestHandshake(
      request.headers,
      request.url,
      Option.getOrUndefined(request.remoteAddress),
      this.transport
    )
  }
}

/** Query and cookies are read when they are asked for: most sessions never do, and all would pay for them. */
class RequestHandshake implements Handshake {
  readonly headers: Handshake["headers"]
  readonly url: string
  readonly remoteAddress: string | undefined
  readonly transport: TransportType
  readonly time = Date.now()
  constructor(
    headers: Handshake["headers"],
    url: string,
    remoteAddress: string | undefined,
    transport: TransportType
  ) {
    this.headers = headers
    this.url = url
    this.remoteAddress = remoteAddress
    this.transport = transport
  }

  get query(): Handshake["query"] {
    return parseQuery(this.url)
  }

  get cookies(): Handshake["cookies"] {
    return Cookies.parseHeader(this.headers["cookie"] ?? "")
  }

  toJSON(): Handshake {
    return { ...this, query: this.query, cookies: this.cookies }
  }
}

type Fiber = Parameters<Parameters<typeof Effect.withFiber>[0]>[0]

const isSuccess = (decision: ReturnType<Factory>): decision is Exit.Success<Program, unknown> =>
  Exit.isExit(decision) && Exit.isSuccess(decision)

const refuseId = (error: unknown) => Effect.fail(new BadRequest({ context: { name: "ID_GENERATION_ERROR", error } }))
