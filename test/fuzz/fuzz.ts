/**
 * One round of fuzzing: a server with options by chance, attacked, with bystanders that must not notice.
 */
import { EngineIO } from "../../src/index.ts"
import { modes } from "../kit/client.ts"
import { eventually } from "../kit/events.ts"
import { TestServer } from "../kit/server.ts"
import { attack, type Battlefield } from "./attacks.ts"
import { Bystander } from "./bystander.ts"
import { Random } from "./random.ts"

/** What a round did. */
export interface Round {
  readonly seed: number
  readonly inputs: number
  readonly sessions: number
  /** Messages the bystanders exchanged, each checked for its place. */
  readonly messages: number
}

/** What a run did. */
export interface Report {
  readonly rounds: number
  readonly inputs: number
  readonly sessions: number
  readonly messages: number
}

const options = (random: Random) => ({
  attached: random.chance(0.5),
  pingInterval: 300,
  pingTimeout: 3_000,
  upgradeTimeout: random.pick([50, 1_000]),
  closeTimeout: 300,
  handshakeTimeout: 1_000,
  bodyTimeout: random.pick([100, 1_000]),
  maxPayload: random.pick([1_000, 100_000]),
  maxPacketsPerPayload: random.pick([8, 1_000_000]),
  allowEIO3: random.chance(0.8),
  perMessageDeflate: random.chance(0.3),
  httpCompression: random.chance(0.5) ? { threshold: 1 } : false,
  cors: random.chance(0.3),
  cookie: random.chance(0.3),
  anyPacketIsAlive: random.chance(0.3),
  receiveBuffer: { messages: random.pick([1, 1_000]) }
})

/** Attacks a new server by chance and checks what is left of it. Fails with what is wrong. */
export const runRound = async (seed: number, count: number): Promise<Round> => {
  const random = new Random(seed)
  const failures: Array<unknown> = []
  const onFailure = (failure: unknown) => failures.push(failure)
  process.on("unhandledRejection", onFailure)
  process.on("uncaughtException", onFailure)
  const server = await TestServer.start(options(random))
  try {
    const events = await server.collect("an event", EngineIO.events)
    const accepted = () => events.all.filter(({ _tag }) => _tag === "Connection").length
    const bystanders = await Promise.all(modes.map((mode) => Bystander.join(server, mode)))
    const field: Battlefield = { target: server, sids: [], inputs: 0 }
    await attack(random, field, count, 8)
    for (const connection of server.connections) connection.socket.destroy()
    const left = () => accepted() - server.ended.all.length
    await eventually("the end of all attackers' sessions", () => server.count(), (count) => count === modes.length)
    await eventually("the end of all their applications", left, (count) => count === modes.length)
    const messages = (await Promise.all(bystanders.map((it) => it.stop()))).reduce((sum, it) => sum + it, 0)
    const ended = server.ended.all.map((it) => it.sid)
    if (new Set(ended).size !== ended.length) throw new Error("a session ended twice")
    const errors = server.logs.filter(({ level }) => level === "Error" || level === "Fatal")
    if (errors.length > 0) throw new Error(`logged: ${errors[0]!.text}`)
    const sessions = accepted()
    await server.stop()
    if (failures.length > 0) throw new Error("nobody handled", { cause: failures[0] })
    return { seed, inputs: field.inputs, sessions, messages }
  } catch (error) {
    await server.stop().catch(() => undefined)
    throw error
  } finally {
    process.off("unhandledRejection", onFailure)
    process.off("uncaughtException", onFailure)
  }
}

/** The command that runs one round again. */
export const replay = (seed: number, count: number): string =>
  `npm run fuzz -- --seed ${seed} --rounds 1 --count ${count} --what inputs`

/** Runs rounds until the time or their number is up. A failure says how to repeat it. */
export const runFuzz = async (settings: {
  readonly seed: number
  readonly seconds: number
  readonly rounds: number
  readonly count: number
  readonly onRound?: (round: Round) => void
}): Promise<Report> => {
  const end = performance.now() + settings.seconds * 1_000
  const report = { rounds: 0, inputs: 0, sessions: 0, messages: 0 }
  while (report.rounds < settings.rounds && (report.rounds === 0 || performance.now() < end)) {
    const seed = settings.seed + report.rounds
    const round = await runRound(seed, settings.count).catch((cause: unknown) => {
      throw new Error(`seed ${seed}: ${String(cause)}; again with: ${replay(seed, settings.count)}`, { cause })
    })
    report.rounds++
    report.inputs += round.inputs
    report.sessions += round.sessions
    report.messages += round.messages
    settings.onRound?.(round)
  }
  return report
}
