/**
 * Live clients behind bad networks. `FAULT_CLIENTS=200` takes more of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { CloseReason } from "../../src/index.ts"
import { EngineClient, type Mode, modes } from "../kit/client.ts"
import { within } from "../kit/events.ts"
import { type Fault, FaultProxy } from "../kit/proxy.ts"
import { TestServer } from "../kit/server.ts"

const count = Number(process.env["FAULT_CLIENTS"] ?? 24)
/** The clients share one process with the server and the proxies. */
const patience = 20_000 + count * 100

class Pair {
  readonly server: TestServer
  readonly proxy: FaultProxy
  readonly client: EngineClient
  readonly mode: Mode
  readonly sid: string
  sent = 0
  constructor(server: TestServer, proxy: FaultProxy, client: EngineClient, mode: Mode) {
    this.server = server
    this.proxy = proxy
    this.client = client
    this.mode = mode
    this.sid = client.sid
  }

  static async connect(server: TestServer, mode: Mode, faults: { readonly upgrade?: Fault } = {}): Promise<Pair> {
    const proxy = await FaultProxy.start(server)
    proxy.upgradeFault = faults.upgrade
    const target = Object.create(server, { port: { value: proxy.port } }) as TestServer
    const client = await EngineClient.connect(target, mode, { awaitUpgrade: faults.upgrade === undefined })
    return new Pair(server, proxy, client, mode)
  }

  send(count: number): void {
    for (let n = 0; n < count; n++) this.client.send(`${this.sent++}`)
  }

  /** What arrived on both sides is what was sent, in order, up to some point, with nothing missing before it. */
  check(): number {
    const numbers = Array.from({ length: this.sent }, (_, n) => `${n}`)
    const there = this.server.messagesOf(this.sid)
    const back = this.client.messages.all
    assert.deepStrictEqual<ReadonlyArray<unknown>>(there, numbers.slice(0, there.length), this.mode)
    assert.deepStrictEqual<ReadonlyArray<unknown>>(back, numbers.slice(0, back.length), this.mode)
    assert.isAtMost(back.length, there.length)
    return there.length + back.length
  }
}

/** Some clients in every mode, each behind a proxy of its own; prints what it did when asked to. */
const withPairs = async (
  heartbeat: { readonly pingInterval: number; readonly pingTimeout: number },
  upgradeFault: Fault | undefined,
  body: (pairs: ReadonlyArray<Pair>) => Promise<void>
): Promise<void> => {
  const server = await TestServer.start({ ...heartbeat, upgradeTimeout: 1_000 })
  const pairs: Array<Pair> = []
  // Two dozen at a time: who connects must not wait for all the others.
  while (pairs.length < count) {
    const some = Array.from({ length: Math.min(24, count - pairs.length) }, (_, n) =>
      upgradeFault === undefined
        ? Pair.connect(server, modes[n % modes.length]!)
        : Pair.connect(server, "upgrade", { upgrade: upgradeFault }))
    pairs.push(...await Promise.all(some))
  }
  await body(pairs)
  const messages = pairs.reduce((sum, pair) => sum + pair.check(), 0)
  const pieces = pairs.reduce((sum, { proxy }) => sum + proxy.pieces, 0)
  if (process.env["FAULT_CLIENTS"] !== undefined) {
    console.log(`${count} clients, ${pieces} pieces under a fault, ${messages} messages checked, losses: 0`)
  }
  await Promise.all(pairs.map(({ proxy }) => proxy.stop()))
  await server.stop()
}

const steady = { pingInterval: 500, pingTimeout: 20_000 }
const quick = { pingInterval: 400, pingTimeout: 600 }

describe("a network that is slow", () => {
  for (const fault of ["delay", "split"] as const) {
    it(`loses nothing: ${fault}`, async () => {
      await withPairs(steady, undefined, async (pairs) => {
        for (const { proxy } of pairs) proxy.fault = fault
        for (let round = 0; round < 4; round++) {
          for (const pair of pairs) pair.send(5)
          await Promise.all(pairs.map((pair) => pair.client.messages.reached(pair.sent, patience)))
        }
        assert.strictEqual(pairs[0]!.server.ended.all.length, 0)
      })
    }, patience * 2)
  }

  for (const fault of ["silence", "deaf", "mute", "reset", "split"] as const) {
    it(`leaves a session on polling where its WebSocket fails, and loses nothing: ${fault}`, async () => {
      await withPairs(steady, fault, async (pairs) => {
        for (let round = 0; round < 4; round++) {
          for (const pair of pairs) pair.send(5)
          await Promise.all(pairs.map((pair) => pair.client.messages.reached(pair.sent, patience)))
        }
        assert.strictEqual(pairs[0]!.server.ended.all.length, 0)
      })
    }, patience * 2)
  }
})

describe("a network that fails", () => {
  for (const fault of ["silence", "deaf", "mute", "reset"] as const) {
    it(`is noticed on both sides within pingInterval + pingTimeout: ${fault}`, async () => {
      await withPairs(quick, undefined, async (pairs) => {
        for (const pair of pairs) pair.send(5)
        const failed = new Map<Pair, number>()
        const noticed = { server: [] as Array<number>, client: [] as Array<number> }
        await Promise.all(
          pairs.map(async (pair) => {
            // Some fail in the middle of a message, some when nothing goes on.
            await pair.client.messages.reached(Math.floor(Math.random() * 6), patience)
            pair.send(3)
            pair.proxy.fault = fault
            failed.set(pair, performance.now())
            const reason = await pair.server.reason(pair.sid, patience)
            noticed.server.push(performance.now() - failed.get(pair)!)
            assert.include(["transport close", "transport error", "ping timeout"], CloseReason.message(reason))
          }).concat(pairs.map(async (pair) => {
            await within(pair.client.closed, "the client's end", patience)
            noticed.client.push(performance.now() - (failed.get(pair) ?? performance.now()))
          }))
        )
        // Both count from what they last heard, which may have been on its way; and one process does all the work.
        const bound = quick.pingInterval + quick.pingTimeout + 1_000 + count * 10
        assert.isBelow(Math.max(...noticed.server), bound)
        assert.isBelow(Math.max(...noticed.client), bound)
      })
    }, patience * 2)
  }
})
