/**
 * The running server: its sessions, its clock, and the end of both. The registry here is the only way to a session.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import { type CloseReason, message, pingTimeout } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import type { BodyWaiter } from "../transport/contract.ts"
import { Expiry } from "./expiry.ts"
import type { SocketId } from "../session/model.ts"
import { end as endObservers, type Observers, publish } from "../session/observers.ts"
import { end, settle } from "../session/end.ts"
import { isOverdue } from "../session/heartbeat.ts"
import { operations } from "../session/operations.ts"
import { flush } from "../session/outgoing.ts"
import { bytesWaiting, labelOf, type Session, type SessionHost, transportOf } from "../session/session.ts"
import { isRunning } from "./context.ts"
import type { EngineEvent } from "./events.ts"
import type { Config } from "./config.ts"
import { MetricsRecorder } from "./metrics.ts"
import type { Platform } from "./platform.ts"
import { HandshakeRate } from "./rate.ts"

const foreign =
  "A request was refused, because another handler had opened its session: build a handler once, not for " +
  "every request, and give acceptWebTransport the very function of the handler"

export class Engine implements SessionHost {
  readonly settings: Config
  readonly platform: Platform
  readonly rate: HandshakeRate | undefined
  private readonly metrics: MetricsRecorder
  private readonly isDebug: boolean
  /** What the layer was built with: the context of everything that belongs to no request. */
  readonly context: Context.Context<never>
  /** What most sessions have for a context; see `context.ts`. */
  sharedContext: Context.Context<never> | undefined
  /** The time of day, in milliseconds. */
  readonly currentMillis: () => number
  /** Milliseconds since the server began, by the monotonic clock. */
  readonly now: () => number
  /** Bodies of POSTs that have begun to arrive. */
  readonly bodies: Expiry<BodyWaiter>
  /** Upgrades in progress. */
  readonly candidates: Expiry<() => void>
  private readonly sessions = new Map<SocketId, Session>()
  /** Ids given out to handshakes that are not decided yet. */
  private readonly reserved = new Set<SocketId>()
  /** Sessions whose application or `onDisconnect` still runs, the open ones included. */
  readonly alive = new Set<Session>()
  /** Open while no server listens: then nothing is decided any more. */
  readonly stopping = Latch.makeUnsafe(false)
  private readonly noSessions = Latch.makeUnsafe(true)
  private readonly nothingRuns = Latch.makeUnsafe(true)
  private dirty: Array<Session> = []
  observers: Observers<EngineEvent> | undefined
  /** Whether new handshakes are refused. */
  draining = false
  /** Whether no server listens for us any more. */
  stopped = false
  /** Sees to the end of the server since it has stopped; see `drain.ts`. */
  shuttingDown: Fiber.Fiber<void> | undefined
  constructor(settings: Config, platform: Platform, clock: Clock.Clock, context: Context.Context<never>) {
    this.settings = settings
    this.platform = platform
    // The programs of a session are short, and what happens to it belongs to the step in which it happens: between two
    // steps of theirs nobody else runs.
    this.context = Context.add(context, Scheduler.PreventSchedulerYield, true)
    this.isDebug = LogLevel.isLessThanOrEqualTo(Context.get(context, References.MinimumLogLevel), "Debug")
    this.metrics = new MetricsRecorder(context, () => this.buffered)
    this.currentMillis = () => clock.currentTimeMillisUnsafe()
    const origin = clock.monotonicTimeNanosUnsafe()
    this.now = () => Number(clock.monotonicTimeNanosUnsafe() - origin) / 1e6
    this.rate = settings.handshakeRate && new HandshakeRate(settings.handshakeRate, this)
    this.bodies = new Expiry(settings.bodyTimeout, this, (waiter) => waiter.onBodyLate())
    this.candidates = new Expiry(settings.upgradeTimeout, this, (giveUp) => giveUp())
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

  /** A session whose time is over is none any more, whether its fiber has noticed or not (rule R-H1). */
  get(id: SocketId): Session | undefined {
    const session = this.sessions.get(id)
    if (session !== undefined && isOverdue(session)) end(session, pingTimeout)
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
    this.noSessions.closeUnsafe()
    const transport = transportOf(session)
    this.metrics.opened(transport)
    this.log("Session opened", session, { transport, revision: session.protocol })
    this.publish({ _tag: "Connection", socket: session })
  }

  onEnd(session: Session, reason: CloseReason): void {
    if (this.sessions.get(session.id) !== session) return
    this.sessions.delete(session.id)
    this.metrics.closed(transportOf(session), reason)
    this.log("Session closed", session, {
      reason: message(reason),
      ...("error" in reason ? { error: reason.error._tag, detail: reason.error.message } : undefined)
    })
    this.publish({ _tag: "Closed", socket: session, reason })
  }

  /** Runs what ends by itself, or with the scope of a session. */
  run<A>(effect: Effect.Effect<A>): Fiber.Fiber<A> {
    const fiber = Effect.runForkWith(this.context)(effect)
    fiber.addObserver(this.report)
    return fiber
  }

  /** Without it, nobody would hear of a fiber that failed. */
  private readonly report = (exit: Exit.Exit<unknown, unknown>): void => {
    if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
      Effect.runForkWith(this.context)(Effect.logError("A fiber of a session failed", exit.cause))
    }
  }

  /** Runs the life of a session. */
  lead(
    session: Session,
    life: Effect.Effect<void>,
    takeLeave: () => Fiber.Fiber<void> | undefined
  ): Fiber.Fiber<void> {
    this.alive.add(session)
    this.nothingRuns.closeUnsafe()
    const fiber = Effect.runForkWith(this.context)(life)
    fiber.addObserver((exit) => {
      this.report(exit)
      const leave = takeLeave()
      if (leave === undefined) this.onLeft(session)
      else leave.addObserver(() => this.onLeft(session))
    })
    return fiber
  }

  private onLeft(session: Session): void {
    this.alive.delete(session)
    if (this.alive.size === 0) this.nothingRuns.openUnsafe()
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

  readonly operations = operations

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
      this.fork(Effect.annotateLogs(Effect.die(defect), "session", labelOf(session)))
    }
  }

  readonly isRunning = isRunning

  onPostRefused(session: Session, limit: number): void {
    this.log("POST refused: too large", session, { limit })
  }

  onUpgraded(session: Session, from: TransportType, millis: number): void {
    const to = transportOf(session)
    this.metrics.upgraded(from, to, millis)
    this.log("Session upgraded", session, { from, to, millis: Math.round(millis) })
    this.publish({ _tag: "Upgraded", socket: session, from, to })
  }

  onReceived(transport: TransportType, bytes: number): void {
    this.metrics.received(transport, bytes)
  }

  onSent(transport: TransportType, messages: number, bytes: number): void {
    this.metrics.sent(transport, messages, bytes)
  }

  onRoundTrip(millis: number): void {
    this.metrics.roundTrip(millis)
  }

  /** A request was refused. */
  onRefused(code: HandshakeError["code"], text: string, context: unknown): void {
    this.metrics.refused(code)
    this.log("Request refused", undefined, { code, message: text })
    this.publish({ _tag: "ConnectionError", code, message: text, context })
  }

  /** A request named a session of another handler: rightly refused, or an application that builds handlers anew. */
  onForeign(session: Session): void {
    if (this.toldOfForeign) return
    this.toldOfForeign = true
    this.warn(session, foreign)
  }

  warn(session: Session, words: string): void {
    this.fork(Effect.annotateLogs(Effect.logWarning(words), "session", labelOf(session)))
  }
  private toldOfForeign = false

  private publish(event: EngineEvent): void {
    if (this.observers !== undefined) publish(this.observers, event, 0)
  }

  private get buffered(): number {
    let bytes = 0
    for (const session of this.sessions.values()) bytes += bytesWaiting(session)
    return bytes
  }

  /** What an operator may want to follow. */
  private log(text: string, session: Session | undefined, fields: Record<string, unknown>): void {
    if (!this.isDebug) return
    const line = Effect.annotateLogs(Effect.logDebug(text), fields)
    this.fork(session === undefined ? line : Effect.annotateLogs(line, "session", labelOf(session)))
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  /** Whether nothing will happen any more. */
  isOver = false
  /** Stops what belongs to the server. Sessions are ended before. */
  close(): void {
    this.isOver = true
    for (const fiber of this.fibers) fiber.interruptUnsafe()
    this.metrics.end()
    if (this.observers !== undefined) endObservers(this.observers)
  }
}
