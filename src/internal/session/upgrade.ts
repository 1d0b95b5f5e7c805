/**
 * The move of a session from polling to another transport: probe, noop loop, swap (rules R76–R84).
 */
import type { Packet, PacketError } from "../../Packet.ts"
import type { Candidate, CandidateHost } from "../transport/contract.ts"
import { PollingTransport } from "../transport/polling.ts"
import { Deadline } from "./deadlines.ts"
import type { Session } from "./session.ts"

/** How often a GET that a client opened during its upgrade is answered, in milliseconds (rule R77). */
const noopInterval = 100

/** The same for the first: often the client polls once more before it has seen the answer to its probe. */
const firstNoopInterval = 10

/** The upgrade in progress; as a deadline, its timeout. */
export class Upgrade extends Deadline implements CandidateHost {
  readonly candidate: Candidate
  private readonly session: Session
  private readonly noops: NoopLoop
  private readonly startedAt: number
  private isProbed = false
  constructor(session: Session, candidate: Candidate) {
    super()
    this.session = session
    this.candidate = candidate
    this.noops = new NoopLoop(session)
    this.startedAt = session.host.deadlines.now()
  }

  start(): void {
    this.session.upgrade = this
    this.session.host.deadlines.after(this.session.host.settings.upgradeTimeout).add(this)
    this.candidate.start(this)
  }

  get revision(): 3 | 4 {
    return this.session.revision
  }

  onPacket(packet: Packet | PacketError): void {
    if (this.session.upgrade !== this) return
    if ("type" in packet && packet.type === "ping" && packet.data === "probe" && !this.isProbed) {
      // Once: no client asks again, and one that does without reading would have us hold all the answers.
      this.isProbed = true
      this.candidate.send({ type: "pong", data: "probe" })
      this.session.observers?.publish({ _tag: "Upgrading", transport: this.candidate.name })
      this.noops.tick()
    } else if ("type" in packet && packet.type === "upgrade") {
      this.stop()
      this.session.swap(this.candidate, this.session.host.deadlines.now() - this.startedAt)
    } else {
      this.abandon()
    }
  }

  onClose(): void {
    if (this.session.upgrade === this) this.stop()
  }

  /** The client did not complete the upgrade in time. */
  expire(): void {
    this.abandon()
  }

  /** Gives the upgrade up; the session stays on its transport, and the client may try again. */
  abandon(): void {
    this.stop()
    this.candidate.close()
  }

  private stop(): void {
    this.cancel()
    this.noops.cancel()
    if (this.session.upgrade === this) this.session.upgrade = undefined
  }
}

class NoopLoop extends Deadline {
  private readonly session: Session
  constructor(session: Session) {
    super()
    this.session = session
  }

  tick(interval = firstNoopInterval): void {
    this.session.host.deadlines.after(interval).add(this)
    if (this.session.transport instanceof PollingTransport) this.session.transport.noop()
  }

  expire(): void {
    this.tick(noopInterval)
  }
}
