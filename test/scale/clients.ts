/**
 * Many clients in one process, as lean as they can be: every other one polls, the rest are on WebSocket. Each answers
 * its pings, and those that are told to send a message wait for it to come back. A client whose session ends connects
 * again, and sends again what had not come back.
 */
import { Agent, request } from "node:http"
import { WebSocket } from "ws"

/** What the main process asks for. */
export type Order =
  | { readonly what: "connect"; readonly port: number; readonly count: number }
  | { readonly what: "talk"; readonly seconds: number; readonly rate: number }
  | { readonly what: "leave" }

/** What it is told when that is done. */
export interface Result {
  /** Messages that came back, and those that never did. */
  readonly exchanged: number
  readonly missing: number
  /** Everything since the process began: messages received, pings, sessions that ended, attempts that failed. */
  readonly received: number
  readonly pings: number
  readonly ended: number
  readonly failed: number
  /** Of the messages that came back without being sent again, in milliseconds. */
  readonly latencies: ReadonlyArray<number>
}

/** One session. `send` is for packets; what happens is told to the client. */
interface Session {
  send(packet: string): void
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const total = { received: 0, pings: 0, ended: 0, failed: 0 }
let port = 0
let exchanged = 0
let latencies: Array<number> = []
let leaving = false

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

class Client {
  private readonly isPolling: boolean
  /** When the messages that are under way were sent; zero for those that were sent again. */
  readonly under = new Map<string, number>()
  private session: Session | undefined
  constructor(isPolling: boolean) {
    this.isPolling = isPolling
  }

  get isConnected(): boolean {
    return this.session !== undefined
  }

  async connect(): Promise<void> {
    while (true) {
      if (leaving) return
      try {
        this.session = await (this.isPolling ? poll(this) : openWebSocket(this))
        for (const packet of this.under.keys()) {
          this.under.set(packet, 0)
          this.session.send(packet)
        }
        return
      } catch {
        total.failed++
        await pause(100 + Math.random() * 400)
      }
    }
  }

  send(packet: string): void {
    this.under.set(packet, performance.now())
    this.session?.send(packet)
  }

  onPacket(packet: string): void {
    if (packet === "2") {
      total.pings++
      this.session?.send("3")
    } else if (packet.startsWith("4")) {
      total.received++
      const sent = this.under.get(packet)
      if (sent === undefined) throw new Error(`nobody waits for ${packet}`)
      this.under.delete(packet)
      exchanged++
      if (sent > 0) latencies.push(performance.now() - sent)
    }
  }

  onEnd(): void {
    this.session = undefined
    total.ended++
    void this.connect()
  }
}

const exchange = (method: string, path: string, body?: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request({ port, host: "127.0.0.1", method, path, agent }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("error", reject)
      response.on("data", (chunk: string) => {
        text += chunk
      })
      response.on(
        "end",
        () => response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text}`))
      )
    })
    sent.on("error", (error: Error & { readonly code?: string }) => {
      // The server closed a connection that was idle for long, just when it was wanted again.
      if (sent.reusedSocket && error.code === "ECONNRESET") exchange(method, path, body).then(resolve, reject)
      else reject(error)
    })
    sent.end(body)
  })

const poll = async (client: Client): Promise<Session> => {
  const path = "/engine.io/?EIO=4&transport=polling"
  const { sid } = JSON.parse((await exchange("GET", path)).slice(1)) as { readonly sid: string }
  const own = `${path}&sid=${sid}`
  let open = true
  const end = (): void => {
    if (open) client.onEnd()
    open = false
  }
  // One POST at a time; one that fails says nothing about what there is still to fetch.
  let posting: Promise<unknown> = Promise.resolve()
  const session: Session = {
    send: (packet) => {
      posting = posting.then(() => open ? exchange("POST", own, packet) : undefined).catch((error: unknown) => {
        // While its session lives, nobody would send it again.
        setTimeout(() => open && console.error(`a POST failed: ${String(error)}`), 5_000)
      })
    }
  }
  const fetch = async (): Promise<void> => {
    while (true) {
      for (const packet of (await exchange("GET", own)).split("\x1e")) {
        if (packet === "1") return
        client.onPacket(packet)
      }
    }
  }
  // Errors of the requests are the end of a session; those of `onPacket` are not caught by it.
  setImmediate(() => void fetch().catch(onFailure).then(end))
  return session
}

const openWebSocket = (client: Client): Promise<Session> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/engine.io/?EIO=4&transport=websocket`, {
      perMessageDeflate: false
    })
    const session: Session = { send: (packet) => socket.send(packet, () => {}) }
    let open = false
    socket.on("error", reject)
    socket.on("close", () => {
      if (open) client.onEnd()
      else reject(new Error("closed"))
    })
    socket.on("message", (data: Buffer) => {
      const packet = data.toString()
      if (open) return client.onPacket(packet)
      open = true
      resolve(session)
    })
  })

const onFailure = (error: Error): void => {
  if (error.message.startsWith("nobody waits")) throw error
}

const clients: Array<Client> = []

const connect = async (count: number): Promise<void> => {
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(100, count - clients.length) }, (_, n) => new Client(n % 2 === 0))
    await Promise.all(some.map((client) => client.connect()))
    clients.push(...some)
  }
}

const missing = (): number => clients.reduce((sum, { under }) => sum + under.size, 0)

const talk = async (seconds: number, rate: number): Promise<void> => {
  latencies = []
  exchanged = 0
  const begun = performance.now()
  let sent = 0
  while (performance.now() - begun < seconds * 1_000) {
    while (sent < (performance.now() - begun) * rate / 1_000) {
      clients[sent * 7919 % clients.length]!.send(`4${process.pid}-${begun}-${sent++}`)
    }
    await pause(10)
  }
  for (let left = 300; left > 0 && missing() > 0; left--) await pause(100)
}

const leave = async (): Promise<void> => {
  leaving = true
  while (clients.some((client) => client.isConnected)) await pause(50)
}

const obey = (order: Order): Promise<void> => {
  if (order.what === "talk") return talk(order.seconds, order.rate)
  if (order.what === "leave") return leave()
  port = order.port
  return connect(order.count)
}

process.on("message", (order: Order) => {
  obey(order).then(
    () => process.send!({ exchanged, missing: missing(), ...total, latencies } satisfies Result),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    }
  )
})
