/**
 * The two clusters that are tried: members by Redis behind nginx, and workers of one machine. Each writes down what its
 * processes say.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventually, within } from "../../kit/events.ts"
import { Program } from "../../kit/program.ts"
import type { End, Line, Report, Request } from "./server.ts"

export const programs = { redis: "/usr/bin/redis-server", nginx: "/usr/sbin/nginx" }

/** A session, as the processes tell of it. */
export interface Served {
  readonly owner: number
  end: End | undefined
}

/** What the processes have said. */
export class Journal {
  readonly sessions: Map<string, Served> = new Map()
  /** By the session's id: of another process it may come before the session does. */
  readonly requests: Map<string, Array<Request>> = new Map()
  /** Where each listens, or did. */
  readonly ports: Map<number, number> = new Map()
  /** When which process was killed, or told to end. */
  readonly killed: Map<number, number> = new Map()
  readonly drained: Map<number, number> = new Map()
  readonly wrong: Array<string> = []
  /** What they logged, and how often. */
  readonly logs: Map<string, number> = new Map()

  /** Starts a program whose lines are read. */
  start(args: ReadonlyArray<string>, env: Record<string, string>): Program {
    const program = launch(args, env)
    let rest = ""
    program.process.stdout!.on("data", (data: Buffer) => {
      const lines = (rest + String(data)).split("\n")
      rest = lines.pop()!
      program.output = program.stdout = ""
      for (const line of lines) this.read(line)
    })
    program.process.stderr!.on("data", (data: Buffer) => this.log(String(data)))
    return program
  }

  private log(line: string): void {
    const words = line.replaceAll(/\[[\d:.]+\]|\(#\d+\)/g, "").trim()
    this.logs.set(words, (this.logs.get(words) ?? 0) + 1)
  }

  private read(text: string): void {
    if (!text.startsWith("{")) return this.log(text)
    const line = JSON.parse(text) as Line
    if (line.what === "wrong") this.wrong.push(line.words)
    else if (line.what === "listening") this.ports.set(line.pid, line.port)
    else if (line.what === "open") this.sessions.set(line.sid, { owner: line.pid, end: undefined })
    else if (line.what === "request") {
      const requests = this.requests.get(line.sid)
      if (requests === undefined) this.requests.set(line.sid, [line])
      else requests.push(line)
    } else this.sessions.get(line.sid)!.end = line
  }
}

/** All that was started, and ends with this process. */
const started = new Set<Program>()
process.on("exit", () => {
  for (const program of started) program.process.kill("SIGKILL")
})

const launch = (...args: ConstructorParameters<typeof Program>): Program => {
  const program = new Program(...args)
  started.add(program)
  void program.exitCode.then(() => started.delete(program))
  return program
}

export interface Cluster {
  readonly name: string
  readonly journal: Journal
  /** Where clients connect. */
  readonly port: number
  /** The processes that serve, the longest there first. */
  serving(): ReadonlyArray<number>
  /** Waits until all of them do. */
  complete(): Promise<unknown>
  /** Has each process drained, and another in its place; gives the milliseconds that each took. */
  replaceAll(): Promise<ReadonlyArray<number>>
  /** Kills a process; another takes its place. */
  kill(pid: number): void
  reports(): Promise<ReadonlyArray<Report>>
  stop(): Promise<void>
}

const file = "test/cluster/acceptance/server.ts"

/** How long a process may take to begin or to end, in milliseconds. */
const patience = 30_000

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`)

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

const report = async (port: number): Promise<Report> => {
  const response = await fetch(`http://127.0.0.1:${port}/report`, { headers: { connection: "close" } })
  return await response.json() as Report
}

// ---------------------------------------------------------------------------------------------------------------------

const names = ["a", "b", "c"] as const

export class Members implements Cluster {
  readonly name = "three members by Redis, behind nginx without stickiness"
  readonly journal = new Journal()
  readonly port: number
  private readonly folder: string
  private readonly redisPort: number
  private readonly others: Array<Program> = []
  private readonly members: Map<string, { readonly program: Program; readonly pid: number; readonly port: number }> =
    new Map()
  private constructor(folder: string, port: number, redisPort: number) {
    this.folder = folder
    this.port = port
    this.redisPort = redisPort
  }

  static async start(): Promise<Members> {
    const it = new Members(mkdtempSync(join(tmpdir(), "members-")), await freePort(), await freePort())
    it.others.push(
      launch(
        ["--port", `${it.redisPort}`, "--bind", "127.0.0.1", "--save", "", "--dir", it.folder],
        {},
        programs.redis
      )
    )
    await eventually("Redis", () => isOpen(it.redisPort), (open) => open)
    await Promise.all(names.map((name) => it.startMember(name)))
    const config = join(it.folder, "nginx.conf")
    writeFileSync(config, it.nginx())
    it.others.push(launch(["-e", "stderr", "-p", it.folder, "-c", config], {}, programs.nginx))
    await eventually("nginx", () => isOpen(it.port), (open) => open)
    return it
  }

  private nginx(): string {
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((it) => `${it}_temp_path ${this.folder}/${it};`)
    const servers = [...this.members.values()].map(({ port }) => `server 127.0.0.1:${port} max_fails=0;`)
    return `daemon off; master_process off; pid ${this.folder}/pid; error_log stderr crit;
      events { worker_connections 8192; }
      http {
        access_log off; ${paths.join(" ")}
        map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
        upstream members { ${servers.join(" ")} }
        server {
          listen 127.0.0.1:${this.port} backlog=4096;
          location / {
            proxy_pass http://members;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
          }
        }
      }`
  }

  private async startMember(name: string): Promise<void> {
    const { port = 0 } = this.members.get(name) ?? {}
    const env = { REDIS: `${this.redisPort}`, NAME: name, PORT: `${port}` }
    const program = this.journal.start(["--expose-gc", file], env)
    const pid = program.process.pid!
    void program.exitCode.then((code) => {
      if (this.journal.killed.has(pid) || this.journal.drained.has(pid)) return
      this.journal.wrong.push(`a member ended by itself: ${code}`)
    })
    await eventually(`the member ${name}`, () => this.journal.ports.has(pid), (is) => is, patience)
    this.members.delete(name)
    this.members.set(name, { program, pid, port: this.journal.ports.get(pid)! })
  }

  serving(): ReadonlyArray<number> {
    return [...this.members.values()].map(({ pid }) => pid).filter((pid) => !this.journal.killed.has(pid))
  }

  complete(): Promise<unknown> {
    return eventually("all members", () => this.serving().length === names.length, (is) => is, patience)
  }

  async replaceAll(): Promise<ReadonlyArray<number>> {
    const times: Array<number> = []
    for (const name of names) {
      const { pid, program } = this.members.get(name)!
      const begun = Date.now()
      this.journal.drained.set(pid, begun)
      program.process.kill("SIGTERM")
      const code = await within(program.exitCode, "the end of a member", patience)
      if (code !== 130) this.journal.wrong.push(`a member that was drained ended with ${code}`)
      times.push(Date.now() - begun)
      await this.startMember(name)
    }
    return times
  }

  kill(pid: number): void {
    const [name, { program }] = [...this.members].find(([, member]) => member.pid === pid)!
    this.journal.killed.set(pid, Date.now())
    program.process.kill("SIGKILL")
    void program.exitCode.then(() => this.startMember(name))
      .catch((error: unknown) => this.journal.wrong.push(String(error)))
  }

  reports(): Promise<ReadonlyArray<Report>> {
    return Promise.all([...this.members.values()].map(({ port }) => report(port)))
  }

  async stop(): Promise<void> {
    for (const { pid, program } of this.members.values()) {
      this.journal.drained.set(pid, Date.now())
      program.process.kill("SIGTERM")
      await within(program.exitCode, "the end of a member", patience)
    }
    for (const { exitCode, process } of this.others) {
      process.kill("SIGKILL")
      await exitCode
    }
    rmSync(this.folder, { recursive: true })
  }
}

// ---------------------------------------------------------------------------------------------------------------------

export class Workers implements Cluster {
  readonly name = "three workers of one machine"
  readonly journal = new Journal()
  private readonly program: Program
  private constructor() {
    this.program = this.journal.start(["--expose-gc", file], { WORKERS: `${names.length}` })
  }

  static async start(): Promise<Workers> {
    const it = new Workers()
    await it.complete()
    return it
  }

  complete(isReady: () => boolean = () => true): Promise<unknown> {
    return eventually(
      "the workers",
      () => this.serving().length === names.length && isReady(),
      (is) => is,
      3 * patience
    )
  }

  get port(): number {
    return [...this.journal.ports.values()][0]!
  }

  serving(): ReadonlyArray<number> {
    return [...this.journal.ports.keys()].filter((pid) => !this.journal.killed.has(pid) && isAlive(pid))
  }

  async replaceAll(): Promise<ReadonlyArray<number>> {
    const times: Array<number> = []
    const begun = Date.now()
    const old = this.serving()
    for (const pid of old) this.journal.drained.set(pid, begun)
    this.program.process.kill("SIGUSR2")
    await this.complete(() => {
      const gone = old.filter((pid) => !isAlive(pid))
      while (times.length < gone.length) times.push(Date.now() - begun - times.reduce((sum, it) => sum + it, 0))
      return gone.length === old.length
    })
    return times
  }

  kill(pid: number): void {
    this.journal.killed.set(pid, Date.now())
    process.kill(pid, "SIGKILL")
  }

  async reports(): Promise<ReadonlyArray<Report>> {
    const found = new Map<number, Report>()
    while (found.size < names.length) {
      const it = await report(this.port)
      found.set(it.pid, it)
    }
    return [...found.values()]
  }

  /** Resident memory of the first process, in bytes. */
  get memory(): number {
    const status = readFileSync(`/proc/${this.program.process.pid}/status`, "utf8")
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
  }

  async stop(): Promise<void> {
    for (const pid of this.serving()) this.journal.drained.set(pid, Date.now())
    this.program.process.kill("SIGTERM")
    await within(this.program.exitCode, "the end of the workers", patience)
  }
}
