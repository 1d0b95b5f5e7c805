/**
 * A siege: servers in a process of their own, bystanders on each, and one hostile intent after the other. After each the
 * bystanders must be well, and what the servers' process held and how long it was busy at a time within bounds.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { modes } from "../kit/client.ts"
import { eventually, pause, within } from "../kit/events.ts"
import { type Target, unwatched } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"
import { Bystander } from "./bystander.ts"
import { holdOn, intents } from "./intents.ts"
import { Random } from "./random.ts"
import type { Places, Post, Question, Report } from "./victim.ts"

/** A server to attack. */
export interface Besieged {
  readonly target: Target
  readonly webTransport: Target
  readonly post: Post
}

/** What an intent gets. */
export interface Field {
  readonly servers: ReadonlyArray<Besieged>
  readonly neighbours: Readonly<Record<keyof Places["neighbours"], Target>>
  /** When the attack is to be over, by `performance.now()`. */
  readonly until: number
}

/** What the servers may cost while they are attacked, more than before. */
export interface Bounds {
  /** Bytes in use after a collection of garbage, while the attackers' connections are still there. */
  readonly held: number
  /** Bytes in use at any time. */
  readonly peak: number
  /** Milliseconds of CPU time until the event loop turns. */
  readonly turn: number
}

/** A hostile client with a purpose. Connections that it leaves open are ended after the servers were measured. */
export interface Intent {
  readonly bounds?: Partial<Bounds>
  /** What the servers log because of what the applications do wrong on the attacker's behalf. */
  readonly logs?: RegExp
  readonly run: (random: Random, field: Field) => Promise<void>
}

const MB = 2 ** 20

/** The sessions that bystanders have on each server. */
const bystandersEach = modes.length + 1

/** Wide: what they are to tell from is ten times as much. */
const usual: Bounds = { held: 24 * MB, peak: 256 * MB, turn: 200 }

/** The servers of a siege: one on a router and one attached, one of the two with compression. */
const posts = (random: Random): ReadonlyArray<Post> => {
  const deflates = random.below(2)
  return [false, true].map((attached, index) => ({
    attached,
    mirrors: random.chance(0.7),
    options: {
      pingInterval: 300,
      pingTimeout: 5_000,
      upgradeTimeout: random.pick([300, 1_000]),
      closeTimeout: 4_000,
      drainTimeout: 1_000,
      handshakeTimeout: 10_000,
      bodyTimeout: random.pick([500, 10_000]),
      maxSessions: 400,
      allowEIO3: true,
      anyPacketIsAlive: random.chance(0.3),
      transports: ["polling", "websocket", "webtransport"],
      sendBuffer: { bytes: 4 * MB },
      receiveBuffer: { messages: random.pick([16, 1_024]), bytes: random.pick([64 * 1_024, MB]) },
      perMessageDeflate: index === deflates,
      httpCompression: index === deflates ? { threshold: 1 } : random.chance(0.5),
      cookie: random.chance(0.3)
    }
  }))
}

export class Siege {
  readonly #child: ChildProcess
  readonly #servers: ReadonlyArray<Besieged>
  readonly #neighbours: Field["neighbours"]
  readonly #bystanders: Array<Bystander> = []
  /** What the servers' process holds when nobody attacks. */
  #peace = 0

  private constructor(child: ChildProcess, places: Places, posts: ReadonlyArray<Post>) {
    this.#child = child
    this.#servers = posts.map((post, index) => ({
      target: unwatched(places.posts[index]!.http),
      webTransport: unwatched(places.posts[index]!.webTransport),
      post
    }))
    const { left, plain, webSocket } = places.neighbours
    this.#neighbours = { left: unwatched(left), plain: unwatched(plain), webSocket: unwatched(webSocket) }
  }

  static async begin(seed: number): Promise<Siege> {
    const them = posts(new Random(seed))
    const child = fork(fileURLToPath(new URL("victim.ts", import.meta.url)), [JSON.stringify(them)], {
      execArgv: ["--expose-gc"]
    })
    const [places] = await within(once(child, "message") as Promise<[Places]>, "the servers", 30_000)
    const siege = new Siege(child, places, them)
    await siege.#settle()
    return siege
  }

  async #settle(): Promise<void> {
    const { webSocket } = this.#neighbours
    const shared = this.#servers.find(({ post }) => post.attached)!.target
    const others = [await WebSocketClient.open(webSocket), await WebSocketClient.open(shared, {}, { path: "/others/" })]
    for (const { target } of this.#servers) {
      for (const mode of modes) this.#bystanders.push(await Bystander.join(target, mode, 20))
      this.#bystanders.push(await Bystander.join3(target, "upgrade", 20))
    }
    // Long enough for whoever cuts connections that are idle.
    await pause(1_200)
    for (const client of others) {
      const channel = { messages: client.frames, send: (text: string) => client.send(text) }
      this.#bystanders.push(new Bystander("another library", channel, 20))
    }
    await this.#areWell()
    this.#peace = (await this.#ask<Report>("report")).held
  }

  /** Runs one intent. Fails with what it broke. */
  async run(name: string, seed: number, seconds: number): Promise<Bounds> {
    const { bounds, logs, run } = intents[name]!
    const allowed = { ...usual, ...bounds }
    const random = new Random(seed)
    const failures: Array<string> = []
    const fail = (cause: unknown) => failures.push(cause instanceof Error ? cause.message : String(cause))
    const before = await this.#ask<Report>("report")
    const until = performance.now() + seconds * 1_000
    await run(random, { servers: this.#servers, neighbours: this.#neighbours, until }).catch(fail)
    const report = await this.#ask<Report>("report")
    this.#leave()
    await this.#areWell().catch(fail)
    const after = await this.#ask<Report>("report")
    const figures = {
      held: report.held - Math.max(this.#peace, before.held),
      peak: Math.max(report.peak, after.peak) - this.#peace,
      turn: Math.max(report.turn, after.turn)
    }
    for (const bound of ["held", "peak", "turn"] as const) {
      if (figures[bound] > allowed[bound]) fail(`${bound} is ${show(bound, figures[bound])}`)
    }
    for (const fault of [...report.faults, ...after.faults]) if (logs?.test(fault) !== true) fail(fault)
    if (failures.length > 0) throw new Error([...failures, showAll(figures)].join("; "))
    return figures
  }

  /** Waits until nothing of the attackers is left, then ends the servers while others hold on to them. */
  async end(seed: number): Promise<{ readonly messages: number; readonly seconds: number }> {
    const sessions = bystandersEach
    await eventually(
      "the end of all attackers' sessions",
      () => this.#ask<Report>("report"),
      (it) => it.applications === sessions * this.#servers.length && it.sessions.every((count) => count === sessions),
      // Who is not read is given time; three times the heartbeat, and `closeTimeout`.
      40_000
    )
    const { held } = await this.#ask<Report>("report")
    const grown = held - this.#peace
    if (grown > usual.held) throw new Error(`${show("held", grown)} are left`)
    const messages = (await Promise.all(this.#bystanders.map((it) => it.stop()))).reduce((sum, it) => sum + it, 0)
    // Other libraries' connections are not ours to end.
    for (const { webSockets } of this.#targets) for (const { socket } of webSockets) socket.terminate()
    await holdOn(new Random(seed), { servers: this.#servers, neighbours: this.#neighbours, until: 0 })
    const begun = performance.now()
    await this.#ask("stop")
    const seconds = (performance.now() - begun) / 1_000
    if (seconds > 6) throw new Error(`the servers ended after ${seconds.toFixed(1)} s`)
    return { messages, seconds }
  }

  stop(): void {
    this.#leave()
    this.#child.kill("SIGKILL")
  }

  get #targets(): ReadonlyArray<Target> {
    return [...this.#servers.flatMap((it) => [it.target, it.webTransport]), ...Object.values(this.#neighbours)]
  }

  #leave(): void {
    for (const target of this.#targets) {
      for (const connection of target.connections) connection.socket.destroy()
    }
  }

  async #areWell(): Promise<void> {
    await Promise.all(this.#bystanders.map((it) => it.isWell()))
  }

  async #ask<A>(question: Question): Promise<A> {
    this.#child.send(question)
    const [answer] = await within(once(this.#child, "message") as Promise<[A]>, `an answer to ${question}`, 30_000)
    return answer
  }
}

const show = (bound: keyof Bounds, value: number): string =>
  bound === "turn" ? `${value.toFixed(0)} ms` : `${(value / MB).toFixed(1)} MiB`

export const showAll = (figures: Bounds): string =>
  (["held", "peak", "turn"] as const).map((bound) => `${bound} ${show(bound, figures[bound])}`).join(", ")

/** What a run of sieges did. */
export interface Sieges {
  readonly sieges: number
  readonly intents: number
  readonly messages: number
}

/** Besieges new servers with all intents, or one, until the time is up. A failure says how to repeat it. */
export const runSieges = async (settings: {
  readonly seed: number
  readonly seconds: number
  readonly rounds: number
  readonly intent?: string | undefined
  readonly onIntent?: (name: string, seed: number, figures: Bounds) => void
}): Promise<Sieges> => {
  const end = performance.now() + settings.seconds * 1_000
  const names = settings.intent === undefined ? Object.keys(intents) : [settings.intent]
  const report = { sieges: 0, intents: 0, messages: 0 }
  while (report.sieges < settings.rounds && (report.sieges === 0 || performance.now() < end)) {
    const seed = settings.seed + report.sieges
    const failed = (name: string) => (cause: unknown): never => {
      const again = `npm run fuzz -- --seed ${seed} --rounds 1 --what "${name}"`
      throw new Error(`seed ${seed}, ${name}: ${String(cause)}; again with: ${again}`, { cause })
    }
    const siege = await Siege.begin(seed)
    try {
      for (const name of names) {
        const figures = await siege.run(name, seed, 2).catch(failed(name))
        settings.onIntent?.(name, seed, figures)
        report.intents++
      }
      report.messages += (await siege.end(seed).catch(failed(names.at(-1)!))).messages
    } finally {
      siege.stop()
    }
    report.sieges++
  }
  return report
}
