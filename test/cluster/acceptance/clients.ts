/**
 * Stock clients in one process: a third polls, a third is on WebSocket, a third upgrades. They number what they send, and
 * check the numbers of what they get. One whose session ends connects again.
 */
import { Socket } from "engine.io-client"
import { Random } from "../../fuzz/random.ts"
import { type Mode, modes } from "../../kit/client.ts"
import { pause } from "../../kit/events.ts"

/** What the main process asks for. */
export type Order =
  | { readonly what: "connect"; readonly port: number; readonly count: number; readonly seed: number }
  /** `short`: how likely a client is to leave after a message, and to come back. */
  | { readonly what: "talk"; readonly seconds: number; readonly rate: number; readonly short: number }
  | { readonly what: "leave" }

/** What it is told. */
export type Note =
  | { readonly what: "session"; readonly session: Session }
  | { readonly what: "wrong"; readonly words: string }
  | { readonly what: "done"; readonly failed: number; readonly latencies: ReadonlyArray<number> }

/** How a session went, as its client has seen it; times are of the wall clock, in milliseconds. */
export interface Session {
  readonly sid: string
  readonly mode: Mode
  readonly ended: number
  /** Whether the client left, when all of both ends had arrived. */
  readonly left: boolean
  readonly reason: string
  /** What the answer that ended it said, where there was one. */
  readonly status: number | undefined
  readonly upgraded: number | undefined
  readonly sent: number
  /** Those of the sent that the transport has taken: when polling, those whose POST was answered. */
  readonly taken: number
  readonly received: number
  /** For how long the oldest message had waited for an answer that never came, in milliseconds. */
  readonly waited: number
}

const tell = (note: Note): void => void process.send!(note)

/** How long a client waits before it connects again, in milliseconds: from, and how much more. */
const back = [50, 450] as const

let port = 0
let leaving = false
let failed = 0
let latencies: Array<number> = []

class Client {
  readonly mode: Mode
  readonly random: Random
  socket: Socket | undefined
  isOpen = false
  private saysBye = false
  private left = false
  sid = ""
  private sent = 0
  private received = 0
  private upgraded: number | undefined
  /** When the messages were sent whose arrival nobody has told of. */
  private readonly under: Array<number> = []
  constructor(mode: Mode, random: Random) {
    this.mode = mode
    this.random = random
  }

  /** Whether there is a session, and it goes on. */
  get isThere(): boolean {
    return this.isOpen && !this.saysBye
  }

  connect(): void {
    const { mode } = this
    const socket = this.socket = new Socket(`ws://127.0.0.1:${port}`, {
      transports: mode === "upgrade" ? ["polling", "websocket"] : [mode],
      upgrade: mode === "upgrade"
    })
    this.isOpen = this.saysBye = this.left = false
    this.sent = this.received = this.under.length = 0
    this.upgraded = undefined
    socket.on("open", () => {
      this.isOpen = true
      this.sid = (socket as unknown as { readonly id: string }).id
    })
    socket.on("upgrade", () => {
      this.upgraded = Date.now()
    })
    socket.on("message", (data: string | Buffer) => this.onMessage(String(data)))
    socket.on("close", (reason: string, description: unknown) => this.onClose(reason, description))
  }

  send(rest: string): void {
    this.under.push(Date.now())
    this.socket!.send(`${this.sid} ${this.sent++} ${this.received} ${rest}`)
  }

  /** Ends the session when what both have sent is there. */
  leave(): void {
    this.saysBye = true
    this.send("bye")
  }

  private onMessage(message: string): void {
    const [to, number, arrived, rest] = message.split(" ")
    if (to !== this.sid || Number(number) !== this.received++) {
      tell({ what: "wrong", words: `${this.sid} got message ${number} of ${to}, not its ${this.received - 1}` })
    }
    while (this.sent - this.under.length < Number(arrived)) latencies.push(Date.now() - this.under.shift()!)
    if (rest !== "bye") return
    this.left = true
    this.socket!.close()
  }

  private onClose(reason: string, description: unknown): void {
    const ended = Date.now()
    if (this.isOpen) {
      const { left, mode, received, sent, sid, upgraded } = this
      const rest = this.socket!.writeBuffer.filter(({ type }) => type === "message").length
      const waited = ended - (this.under[0] ?? ended)
      const status = statusOf(description)
      tell({
        what: "session",
        session: { sid, mode, ended, left, reason, status, upgraded, sent, taken: sent - rest, received, waited }
      })
    } else failed++
    this.isOpen = false
    if (!leaving) setTimeout(() => this.connect(), back[0] + this.random.below(back[1]))
  }
}

/** The status of the answer that ended a session of a polling client. */
const statusOf = (error: unknown): number | undefined => {
  const { description } = error instanceof Error ? error as { readonly description?: unknown } : {}
  return typeof description === "number" ? description : undefined
}

const clients: Array<Client> = []

/** Longer than the heartbeat, and than a client waits before it connects again; in milliseconds. */
const patience = 25_000

/** Waits for all clients; tells of those that do not come. */
const until = async (what: string, isThere: (client: Client) => boolean): Promise<void> => {
  const end = performance.now() + patience
  while (performance.now() < end && !clients.every(isThere)) await pause(20)
  for (const client of clients) {
    if (!isThere(client)) {
      tell({ what: "wrong", words: `a client hangs and is not ${what}: ${client.mode} ${client.sid}` })
    }
  }
}

const connect = async (count: number, random: Random): Promise<void> => {
  leaving = false
  while (clients.length < count) clients.push(new Client(modes[clients.length % modes.length]!, random.fork()))
  for (let i = 0; i < count; i += 20) {
    for (const client of clients.slice(i, i + 20)) client.connect()
    await pause(20)
  }
  await until("connected", ({ isThere }) => isThere)
}

const sizes = [0, 10, 100, 1_000, 20_000]

const talk = async (seconds: number, rate: number, short: number): Promise<void> => {
  latencies = []
  const begun = performance.now()
  for (let turn = 0, sent = 0; performance.now() - begun < seconds * 1_000; await pause(5)) {
    while (sent < (performance.now() - begun) * rate / 1_000) {
      const client = clients[turn++ * 7919 % clients.length]!
      const { random } = client
      // Several at once share a POST, or a chunk of frames.
      const together = random.chance(0.2) ? random.between(2, 10) : 1
      sent += together
      if (!client.isThere) continue
      for (let i = 0; i < together; i++) client.send("x".repeat(random.pick(sizes)))
      if (random.chance(short)) client.leave()
    }
  }
}

const leave = async (): Promise<void> => {
  // Those that are on their way come first.
  await until("connected", ({ isThere }) => isThere)
  leaving = true
  const there = clients.filter(({ isThere }) => isThere)
  for (const client of there) client.leave()
  await until("gone", (client) => !there.includes(client) || !client.isOpen)
}

const obey = (order: Order): Promise<void> => {
  if (order.what === "talk") return talk(order.seconds, order.rate, order.short)
  if (order.what === "leave") return leave()
  port = order.port
  return connect(order.count, new Random(order.seed))
}

process.on("disconnect", () => process.exit())
process.on("message", (order: Order) => {
  obey(order).then(() => {
    tell({ what: "done", failed, latencies })
    latencies = []
  }, (error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
