/**
 * A real Redis, and members in programs of their own that know each other by it.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { freePort, isOpen } from "../kit/balancers.ts"
import { eventually } from "../kit/events.ts"
import { Program } from "../kit/program.ts"
import type { Target } from "../kit/server.ts"

export const redisServer = { program: "/usr/bin/redis-server", debian: "redis-server" }

export class RedisCluster {
  readonly members = new Map<string, { readonly program: Program; readonly target: Target }>()
  redis!: Program
  port = 0
  readonly #folder = mkdtempSync(join(tmpdir(), "cluster-"))
  readonly #running = new Set<Program>()

  /** Starts Redis, always on the same port, and always empty. */
  async start(): Promise<void> {
    if (this.port === 0) this.port = await freePort()
    const args = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--save", "", "--dir", this.#folder]
    this.redis = this.#program(args, {}, redisServer.program)
    await eventually("Redis", () => isOpen(this.port), (open) => open)
  }

  async kill(): Promise<void> {
    this.redis.process.kill("SIGKILL")
    await this.redis.exitCode
  }

  /** What Redis answers to commands. */
  ask(...commands: ReadonlyArray<string>): Promise<string> {
    const socket = connect(this.port, "127.0.0.1")
    socket.end([...commands, "QUIT", ""].join("\r\n"))
    return text(socket)
  }

  /** Begins a member, which may have to wait for Redis. */
  begin(name: string, env: Record<string, string> = {}): Program {
    return this.#program(["test/cluster/fixtures/member.ts"], {
      REDIS: `${this.port}`,
      NAME: name,
      SECRET: "secret",
      ...env
    })
  }

  /** Starts a member, and waits until it serves. */
  async member(name: string, env?: Record<string, string>) {
    const program = this.begin(name, env)
    const member = { program, target: await program.listening() }
    this.members.set(name, member)
    return member
  }

  readonly portOf = (name: string): number => this.members.get(name)!.target.port

  end(): void {
    for (const { process } of this.#running) process.kill("SIGKILL")
    rmSync(this.#folder, { recursive: true })
  }

  #program(args: ReadonlyArray<string>, env?: Record<string, string>, command?: string): Program {
    const program = new Program(args, env, command)
    this.#running.add(program)
    return program
  }
}
