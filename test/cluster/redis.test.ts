/**
 * Members in programs of their own, which know each other by a real Redis, behind real balancers.
 */
import { Effect, Logger, Queue } from "effect"
import * as Redis from "effect/persistence/Redis"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { redisMembers } from "../../src/internal/node/redisMembers.ts"
import { EngineClient, modes } from "../kit/client.ts"
import { eventually, pause } from "../kit/events.ts"
import { Connection, engineTarget, PollingClient } from "../kit/http.ts"
import { Program, root } from "../kit/program.ts"
import { type Target, unwatched } from "../kit/server.ts"
import { count, open } from "./requests.ts"

const programs = { redis: "/usr/bin/redis-server", nginx: "/usr/sbin/nginx", haproxy: "/usr/sbin/haproxy" }

const missing = Object.values(programs).filter((path) => !existsSync(path))
const isMissing = missing.length > 0 && process.env["CI"] !== "true"
const title = "a cluster by Redis" +
  (isMissing ? ` (skipped: no ${missing.join(", ")}; on Debian, apt-get install redis-server nginx-light haproxy)` : "")

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

it("drops what stands in Redis and is no member, with one warning for each", async () => {
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
  const ask = Effect.sync(() => {
    asked++
    return [members[0], ...others, members[1]]
  })
  const redis = { eval: () => () => ask, send: () => Effect.void, subscribe: () => Queue.unbounded() }
  await Effect.runPromise(
    Effect.gen(function*() {
      const found = yield* redisMembers({ secret: "secret", listen: { host: "127.0.0.1" }, timeToLive: "30 millis" })
      yield* Effect.promise(() => eventually("a third look", () => asked, (times) => times > 2))
      assert.deepStrictEqual(Array.from(found.others.keys()), ["a", "b"])
      assert.deepStrictEqual(warned, others)
    }).pipe(
      Effect.scoped,
      Effect.provideService(Redis.Redis, redis as never),
      Effect.provide(Logger.layer([Logger.make(({ message }) => void warned.push([message].flat().at(-1)))]))
    )
  )
})

describe.skipIf(isMissing)(title, () => {
  const running = new Set<Program>()
  const folder = mkdtempSync(join(tmpdir(), "cluster-"))
  let redisPort: number
  let redis: Program
  const members = new Map<string, { readonly program: Program; readonly target: Target }>()

  const start = async (args: ReadonlyArray<string>, env?: Record<string, string>, command?: string) => {
    const program = new Program(args, env, command)
    running.add(program)
    return program
  }
  const startRedis = async () => {
    redis = await start(
      ["--port", `${redisPort}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
      {},
      programs.redis
    )
    await eventually("Redis", () => isOpen(redisPort), (open) => open)
  }
  const startMember = async (name: string, secret = "secret") => {
    const env = { REDIS: `${redisPort}`, NAME: name, SECRET: secret }
    const program = await start(["test/cluster/fixtures/member.ts"], env)
    const member = { program, target: await program.listening() }
    members.set(name, member)
    return member
  }
  const portOf = (name: string): number => members.get(name)!.target.port

  beforeAll(async () => {
    redisPort = await freePort()
    await startRedis()
    await Promise.all(["a", "b"].map((name) => startMember(name)))
  }, 30_000)

  afterAll(async () => {
    for (const { process } of running) process.kill("SIGKILL")
    rmSync(folder, { recursive: true })
  })

  /** Starts a balancer as a recipe says, on ports of the test. */
  const startBalancer = async (
    fence: string,
    change: (recipe: string, port: number) => readonly [string, ...Array<string>]
  ) => {
    const recipe = new RegExp(`\`\`\`${fence}\\n([^]*?)\`\`\``).exec(
      readFileSync(join(root, "docs/scaling.md"), "utf8")
    )![1]!
    const port = await freePort()
    const here = recipe.replaceAll("127.0.0.1:3001", `127.0.0.1:${portOf("a")}`)
      .replaceAll("127.0.0.1:3002", `127.0.0.1:${portOf("b")}`)
    const [config, command, ...args] = change(here, port)
    const file = join(folder, `${fence}.conf`)
    writeFileSync(file, config)
    await start([...args, file], {}, command)
    await eventually("a balancer", () => isOpen(port), (open) => open)
    return unwatched(port)
  }

  const nginxConfig = (sites: string): string => {
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((it) => `${it}_temp_path ${folder}/${it};`)
    return `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit; events {}\n` +
      `http { access_log off; ${paths.join(" ")}\n${sites}}\n`
  }
  const nginx = (sites: string) => [nginxConfig(sites), programs.nginx, "-e", "stderr", "-p", folder, "-c"] as const

  it("serves real clients behind a balancer that knows nothing of sessions", async () => {
    const balancer = await startBalancer("nginx", (recipe, port) => {
      assert.include(recipe, "proxy_pass http://$owner;")
      return nginx(
        recipe.replace("http://$owner", "http://members").replace("listen 80", `listen 127.0.0.1:${port}`)
      ) as never
    })
    const clients = await Promise.all(
      Array.from({ length: 30 }, (_, i) => EngineClient.connect(balancer, modes[i % modes.length]!))
    )
    await Promise.all(clients.map((client) => count(client, 0, 50)))
    assert.deepStrictEqual(new Set(clients.map(({ sid }) => sid[0])), new Set(["a", "b"]))
    for (const client of clients) await client.close()
  }, 30_000)

  it("has requests at their owner at once, by the recipe for nginx", async () => {
    const balancer = await startBalancer(
      "nginx",
      (recipe, port) =>
        nginx(
          recipe.replace("listen 80;", `listen 127.0.0.1:${port}; add_header X-Server $upstream_addr always;`)
        ) as never
    )
    await owned(balancer, (name) => `127.0.0.1:${portOf(name)}`)
  }, 30_000)

  it("has requests at their owner at once, by the recipe for HAProxy", async () => {
    const balancer = await startBalancer("text", (recipe, port) => [
      recipe.replace("bind :80", `bind 127.0.0.1:${port}\n  http-response add-header x-server %s`),
      programs.haproxy,
      "-db",
      "-f"
    ])
    await owned(balancer, (name) => name)
  }, 30_000)

  /** Opens sessions behind a balancer, and sees which server it asks for them. */
  const owned = async (balancer: Target, serverOf: (name: string) => string) => {
    const names = new Set<string>()
    for (let i = 0; i < 4; i++) {
      const client = await PollingClient.connect(balancer)
      const name = client.sid[0]!
      names.add(name)
      for (let turn = 0; turn < 3; turn++) {
        const posted = await client.request("POST", { body: `4${turn}` })
        assert.deepStrictEqual([posted.text, posted.header("x-server")], ["ok", serverOf(name)])
        assert.deepStrictEqual(await client.poll(), [`4${turn}`])
      }
    }
    assert.deepStrictEqual(names, new Set(["a", "b"]))
    const client = await EngineClient.connect(balancer, "upgrade")
    await count(client, 0, 10)
    await client.close()
    // A member that is gone, or never was, is one that any other answers for.
    const target = engineTarget({ EIO: "4", transport: "polling", sid: "z-x.y" })
    const { status, text } = await (await Connection.open(balancer)).exchange("GET", target)
    assert.deepStrictEqual([status, text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
  }

  it("goes on without Redis, and takes new members when it is back", async () => {
    const a = await Connection.open(members.get("a")!.target)
    const url = await open(a)
    const b = await Connection.open(members.get("b")!.target)
    redis.process.kill("SIGKILL")
    await redis.exitCode
    await pause(1500)
    assert.strictEqual((await b.exchange("POST", url, { body: "4alone" })).text, "ok")
    assert.strictEqual((await b.exchange("GET", url)).text, "4alone")
    await startRedis()
    const c = await Connection.open((await startMember("c")).target)
    await eventually(
      "a known member",
      async () => (await c.exchange("POST", url, { body: "4back" })).text,
      (it) => it === "ok"
    )
    assert.strictEqual((await c.exchange("GET", url)).text, "4back")
  }, 30_000)

  it("lets nobody in who does not know the secret", async () => {
    const url = await open(await Connection.open(members.get("a")!.target))
    const { program, target } = await startMember("x", "guess")
    const stranger = await Connection.open(target)
    const { status, text } = await stranger.exchange("GET", url)
    assert.deepStrictEqual([status, text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
    // It does not believe them either.
    await program.printed(/Dropped a connection within the cluster: the other end is no member/)
  }, 30_000)

  it("tells parked polls at once that their member was killed", async () => {
    const url = await open(await Connection.open(members.get("a")!.target))
    const b = await Connection.open(members.get("b")!.target)
    assert.strictEqual((await b.exchange("POST", url, { body: "4" })).text, "ok")
    assert.strictEqual((await b.exchange("GET", url)).text, "4")
    b.send("GET", url)
    await pause(50)
    members.get("a")!.program.process.kill("SIGKILL")
    assert.strictEqual((await b.response()).status, 400)
    assert.strictEqual((await b.exchange("GET", url)).status, 400)
    assert.strictEqual((await b.exchange("GET", engineTarget({ EIO: "4", transport: "polling" }))).status, 200)
  })
})
