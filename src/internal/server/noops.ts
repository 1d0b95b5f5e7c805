/**
 * Noops for the polls that still come during upgrades (rule R77).
 */
import * as Effect from "effect/Effect"
import { noop, type Session } from "../session/session.ts"
import { type Due, Expiry, type ExpiryHost } from "./expiry.ts"

/** How long a client that polls again before it has seen the answer to its probe has to wait, in milliseconds. */
const firstNoop = 10

/** How often a poll is answered that a client opened during its upgrade, in milliseconds. */
const noopInterval = 100

/** Whose poll is answered, and when again. */
interface Turn {
  readonly session: Session
  due: Due<Turn> | undefined
}

export class Noops {
  private readonly first: Expiry<Turn>
  private readonly later: Expiry<Turn>
  private readonly host: ExpiryHost
  constructor(host: ExpiryHost) {
    this.host = host
    const next = (turn: Turn): void => {
      turn.due = this.later.add(turn)
      noop(turn.session)
    }
    this.first = new Expiry(firstNoop, host, next)
    this.later = new Expiry(noopInterval, host, next)
  }

  /** Answers the poll that waits, and those that come, until it is told to stop. */
  answer(session: Session): () => void {
    const turn: Turn = { session, due: undefined }
    turn.due = this.first.add(turn)
    // What it throws is not to end the upgrade.
    this.host.fork(Effect.sync(() => noop(session)))
    return () => {
      this.first.cancel(turn.due!)
      this.later.cancel(turn.due!)
    }
  }
}
