/**
 * When something is done with sessions: they are flushed at the end of a turn of the event loop, and told of their ends
 * one after the other. Where that fails for one, the others go on.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { settle } from "../session/end.ts"
import { flush } from "../session/outgoing.ts"
import { labelOf } from "../session/model.ts"
import type { Session } from "../session/session.ts"
import type { Platform } from "./platform.ts"
import type { Registry } from "./registry.ts"
import type { Supervisor } from "./supervisor.ts"

export class SessionScheduler {
  /** Those to flush. */
  private dirty: Array<Session> = []
  /** Those to tell, while that is under way. */
  private settling: Array<Session> | undefined = undefined
  private readonly noSessions = Latch.makeUnsafe(true)
  private readonly platform: Platform
  private readonly registry: Registry
  private readonly supervisor: Supervisor
  constructor(platform: Platform, registry: Registry, supervisor: Supervisor) {
    this.platform = platform
    this.registry = registry
    this.supervisor = supervisor
  }

  /** Has the session flushed at the end of the current turn. */
  schedule(session: Session): void {
    if (this.dirty.push(session) === 1) this.platform.defer(this.flushAll)
  }

  private readonly flushAll = (): void => {
    const sessions = this.dirty
    this.dirty = []
    for (const session of sessions) this.attempt(session, flush)
  }

  /** Tells of the session's end: at once, or after the end of the session that led to it. */
  settle(session: Session): void {
    if (this.settling !== undefined) return void this.settling.push(session)
    const settling = this.settling = [session]
    for (const one of settling) this.attempt(one, settle)
    this.settling = undefined
    // Only now have their connections begun to close.
    if (this.registry.count === 0) this.noSessions.openUnsafe()
  }

  /** Waits until there is no session. */
  readonly empty: Effect.Effect<void> = Effect.suspend(() => {
    if (this.registry.count > 0) this.noSessions.closeUnsafe()
    return this.noSessions.await
  })

  /** Does something with every session of this process. */
  each(f: (session: Session) => void): void {
    for (const session of this.registry.all) this.attempt(session, f)
  }

  private attempt(session: Session, f: (session: Session) => void): void {
    try {
      f(session)
    } catch (defect) {
      this.supervisor.fork(Effect.annotateLogs(Effect.die(defect), "session", labelOf(session)))
    }
  }
}
