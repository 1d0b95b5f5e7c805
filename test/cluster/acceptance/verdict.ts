/**
 * Compares what the clients saw of their sessions with what the processes say of them.
 */
import type { Session } from "./clients.ts"
import type { Journal } from "./clusters.ts"
import type { End } from "./server.ts"

/** The heartbeat of the servers: a client whose server is gone knows it by then, in milliseconds. */
export const heartbeat = 10_000

/** How much later than they should timers may be on two cores that are busy, in milliseconds. */
const late = 1_000

/**
 * A request whose process is killed before it reads it is noted nowhere. Its client sees the connection end, or a 502, when
 * the operating system is through with the process, which takes so many milliseconds at most where all cores are busy.
 */
const atOnce = 1_000

const isCut = ({ reason, status = 0 }: Session): boolean =>
  reason !== "ping timeout" && (status === 0 || status === 502)

/** A session of another process than that which was killed or drained; and how much later it ended, in milliseconds. */
export interface Passing {
  readonly after: number
  readonly isPiped: boolean
}

/** What became of the sessions of a run. */
export interface Verdict {
  /** Those whose client left when all had arrived. */
  left: number
  /** Those of processes that were drained, and what of their messages was not delivered. */
  drained: number
  undelivered: number
  /** For those whose process was killed, how long after it their clients knew, in milliseconds. */
  readonly killed: Array<number>
  readonly passing: Array<Passing>
  readonly wrong: Array<string>
}

/** The last of the processes that went before a session ended at which its client had a request, or a pipe. */
const passed = (session: Session, { reason }: End, journal: Journal, hasPipes: boolean): Passing | undefined => {
  const { ended, sid, upgraded = Infinity } = session
  const requests = journal.requests.get(sid) ?? []
  for (const [pid, at] of [...journal.killed, ...journal.drained].toReversed()) {
    if (at > ended || ended - at > heartbeat + late) continue
    // The owner closes what is piped by a process that comes to its end in order.
    const isKilled = journal.killed.has(pid)
    if (!isKilled && reason !== "ForcedClose") continue
    const before = requests.filter((it) => it.at <= at)
    const isThere = (method: string) => before.findLast((it) => it.method === method && !it.isUpgrade)?.pid === pid
    const isPiped = hasPipes && before.some((it) => it.isUpgrade && it.pid === pid)
    if (isPiped) return { after: ended - at, isPiped }
    if (upgraded < at || !isKilled) continue
    if (isThere("GET") || isThere("POST") || (isCut(session) && ended - at < atOnce)) {
      return { after: ended - at, isPiped }
    }
  }
  return undefined
}

export const judge = (sessions: ReadonlyArray<Session>, journal: Journal, hasPipes: boolean): Verdict => {
  const wrong: Array<string> = []
  const verdict: Verdict = { left: 0, drained: 0, undelivered: 0, killed: [], passing: [], wrong }
  const known = new Set<string>()
  for (const session of sessions) {
    const { ended, left, mode, received, sent, sid, taken } = session
    const complain = (words: string): void =>
      void wrong.push(
        `${words}: ${JSON.stringify({ ...session, served, requests: journal.requests.get(sid)?.slice(-5) })}`
      )
    const served = journal.sessions.get(sid)
    known.add(sid)
    if (served === undefined) {
      complain("no process knows of a session")
      continue
    }
    if (session.waited > heartbeat + late) complain("a message waited too long")
    const { end, owner } = served
    const killed = journal.killed.get(owner)
    if (left) {
      verdict.left++
      if (end === undefined) {
        if (killed === undefined) complain("a session never ended")
      } else if (end.received !== sent || end.sent !== received) complain("messages are missing")
    } else if (killed !== undefined && end === undefined) {
      verdict.killed.push(ended - killed)
      if (ended - killed > heartbeat + late) complain("a client knew too late that its process was killed")
    } else if (end === undefined) complain("a session never ended")
    else if (end.reason === "ServerShutdown") {
      verdict.drained++
      verdict.undelivered += end.undelivered
      if (!journal.drained.has(owner)) complain("a session was closed by a process that was not to end")
      if (end.sent !== received + end.undelivered) complain("messages are neither received nor reported")
      if (mode === "polling" && end.received < taken) complain("what was acknowledged did not arrive")
    } else {
      const passing = passed(session, end, journal, hasPipes)
      if (passing === undefined) complain("a session was lost that no killed process had to do with")
      else verdict.passing.push(passing)
      if (end.reason === "ForcedClose" && end.sent !== received) complain("what was accepted was not delivered")
    }
  }
  for (const [sid, { end, owner }] of journal.sessions) {
    if (known.has(sid) || journal.killed.has(owner)) continue
    wrong.push(`no client knows of ${sid}, ${JSON.stringify(end)}`)
  }
  wrong.push(...journal.wrong.splice(0))
  if (wrong.length > 0) {
    wrong.push(`killed ${JSON.stringify([...journal.killed])}, drained ${JSON.stringify([...journal.drained])}`)
  }
  journal.sessions.clear()
  journal.requests.clear()
  journal.killed.clear()
  journal.drained.clear()
  return verdict
}
