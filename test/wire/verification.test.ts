import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { EngineIO, Socket } from "../../src/index.ts"
import { pending } from "../kit/events.ts"
import { Connection, encodeRequest, fetchRaw, introduce, PollingClient, type Response } from "../kit/http.ts"
import { type Target, withServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const get = (target: Target, query: string, method = "GET"): Promise<Response> =>
  fetchRaw(target, method, `/engine.io/?${query}`)

const refused = (response: Response, code: number, status = 400): void => {
  assert.strictEqual(response.status, status)
  assert.strictEqual((JSON.parse(response.text) as { readonly code: unknown }).code, code)
}

/** An id generator that gives these ids in turn. */
const inTurn = (ids: ReadonlyArray<string>) => {
  let at = 0
  return () => Effect.sync(() => ids[at++ % ids.length]!)
}

describe("routing and query", () => {
  it(
    "R1: the mounted path answers with and without its trailing slash",
    withServer({}, async (server) => {
      for (const path of ["/engine.io/", "/engine.io"]) {
        const client = await PollingClient.connect(server, { path })
        assert.strictEqual((await client.post("4hello")).text, "ok")
        assert.deepStrictEqual(await client.poll(), ["4hello"])
      }
      assert.strictEqual((await fetchRaw(server, "GET", "/other/?EIO=4&transport=polling")).status, 404)
    })
  )

  it(
    "R3: of a repeated parameter the last one counts",
    withServer({}, async (server) => {
      assert.strictEqual((await get(server, "EIO=3&transport=x&EIO=4&transport=polling")).status, 200)
      refused(await get(server, "EIO=4&transport=polling&transport=x"), 0)
      refused(await get(server, "EIO=4&transport=polling&sid=&sid=unknown"), 1)
    })
  )

  it(
    "R3: percent-encoding is decoded, a plus is a space, and nonsense is no error",
    withServer({}, async (server) => {
      assert.strictEqual((await get(server, "E%49O=%34&transport=poll%69ng&a=%zz&b=%ff%fe&c=%")).status, 200)
      assert.strictEqual((await get(server, "EIO=4&transport=polling&&&=&=x&y")).status, 200)
      const client = await PollingClient.connect(server, { query: { a: "b c+d" } })
      const socket = await server.socket(client.sid)
      assert.strictEqual(socket.handshake.query["a"], "b c+d")
    })
  )

  it(
    "R3: only what follows the first question mark is read, and no target can make reading it fail",
    withServer({}, async (server) => {
      assert.strictEqual((await get(server, "EIO=4&x=a?b=c&transport=polling")).status, 200)
      for (const target of ["//", "//host:99999/", "//host:99999/?EIO=4&transport=polling", "/engine.io/?%", "/%"]) {
        const connection = await Connection.open(server)
        connection.send("GET", target)
        await connection.outcome()
        await connection.close()
      }
      assert.strictEqual((await get(server, "EIO=4&transport=polling")).status, 200)
    })
  )

  it(
    "R4: the cache buster is ignored and the application's parameters are kept",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server, { query: { token: "s3cret", __proto__x: "1", b64: "1" } })
      const { query } = (await server.socket(client.sid)).handshake
      assert.strictEqual(query["token"], "s3cret")
      assert.strictEqual(query["__proto__x"], "1")
      assert.strictEqual(query["EIO"], "4")
      assert.isFalse("toString" in query && typeof query["toString"] !== "function")
    })
  )
})

describe("order of checks", () => {
  it(
    "R5: transport, then sid, then method, then WebSocket without upgrade, then protocol",
    withServer({}, async (server) => {
      refused(await get(server, "EIO=3&transport=x&sid=unknown", "POST"), 0)
      refused(await get(server, "EIO=3&transport=polling&sid=unknown", "PUT"), 1)
      refused(await get(server, "EIO=3&transport=websocket&sid=unknown"), 1)
      refused(await get(server, "EIO=3&transport=websocket", "POST"), 2)
      refused(await get(server, "EIO=3&transport=polling", "POST"), 2)
      refused(await get(server, "EIO=3&transport=websocket"), 3)
      refused(await get(server, "EIO=3&transport=polling"), 5)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R5: an upgrade request is checked in the same order",
    withServer({}, async (server) => {
      const message = async (query: Record<string, string>, method = "GET") =>
        (await refusedUpgrade(server, query, { method })).response.text
      assert.strictEqual(await message({ EIO: "3", transport: "x", sid: "unknown" }), "Transport unknown")
      assert.strictEqual(await message({ EIO: "3", sid: "unknown" }), "Session ID unknown")
      assert.strictEqual(await message({ EIO: "3" }, "POST"), "Bad handshake method")
      assert.strictEqual(await message({ EIO: "3" }), "Unsupported protocol version")
    })
  )
})

describe("observed refusals", () => {
  it(
    "R5: every refused request is announced once, with its code",
    withServer({}, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      await get(server, "EIO=4&transport=x")
      await get(server, "EIO=4&transport=polling&sid=unknown")
      await get(server, "EIO=4&transport=polling", "POST")
      await get(server, "EIO=4&transport=websocket")
      await get(server, "EIO=3&transport=polling")
      await refusedUpgrade(server, { transport: "x" })
      await refusedUpgrade(server, { sid: "unknown" })
      const client = await PollingClient.connect(server)
      await events.find((event) => event._tag === "Connection" && event.socket.id === client.sid)
      const errors = events.all.flatMap((event) =>
        event._tag === "ConnectionError" ? [[event.code, event.message]] : []
      )
      assert.deepStrictEqual(errors, [
        [0, "Transport unknown"],
        [1, "Session ID unknown"],
        [2, "Bad handshake method"],
        [3, "Bad request"],
        [5, "Unsupported protocol version"],
        [0, "Transport unknown"],
        [1, "Session ID unknown"]
      ])
      await client.post("1")
      await events.find((event) => event._tag === "Closed" && event.reason._tag === "TransportClose")
    })
  )
})

describe("transport", () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "Polling", "polling ", "webtransport"]

  it(
    "R6: a transport that is not configured gets code 0, names of every object too",
    withServer({}, async (server) => {
      for (const name of names) refused(await get(server, `EIO=4&transport=${encodeURIComponent(name)}`), 0)
      refused(await get(server, "EIO=4"), 0)
      refused(await get(server, "EIO=4&transport[]=polling"), 0)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R6: an upgrade with such a transport is refused before it is accepted",
    withServer({}, async (server) => {
      for (const transport of names) {
        const { response } = await refusedUpgrade(server, { transport })
        assert.strictEqual(response.status, 400)
        assert.strictEqual(response.text, "Transport unknown")
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it("R6: only the configured transports are served", async () => {
    await withServer({ transports: ["websocket"] }, async (server) => {
      refused(await get(server, "EIO=4&transport=polling"), 0)
      const client = await WebSocketClient.connect(server)
      client.send("4hello")
      assert.strictEqual(await client.next(), "4hello")
    })()
    await withServer({ transports: ["polling"] }, async (server) => {
      const { response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.text, "Transport unknown")
      await PollingClient.connect(server)
    })()
  })
})

describe("Origin", () => {
  it(
    "R7: an Origin that no header may carry is refused and opens no session",
    withServer({}, async (server) => {
      for (const origin of ["http://a\x01b", "http://a\x7Fb"]) {
        const connection = await Connection.open(server)
        connection.write(encodeRequest("GET", "/engine.io/?EIO=4&transport=polling", { headers: { Origin: origin } }))
        const response = await connection.outcome()
        assert.strictEqual(response?.status, 400)
        await connection.close()
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R7: the error is code 3, and comes before the sid is looked up",
    withServer({ lenient: true }, async (server) => {
      const response = await fetchRaw(server, "GET", "/engine.io/?EIO=4&transport=polling&sid=unknown", {
        headers: { Origin: "http://a\x7Fb" }
      })
      refused(response, 3)
    })
  )

  it(
    "R7: tabs and the upper half of Latin-1 are valid",
    withServer({}, async (server) => {
      const response = await fetchRaw(server, "GET", "/engine.io/?EIO=4&transport=polling", {
        headers: { Origin: "http://caf\xE9.example\t" }
      })
      assert.strictEqual(response.status, 200)
    })
  )
})

describe("session id", () => {
  it(
    "R8: an unknown sid gets code 1, names of every object too",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (
        const sid of ["unknown", "__proto__", "constructor", "hasOwnProperty", "toString", `${client.sid}x`, "a b"]
      ) {
        for (const method of ["GET", "POST", "PUT"]) {
          refused(await get(server, `EIO=4&transport=polling&sid=${encodeURIComponent(sid)}`, method), 1)
        }
        assert.strictEqual((await refusedUpgrade(server, { sid })).response.text, "Session ID unknown")
      }
      assert.strictEqual(await server.count(), 1)
    })
  )

  it(
    "R8: an empty sid is none",
    withServer({}, async (server) => {
      assert.strictEqual((await get(server, "EIO=4&transport=polling&sid=")).status, 200)
      const client = await WebSocketClient.connect(server, { sid: "" })
      assert.isString(client.sid)
    })
  )

  it(
    "R9: a request for another transport than the session's gets code 3 and harms nothing",
    withServer({}, async (server) => {
      const polling = await PollingClient.connect(server)
      refused(await polling.request("GET", {}, polling.url({ transport: "websocket" })), 3)
      refused(await polling.request("POST", { body: "4x" }, polling.url({ transport: "websocket" })), 3)
      await polling.post("4hello")
      assert.deepStrictEqual(await polling.poll(), ["4hello"])

      const webSocket = await WebSocketClient.connect(server)
      for (const method of ["GET", "POST"]) {
        refused(await get(server, `EIO=4&transport=polling&sid=${webSocket.sid}`, method), 3)
        refused(await get(server, `EIO=4&transport=websocket&sid=${webSocket.sid}`, method), 3)
      }
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
    })
  )
})

describe("method", () => {
  it(
    "R10: only a GET shakes hands",
    withServer({}, async (server) => {
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
        refused(await get(server, "EIO=4&transport=polling", method), 2)
      }
      const head = await get(server, "EIO=4&transport=polling", "HEAD")
      assert.strictEqual(head.status, 400)
      assert.strictEqual(head.text, "")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R11: WebSocket without an upgrade gets code 3",
    withServer({}, async (server) => {
      refused(await get(server, "EIO=4&transport=websocket"), 3)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R18: a session's request that is neither GET nor POST gets 405 and harms nothing",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]) {
        const response = await client.request(method)
        assert.strictEqual(response.status, 405)
      }
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
    })
  )
})

describe("protocol", () => {
  it(
    "R13: any revision but 4 gets code 5 at the handshake",
    withServer({}, async (server) => {
      for (const revision of ["EIO=3", "EIO=5", "EIO=abc", "EIO=", "EIO=04", "EIO=4.0", "x=4"]) {
        refused(await get(server, `${revision}&transport=polling`), 5)
      }
      for (const EIO of ["3", "5", "abc", ""]) {
        assert.strictEqual((await refusedUpgrade(server, { EIO })).response.text, "Unsupported protocol version")
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R13: later requests and upgrades speak the session's revision, whatever theirs says",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const EIO of ["3", "5", "abc", ""]) {
        const response = await client.request("POST", { body: "4a\x1e4b" }, client.url({ EIO }))
        assert.strictEqual(response.text, "ok")
        const answer = await client.request("GET", {}, client.url({ EIO }))
        assert.strictEqual(answer.text, "4a\x1e4b")
      }
      const webSocket = await WebSocketClient.open(server, { sid: client.sid, EIO: "3" })
      webSocket.send("2probe")
      assert.strictEqual(await webSocket.next(), "3probe")
      webSocket.send("5")
      webSocket.send(Buffer.from([4, 1, 2]))
      assert.deepStrictEqual(await webSocket.next(), Buffer.from([4, 1, 2]))
    })
  )
})

describe("ids", () => {
  it("R14: a generateId that fails gives code 3 and the server goes on", async () => {
    let healthy = false
    const generateId = () => Effect.suspend(() => healthy ? Effect.succeed("good") : Effect.fail("no entropy"))
    await withServer({ generateId }, async (server) => {
      refused(await get(server, "EIO=4&transport=polling"), 3)
      const { response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.status, 400)
      assert.strictEqual(response.text, "Bad request")
      assert.strictEqual(await server.count(), 0)
      healthy = true
      assert.strictEqual((await PollingClient.connect(server)).sid, "good")
    })()
  })

  it("R14: a generateId that dies gives code 3 and the server goes on", async () => {
    let healthy = false
    const generateId = () => Effect.suspend(() => healthy ? Effect.succeed("good") : Effect.die(new Error("broken")))
    await withServer({ generateId }, async (server) => {
      refused(await get(server, "EIO=4&transport=polling"), 3)
      assert.strictEqual((await refusedUpgrade(server, {})).response.text, "Bad request")
      assert.strictEqual(await server.count(), 0)
      healthy = true
      assert.strictEqual((await PollingClient.connect(server)).sid, "good")
    })()
  })

  it(
    "R15: an id in use is refused with code 3 and its session is left alone",
    withServer({ generateId: inTurn(["twin", "twin", "twin", "other"]) }, async (server) => {
      const first = await PollingClient.connect(server)
      refused(await get(server, "EIO=4&transport=polling"), 3)
      assert.strictEqual((await refusedUpgrade(server, {})).response.text, "Bad request")
      await first.post("4still here")
      assert.deepStrictEqual(await first.poll(), ["4still here"])
      assert.strictEqual((await PollingClient.connect(server)).sid, "other")
      assert.strictEqual(await server.count(), 2)
    })
  )

  it("R15: of two handshakes that get the same id at once, one succeeds", async () => {
    const gate = Deferred.makeUnsafe<string>()
    await withServer({ generateId: () => Deferred.await(gate) }, async (server) => {
      const both = [1, 2].map((n) => `/engine.io/?EIO=4&transport=polling&t=${n}`)
      const responses = both.map((url) => fetchRaw(server, "GET", url))
      for (const url of both) await server.settled(url)
      Deferred.doneUnsafe(gate, Effect.succeed("twin"))
      const statuses = (await Promise.all(responses)).map((response) => response.status)
      assert.deepStrictEqual(statuses.sort(), [200, 400])
      assert.strictEqual(await server.count(), 1)
    })()
  })

  it(
    "R15: an id is free again once its session is over",
    withServer({ generateId: () => Effect.succeed("again") }, async (server) => {
      for (let round = 0; round < 3; round++) {
        const client = await PollingClient.connect(server)
        await client.post("1")
        await server.ended.next()
      }
    })
  )

  it(
    "R15: an id that is a property of every object is an id like others",
    withServer({ generateId: inTurn(["__proto__", "constructor"]) }, async (server) => {
      for (const sid of ["__proto__", "constructor"]) {
        const client = await PollingClient.connect(server)
        assert.strictEqual(client.sid, sid)
        await client.post("4hello")
        assert.deepStrictEqual(await client.poll(), ["4hello"])
      }
    })
  )

  it(
    "R15: an id that is empty or no text is refused with code 3",
    withServer(
      { generateId: inTurn(["", 7 as never, undefined as never, null as never, {} as never]) },
      async (server) => {
        for (let i = 0; i < 5; i++) refused(await get(server, "EIO=4&transport=polling"), 3)
        assert.strictEqual(await server.count(), 0)
      }
    )
  )

  it("R16: a polling client that leaves while its id is made gets no session", async () => {
    const started = Deferred.makeUnsafe<void>()
    const gate = Deferred.makeUnsafe<string>()
    const generateId = () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate))
    await withServer({ generateId }, async (server) => {
      const connection = await Connection.open(server)
      connection.send("GET", "/engine.io/?EIO=4&transport=polling")
      await Effect.runPromise(Deferred.await(started))
      await connection.reset()
      await server.barrier()
      Deferred.doneUnsafe(gate, Effect.succeed("late"))
      await server.barrier()
      assert.strictEqual(await server.count(), 0)
      assert.deepStrictEqual(server.opened.all, [])
    })()
  })

  it("R16: a WebSocket client that leaves while its id is made gets no session", async () => {
    const started = Deferred.makeUnsafe<void>()
    const gate = Deferred.makeUnsafe<string>()
    const generateId = () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate))
    await withServer({ generateId }, async (server) => {
      const connection = await Connection.open(server)
      connection.send("GET", "/engine.io/?EIO=4&transport=websocket", { headers: upgradeHeaders() })
      await Effect.runPromise(Deferred.await(started))
      await connection.reset()
      await server.barrier()
      Deferred.doneUnsafe(gate, Effect.succeed("late"))
      await server.barrier()
      assert.strictEqual(await server.count(), 0)
      assert.deepStrictEqual(server.opened.all, [])
    })()
  })

  it(
    "R16: frames sent before a slow handshake is answered are not lost",
    withServer({ generateId: () => Effect.delay(Effect.succeed("slow"), 50) }, async (server) => {
      await PollingClient.connect(server).then((client) => client.post("1"))
      await server.ended.next()
      const early = Buffer.concat([encodeFrame(Opcode.text, "4one"), encodeFrame(Opcode.text, "4two")])
      const webSocket = await RawWebSocket.open(server, {}, { early })
      assert.match((await webSocket.next()).payload.toString(), /^0\{/)
      assert.strictEqual((await webSocket.next()).payload.toString(), "4one")
      assert.strictEqual((await webSocket.next()).payload.toString(), "4two")
    })
  )

  it(
    "R16: of all requests to a server of a router only the first loses what stands behind it, and nothing that follows",
    withServer({}, async (server) => {
      const early = encodeFrame(Opcode.text, "4early")
      for (const echoes of [["4late"], ["4early", "4late"]]) {
        const webSocket = await RawWebSocket.open(server, {}, { early })
        assert.match((await webSocket.next()).payload.toString(), /^0\{/)
        webSocket.write(Opcode.text, "4late")
        for (const echo of echoes) assert.strictEqual((await webSocket.next()).payload.toString(), echo)
      }
    })
  )

  it(
    "R16: garbage sent before a slow handshake is answered ends that session only",
    withServer({ generateId: () => Effect.delay(Effect.succeed("slow"), 50) }, async (server) => {
      await introduce(server)
      const webSocket = await RawWebSocket.open(server, {}, { early: Buffer.from("\xFF\xFFgarbage", "latin1") })
      await webSocket.closed
      await server.barrier()
      assert.strictEqual(await server.count(), 0)
      await PollingClient.connect(server)
    })
  )

  it(
    "R17: a default id has twenty letters, digits, hyphens or underscores, and is never repeated",
    withServer({}, async (server) => {
      const connection = await Connection.open(server)
      const ids = new Set<string>()
      const prefixes = new Set<string>()
      for (let i = 0; i < 300; i++) {
        const response = await connection.exchange("GET", "/engine.io/?EIO=4&transport=polling")
        const { sid } = JSON.parse(response.text.slice(1)) as { readonly sid: string }
        assert.match(sid, /^[A-Za-z0-9_-]{20}$/)
        ids.add(sid)
        prefixes.add(sid.slice(0, 16))
      }
      assert.strictEqual(ids.size, 300)
      assert.strictEqual(prefixes.size, 300)
    })
  )

  it(
    "R19: a session is registered before its client can know of it",
    withServer({}, async (server) => {
      for (let i = 0; i < 50; i++) {
        const client = await PollingClient.connect(server)
        assert.strictEqual((await client.post(`4${i}`)).text, "ok")
      }
      assert.strictEqual(await server.count(), 50)
    })
  )

  it(
    "R19: the session is registered when its application starts",
    withServer(
      {
        application: (socket, server) =>
          Effect.succeed({
            app: Effect.flatMap(
              Effect.promise(() => server.socket(socket.id)),
              (found) => Socket.send(socket, found === socket ? "registered" : "not registered")
            )
          })
      },
      async (server) => {
        const client = await PollingClient.connect(server)
        assert.deepStrictEqual((await client.messages(1))[0], "4registered")
      }
    )
  )
})

describe("refusals", () => {
  it(
    "R5: a refused request leaves its connection open for the next",
    withServer({}, async (server) => {
      const connection = await Connection.open(server)
      refused(await connection.exchange("GET", "/engine.io/?EIO=4&transport=x"), 0)
      refused(await connection.exchange("GET", "/engine.io/?EIO=4&transport=polling&sid=x"), 1)
      assert.strictEqual((await connection.exchange("GET", "/engine.io/?EIO=4&transport=polling")).status, 200)
      assert.isTrue(await pending(connection.closed))
    })
  )
})
