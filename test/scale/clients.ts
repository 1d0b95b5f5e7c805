/**
 * Many clients in one process, as lean as they can be: every other one polls, the rest are on WebSocket. Each answers
 * its pings, and those that are told to send a message and wait for it to come back.
 */
import { Agent, request } from "node:http"
import { WebSocket } from "ws"

/** What the main process asks for. */
export type Order =
  | { readonly what: "connect"; readonly port: number; readonly count: number }
  | { readonly what: "talk"; readonly seconds: number; readonly rate: number }

/** What it is told. */
export interface Result {
  readonly exchanged: number
  readonly missing: number
  readonly pings: number
  readonly latencies: ReadonlyArray<number>
}

interface Client {
  send(packet: string): void
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const clients: Array<Client> = []
/** When the messages that are under way were sent. */
const under = new Map<string, number>()
let latencies: Array<number> = []
let pings = 0

const onPacket = (client: Client, packet: string): void => {
  if (packet === "2") {
    pings++
    client.send("3")
  } else if (packet.startsWith("4")) {
    const sent = under.get(packet)
    if (sent === undefined) throw new Error(`nobody sent ${packet}`)
    under.delete(packet)
    latencies.push(performance.now() - sent)
  }
}

const exchange = (port: number, method: string, path: string, body?: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request({ port, host: "127.0.0.1", method, path, agent }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        text += chunk
      })
      response.on(
        "end",
        () => response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text}`))
      )
    })
    sent.on("error", reject)
    sent.end(body)
  })

const connectPolling = async (port: number): Promise<Client> => {
  const path = "/engine.io/?EIO=4&transport=polling"
  const { sid } = JSON.parse((await exchange(port, "GET", path)).slice(1)) as { readonly sid: string }
  const own = `${path}&sid=${sid}`
  // One POST at a time.
  let posting: Promise<unknown> = Promise.resolve()
  const client: Client = {
    send: (packet) => {
      posting = posting.then(() => exchange(port, "POST", own, packet))
    }
  }
  const poll = async (): Promise<void> => {
    while (true) for (const packet of (await exchange(port, "GET", own)).split("\x1e")) onPacket(client, packet)
  }
  poll().catch((error: unknown) => {
    console.error("a client fell out:", error)
  })
  return client
}

const connectWebSocket = (port: number): Promise<Client> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/engine.io/?EIO=4&transport=websocket`, {
      perMessageDeflate: false
    })
    const client: Client = { send: (packet) => socket.send(packet) }
    socket.on("error", reject)
    socket.on("close", (code) => console.error("a client fell out:", code))
    socket.on("message", (data: Buffer) => {
      const packet = data.toString()
      if (packet.startsWith("0")) resolve(client)
      else onPacket(client, packet)
    })
  })

const connect = async (port: number, count: number): Promise<void> => {
  while (clients.length < count) {
    const some = Math.min(100, count - clients.length)
    clients.push(
      ...await Promise.all(
        Array.from({ length: some }, (_, n) => n % 2 === 0 ? connectPolling(port) : connectWebSocket(port))
      )
    )
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

const talk = async (seconds: number, rate: number): Promise<void> => {
  latencies = []
  const begun = performance.now()
  let sent = 0
  while (performance.now() - begun < seconds * 1_000) {
    while (sent < (performance.now() - begun) * rate / 1_000) {
      const packet = `4${process.pid}-${sent}`
      under.set(packet, performance.now())
      clients[sent++ * 7919 % clients.length]!.send(packet)
    }
    await pause(10)
  }
  for (let left = 100; left > 0 && under.size > 0; left--) await pause(100)
}

process.on("message", (order: Order) => {
  const done = order.what === "connect" ? connect(order.port, order.count) : talk(order.seconds, order.rate)
  done.then(
    () => process.send!({ exchanged: latencies.length, missing: under.size, pings, latencies } satisfies Result),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    }
  )
})
