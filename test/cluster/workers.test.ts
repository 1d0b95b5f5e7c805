/**
 * A program on several workers, with real clients: what they see when requests reach any of them, and when workers die.
 */
import { Socket as EngineSocket } from "engine.io-client"
import { Effect, Layer } from "effect"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { EngineClient3 } from "../kit/client3.ts"
import { eventually, Mailbox, pause, within } from "../kit/events.ts"
import { Connection } from "../kit/http.ts"
import { Program, withProgram } from "../kit/program.ts"
import type { Target } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"
import { type Client, count, open } from "./requests.ts"

const fixture = "test/cluster/fixtures/server.ts"

for (
  const [what, options] of [
    ["workers", { workers: Number("many") }],
    ["startTimeout", { startTimeout: 0 }],
    ["restartSignal", { restartSignal: "SIGKILL" }],
    ["restartSignal", { restartSignal: "SIGNONE" as never }],
    ["works", { works: 2 } as never]
  ] as const
) {
  it(`workers are refused with ${JSON.stringify(options)}`, async () => {
    const layer = EngineIOCluster.layerNodeCluster(options)
    const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(layer))))
    assert.include(error.message, `at ["${what}"]`)
  })
}

/** One program for all of them, since it takes its time to start. */
let program: Program
let target: Target

/** The workers that listen, oldest first. */
const workers = (): ReadonlyArray<number> =>
  Array.from(program.output.matchAll(/worker (\d+) listening/g), ([, pid]) => Number(pid))
    .filter((pid) => existsSync(`/proc/${pid}`))

const twoWorkers = async (): Promise<readonly [number, number]> =>
  await eventually("two workers", workers, ({ length }) => length === 2, 20_000) as [number, number]

/** A connection to the worker with this number. */
const connectionTo = async (pid: number): Promise<Connection> => {
  for (let i = 0; i < 20; i++) {
    const connection = await Connection.open(target)
    if ((await connection.exchange("GET", "/pid")).text === String(pid)) return connection
    await connection.close()
  }
  return assert.fail(`no connection reached the worker ${pid}`)
}

/** Moves a session to a WebSocket. */
const upgraded = async (url: string): Promise<WebSocketClient> => {
  const webSocket = await WebSocketClient.open(target, { sid: new URLSearchParams(url).get("sid")! })
  webSocket.send("2probe")
  assert.strictEqual(await webSocket.next(), "3probe")
  webSocket.send("5")
  webSocket.send("4hello")
  assert.strictEqual(await webSocket.next(), "4hello")
  return webSocket
}

it(
  "a WebSocket over TLS is piped to the owner of its session, since it cannot be handed over, and holds up no end",
  withProgram([fixture], async (program) => {
    const { port } = await program.listening()
    await eventually("two workers", () => program.output.match(/listening/g)?.length, (count) => count === 2)
    const clients = await Promise.all(Array.from({ length: 6 }, async () => {
      const client = new EngineSocket(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false } as object)
      const messages = new Mailbox<string>("a message")
      client.on("message", (data: string) => messages.put(data))
      await within(new Promise<void>((resolve) => client.once("upgrade", () => resolve())), "an upgrade")
      return { messages, send: (data: string) => void client.send(data), close: () => client.close() }
    }))
    await Promise.all(clients.map((client) => count(client, 0, 20)))
    program.process.kill("SIGUSR2")
    // Effect would wait 20 seconds for those that are piped to the other worker.
    const listening = () => program.output.match(/listening/g)?.length
    await eventually("the end of both workers", listening, (count) => count === 4, 15_000)
    for (const client of clients) client.close()
  }, { TLS: "yes" }),
  30_000
)

it(
  "workers that die as soon as they listen are replaced after longer and longer pauses",
  withProgram(["test/cluster/fixtures/crashing.ts"], async (program) => {
    const lives = () =>
      [...program.output.matchAll(/([\d.]+) to (\d+)\n/g)].map(([, from, to]) => [+from!, +to!] as const)
    const all = await eventually("four lives", lives, ({ length }) => length >= 4, 20_000)
    for (const [i, least] of [100, 200, 400].entries()) assert.isAtLeast(all[i + 1]![0] - all[i]![1], least - 20)
  }),
  30_000
)

describe("the worker of a program that has one", () => {
  beforeAll(async () => {
    program = new Program(["test/cluster/fixtures/starting.ts"])
    await program.printed(/worker 1 listening/)
  }, 30_000)

  afterAll(() => program.process.kill("SIGKILL"))

  it(
    "serves on while a successor hangs, crashes before or as soon as it listens, or cannot be forked, until one lives",
    async () => {
      const died = /^has died \(1\)$/
      const ends = () =>
        Array.from(program.output.matchAll(/A new worker (.*), so the others stay as they are/g), ([, why]) => why!)
      for (
        const [i, why] of [/^does not listen after 5s$/, died, /^cannot be started \(spawn .* ENOENT\)$/, died]
          .entries()
      ) {
        program.process.kill("SIGUSR2")
        assert.match((await eventually("the end of a restart", ends, ({ length }) => length > i))[i]!, why)
      }
      assert.notMatch(program.output, /stopped|worker [2345] listening/)
      program.process.kill("SIGUSR2")
      await program.printed(/worker 6 listening\nworker 1 stopped/)
    },
    30_000
  )

  it("is replaced when it has died, also where that takes more than one try", async () => {
    process.kill(Number(/(\d+) is worker 6/.exec(program.output)![1]), "SIGKILL")
    await program.printed(/A worker has died \(SIGKILL\), and is replaced/)
    await program.printed(/A worker cannot be started \(spawn .* ENOENT\), and is replaced/)
    await program.printed(/worker 8 listening/)
  }, 30_000)

  it("is replaced once more for all signals that come while it is replaced", async () => {
    program.process.kill("SIGUSR2")
    await program.printed(/worker 9 listening/)
    program.process.kill("SIGUSR2")
    await pause(50)
    program.process.kill("SIGUSR2")
    await program.printed(/worker 10 listening/)
    await program.printed(/worker 9 stopped/)
  }, 30_000)

  it("comes to its end in order, and its successor too, whatever signals follow the first", async () => {
    program.process.kill("SIGUSR2")
    await program.printed(/worker 11 listening/)
    for (const signal of ["SIGINT", "SIGTERM", "SIGUSR2", "SIGTERM"] as const) {
      program.process.kill(signal)
      await pause(50)
    }
    assert.include([0, 130], await program.end())
    assert.match(program.output, /worker 10 stopped/)
    assert.match(program.output, /worker 11 stopped/)
    assert.notMatch(program.output, /worker 12/)
    assert.strictEqual(program.output.match(/has died \(SIG/g)?.length, 1)
  }, 30_000)
})

it(
  "a worker that dies while others are replaced has one in its place, not two",
  withProgram([fixture], async (it) => {
    program = it
    const [first, second] = await twoWorkers()
    program.process.kill("SIGUSR2")
    process.kill(second, "SIGKILL")
    const news = await eventually(
      "two others",
      workers,
      (all) => all.length >= 2 && !all.includes(first) && !all.includes(second),
      20_000
    )
    // It replaces them again when it is through with the first time.
    program.process.kill("SIGUSR2")
    await eventually("yet others", workers, (all) => news.every((it) => !all.includes(it)), 20_000)
    await twoWorkers()
    assert.include([0, 130], await program.end("SIGTERM"))
    assert.strictEqual(program.output.match(/worker \d+ listening/g)?.length, 6)
  }),
  40_000
)

describe("a program on several workers", () => {
  beforeAll(async () => {
    program = new Program([fixture])
    target = await program.listening()
  }, 30_000)

  afterAll(() => program.process.kill("SIGKILL"))

  it("serves real clients on every transport, whichever worker their requests reach", async () => {
    await twoWorkers()
    const clients: Array<Client> = await Promise.all([
      ...Array.from({ length: 24 }, (_, i) => EngineClient.connect(target, modes[i % modes.length]!)),
      ...Array.from(
        { length: 8 },
        (_, i) => EngineClient3.connect(target, (["polling", "websocket", "upgrade", "jsonp"] as const)[i % 4]!)
      )
    ])
    await Promise.all(clients.map((client) => count(client, 0, 100)))
    // Each worker owns some.
    assert.strictEqual(new Set(Array.from(target.clients, ({ sid }) => sid.split(".")[0])).size, 2)
    for (const client of target.clients) await client.close()
    await eventually("the ends", () => program.output.match(/TransportClose/g)?.length ?? 0, (n) => n >= 24)
  }, 30_000)

  it("lists the sessions of all workers at any of them", async () => {
    const [first, second] = await twoWorkers()
    const [at1, at2] = [await connectionTo(first), await connectionTo(second)]
    const urls = [await open(at1), await open(at2), await open(at2)]
    const webSocket = await upgraded(urls[2]!)
    for (const connection of [at1, at2]) {
      const all: ReadonlyArray<EngineIOCluster.SocketInfo> = JSON.parse(
        (await connection.exchange("GET", "/sockets")).text
      )
      for (const [i, url] of urls.entries()) {
        const info = all.find(({ id }) => url.includes(id))!
        const transport = i === 2 ? "websocket" : "polling"
        assert.deepInclude(info, { protocol: 4, transport, path: "/engine.io/", remoteAddress: "127.0.0.1" })
        assert.isAtMost(Math.abs(Date.now() - info.connectedAt), 60_000)
      }
      await connection.close()
    }
    await webSocket.close()
  }, 30_000)

  it("goes on while a worker is stopped, and with that worker when it goes on", async () => {
    const [stopped, other] = await twoWorkers()
    const connection = await connectionTo(other)
    const [there, here] = [await open(await connectionTo(stopped)), await open(connection)]
    assert.strictEqual((await connection.exchange("POST", there, { body: "4" })).text, "ok")
    process.kill(stopped, "SIGSTOP")
    assert.strictEqual((await connection.exchange("POST", here, { body: "4on" })).text, "ok")
    assert.strictEqual((await connection.exchange("GET", here)).text, "4on")
    connection.send("POST", there, { body: "4late" })
    process.kill(stopped, "SIGCONT")
    assert.strictEqual((await connection.response()).text, "ok")
    assert.strictEqual((await connection.exchange("GET", there)).text, "4\u001e4late")
  }, 30_000)

  it("closes the connections that a killed worker had not taken, rather than leave their clients to wait", async () => {
    const [killed, other] = await twoWorkers()
    const url = await open(await connectionTo(killed))
    // The sockets that are handed over to it wait in a line.
    const handed = [await connectionTo(other), await connectionTo(other), await connectionTo(other)]
    process.kill(killed, "SIGSTOP")
    for (const connection of handed) {
      connection.send("GET", url.replace("polling", "websocket"), {
        headers: {
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
        }
      })
    }
    const connections = await Promise.all(Array.from({ length: 4 }, () => Connection.open(target)))
    for (const connection of connections) connection.send("GET", "/pid")
    // One of them waits for the stopped worker, and those behind it go to the other.
    const answered = () => connections.filter(({ responses }) => responses.all.length > 0)
    await eventually("the answers of the other worker", answered, ({ length }) => length === 3)
    process.kill(killed, "SIGKILL")
    const left = connections.find((connection) => !answered().includes(connection))!
    await within(Promise.all([left, ...handed].map(({ closed }) => closed)), "the ends of the connections")
    await Promise.all(answered().map((connection) => connection.close()))
    await twoWorkers()
  }, 30_000)

  it("tells parked polls at once that their worker was killed, replaces it, and serves the others on", async () => {
    const [killed, other] = await twoWorkers()
    const url = await open(await connectionTo(killed))
    const connection = await connectionTo(other)
    const own = await open(connection)
    // Half of them reach the worker that is not their owner, which hands them over.
    const webSockets = await Promise.all(
      Array.from({ length: 4 }, async () => upgraded(await open(await connectionTo(other))))
    )
    assert.strictEqual((await connection.exchange("POST", url, { body: "4there" })).text, "ok")
    assert.strictEqual((await connection.exchange("GET", url)).text, "4there")
    const gone = await connectionTo(killed)
    gone.send("GET", await open(connection))
    connection.send("GET", url)
    await pause(50)
    process.kill(killed, "SIGKILL")
    // Without the end of the link, its pings would take longer than this to miss the worker.
    const { status, text } = await connection.response(5000)
    assert.deepStrictEqual([status, text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
    // Nor does a worker wait for clients that were there with the killed one.
    await program.printed(new RegExp(`closed ${other} TransportError`))
    assert.strictEqual((await connection.exchange("POST", own, { body: "4on" })).text, "ok")
    for (const webSocket of webSockets) {
      webSocket.send("4on")
      assert.strictEqual(await webSocket.next(), "4on")
      await webSocket.close()
    }
    const [, replacement] = await twoWorkers()
    await open(await connectionTo(replacement))
    const folder = /EFFECT_ENGINE_IO_WORKERS=([^\0]+)/.exec(readFileSync(`/proc/${replacement}/environ`, "latin1"))![1]!
    assert.strictEqual(readdirSync(folder).length, 2)
    assert.match(program.output, /A worker has died \(SIGKILL\), and is replaced/)
  }, 30_000)

  it("replaces its workers one by one, without losing what they had accepted, and leaves nothing", async () => {
    const [first, second] = await twoWorkers()
    const [at1, at2] = [await connectionTo(first), await connectionTo(second)]
    const [of1, of2, quiet] = [await open(at1), await open(at2), await open(at2)]
    assert.strictEqual((await at2.exchange("POST", quiet, { body: "4last" })).text, "ok")
    at2.send("GET", of1)
    at1.send("GET", of2)
    program.process.kill("SIGUSR2")
    // The first tells its client of the end, and lets go of a poll for the second.
    assert.strictEqual((await at2.response(20_000)).text, "1")
    assert.strictEqual((await at1.response()).text, "6")
    // An idle connection keeps a server that closes for five seconds.
    await at1.close()
    await at2.close()
    const elsewhere = await Connection.open(target)
    assert.strictEqual((await elsewhere.exchange("GET", quiet)).packets[0], "4last")
    elsewhere.send("GET", of2)
    assert.strictEqual((await elsewhere.response(20_000)).text, "1")
    await elsewhere.close()
    await eventually("new workers", workers, (all) => all.length === 2 && !all.includes(second), 20_000)
    const client = await EngineClient.connect(target, "polling")
    await count(client, 0, 10)
    await client.close()
    assert.include([0, 130], await program.end("SIGTERM"))
    assert.deepStrictEqual(workers(), [])
    assert.strictEqual(program.output.match(/has died/g)?.length, 2)
  }, 60_000)
})
