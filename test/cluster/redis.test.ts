/**
 * Members in programs of their own, which know each other by a real Redis, behind real balancers.
 */
import { Deferred, Effect, Fiber, Layer, Logger, Queue } from "effect"
import * as Redis from "effect/persistence/Redis"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { redisMembers } from "../../src/internal/node/redisMembers.ts"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { balancers, missingOf, withBalancer } from "../kit/balancers.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { eventually, pause, within } from "../kit/events.ts"
import { Connection, engineTarget, PollingClient } from "../kit/http.ts"
import { type Target, unwatched } from "../kit/server.ts"
import { RedisCluster, redisServer } from "./redisCluster.ts"
import { count, open, polling } from "./requests.ts"

const missing = missingOf([redisServer, ...balancers])

it("drops what stands in Redis and is no member, with one warning for each until it has gone", async () => {
  const members = ["a", "b"].map((self) => JSON.stringify({ self, host: "127.0.0.1", port: 7000 }))
  const others = [
    "no JSON",
    "{}",
    JSON.stringify({ self: "c", host: "127.0.0.1" }),
    ...[0, 65_536, 7000.5, "7000"].map((port) => JSON.stringify({ self: "c", host: "127.0.0.1", port })),
    JSON.stringify({ self: "c", host: "", port: 7000 }),
    JSON.stringify({ self: "", host: "127.0.0.1", port: 7000 })
  ]
  const warned: Array<unknown> = []
  let asked = 0
  let standing = others
  const ask = Effect.sync(() => {
    asked++
    return [members[0], ...standing, members[1]]
  })
  const connection = { send: (command: string) => command === "EVAL" ? ask : Effect.void }
  const redis = { reserve: Effect.succeed(connection), subscribe: () => Queue.unbounded() }
  await Effect.runPromise(
    Effect.gen(function*() {
      const found = yield* redisMembers({ secret: "secret", listen: { host: "127.0.0.1" }, timeToLive: "30 millis" })
      const look = (all: ReadonlyArray<string>) => {
        standing = [...all]
        const seen = asked
        return Effect.promise(() => eventually("more looks", () => asked - seen, (more) => more > 2))
      }
      yield* look(others)
      assert.deepStrictEqual(Array.from(found.others.keys()), ["a", "b"])
      assert.deepStrictEqual(warned, others)
      yield* look(others.slice(1))
      yield* look(others)
      assert.deepStrictEqual(warned, [...others, others[0]])
    }).pipe(
      Effect.scoped,
      Effect.provideService(Redis.Redis, redis as never),
      Effect.provide(Logger.layer([Logger.make(({ message }) => void warned.push([message].flat().at(-1)))]))
    )
  )
})

for (const timeToLive of [0, "-1 seconds", Number.NaN, "soon"]) {
  it(`is refused with a timeToLive of ${timeToLive}`, async () => {
    const layer = EngineIOCluster.layerRedis({
      secret: "secret",
      listen: { host: "127.0.0.1" },
      timeToLive: timeToLive as number
    })
    const redis = Layer.succeed(Redis.Redis, {} as never)
    const error = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, redis)))))
    assert.include(error.message, "a duration above zero\n  at [\"timeToLive\"]")
  })
}

it("ends in its time where Redis hangs before it has answered anything", async () => {
  const asked = Deferred.makeUnsafe<void>()
  // As Effect's client, which cannot be interrupted while it connects.
  const subscribe = () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.uninterruptible(Effect.never))
  const starting = Effect.runFork(
    Effect.scoped(redisMembers({ secret: "secret", listen: { host: "127.0.0.1" } })).pipe(
      Effect.provideService(Redis.Redis, { subscribe } as never)
    )
  )
  await Effect.runPromise(Deferred.await(asked))
  await within(Effect.runPromise(Fiber.interrupt(starting)), "the end of a member", 3000)
})

describe.skipIf(missing !== "")(`a cluster by Redis${missing}`, () => {
  const cluster = new RedisCluster()
  const { members, portOf } = cluster

  beforeAll(async () => {
    await cluster.start()
    await Promise.all(["a", "b"].map((name) => cluster.member(name)))
  }, 30_000)

  afterAll(() => cluster.end())

  /** Runs `body` with a balancer before the members `a` and `b`, as its recipe says. */
  const withMembers = (
    balancer: typeof balancers[number],
    body: (target: Target) => Promise<void>,
    change?: (recipe: string) => string
  ) => withBalancer(balancer, "scaling.md", [portOf("a"), portOf("b")], (port) => body(unwatched(port)), change)

  it(
    "serves real clients behind a balancer that knows nothing of sessions",
    () =>
      withMembers(balancers[0]!, async (balancer) => {
        const clients = await Promise.all(
          Array.from({ length: 30 }, (_, i) => EngineClient.connect(balancer, modes[i % modes.length]!))
        )
        await Promise.all(clients.map((client) => count(client, 0, 50)))
        assert.deepStrictEqual(new Set(clients.map(({ sid }) => sid[0])), new Set(["a", "b"]))
        for (const client of clients) await client.close()
      }, (recipe) => {
        assert.include(recipe, "proxy_pass http://$owner;")
        return recipe.replace("http://$owner", "http://members")
      }),
    30_000
  )

  for (const balancer of balancers) {
    it(
      `has requests at their owner at once, by the recipe for ${balancer.heading}`,
      () =>
        withMembers(balancer, async (target) => {
          const names = new Set<string>()
          for (let i = 0; i < 8; i++) {
            const client = await PollingClient.connect(target)
            const name = client.sid[0]!
            names.add(name)
            for (let turn = 0; turn < 3; turn++) {
              const posted = await client.request("POST", { body: `4${turn}` })
              assert.deepStrictEqual([posted.text, posted.header("x-member")], ["ok", name])
              assert.deepStrictEqual(await client.poll(), [`4${turn}`])
            }
          }
          assert.deepStrictEqual(names, new Set(["a", "b"]))
          const client = await EngineClient.connect(target, "upgrade")
          await count(client, 0, 10)
          await client.close()
          // A member that never was is one that any other answers for.
          const unknown = engineTarget({ EIO: "4", transport: "polling", sid: "z-x.y" })
          const { status, text } = await (await Connection.open(target)).exchange("GET", unknown)
          assert.deepStrictEqual([status, text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
        }),
      30_000
    )
  }

  it("takes requests for the sessions of a member that has just begun", async () => {
    const url = await open(await Connection.open((await cluster.member("d")).target))
    const a = await Connection.open(members.get("a")!.target)
    assert.strictEqual((await a.exchange("POST", url, { body: "4new" })).text, "ok")
  }, 30_000)

  it("goes on without Redis, and takes new members when it is back", async () => {
    const a = await Connection.open(members.get("a")!.target)
    const url = await open(a)
    const b = await Connection.open(members.get("b")!.target)
    await cluster.kill()
    await pause(1500)
    assert.strictEqual((await b.exchange("POST", url, { body: "4alone" })).text, "ok")
    assert.strictEqual((await b.exchange("GET", url)).text, "4alone")
    await cluster.start()
    const c = await Connection.open((await cluster.member("c")).target)
    await eventually(
      "a known member",
      async () => (await c.exchange("POST", url, { body: "4back" })).text,
      (it) => it === "ok"
    )
    assert.strictEqual((await c.exchange("GET", url)).text, "4back")
  }, 30_000)

  it("lets nobody in who does not know the secret", async () => {
    const url = await open(await Connection.open(members.get("a")!.target))
    const { program, target } = await cluster.member("x", { SECRET: "guess" })
    const stranger = await Connection.open(target)
    const { status, text } = await stranger.exchange("GET", url)
    assert.deepStrictEqual([status, text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
    // It does not believe them either.
    await program.printed(/Dropped a connection within the cluster: the other end is no member/)
  }, 30_000)

  /** Runs `body` with all balancers. */
  const withAll = (
    body: (targets: ReadonlyArray<Target>) => Promise<void>,
    [first, ...rest] = balancers,
    targets: ReadonlyArray<Target> = []
  ): Promise<void> =>
    first === undefined
      ? body(targets)
      : withMembers(first, (target) => withAll(body, rest, [...targets, target]))

  /** Opens a session of `a` through a balancer. */
  const openAtA = async (connection: Connection): Promise<string> => {
    const url = await open(connection)
    return url.includes("sid=a-") ? url : openAtA(connection)
  }

  it(
    "tells parked polls at once that their member was killed, behind balancers too, which go to another then",
    () =>
      withAll(async (targets) => {
        const b = await Connection.open(members.get("b")!.target)
        const connections = [b, ...await Promise.all(targets.map((target) => Connection.open(target)))]
        const urls = [
          await open(await Connection.open(members.get("a")!.target)),
          ...await Promise.all(connections.slice(1).map(openAtA))
        ]
        for (const [i, connection] of connections.entries()) {
          assert.strictEqual((await connection.exchange("POST", urls[i]!, { body: "4" })).text, "ok")
          assert.strictEqual((await connection.exchange("GET", urls[i]!)).text, "4")
          connection.send("GET", urls[i]!)
        }
        await pause(50)
        members.get("a")!.program.process.kill("SIGKILL")
        assert.strictEqual((await b.response(500)).status, 400)
        // HAProxy closes the connection, where its own to the member was used before.
        for (const connection of connections.slice(1)) {
          assert.include([502, 503, undefined], (await connection.outcome())?.status)
        }
        assert.strictEqual((await b.exchange("GET", urls[0]!)).status, 400)
        for (const target of targets) {
          for (let i = 0; i < 4; i++) {
            assert.strictEqual((await (await Connection.open(target)).exchange("GET", polling)).status, 200)
          }
        }
      }),
    30_000
  )
})
