/**
 * A cluster whose Redis is slow, hangs, refuses what it is asked, or is gone: members that know each other go on, new ones
 * wait, and each says so once.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { missingOf } from "../kit/balancers.ts"
import { eventually, pause } from "../kit/events.ts"
import { Connection } from "../kit/http.ts"
import type { Program } from "../kit/program.ts"
import { FaultProxy } from "../kit/proxy.ts"
import { unwatched } from "../kit/server.ts"
import { RedisCluster, redisServer } from "./redisCluster.ts"
import { open } from "./requests.ts"

const missing = missingOf([redisServer])

describe.skipIf(missing !== "")(`a cluster whose Redis fails${missing}`, () => {
  const cluster = new RedisCluster()
  const { members } = cluster
  const timeToLive = 400
  const env = { TIME_TO_LIVE: `${timeToLive}` }
  let proxy: FaultProxy

  beforeAll(async () => {
    await cluster.start()
    proxy = await FaultProxy.start(unwatched(cluster.port))
    await Promise.all(["a", "b"].map((name) => cluster.member(name, { ...env, REDIS: `${proxy.port}` })))
  }, 30_000)

  afterAll(async () => {
    await proxy.stop()
    cluster.end()
  })

  const connectionTo = (name: string) => Connection.open(members.get(name)!.target)

  /** Has two members serve each other's sessions. */
  const together = async (one: string, other: string): Promise<void> => {
    for (const [from, to] of [[one, other], [other, one]] as const) {
      const url = await open(await connectionTo(from))
      const connection = await connectionTo(to)
      assert.strictEqual((await connection.exchange("POST", url, { body: "4on" })).text, "ok")
      assert.strictEqual((await connection.exchange("GET", url)).text, "4on")
      assert.strictEqual((await connection.exchange("POST", url, { body: "1" })).text, "ok")
    }
  }

  /** Waits until two members know each other. */
  const acquainted = (one: string, other: string) =>
    eventually(`${one} with ${other}`, () => together(one, other).then(() => true, () => false), (it) => it)

  /** How often `a` has said that it cannot ask for the others, and that it can again. */
  const said = (): readonly [number, number] => {
    const { output } = members.get("a")!.program
    return [output.split("cannot be asked for").length - 1, output.split("can be asked for again").length - 1]
  }

  /** Waits until `a` can ask again. */
  const back = () => eventually("its members", () => said(), ([lost, again]) => lost === again)

  /** Waits until a member that had to wait for Redis serves, and knows `a`. */
  const served = async (name: string, program: Program): Promise<void> => {
    members.set(name, { program, target: await program.listening() })
    await back()
    await acquainted("a", name)
  }

  /** Runs `body` while Redis fails, of which `a` says one line. */
  const complaining = async (body: () => Promise<void>): Promise<void> => {
    const [lost, again] = said()
    await body()
    assert.deepStrictEqual(said(), [lost + 1, again])
  }

  it("that answers later than its members are noted for: they go on, and say so once", async () => {
    await acquainted("a", "b")
    await complaining(async () => {
      proxy.lateness = () => timeToLive
      proxy.fault = "delay"
      // One that is not listed three times in a row would be gone.
      await pause(9 * timeToLive)
      await together("a", "b")
    })
    proxy.fault = "none"
    await back()
  }, 30_000)

  it("that hangs: they go on and can end, and one that starts waits", async () => {
    let late: Program
    await complaining(async () => {
      cluster.redis.process.kill("SIGSTOP")
      late = cluster.begin("c", env)
      await pause(1_500)
      await together("a", "b")
      // Nothing that Redis still has to answer holds it up.
      assert.include([0, 130], await members.get("b")!.program.end("SIGTERM"))
      assert.notInclude(late.output, "listening")
    })
    cluster.redis.process.kill("SIGCONT")
    await served("c", late!)
  }, 30_000)

  it("that writes nothing, without memory and then as a replica: they go on, and one that starts waits", async () => {
    let late: Program
    await complaining(async () => {
      await cluster.ask("CONFIG SET maxmemory 1")
      late = cluster.begin("d", env)
      await late.printed(/cannot be asked for/)
      await together("a", "c")
      await cluster.ask("REPLICAOF 127.0.0.1 1", "CONFIG SET maxmemory 0")
      await pause(2 * timeToLive)
      await together("a", "c")
      assert.notInclude(late.output, "listening")
    })
    await cluster.ask("REPLICAOF NO ONE")
    await served("d", late!)
  }, 30_000)

  it("that is gone, and comes back without data: they go on, and one that starts meanwhile waits", async () => {
    let late: Program
    await complaining(async () => {
      await cluster.kill()
      late = cluster.begin("e", env)
      await late.printed(/NodeRedis client error/)
      await together("a", "c")
      assert.notInclude(late.output, "listening")
    })
    await cluster.start()
    await served("e", late!)
    await together("a", "c")
  }, 30_000)

  it("that closes their connections: they go on, and leave nothing there when they end", async () => {
    const names = ["a", "c", "d", "e"]
    const clients = async () => (await cluster.ask("CLIENT LIST")).match(/^id=/gm)!.length - 1
    const all = (count: number) => count === 3 * names.length
    await eventually("their connections", clients, all)
    for (let i = 0; i < 3; i++) {
      await cluster.ask("CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub")
      await together("a", "c")
      await eventually("their connections", clients, all)
    }
    const codes = await Promise.all(names.map((name) => members.get(name)!.program.end("SIGTERM")))
    for (const code of codes) assert.include([0, 130], code)
    assert.deepStrictEqual([await clients(), await cluster.ask("ZCARD engine.io:members")], [0, ":0\r\n+OK\r\n"])
  }, 30_000)
})
