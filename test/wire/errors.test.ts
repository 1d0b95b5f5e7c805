import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { EngineIO, HandshakeError } from "../../src/index.ts"
import { eventually } from "../kit/events.ts"
import { Connection, fetchRaw, PollingClient, type Response } from "../kit/http.ts"
import { idle, type TestServer, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const isError = (response: Response, status: number, body: string): void => {
  assert.strictEqual(response.status, status)
  assert.strictEqual(response.header("content-type"), "application/json")
  assert.strictEqual(response.text, body)
}

/** What a refused upgrade gets, byte for byte. */
const rawRefusal = (status: string, message: string): string =>
  `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-type: text/html\r\n` +
  `Content-Length: ${Buffer.byteLength(message)}\r\n\r\n${message}`

const polling = (server: TestServer, query: string, method = "GET") => fetchRaw(server, method, `/engine.io/?${query}`)

describe("errors over HTTP", () => {
  it(
    "R20: each error has its number, its words and its status",
    withServer({}, async (server) => {
      isError(await polling(server, "EIO=4&transport=x"), 400, "{\"code\":0,\"message\":\"Transport unknown\"}")
      isError(
        await polling(server, "EIO=4&transport=polling&sid=x"),
        400,
        "{\"code\":1,\"message\":\"Session ID unknown\"}"
      )
      isError(
        await polling(server, "EIO=4&transport=polling", "POST"),
        400,
        "{\"code\":2,\"message\":\"Bad handshake method\"}"
      )
      isError(await polling(server, "EIO=4&transport=websocket"), 400, "{\"code\":3,\"message\":\"Bad request\"}")
      isError(
        await polling(server, "EIO=3&transport=polling"),
        400,
        "{\"code\":5,\"message\":\"Unsupported protocol version\"}"
      )
    })
  )

  it(
    "R20: a refusal by the application is code 4 with its message and status 403",
    withServer(
      { application: () => Effect.fail(new HandshakeError.Forbidden({ message: "thou shalt not påss" })) },
      async (server) => {
        isError(
          await polling(server, "EIO=4&transport=polling"),
          403,
          "{\"code\":4,\"message\":\"thou shalt not påss\"}"
        )
        assert.strictEqual(await server.count(), 0)
        assert.deepStrictEqual(server.ended.all, [])
      }
    )
  )

  it(
    "R20: a refusal without words says Forbidden",
    withServer({ application: () => Effect.fail(new HandshakeError.Forbidden({ message: "" })) }, async (server) => {
      isError(await polling(server, "EIO=4&transport=polling"), 403, "{\"code\":4,\"message\":\"Forbidden\"}")
      const { raw } = await refusedUpgrade(server, {})
      assert.strictEqual(raw, rawRefusal("403 Forbidden", "Forbidden"))
    })
  )

  it(
    "R20: a response that the application fails with is sent as it is",
    withServer({
      application: () =>
        Effect.fail(HttpServerResponse.text("who are you?", { status: 401, headers: { "www-authenticate": "Basic" } }))
    }, async (server) => {
      const response = await polling(server, "EIO=4&transport=polling")
      assert.strictEqual(response.status, 401)
      assert.strictEqual(response.text, "who are you?")
      assert.strictEqual(response.header("www-authenticate"), "Basic")
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R20: any other failure of the application's factory is the router's 500",
    withServer({ application: () => Effect.fail({ _tag: "Unforeseen" }) }, async (server) => {
      assert.strictEqual((await polling(server, "EIO=4&transport=polling")).status, 500)
      assert.strictEqual((await refusedUpgrade(server, {})).response.status, 500)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R20: a defect of the application's factory is 500 and is logged",
    withServer({ application: () => Effect.die(new Error("the roof is on fire")) }, async (server) => {
      assert.strictEqual((await polling(server, "EIO=4&transport=polling")).status, 500)
      assert.strictEqual((await refusedUpgrade(server, {})).response.status, 500)
      assert.strictEqual(await server.count(), 0)
      assert.isTrue(server.logs.some((line) => line.text.includes("the roof is on fire")))
    })
  )

  it(
    "R20: the factory decides by what the handshake request says",
    withServer({
      application: (socket, server) =>
        Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (request) =>
            request.headers["authorization"] === "open sesame"
              ? idle(socket, server)
              : Effect.fail(new HandshakeError.Forbidden({ message: "wrong word" }))
        )
    }, async (server) => {
      assert.strictEqual((await polling(server, "EIO=4&transport=polling")).status, 403)
      const headers = { Authorization: "open sesame" }
      await PollingClient.connect(server, { headers })
      await WebSocketClient.connect(server, {}, { headers })
      assert.strictEqual(await server.count(), 2)
    })
  )
})

describe("errors of upgrade requests", () => {
  it(
    "R21: a refusal is written raw, byte for byte, and the connection destroyed",
    withServer({}, async (server) => {
      const raw = async (query: Record<string, string>) => (await refusedUpgrade(server, query)).raw
      assert.strictEqual(await raw({ transport: "x" }), rawRefusal("400 Bad Request", "Transport unknown"))
      assert.strictEqual(await raw({ sid: "x" }), rawRefusal("400 Bad Request", "Session ID unknown"))
      assert.strictEqual(await raw({ EIO: "3" }), rawRefusal("400 Bad Request", "Unsupported protocol version"))
    })
  )

  it(
    "R21: a refusal by the application is 403 with its message",
    withServer(
      { application: () => Effect.fail(new HandshakeError.Forbidden({ message: "not påssing" })) },
      async (server) => {
        const connection = await Connection.open(server)
        const chunks: Array<Buffer> = []
        connection.socket.on("data", (chunk: Buffer) => chunks.push(chunk))
        connection.send("GET", "/engine.io/?EIO=4&transport=websocket", { headers: upgradeHeaders() })
        await connection.closed
        assert.strictEqual(Buffer.concat(chunks).toString("utf8"), rawRefusal("403 Forbidden", "not påssing"))
        assert.strictEqual(await server.count(), 0)
      }
    )
  )

  it(
    "R21: a response that the application fails with keeps its status",
    withServer(
      { application: () => Effect.fail(HttpServerResponse.text("too many", { status: 429 })) },
      async (server) => {
        const { response } = await refusedUpgrade(server, {})
        assert.strictEqual(response.status, 429)
        assert.strictEqual(response.reason, "Too Many Requests")
        assert.strictEqual(response.header("connection"), "close")
        assert.strictEqual(response.text, "too many")
        assert.strictEqual(await server.count(), 0)
      }
    )
  )

  it(
    "R21: a client that resets its connection while it is refused harms nothing",
    withServer({}, async (server) => {
      for (let i = 0; i < 20; i++) {
        const connection = await Connection.open(server)
        connection.send("GET", "/engine.io/?EIO=4&transport=x", { headers: upgradeHeaders() })
        if (i % 2 === 0) await server.barrier()
        await connection.reset()
      }
      await PollingClient.connect(server)
    })
  )

  it(
    "R22: an unsupported revision and a failing id are refused before the upgrade is accepted",
    withServer({ generateId: () => Effect.fail("no id") }, async (server) => {
      assert.strictEqual(
        (await refusedUpgrade(server, { EIO: "3" })).raw,
        rawRefusal("400 Bad Request", "Unsupported protocol version")
      )
      assert.strictEqual((await refusedUpgrade(server, {})).raw, rawRefusal("400 Bad Request", "Bad request"))
    })
  )

  it(
    "R23: a request that is no valid WebSocket handshake is refused and leaves no session",
    withServer({}, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const refused = (headers: Record<string, string | undefined>) => refusedUpgrade(server, {}, { headers })
      for (const key of [undefined, "", "short", "dGhlIHNhbXBsZSBub25jZQ=", "!!!!!!!!!!!!!!!!!!!!!!=="]) {
        const { response } = await refused({ "Sec-WebSocket-Key": key })
        assert.strictEqual(response.status, 400)
        assert.strictEqual(response.text, "Missing or invalid Sec-WebSocket-Key header")
        assert.strictEqual(response.header("connection"), "close")
        assert.strictEqual(response.header("content-type"), "text/html")
      }
      for (const version of [undefined, "12", "x"]) {
        const { response } = await refused({ "Sec-WebSocket-Version": version })
        assert.strictEqual(response.status, 400)
        assert.strictEqual(response.header("sec-websocket-version"), "13, 8")
      }
      assert.strictEqual((await refused({ "Sec-WebSocket-Protocol": "a,,b" })).response.status, 400)
      await eventually("an empty registry", () => server.count(), (count) => count === 0)
      await events.reached(9)
      for (const event of events.all) {
        assert.include(event, { _tag: "ConnectionError", code: 3 })
        if (event._tag === "ConnectionError") assert.deepInclude(event.context, { name: "TRANSPORT_HANDSHAKE_ERROR" })
      }
      assert.lengthOf(server.opened.all, 0)
      assert.lengthOf(server.ended.all, 0)
    })
  )

  it(
    "R23: such a request of a session is refused likewise, and the session lives",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const { sid } = client
      const method = await refusedUpgrade(server, { sid }, { method: "POST" })
      assert.strictEqual(method.response.status, 405)
      const key = await refusedUpgrade(server, { sid }, { headers: { "Sec-WebSocket-Key": "short" } })
      assert.strictEqual(key.response.status, 400)
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      const webSocket = await WebSocketClient.open(server, { sid })
      webSocket.send("2probe")
      assert.strictEqual(await webSocket.next(), "3probe")
    })
  )

  it(
    "R23: the first subprotocol that is offered is chosen",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server, {}, { protocols: ["first", "second"] })
      assert.strictEqual(webSocket.socket.protocol, "first")
    })
  )

  it(
    "R23: thousands of headers, long subprotocols and odd extensions are refused or served, quickly",
    withServer({}, async (server) => {
      const many = Object.fromEntries(Array.from({ length: 2_500 }, (_, i) => [`X-${i}`, "1"]))
      const crowded = await Connection.open(server)
      crowded.send("GET", "/engine.io/?EIO=4&transport=websocket", { headers: { ...many, ...upgradeHeaders() } })
      assert.notStrictEqual((await crowded.outcome())?.status, 101)
      await crowded.close()
      for (const extensions of ["constructor", "__proto__", "permessage-deflate; constructor", "a; b=\"c"]) {
        const connection = await Connection.open(server)
        const headers = upgradeHeaders({ "Sec-WebSocket-Extensions": extensions })
        connection.send("GET", "/engine.io/?EIO=4&transport=websocket", { headers })
        assert.include([101, 400], (await connection.outcome())?.status)
        await connection.close()
      }
      const long = await Connection.open(server)
      const headers = upgradeHeaders({ "Sec-WebSocket-Protocol": `a${" ".repeat(12_000)}b` })
      long.send("GET", "/engine.io/?EIO=4&transport=websocket", { headers })
      assert.strictEqual((await long.outcome())?.status, 400)
      await eventually("an empty registry", () => server.count(), (count) => count === 0)
      await PollingClient.connect(server)
    })
  )

  it(
    "R24: a WebSocket for a session that has upgraded is accepted and closed without a status",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const first = await WebSocketClient.open(server, { sid: client.sid })
      first.send("2probe")
      await first.next()
      first.send("5")
      first.send("4upgraded")
      assert.strictEqual(await first.next(), "4upgraded")
      const second = await WebSocketClient.open(server, { sid: client.sid })
      assert.strictEqual((await second.closed).code, 1005)
      first.send("4still here")
      assert.strictEqual(await first.next(), "4still here")
    })
  )

  it(
    "R24: so is one for a session that began on WebSocket",
    withServer({}, async (server) => {
      const first = await WebSocketClient.connect(server)
      const second = await WebSocketClient.open(server, { sid: first.sid })
      assert.strictEqual((await second.closed).code, 1005)
      first.send("4still here")
      assert.strictEqual(await first.next(), "4still here")
    })
  )

  it(
    "R24: so is a second candidate while the first is upgrading",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const first = await WebSocketClient.open(server, { sid: client.sid })
      first.send("2probe")
      assert.strictEqual(await first.next(), "3probe")
      const second = await RawWebSocket.open(server, { sid: client.sid })
      assert.isUndefined(await second.closeCode())
      assert.strictEqual(second.frames.all[0]?.opcode, Opcode.close)
      first.send("5")
      first.send("4upgraded")
      assert.strictEqual(await first.next(), "4upgraded")
    })
  )

  it(
    "R24: so is an upgrade request that says transport=polling",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const withSid = await WebSocketClient.open(server, { transport: "polling", sid: client.sid })
      assert.strictEqual((await withSid.closed).code, 1005)
      const without = await WebSocketClient.open(server, { transport: "polling" })
      assert.strictEqual((await without.closed).code, 1005)
      assert.strictEqual(await server.count(), 1)
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
    })
  )

  it(
    "R28: an upgrade where upgrades are not allowed is refused with code 3 before it is accepted",
    withServer({ allowUpgrades: false }, async (server) => {
      const client = await PollingClient.connect(server)
      const { raw } = await refusedUpgrade(server, { sid: client.sid })
      assert.strictEqual(raw, rawRefusal("400 Bad Request", "Bad request"))
      await client.post("4hello")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      await WebSocketClient.connect(server)
    })
  )
})

describe("other upgrades", () => {
  it(
    "R26: a polling request that offers another protocol is an ordinary request",
    withServer({}, async (server) => {
      for (const Upgrade of ["h2c", "TLS/1.0", "IRC/6.9"]) {
        const headers = { Connection: "Upgrade, HTTP2-Settings", Upgrade, "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA" }
        const client = await PollingClient.connect(server, { headers })
        assert.strictEqual((await client.post("4hello", headers)).text, "ok")
        assert.strictEqual((await client.get({ headers })).text, "4hello")
      }
    })
  )

  it(
    "R26: so is one that names websocket without asking for an upgrade",
    withServer({}, async (server) => {
      const headers = { Upgrade: "websocket" }
      const client = await PollingClient.connect(server, { headers })
      await client.post("4hello", headers)
      assert.deepStrictEqual(await client.poll(), ["4hello"])
    })
  )

  it(
    "R26: the token is read whatever its case",
    withServer({}, async (server) => {
      const webSocket = await RawWebSocket.open(server, {}, {
        headers: { Connection: "upgrade", Upgrade: "WebSocket" }
      })
      assert.match((await webSocket.next()).payload.toString(), /^0\{/)
    })
  )

  it(
    "R26: a client that resets such a request harms nothing",
    withServer({}, async (server) => {
      for (const path of ["/engine.io/?EIO=4&transport=polling", "/elsewhere"]) {
        for (let i = 0; i < 10; i++) {
          const connection = await Connection.open(server)
          connection.send("GET", path, { headers: { Connection: "Upgrade", Upgrade: "IRC/6.9" } })
          if (i % 2 === 0) await server.barrier()
          await connection.reset()
        }
      }
      await PollingClient.connect(server)
    })
  )
})
