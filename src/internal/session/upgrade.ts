/**
 * The move of a session from polling to another transport, as the protocol has it: a probe, noops for the polls that
 * still come, the swap (rules R76 to R84).
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type Packet, PacketError, type PacketType } from "../../Packet.ts"
import type { Candidate } from "../transport/contract.ts"
import { SessionDoors } from "./doors.ts"
import { flush } from "./outgoing.ts"
import { get, isPaused, type Polls, publish, type Session, set } from "./session.ts"

/** What a candidate says: a packet, what is none, or nothing more. */
type Arrival = Packet | PacketError | undefined

/**
 * Begins the upgrade to `candidate`. If it fails, the session stays where it is, and the client may try again. The fiber
 * says whether the candidate became the session's transport.
 */
export const startUpgrade = (session: Session, candidate: Candidate): Fiber.Fiber<boolean> => {
  const { candidates, noops, supervisor } = session.server
  // An upgrade takes two packets, or one. Each is dealt with in the step in which it arrives, because the frames behind
  // the last belong to the new transport.
  const first = Deferred.makeUnsafe<Arrival>()
  const second = Deferred.makeUnsafe<Arrival>()
  const arrive = (packet: Arrival): void => {
    const exit = Exit.succeed(packet)
    if (!Deferred.doneUnsafe(first, exit)) Deferred.doneUnsafe(second, exit)
  }
  const giveUp = (): void => arrive(undefined)
  // A fiber for the time of each would cost 0.03 of a session that connects and upgrades.
  const deadline = candidates.add(giveUp)
  const polls = noops.of(session)
  const fiber = supervisor.run(upgrade(session, candidate, first, second, polls), (exit) => {
    // Here, because an interruption may come before the program could see to it.
    polls.end()
    deadline.cancel()
    session.upgrade = undefined
    if (!(Exit.isSuccess(exit) && exit.value)) candidate.close()
    supervisor.report(exit)
  })
  session.upgrade = fiber
  candidate.start({ revision: session.protocol, onPacket: arrive, onClose: giveUp })
  return fiber
}

/** Whether the candidate became the session's transport. */
const upgrade = Effect.fnUntraced(function*(
  session: Session,
  candidate: Candidate,
  first: Deferred.Deferred<Arrival>,
  second: Deferred.Deferred<Arrival>,
  polls: Polls
) {
  const startedAt = session.server.now()
  let packet = yield* Deferred.await(first)
  if (isOf(packet, "ping") && packet.data === "probe") {
    candidate.send({ type: "pong", data: "probe" })
    publish(session, { _tag: "Upgrading", transport: candidate.name })
    polls.answer()
    packet = yield* Deferred.await(second)
  }
  if (!isOf(packet, "upgrade")) return false
  swap(session, candidate, startedAt)
  return true
})

const isOf = (packet: Arrival, type: PacketType): packet is Packet =>
  packet !== undefined && !(packet instanceof PacketError) && packet.type === type

/** The queues stay, the transport changes: nothing is lost or reordered (rule R78). */
const swap = (session: Session, candidate: Candidate, startedAt: number): void => {
  const { server } = session
  const old = get(session.transport)
  const transport = candidate.adopt(new SessionDoors(session))
  set(session.transport, transport)
  session.upgraded = true
  server.telemetry.upgraded(session, old.name, server.now() - startedAt)
  publish(session, { _tag: "Upgraded", transport: transport.name })
  if (isPaused(session)) transport.pause()
  // Last, since a session that closes may have waited for it.
  old.close(false)
  flush(session)
}
