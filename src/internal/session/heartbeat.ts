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

  expire(): void {
    const session = this.session
    const { deadlines, settings } = session.host
    const timedOut = this.awaitingPong || session.revision === 3
    if (timedOut && !this.isExcused()) return session.end(pingTimeout)
    deadlines.after(settings.pingTimeout).add(this)
    // We read nothing, so only by writing do we learn whether there is anybody.
    if (timedOut) return session.touch()
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
