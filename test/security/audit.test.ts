/**
 * What we looked for in our own server and in the one it descends from.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { createServer } from "node:http"
import { runInNewContext } from "node:vm"
import { EngineIO, EngineIOLive, HandshakeError, Socket } from "../../src/index.ts"
import { eventually, Mailbox, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { PlainPollingClient, upgrade3 } from "../kit/revision3.ts"
import { portOf, type Target, unwatched, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

describe("URLs", () => {
  const targets = [
    "//",
    "///",
    "//host:99999/",
    "/engine.io//",
    "//engine.io/?EIO=4&transport=polling&sid=x",
    "http://[",
    "http://[::1]:99999/engine.io/?transport=polling",
    "*",
    "/engine.io/?",
    "/engine.io/?%",
    "/engine.io/?transport=%E0%A4%A",
    "/engine.io/?transport=%ff%fe&sid=%00",
    "/engine.io/?=&=&&&==&transport",
    "/engine.io/?transport=polling&sid=%2e%2e%2f%0d%0aX:y",
    "/engine.io/%E0%A4%A?transport=polling",
    "/engine.io/?#?transport=polling&EIO=4",
    `/engine.io/?${"&a=%".repeat(3_000)}`
  ]

  const survives = async (target: Target): Promise<void> => {
    for (const url of targets) {
      for (const headers of [{}, upgradeHeaders(), upgradeHeaders({ Upgrade: "h2c" })]) {
        const connection = await Connection.open(target)
        connection.send("GET", url, { headers })
        const response = await connection.outcome()
        if (response !== undefined) assert.include([101, 200, 400, 404, 431], response.status, url)
        await connection.close()
      }
    }
    const client = await PollingClient.connect(target)
    await client.post("1")
  }

  it("R3: no target of a request can make reading it fail, behind a router", withServer({}, survives))

  it("R3: nor where the path is that of everything, on an attached server", async () => {
    const http = createServer((_, response) => response.writeHead(404).end())
    const program = Effect.gen(function*() {
      yield* EngineIO.attach(http, () => Effect.succeed({ app: Effect.never }), {
        path: "/",
        destroyUpgradeTimeout: 50
      })
      yield* Effect.promise(() => new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve)))
      yield* Effect.promise(() => survives(unwatched(portOf(http))))
      http.closeAllConnections()
      http.close()
    })
    await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EngineIOLive)))
  })
})

describe("refusals", () => {
  it(
    "R21: a refusal whose message is no text is a refusal",
    withServer({
      allowRequest: (request) =>
        Effect.fail(
          new HandshakeError.Forbidden({
            message: JSON.parse(new URL(request.url, "http://x").searchParams.get("message")!) as string
          })
        )
    }, async (server) => {
      for (const message of ["403", "null", "{\"a\":1}", "[]", "true", "\"\u00e9\u20ac\\r\\nX: y\""]) {
        const query = { message }
        const response = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", ...query }))
        assert.strictEqual(response.status, 403)
        assert.strictEqual((JSON.parse(response.text) as { readonly code: number }).code, 4)
        const { response: raw } = await refusedUpgrade(server, query)
        assert.strictEqual(raw.status, 403)
        assert.strictEqual(raw.header("content-length"), String(raw.body.length))
      }
    })
  )

  it(
    "errors have one shape, which says nothing of the sessions there are",
    withServer({}, async (server) => {
      const { sid } = await PollingClient.connect(server)
      const wrong = [sid.slice(0, 19), `${sid}x`, sid.toLowerCase(), `${sid.slice(0, 19)}~`, "x", `${sid}\u0000`]
      const answers = await Promise.all(wrong.map(async (sid) => {
        const { head, text } = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid }))
        return head.replace(/\r\nDate: .*/, "") + text
      }))
      assert.strictEqual(new Set(answers).size, 1)
    })
  )
})

describe("clients that leave early", () => {
  const waits: Readonly<Record<string, (wait: Effect.Effect<void>) => Parameters<typeof withServer>[0]>> = {
    allowRequest: (wait) => ({ allowRequest: () => wait }),
    generateId: (wait) => ({ generateId: () => Effect.map(wait, () => `id ${Math.random()}`) }),
    "the factory": (wait) => ({ application: () => Effect.as(wait, { app: Effect.never }) })
  }
  for (const [name, config] of Object.entries(waits)) {
    it(`R16: while ${name} takes its time leave no session, no id and no application`, async () => {
      const gate = Deferred.makeUnsafe<void>()
      await withServer({ ...config(Deferred.await(gate)), maxSessions: 40 }, async (server) => {
        const connections: Array<Connection> = []
        for (let n = 0; n < 40; n++) {
          const connection = await Connection.open(server)
          connections.push(connection)
          const upgrade = n % 2 === 0
          connection.send("GET", engineTarget({ EIO: "4", transport: upgrade ? "websocket" : "polling" }), {
            headers: upgrade ? upgradeHeaders() : {}
          })
        }
        await server.requests.reached(40)
        for (const connection of connections) await connection.reset()
        await server.barrier()
        Deferred.doneUnsafe(gate, Effect.void)
        // There is room again for as many as there may be.
        for (let n = 0; n < 40; n++) {
          await eventually("room", () => fetchRaw(server, "GET", polling), ({ status }) => status === 200)
        }
        assert.strictEqual(await server.count(), 40)
        assert.strictEqual(server.opened.all.length, 40)
      })()
    })

    for (const attached of [true, false]) {
      const way = attached ? "attached" : "on a router"
      it(`R16: those that end their half while ${name} takes its time make room at once, ${way}`, async () => {
        const begun = new Mailbox<undefined>("a decision")
        await withServer({
          ...config(Effect.andThen(Effect.sync(() => begun.put(undefined)), Effect.never)),
          attached,
          maxSessions: 6,
          handshakeTimeout: "1 hour"
        }, async (server) => {
          const early = encodeFrame(Opcode.text, "4early")
          for (const [upgrade, sent] of [[true, ""], [true, early], [false, ""]] as const) {
            const connections = await Promise.all(Array.from({ length: 6 }, () => Connection.open(server)))
            for (const { socket } of connections) {
              const target = engineTarget({ EIO: "4", transport: upgrade ? "websocket" : "polling" })
              socket.write(encodeRequest("GET", target, { headers: upgrade ? upgradeHeaders() : {} }))
              socket.write(sent)
            }
            await begun.take(6)
            for (const { closed, socket } of connections) {
              // Whoever would see our end, would end its own half of its own accord.
              socket.end()
              await within(closed, `the end of the connection: ${upgrade ? "WebSocket" : "polling"}, ${sent.length}`)
            }
          }
        })()
      })
    }
  }
})

describe("upgrades", () => {
  const heartbeat = { pingInterval: 200, pingTimeout: 200, allowEIO3: true }

  it(
    "R82: a client that upgrades between ping and pong, and then falls silent, is missed all the same",
    withServer(heartbeat, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["2"])
      const begun = performance.now()
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      await candidate.next()
      candidate.send("5")
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
      assert.isBelow(performance.now() - begun, 2_000)
    })
  )

  it(
    "R82: a client of revision 3 that upgrades and then falls silent is missed",
    withServer(heartbeat, async (server) => {
      const client = await PlainPollingClient.connect(server)
      await upgrade3(server, client.sid)
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
    })
  )
})

describe("JSONP", () => {
  it(
    "R55: j is digits and nothing else, whatever it holds",
    withServer({}, async (server) => {
      for (
        const j of [
          "0];alert(1);//",
          "1\r\nX-Injected: y",
          "</script>",
          "\u2028",
          "__proto__",
          "",
          "-1.5e3",
          "9".repeat(5_000)
        ]
      ) {
        const response = await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", j }))
        assert.strictEqual(response.status, 200, j)
        assert.match(response.text, /^___eio\[\d+\]\("0\{.*\}"\);$/, j)
        assert.isUndefined(response.header("x-injected"))
        assert.strictEqual(response.header("content-type"), "text/javascript; charset=UTF-8")
      }
    })
  )

  it("R55: a message is a string of the script it comes in, and never a part of the script", async () => {
    const text = "</script>\u2028\u2029\"'\\`${x}\n\r\u0000<!--\ud800é\");alert(1);//"
    await withServer(
      { application: (socket) => Effect.as(Socket.send(socket, text), { app: Effect.never }) },
      async (server) => {
        const client = await PlainPollingClient.connect(server, { EIO: "4", j: "7" })
        const script = (await client.get()).text
        assert.notMatch(script, /[\u2028\u2029\n\r]/)
        const heard: Array<string> = []
        runInNewContext(script, { ___eio: { 7: (payload: string) => heard.push(payload) }, alert: () => assert.fail() })
        assert.lengthOf(heard, 1)
        assert.strictEqual(heard[0]!.replace(/\ufffd/, "\ud800"), `4${text}`)
      }
    )()
  })
})
