/**
 * The heartbeat of one session: one deadline that is, in turn, the next ping and the pong it awaits (rules R-H1–R-H7).
 * It belongs to the session and not to a transport, so an outstanding pong survives the upgrade (R82).
 */
import { pingTimeout } from "../../CloseReason.ts"
import { Deadline } from "./deadlines.ts"
import type { Session } from "./session.ts"

export class Heartbeat extends Deadline {
  private readonly session: Session
  private awaitingPong = false
  private sentAt = 0
  /** The last round trip in milliseconds; -1 before the first. */
  rtt = -1
  /** While we have stopped reading: what had been written when progress was last seen, and when that was. */
  private seenWrites = -1
  private seenAt = 0
  constructor(session: Session) {
    super()
    this.session = session
  }

  start(): void {
    const { deadlines, settings } = this.session.host
    deadlines.after(
      this.session.revision === 4 ? settings.pingInterval : settings.pingInterval + settings.pingTimeout
    ).add(this)
  }

  /** The client's half arrived: its pong in revision 4, its ping in revision 3. */
  beat(): void {
    const { deadlines } = this.session.host
    if (this.awaitingPong) {
      this.awaitingPong = false
      this.rtt = deadlines.now() - this.sentAt
      this.session.host.onRoundTrip(this.rtt)
    }
    this.start()
  }

  /** The client is evidently there, or could not be heard: a wait for its pong begins anew. */
  extend(): void {
    if (this.awaitingPong) this.session.host.deadlines.after(this.session.host.settings.pingTimeout).add(this)
    else if (this.session.revision === 3) this.start()
  }

  /** Does now what is due, although no timer has noticed yet. */
  check(): void {
    while (this.list !== undefined && this.isDue(this.session.host.deadlines.now())) {
      this.cancel()
      this.expire()
    }
  }

  // Deadlines are rounded up. A ping must not be early, but a client's time must not be longer by that (rule R-H4).
  private isDue(now: number): boolean {
    return this.at <= (this.isAwaiting ? Math.ceil(now) : now)
  }

  /** Whether it is the client's turn. */
  private get isAwaiting(): boolean {
    return this.awaitingPong || this.session.revision === 3
  }

  expire(): void {
    const session = this.session
    const { deadlines, settings } = session.host
    if (this.isAwaiting) {
      if (!this.isExcused()) return session.end(pingTimeout)
      deadlines.after(settings.pingTimeout).add(this)
      // We read nothing, so only by writing do we learn whether there is anybody.
      return session.touch()
    }
    // From when the ping was due, however late we are: lateness must not add up.
    deadlines.after(settings.pingTimeout).add(this, this.at)
    this.awaitingPong = true
    this.sentAt = deadlines.now()
    session.sendPing()
  }

  /**
   * While we read nothing from the client, its silence is our doing; but a client that also takes nothing of what waits
   * for it is gone.
   */
  private isExcused(): boolean {
    const session = this.session
    if (!session.paused) {
      this.seenWrites = -1
      return false
    }
    const { deadlines, settings } = session.host
    const now = deadlines.now()
    if (session.outgoing.length === 0 || session.writes !== this.seenWrites) {
      this.seenWrites = session.writes
      this.seenAt = now
      return true
    }
    return now - this.seenAt < settings.pingInterval + settings.pingTimeout
  }
}
