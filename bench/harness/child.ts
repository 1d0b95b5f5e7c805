/** Child processes that answer calls, and end with the harness whatever happens. */
import { type ChildProcess, fork } from "node:child_process"
import { setTimeout as sleep } from "node:timers/promises"
import { type Calls, readyId, type Reply, type Request } from "../shared/rpc.ts"

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

const children = new Set<ChildProcess>()

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

export class Child<C extends Calls> {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #exited: Promise<void>
  #output = ""
  #next = readyId + 1

  constructor(file: string, execArgv: ReadonlyArray<string>) {
    this.#process = fork(file, [], {
      execArgv: [...execArgv],
      env: { ...process.env, NODE_ENV: "production" },
      stdio: ["ignore", "pipe", "pipe", "ipc"]
    })
    children.add(this.#process)
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-2000)
    }
    this.#process.stdout?.on("data", keep)
    this.#process.stderr?.on("data", keep)
    this.#process.on("message", (reply: Reply) => this.#settle(reply))
    this.#exited = new Promise((resolve) => {
      // "close" never comes after a disconnect, and its last words come with "exit" or just after.
      this.#process.on("exit", async (code, signal) => {
        children.delete(this.#process)
        await sleep(50)
        for (const id of this.#waiting.keys()) {
          this.#settle({ id, error: `the process ended (${signal ?? code}): ${this.#output.trim()}` })
        }
        resolve()
      })
    })
  }

  /** Starts a child and waits for it to be ready; some are compiled first. */
  static async start<C extends Calls, Ready>(
    file: string,
    execArgv: ReadonlyArray<string>
  ): Promise<{ readonly child: Child<C>; readonly ready: Ready }> {
    const child = new Child<C>(file, execArgv)
    try {
      return { child, ready: await child.#wait(readyId, 300_000) as Ready }
    } catch (error) {
      await child.stop()
      throw error
    }
  }

  async call<K extends keyof C & string>(
    call: K,
    argument: Parameters<C[K]>[0] extends undefined ? null : Parameters<C[K]>[0],
    timeoutMillis = 15_000
  ): Promise<Awaited<ReturnType<C[K]>>> {
    const id = this.#next++
    const answered = this.#wait(id, timeoutMillis)
    const request: Request = { id, call, argument }
    if (this.#process.connected) this.#process.send(request)
    else this.#settle({ id, error: `the process has ended: ${this.#output.trim()}` })
    return await answered as Awaited<ReturnType<C[K]>>
  }

  async stop(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect()
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 3000)
    await this.#exited
    clearTimeout(timer)
  }

  #wait(id: number, timeoutMillis: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle({ id, error: `no answer within ${timeoutMillis} ms. ${this.#output.trim()}` }),
        timeoutMillis
      )
      this.#waiting.set(id, { resolve, reject, timer })
    })
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return
    this.#waiting.delete(reply.id)
    clearTimeout(waiting.timer)
    if ("error" in reply) waiting.reject(new Error(reply.error))
    else waiting.resolve(reply.value)
  }
}
