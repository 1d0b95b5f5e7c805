/**
 * What a server lets others know: its events, its metrics, and the log.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import type * as Stream from "effect/Stream"
import { type CloseReason, message, type WriteFailed } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import { see } from "../protocol/see.ts"
import { end as endObservers, observe, type Observed, type Observers, publish } from "../session/observers.ts"
import { labelOf } from "../session/model.ts"
import { bytesWaiting, type Session, transportOf } from "../session/session.ts"
import type { EngineEvent } from "./events.ts"
import { MetricsRecorder } from "./metrics.ts"
import type { Registry } from "./registry.ts"
import type { Supervisor } from "./supervisor.ts"

const foreign =
  "A request was refused, because another handler had opened its session: build a handler once, not for " +
  `every request, and give acceptWebTransport the very function of the handler${see("foreign-handler")}`

export class Telemetry implements Observed<EngineEvent> {
  observers: Observers<EngineEvent> | undefined = undefined
  /** Whether nothing will happen any more. */
  isOver = false
  private hasToldOfForeign = false
  private readonly supervisor: Supervisor
  readonly metrics: MetricsRecorder
  private readonly isDebug: boolean
  constructor(supervisor: Supervisor, registry: Registry) {
    const { context } = supervisor
    this.supervisor = supervisor
    this.metrics = new MetricsRecorder(context, () => {
      let bytes = 0
      for (const session of registry.all) bytes += bytesWaiting(session)
      return bytes
    })
    this.isDebug = LogLevel.isLessThanOrEqualTo(Context.get(context, References.MinimumLogLevel), "Debug")
  }

  /** What happens from when the stream runs. */
  readonly events: Stream.Stream<EngineEvent> = observe<EngineEvent>(this, () => this.isOver)

  opened(session: Session): void {
    const transport = transportOf(session)
    this.metrics.opened(transport)
    this.log("Session opened", session, { transport, revision: session.protocol })
    this.publish({ _tag: "Connection", socket: session })
  }

  closed(session: Session, reason: CloseReason): void {
    this.metrics.closed(transportOf(session), reason)
    this.log("Session closed", session, {
      reason: message(reason),
      ...("error" in reason ? { error: reason.error._tag, detail: reason.error.message } : undefined)
    })
    this.publish({ _tag: "Closed", socket: session, reason })
  }

  upgraded(session: Session, from: TransportType, millis: number): void {
    const to = transportOf(session)
    this.metrics.upgraded(from, to, millis)
    this.log("Session upgraded", session, { from, to, millis: Math.round(millis) })
    this.publish({ _tag: "Upgraded", socket: session, from, to })
  }

  /** A request was refused. */
  refused(code: HandshakeError["code"], text: string, context: unknown): void {
    this.metrics.refused(code)
    this.log("Request refused", undefined, { code, message: text })
    this.publish({ _tag: "ConnectionError", code, message: text, context })
  }

  postRefused(session: Session, limit: number): void {
    this.log("POST refused: too large", session, { limit })
  }

  unwritable(session: Session, { cause }: WriteFailed): void {
    this.supervisor.fork(
      Effect.logError(`The answer to a request could not be written${see("unwritable-answer")}`, Cause.die(cause)).pipe(
        Effect.annotateLogs("session", labelOf(session))
      )
    )
  }

  /** A request named a session of another handler: rightly refused, or an application that builds handlers anew. */
  foreign(session: Session): void {
    if (this.hasToldOfForeign) return
    this.hasToldOfForeign = true
    this.warn(session, foreign)
  }

  /** Warns whoever runs the server. */
  warn(session: Session, words: string): void {
    this.supervisor.fork(Effect.annotateLogs(Effect.logWarning(words), "session", labelOf(session)))
  }

  /** Nothing comes after this. */
  end(): void {
    this.isOver = true
    this.metrics.end()
    if (this.observers !== undefined) endObservers(this.observers)
  }

  private publish(event: EngineEvent): void {
    if (this.observers !== undefined) publish(this.observers, event, 0)
  }

  /** What an operator may want to follow. */
  private log(text: string, session: Session | undefined, fields: Record<string, unknown>): void {
    if (!this.isDebug) return
    const line = Effect.annotateLogs(Effect.logDebug(text), fields)
    this.supervisor.fork(session === undefined ? line : Effect.annotateLogs(line, "session", labelOf(session)))
  }
}
