/**
 * The running server: its sessions, its clock, and the end of both. The registry here is the only way to a session.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import { type CloseReason, message } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import { Deadlines } from "../session/deadlines.ts"
import type { SocketId } from "../session/model.ts"
import { Observers } from "../session/observers.ts"
import type { Session, SessionHost } from "../session/session.ts"
import { isRunning } from "./context.ts"
import { shutDown } from "./drain.ts"
import type { EngineEvent } from "./events.ts"
import type { Config } from "./config.ts"
import { Tally } from "./metrics.ts"
import type { Platform } from "./platform.ts"
import { HandshakeRate } from "./rate.ts"

const foreign =
  "A request was refused, because another handler had opened its session: build a handler once, not for " +
  "every request, and give acceptWebTransport the very function of the handler"

const settle = (session: Session): void => session.settle()

const flush = (session: Session): void => session.flush()

export class Engine implements SessionHost {
  readonly settings: Config
  readonly deadlines: Deadlines
  readonly platform: Platform
  readonly rate: HandshakeRate | undefined
  private readonly tally: Tally
  private readonly isDebug: boolean
  /** What the layer was built with: the context of everything that belongs to no request. */
  readonly context: Context.Context<never>
  /** What most sessions have for a context; see `context.ts`. */
  sharedContext: Context.Context<never> | undefined
  /** The time of day, in milliseconds. */
  readonly currentMillis: () => number
  private readonly sessions = new Map<SocketId, Session>()
  /** Ids given out to handshakes that are not decided yet. */
  private readonly reserved = new Set<SocketId>()
  /** Sessions whose application or `onDisconnect` still runs, the open ones included. */
  readonly alive = new Set<Session>()
  /** Decisions that the application is about to make, to be told when no server listens any more. */
  readonly undecided = new Set<{ onStop(): void }>()
  private readonly noSessions = Latch.makeUnsafe(true)
  private readonly nothingRuns = Latch.makeUnsafe(true)
  private dirty: Array<Session> = []
  events: Observers<EngineEvent> | undefined
  /** Whether new handshakes are refused. */
  draining = false
  /** Whether no server listens for us any more. */
  stopped = false
  constructor(settings: Config, platform: Platform, clock: Clock.Clock, context: Context.Context<never>) {
    this.settings = settings
    this.platform = platform
    this.context = context
    this.isDebug = LogLevel.isLessThanOrEqualTo(Context.get(context, References.MinimumLogLevel), "Debug")
    this.tally = new Tally(context, () => this.buffered)
    this.currentMillis = () => clock.currentTimeMillisUnsafe()
    this.deadlines = new Deadlines(clock, (effect) => this.fork(effect))
    this.rate = settings.handshakeRate && new HandshakeRate(settings.handshakeRate, this.deadlines)
  }

  /** Runs what belongs to the server, not to a request; `close` ends it. */
  readonly fork = (effect: Effect.Effect<void>): Fiber.Fiber<void> => {
    const fiber = Effect.runForkWith(this.context)(Effect.tapCause(
      effect,
      (cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("A fiber of the server failed", cause)
    ))
    if (fiber.pollUnsafe() === undefined) {
      this.fibers.add(fiber)
      fiber.addObserver(() => this.fibers.delete(fiber))
    }
    return fiber
  }
  private readonly fibers = new Set<Fiber.Fiber<void>>()

  // --- registry ----------------------------------------------------------------------------------------------------

  get count(): number {
    return this.sessions.size
  }

  get all(): ReadonlyMap<SocketId, Session> {
    return this.sessions
  }

  /** A session whose time is over is none any more, whether its timer has fired or not (rule R-H1). */
  get(id: SocketId): Session | undefined {
    this.sessions.get(id)?.heartbeat.check()
    return this.sessions.get(id)
  }

  /** How many sessions there are or may be in a moment. */
  get occupied(): number {
    return this.sessions.size + this.reserved.size
  }

  /** Keeps an id for a handshake; `false` when it is in use. */
  reserve(id: SocketId): boolean {
    if (this.sessions.has(id) || this.reserved.has(id)) return false
    this.reserved.add(id)
    return true
  }

  unreserve(id: SocketId): void {
    this.reserved.delete(id)
  }

  register(session: Session): void {
    this.reserved.delete(session.id)
    this.sessions.set(session.id, session)
    this.alive.add(session)
    this.noSessions.closeUnsafe()
    this.nothingRuns.closeUnsafe()
    this.tally.opened(session.transportName)
    this.log("Session opened", session, { transport: session.transportName, revision: session.revision })
    this.events?.publish({ _tag: "Connection", socket: session })
  }

  onEnd(session: Session, reason: CloseReason): void {
    if (this.sessions.get(session.id) !== session) return
    this.sessions.delete(session.id)
    this.tally.closed(session.transportName, reason)
    this.log("Session closed", session, {
      reason: message(reason),
      ...("error" in reason ? { error: reason.error._tag, detail: reason.error.message } : undefined)
    })
    this.events?.publish({ _tag: "Closed", socket: session, reason })
  }

  /** The session's application and `onDisconnect` are done. */
  onFinished(session: Session): void {
    this.alive.delete(session)
    if (this.alive.size === 0) this.nothingRuns.openUnsafe()
  }

  /** What is still running of sessions that ended gets no more time than the end of the server has. */
  hurry(): void {
    for (const { application } of this.alive) application?.hurry()
  }

  /** Waits until there is no session. */
  get empty(): Effect.Effect<void> {
    return this.noSessions.await
  }

  /** Waits until nothing of any session runs any more. */
  get idle(): Effect.Effect<void> {
    return this.nothingRuns.await
  }

  /** Tells of the ends of sessions one after the other, however many one of them sets off. */
  settle(session: Session): void {
    if (this.settling !== undefined) return void this.settling.push(session)
    const settling = this.settling = [session]
    for (const one of settling) this.attempt(one, settle)
    this.settling = undefined
    // Only now have their connections begun to close.
    if (this.sessions.size === 0) this.noSessions.openUnsafe()
  }
  private settling: Array<Session> | undefined

  // --- session host ------------------------------------------------------------------------------------------------

  schedule(session: Session): void {
    if (this.dirty.push(session) === 1) this.platform.defer(this.flushAll)
  }

  private readonly flushAll = (): void => {
    const sessions = this.dirty
    this.dirty = []
    for (const session of sessions) this.attempt(session, flush)
  }

  /** Does something with every session. */
  each(f: (session: Session) => void): void {
    for (const session of this.sessions.values()) this.attempt(session, f)
  }

  /** Does something with one session of several: if it throws, that is logged, and the others go on. */
  private attempt(session: Session, f: (session: Session) => void): void {
    try {
      f(session)
    } catch (defect) {
      this.fork(Effect.annotateLogs(Effect.die(defect), "session", session.label))
    }
  }

  readonly isRunning = isRunning

  onPostRefused(session: Session, limit: number): void {
    this.log("POST refused: too large", session, { limit })
  }

  onUpgraded(session: Session, from: TransportType, millis: number): void {
    this.tally.upgraded(from, session.transportName, millis)
    this.log("Session upgraded", session, { from, to: session.transportName, millis: Math.round(millis) })
    this.events?.publish({ _tag: "Upgraded", socket: session, from, to: session.transportName })
  }

  onReceived(transport: TransportType, bytes: number): void {
    this.tally.received(transport, bytes)
  }

  onSent(transport: TransportType, messages: number, bytes: number): void {
    this.tally.sent(transport, messages, bytes)
  }

  onRoundTrip(millis: number): void {
    this.tally.beat(millis)
  }

  /** A request was refused. */
  onRefused(code: HandshakeError["code"], text: string, context: unknown): void {
    this.tally.refused(code)
    this.log("Request refused", undefined, { code, message: text })
    this.events?.publish({ _tag: "ConnectionError", code, message: text, context })
  }

  /** A request named a session of another handler: rightly refused, or an application that builds handlers anew. */
  onForeign(session: Session): void {
    if (this.toldOfForeign) return
    this.toldOfForeign = true
    this.warn(session, foreign)
  }

  warn(session: Session, words: string): void {
    this.fork(Effect.annotateLogs(Effect.logWarning(words), "session", session.label))
  }
  private toldOfForeign = false

  private get buffered(): number {
    let bytes = 0
    for (const { outgoing, transport } of this.sessions.values()) bytes += outgoing.bytes + (transport?.unsent ?? 0)
    return bytes
  }

  /** What an operator may want to follow. */
  private log(text: string, session: Session | undefined, fields: Record<string, unknown>): void {
    if (!this.isDebug) return
    const line = Effect.annotateLogs(Effect.logDebug(text), fields)
    this.fork(session === undefined ? line : Effect.annotateLogs(line, "session", session.label))
  }

  observe(): Observers<EngineEvent> {
    return this.events ??= new Observers(() => 0)
  }

  stopObserving(): void {
    if (this.events?.isEmpty === true) this.events = undefined
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  /** Nothing listens for us any more; or something does again (rule R-C9). */
  readonly onStop = (isStopped: boolean): void => {
    if (isStopped === this.stopped) return
    if (isStopped) {
      this.shuttingDown = shutDown(this)
    } else {
      this.stopped = this.draining = false
      // What it would cut now are others.
      this.shuttingDown?.interruptUnsafe()
    }
  }
  private shuttingDown: Fiber.Fiber<void> | undefined

  /** Waits for what `onStop` has begun, which takes no longer than `drainTimeout`. */
  get over(): Effect.Effect<unknown> {
    return this.shuttingDown === undefined ? Effect.void : Fiber.await(this.shuttingDown)
  }

  /** Stops what belongs to the server. Sessions are ended before. */
  close(): void {
    for (const fiber of this.fibers) fiber.interruptUnsafe()
    this.tally.end()
    this.events?.end()
  }
}
