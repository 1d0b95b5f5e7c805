/**
 * The opening of a session: the last checks, the id, the application's decision, the first packets (rules R12 to R19,
 * R27 to R32). Each step is taken at once where nothing has to be waited for.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { RouteContext } from "effect/http/HttpRouter"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
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
import type { Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import { end } from "../session/end.ts"
import { open, type Program } from "../session/life.ts"
import type { Socket, SocketId } from "../session/model.ts"
import * as Session from "../session/session.ts"
import type { Transport } from "../transport/contract.ts"
import { type Entry, make } from "../transport/entry.ts"
import { sessionContext } from "./context.ts"
import * as Dressing from "./dressing.ts"
import type { Engine } from "./engine.ts"
import { makeHandshake } from "./requestHandshake.ts"
import { generateSid } from "./sid.ts"
import { traced } from "./tracing.ts"

/** The function a user passes to `EngineIO.handler`. */
export type Factory = (socket: Socket) => Effect.Effect<Program, unknown, unknown>

/** What sessions belong to: the handler that opened them or, where that is built anew for every request, its route. */
export class Owner {
  readonly factory: Factory
  private readonly identity: object
  constructor(factory: Factory, route?: object) {
    this.factory = factory
    this.identity = route ?? this
  }

  owns(session: Session.Session): boolean {
    return (session.owner as Owner).identity === this.identity
  }
}

/** The route whose request is being handled right now. */
export const currentRoute = (): object | undefined => {
  const fiber = Fiber.getCurrent()
  return fiber && Context.getOrUndefined(fiber.context as Context.Context<RouteContext>, RouteContext)?.route
}

/** What a request gets in the end. Fails with what the application failed with. */
export type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown>

/** A decision of the application, which has `handshakeTimeout` for it, and no longer than its server listens. */
export const inTime = <A, E, R>(
  engine: Engine,
  decision: Effect.Effect<A, E, R>,
  remedy = ""
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.timeoutOrElse(Effect.raceFirst(decision, stopping(engine)), {
    duration: engine.settings.handshakeTimeout,
    orElse: () =>
      Effect.andThen(
        Effect.logWarning(`The application did not decide on a handshake within handshakeTimeout${remedy}`),
        Effect.fail(new Unavailable({ message: "Handshake timeout" }))
      )
  })

const stopping = (engine: Engine): Effect.Effect<never, Unavailable> =>
  Effect.flatMap(engine.stopping.await, () => Effect.fail(new Unavailable({ message: "Server shutting down" })))

/** One handshake. How its session gets its transport, and its client the answer, is up to the kinds of it. */
export abstract class Handshaking {
  protected abstract readonly transport: TransportType
  protected readonly engine: Engine
  private readonly owner: Owner
  protected readonly request: HttpServerRequest
  protected readonly query: Record<string, string>
  protected dressing: Dressing.Dressing
  /** What the application agreed to. */
  private agreed: { readonly program: Program; readonly context: Context.Context<never> } | undefined
  private session: Session.Session | undefined
  private hasReserved = false
  constructor(
    engine: Engine,
    owner: Owner,
    request: HttpServerRequest,
    query: Record<string, string>,
    dressing: Dressing.Dressing
  ) {
    this.engine = engine
    this.owner = owner
    this.request = request
    this.query = query
    this.dressing = dressing
  }

  /** Gives a session that was agreed to its transport, by `begin`. */
  protected abstract answer(session: Session.Session): Answer

  run(): Answer {
    return traced("EngineIO.handshake", this.transport, Effect.suspend(() => this.admit()))
  }

  private admit(): Answer {
    const { engine, request } = this
    const { allowRequest, maxSessions } = engine.settings
    if (engine.draining) return Effect.fail(new Unavailable({ message: "Server shutting down" }))
    if (engine.occupied >= maxSessions) return Effect.fail(new Unavailable({ message: "Too many sessions" }))
    if (engine.rate?.admit(Option.getOrUndefined(request.remoteAddress)) === false) {
      return Effect.fail(new TooManyRequests())
    }
    return allowRequest === undefined
      ? this.checkRevision()
      : Effect.andThen(inTime(engine, allowRequest(request)), Effect.suspend(() => this.checkRevision()))
  }

  private checkRevision(): Answer {
    return this.query["EIO"] === "4" || this.engine.settings.allowEIO3
      ? this.identify()
      : Effect.fail(new UnsupportedProtocolVersion({ context: { protocol: 3 } }))
  }

  protected identify(): Answer {
    const { engine, request } = this
    const { generateId } = engine.settings
    if (generateId === undefined) return this.decideAs(generateSid())
    const generated = Effect.catchCause(
      generateId(request),
      (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.interrupt
          : Effect.andThen(Effect.logError("generateId failed", cause), refuseId(Cause.squash(cause)))
    )
    return Effect.flatMap(inTime(engine, generated), (id) => this.decideAs(id))
  }

  /** Lets the application decide. Until it has, the id is reserved, and nothing else exists of the session. */
  private decideAs(id: SocketId): Answer {
    return Effect.onExit(Effect.suspend(() => this.decide(id)), (exit) => this.abandonUnlessBegun(id, exit))
  }

  private decide(id: SocketId): Answer {
    const { engine, owner } = this
    if (typeof id !== "string" || id === "") return refuseId("not a non-empty string")
    // Others may have come in while this one was being decided.
    if (engine.occupied >= engine.settings.maxSessions) {
      return Effect.fail(new Unavailable({ message: "Too many sessions" }))
    }
    if (!engine.reserve(id)) return refuseId("the id is in use")
    this.hasReserved = true
    const revision: Revision = this.query["EIO"] === "4" ? 4 : 3
    const handshake = makeHandshake(this.request, this.query, this.transport, engine.currentMillis())
    return Effect.flatMap(Session.make(id, revision, handshake, owner, engine), (session) => this.ask(session))
  }

  /** Asks the application for its program. */
  private ask(session: Session.Session): Answer {
    const { engine, owner } = this
    this.session = session
    let decision: ReturnType<Factory>
    try {
      decision = owner.factory(session)
    } catch (defect) {
      decision = Effect.die(defect)
    }
    if (!Effect.isEffect(decision)) return notAnApp
    if (isSuccess(decision) && engine.settings.responseHeaders === undefined) {
      const { value } = decision
      this.dress(session)
      return Effect.withFiber((fiber) => this.open(session, value, fiber.context))
    }
    return Effect.flatMap(
      inTime(engine, Effect.provideService(decision, Scope.Scope, session.scope), returnIt),
      (program) => {
        const open = Effect.withFiber((fiber) => this.open(session, program, fiber.context))
        const dressed = this.dress(session)
        return dressed === undefined ? open : Effect.andThen(dressed, open)
      }
    )
  }

  /** Where the handshake came to nothing, nothing is left of its session. */
  private abandonUnlessBegun(id: SocketId, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const { session } = this
    if (session?.fiber !== undefined) return Effect.void
    if (this.hasReserved) this.engine.unreserve(id)
    if (session === undefined) return Effect.void
    end(session, forcedClose)
    return Scope.close(session.scope, Exit.asVoid(exit))
  }

  /** Decides what goes onto the answer: at once, or where the application has a say in it, by the effect. */
  protected dress(session: Session.Session): Effect.Effect<void, Unavailable> | undefined {
    const whole = Dressing.ofSession(this.engine, this.dressing, this.request, session.id, this.transport, true)
    if (Effect.isEffect(whole)) {
      return Effect.map(inTime(this.engine, whole), (dressing) => {
        this.dressing = dressing
      })
    }
    this.dressing = whole
    return undefined
  }

  private open(session: Session.Session, program: Program, context: Context.Context<never>): Answer {
    const { engine } = this
    if (!isProgram(program)) return notAnApp
    // The application closed it at once, and dropped what it had sent; or the server went into its end meanwhile.
    const refusal = Session.get(session.state) === "closed"
      ? new Forbidden({ message: "Forbidden" })
      : engine.draining
      ? new Unavailable({ message: "Server shutting down" })
      : undefined
    if (refusal !== undefined) return Effect.fail(refusal)
    this.agreed = { program, context }
    return this.answer(session)
  }

  /** The session is registered, and then told to the client (rule R19). */
  protected begin(session: Session.Session, transport: Transport): void {
    const { engine } = this
    const { context, program } = this.agreed!
    // The server may have come to its end while the connection was made.
    if (Session.get(session.state) === "closed" || engine.draining) return transport.close(false)
    engine.register(session)
    open(session, transport, this.opening(session, transport), program, sessionContext(engine, context, session))
  }

  /** The open packet and the initial message, before anything the application sends. */
  private opening(session: Session.Session, { isUpgradable }: Transport): ReadonlyArray<Entry> {
    const { settings } = this.engine
    const upgrades = isUpgradable && settings.allowUpgrades
      ? ["websocket", "webtransport"].filter((name) => settings.transports.has(name))
      : []
    const data = JSON.stringify({
      sid: session.id,
      upgrades,
      pingInterval: settings.pingInterval,
      pingTimeout: settings.pingTimeout,
      maxPayload: settings.maxPayload
    })
    const opening = make("open", data)
    return settings.initialPacket === undefined ? [opening] : [opening, make("message", settings.initialPacket)]
  }
}

// Without types, a function may run its application where it should return it.
const returnIt = ": return { app: … }, do not run the application in the function itself"

// A function without types may return anything.
const notAnApp: Effect.Effect<never> = Effect.suspend(() =>
  Effect.die(
    new TypeError("The function of a handler must return an Effect of { app: … }, where app is an Effect")
  )
)

const isProgram = (value: Program | null | undefined): boolean =>
  value !== null && value !== undefined && Effect.isEffect(value.app) &&
  (value.onDisconnect === undefined || typeof value.onDisconnect === "function")

const isSuccess = (decision: ReturnType<Factory>): decision is Exit.Success<Program, unknown> =>
  Exit.isExit(decision) && Exit.isSuccess(decision)

const refuseId = (error: unknown) => Effect.fail(new BadRequest({ context: { name: "ID_GENERATION_ERROR", error } }))
