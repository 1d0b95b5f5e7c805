/**
 * Noops for the polls that still come during upgrades (rule R77).
 */
import * as Effect from "effect/Effect"
import { noop, type Polls, type Session } from "../session/session.ts"
import { type Due, Expiry, type ExpiryHost } from "./expiry.ts"

/** How long a client that polls again before it has seen the answer to its probe has to wait, in milliseconds. */
const firstNoop = 10

/** How often a poll is answered that a client opened during its upgrade, in milliseconds. */
const noopInterval = 100

export class Noops {
  readonly host: ExpiryHost
  readonly first: Expiry<NoopPolls>
  readonly later: Expiry<NoopPolls>
  constructor(host: ExpiryHost) {
    const next = (polls: NoopPolls): void => polls.next()
    this.host = host
    this.first = new Expiry(firstNoop, host, next)
    this.later = new Expiry(noopInterval, host, next)
  }

  of(session: Session): Polls {
    return new NoopPolls(this, session)
  }
}

/** The polls of one session during its upgrade. */
class NoopPolls implements Polls {
  private readonly noops: Noops
  private readonly session: Session
  /** When the next noop is due. */
  private due: Due<NoopPolls> | undefined
  constructor(noops: Noops, session: Session) {
    this.noops = noops
    this.session = session
  }

  /** Answers the one that waits, and those that come, until the end. */
  answer(): void {
    const { first, host } = this.noops
    this.due = first.add(this)
    // What it throws is not to end the upgrade.
    host.fork(Effect.sync(() => noop(this.session)))
  }

  next(): void {
    this.due = this.noops.later.add(this)
    noop(this.session)
  }

  end(): void {
    this.due?.cancel()
  }
}
