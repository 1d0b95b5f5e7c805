/** The processes of one workload: a load generator and the servers, all alive at once, of which one works at a time. */
import { basename, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type {
  Dialect,
  Limit,
  LoadCalls,
  Memory,
  ServerCalls,
  ServerReady,
  Tally,
  Target,
  Traffic
} from "../shared/calls.ts"
import { since, type Usage } from "../shared/usage.ts"
import { Child } from "./child.ts"
import type { Options } from "./options.ts"
import type { Failure } from "./outcome.ts"

const loadFile = fileURLToPath(new URL("../load/main.ts", import.meta.url))

/** `NAME`, or `NAME@DIRECTORY` for the server of that name in another checkout. */
const serverFile = (server: string): string => {
  const [name = "", directory] = server.split("@")
  return directory === undefined
    ? fileURLToPath(new URL(`../servers/${basename(name)}.ts`, import.meta.url))
    : resolve(directory, "bench", "servers", `${basename(name)}.ts`)
}

/** The name that says what a server is, whichever checkout it came from. */
export const kindOf = (server: string): string => server.split("@")[0] ?? server

const dialectOf = (kind: string): Dialect =>
  ["ws", "rpc-websocket", "rpc-alone"].includes(kind) ? "bare" : kind.endsWith("socket.io") ? "socket.io" : "engine.io"

export interface Slice extends Tally {
  /** What the server spent. */
  readonly server: Usage
}

interface Running {
  readonly child: Child<ServerCalls>
  readonly target: Target
}

const startServer = async (server: string, options: ReadonlyArray<string>): Promise<Running> => {
  const { child, ready } = await Child.start<ServerCalls, ServerReady>(serverFile(server), ["--expose-gc", ...options])
  return { child, target: { server, dialect: dialectOf(kindOf(server)), ...ready } }
}

export class Site {
  readonly failures: Array<Failure> = []
  readonly #workload: string
  readonly #load: Child<LoadCalls>
  readonly #servers = new Map<string, Running>()

  private constructor(workload: string, load: Child<LoadCalls>) {
    this.#workload = workload
    this.#load = load
  }

  static async start(workload: string, servers: ReadonlyArray<string>, options: Options): Promise<Site> {
    const { child } = await Child.start<LoadCalls, null>(loadFile, ["--max-semi-space-size=64"])
    const site = new Site(workload, child)
    const profiling = options.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`]
    await Promise.all(servers.map((server) =>
      site.attempt(server, async () => {
        site.#servers.set(server, await startServer(server, profiling))
      })
    ))
    return site
  }

  /**
   * Has the load generator work on a server that nobody measures. While it is compiled it is slow, and V8 decides for good,
   * by how much of a server is alive then, which of its objects are born old: the first server would be worse off.
   */
  async warmUp(server: string, traffic: Traffic, limit: Limit): Promise<void> {
    const { child, target } = await startServer(server, [])
    const name = "warm-up"
    try {
      await this.#load.call("open", { target: { ...target, server: name }, traffic }, 30_000)
      await this.run(name, limit)
      await this.#load.call("close", { server: name }, 30_000)
    } finally {
      await child.stop()
    }
  }

  /** Those that have not failed, in the order they were asked for. */
  alive(servers: ReadonlyArray<string>): ReadonlyArray<string> {
    return servers.filter((server) =>
      this.#servers.has(server) && !this.failures.some((failure) => failure.server === server)
    )
  }

  /** A server that fails is reported and left out from then on. */
  async attempt<A>(server: string, action: () => Promise<A>): Promise<A | undefined> {
    try {
      return await action()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.failures.push({ workload: this.#workload, server, message })
      return undefined
    }
  }

  open(server: string, traffic: Traffic): Promise<void> {
    return this.#load.call("open", { target: this.#find(server).target, traffic }, 30_000)
  }

  run(server: string, limit: Limit): Promise<Tally> {
    return this.#load.call("run", { server, limit }, limit.millis + 30_000)
  }

  /** What `runIn` does is not counted: it wakes up what slept while others had their turn. */
  async slice(server: string, limit: Limit, runIn: Limit): Promise<Slice> {
    const { child } = this.#find(server)
    await this.run(server, runIn)
    await sleep(10)
    const before = await child.call("usage", null)
    const tally = await this.run(server, limit)
    // What the last answers leave to be done belongs to them.
    await sleep(10)
    return { ...tally, server: since(before, await child.call("usage", null)) }
  }

  memory(server: string): Promise<Memory> {
    return this.#find(server).child.call("memory", null, 30_000)
  }

  peak(server: string): Promise<number> {
    return this.#find(server).child.call("peak", null)
  }

  /** Takes the clients away and waits until the server has forgotten them. */
  async close(server: string): Promise<void> {
    await this.#load.call("close", { server }, 30_000)
    const { child } = this.#find(server)
    const deadline = performance.now() + 10_000
    let left = await child.call("sessions", null)
    while (left > 0 && performance.now() < deadline) {
      await sleep(50)
      left = await child.call("sessions", null)
    }
    if (left > 0) throw new Error(`${left} sessions were left after all clients had gone`)
  }

  async stop(): Promise<void> {
    await Promise.all([this.#load.stop(), ...[...this.#servers.values()].map(({ child }) => child.stop())])
  }

  #find(server: string) {
    const found = this.#servers.get(server)
    if (found === undefined) throw new Error(`${server} is not running`)
    return found
  }
}
