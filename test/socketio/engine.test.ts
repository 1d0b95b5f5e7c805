/**
 * What Socket.IO's documentation promises of `io.engine`, of `socket.conn`, and of the options that are the engine's.
 */
import type { Socket } from "socket.io"
import { assert, describe } from "vitest"
import { type ConnectionError, next, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

const polling = "/socket.io/?EIO=4&transport=polling"

describe("io.engine tells of", () => {
  for (const attached of [false, true]) {
    onBoth(`headers, first and later ones, which a listener may change${attached ? " (Node's server)" : ""}`, {
      attached,
      prepare: (io) => {
        io.engine.on("initial_headers", (headers: Record<string, unknown>, request: { url: string }) => {
          headers["x-initial"] = request.url.includes("EIO=4") ? "yes" : "no"
          headers["set-cookie"] = "mine=1; SameSite=Strict"
        })
        io.engine.on("headers", (headers: Record<string, string>) => {
          headers["x-every"] = "1"
        })
      }
    }, async (site) => {
      const first = await site.request(polling)
      assert.strictEqual(first.headers.get("x-initial"), "yes")
      assert.strictEqual(first.headers.get("x-every"), "1")
      assert.strictEqual(first.headers.get("set-cookie"), "mine=1; SameSite=Strict")
      const { sid } = JSON.parse((await first.text()).slice(1)) as { sid: string }
      const second = await site.request(`${polling}&sid=${sid}`, { method: "POST", body: "40" })
      assert.isNull(second.headers.get("x-initial"))
      assert.strictEqual(second.headers.get("x-every"), "1")
      await second.text()
      const client = site.client()
      const upgraded = value<{ headers: Record<string, string> }>(
        (client.io as unknown as { engine: { transport: { ws: never } } }).engine.transport.ws,
        "upgrade"
      )
      const { headers } = await upgraded
      assert.strictEqual(headers["x-initial"], "yes")
      assert.strictEqual(headers["x-every"], "1")
      await next(client, "connect")
    })
  }

  const refusals: ReadonlyArray<[name: string, path: string, method: string, error: unknown]> = [
    ["an unknown transport", "/socket.io/?EIO=4&transport=x", "GET", [0, "Transport unknown", { transport: "x" }]],
    ["an unknown session", `${polling}&sid=x`, "GET", [1, "Session ID unknown", { sid: "x" }]],
    ["a bad method", polling, "PUT", [2, "Bad handshake method", { method: "PUT" }]],
    ["a bad request", "/socket.io/?EIO=4&transport=websocket", "GET", [
      3,
      "Bad request",
      { name: "TRANSPORT_HANDSHAKE_ERROR" }
    ]],
    ["an old revision", "/socket.io/?EIO=3&transport=polling", "GET", [
      5,
      "Unsupported protocol version",
      { protocol: 3 }
    ]]
  ]
  for (const [name, path, method, expected] of refusals) {
    onBoth(`a request refused for ${name}`, {}, async (site) => {
      const refused = value<ConnectionError>(site.io.engine, "connection_error")
      const response = await site.request(path, { method })
      assert.strictEqual(response.status, 400)
      await response.text()
      const { code, context, message, req } = await refused
      assert.deepStrictEqual([code, message, context], expected)
      assert.strictEqual(req.url, path)
      assert.strictEqual(req._query["EIO"], path.includes("EIO=4") ? "4" : "3")
    })
  }

  onBoth("a request that the application refuses", {
    allowRequest: (request, answer) =>
      answer(request.headers["x-ok"] === undefined ? "not you" : null, request.headers["x-ok"] !== undefined)
  }, async (site) => {
    const refused = value<ConnectionError>(site.io.engine, "connection_error")
    const response = await site.request(polling)
    assert.strictEqual(response.status, 403)
    assert.deepStrictEqual(await response.json(), { code: 4, message: "not you" })
    const { code, context, message } = await refused
    assert.deepStrictEqual([code, context], [4, { message: "not you" }])
    assert.match(message, /^(Forbidden|not you)$/)
    const [, client] = await site.pair("/", { extraHeaders: { "x-ok": "1" } })
    assert.isTrue(client.connected)
  })

  onBoth("R93: connections, before Socket.IO knows of them", {}, async (site) => {
    const opened = value<{ id: string; transport: { name: string }; remoteAddress: string }>(
      site.io.engine,
      "connection"
    )
    const [socket] = await site.pair()
    const conn = await opened
    assert.strictEqual(conn as unknown, socket.conn)
    assert.strictEqual(conn.transport.name, "websocket")
    assert.strictEqual(conn.remoteAddress, "127.0.0.1")
    assert.match(conn.id, /^[\w-]{20}$/)
  })
})

describe("io.engine", () => {
  for (const isAsync of [false, true]) {
    onBoth(`takes ids from the application${isAsync ? ", which may take its time" : ""}`, {}, async (site) => {
      let count = 0
      const generate = (request: { headers: Record<string, string> }) => `${request.headers["x-name"]}-${++count}`
      Object.assign(site.io.engine, {
        generateId: isAsync
          ? async (request: never) => {
            await new Promise(setImmediate)
            return generate(request)
          }
          : generate
      })
      const [socket] = await site.pair("/", { extraHeaders: { "x-name": "bob" } })
      assert.strictEqual((socket.conn as unknown as { id: string }).id, "bob-1")
      const response = await site.request(polling, { headers: { "x-name": "ann" } })
      assert.include(await response.text(), "\"sid\":\"ann-2\"")
    })
  }

  onBoth("refuses a handshake where the application finds no id", {}, async (site) => {
    Object.assign(site.io.engine, { generateId: () => Promise.reject(new Error("no id")) })
    const refused = value<ConnectionError>(site.io.engine, "connection_error")
    const response = await site.request(polling)
    assert.deepStrictEqual(await response.json(), { code: 3, message: "Bad request" })
    assert.strictEqual((await refused).context["name"], "ID_GENERATION_ERROR")
  })
})

describe("socket.conn", () => {
  onBoth("tells of packets in both directions, of drains and heartbeats", { pingInterval: 20 }, async (site) => {
    const [socket, client] = await site.pair()
    const events: Array<unknown> = []
    socket.conn.on("packet", ({ data, type }: { type: string; data: string }) => events.push(["in", type, data]))
    socket.conn.on("packetCreate", ({ data, type }: { type: string; data: string }) => events.push(["out", type, data]))
    const drained = next(socket.conn, "drain")
    socket.on("question", () => socket.emit("answer"))
    client.emit("question", 1)
    await next(client, "answer")
    await drained
    await next(socket.conn, "heartbeat")
    assert.deepInclude(events, ["in", "message", "2[\"question\",1]"])
    assert.deepInclude(events, ["out", "message", "2[\"answer\"]"])
    assert.deepInclude(events, ["out", "ping", undefined])
  })

  onBoth("tells whether a message that is to be sent may be compressed", {}, async (site) => {
    const [socket, client] = await site.pair()
    const told: Array<unknown> = []
    socket.conn.on("packetCreate", (packet: { options: { compress: boolean } }) => told.push(packet.options.compress))
    const event = next(client, "c")
    socket.emit("a")
    socket.compress(false).emit("b")
    site.io.compress(false).emit("c")
    await event
    assert.deepStrictEqual(told, [true, false, false])
  })

  onBoth("tells of its end, with a reason", {}, async (site) => {
    const [socket, client] = await site.pair()
    const closed = next(socket.conn, "close")
    client.io.engine.close()
    assert.strictEqual((await closed)[0], "transport close")
    assert.strictEqual(socket.conn.readyState as string, "closed")
  })

  for (
    const [name, transport, perMessageDeflate, used] of [
      ["a WebSocket", "websocket", false, true],
      ["a WebSocket that compresses", "websocket", true, false],
      ["polling", "polling", false, false]
    ] as const
  ) {
    onBoth(
      `R54: ${used ? "takes" : "leaves"} a frame that comes ready, over ${name}`,
      { perMessageDeflate },
      async (site) => {
        const [socket, client] = await site.pair("/", { transports: [transport] })
        const message = value(client, "event")
        const payload = Buffer.from("42[\"event\",\"ready\"]")
        const options = { wsPreEncodedFrame: [Buffer.from([0x81, payload.length]), payload] }
        ;(socket.conn as unknown as { write(data: string, options: object): void }).write(
          "2[\"event\",\"made\"]",
          options
        )
        assert.strictEqual(await message, used ? "ready" : "made")
      }
    )
  }

  onBoth("sends packets of the engine itself, and calls back when they have left", {}, async (site) => {
    const [socket, client] = await site.pair()
    const message = value(client.io.engine, "data")
    const sent = new Promise((resolve) =>
      (socket.conn as unknown as { send: Function }).send("2[\"raw\"]", {}, resolve)
    )
    assert.strictEqual(await message, "2[\"raw\"]")
    await sent
  })
})

describe("the option", () => {
  const origins: ReadonlyArray<[name: string, cors: object | Function, allowed: string | null]> = [
    ["a text", { origin: "http://a.example" }, "http://a.example"],
    ["a list with a pattern", { origin: [/\.example$/], credentials: true }, "http://a.example"],
    ["a star", { origin: "*" }, "*"],
    ["a function", {
      origin: (origin: string, answer: (error: null, ok: boolean) => void) => answer(null, origin.includes("a."))
    }, "http://a.example"],
    [
      "a function of the request",
      (_: unknown, answer: (error: null, options: object) => void) =>
        answer(null, { origin: ["http://a.example"], methods: ["GET", "POST"] }),
      "http://a.example"
    ],
    ["another origin", { origin: ["http://b.example"] }, null]
  ]
  for (const [name, cors, allowed] of origins) {
    onBoth(`cors with ${name}`, { cors: cors as never, attached: true }, async (site) => {
      const headers = { origin: "http://a.example" }
      const response = await site.request(polling, { headers })
      assert.strictEqual(response.headers.get("access-control-allow-origin"), allowed)
      await response.text()
      const preflight = await site.request(polling, {
        method: "OPTIONS",
        headers: { ...headers, "access-control-request-method": "POST" }
      })
      assert.strictEqual(preflight.status, 204)
      assert.strictEqual(preflight.headers.get("access-control-allow-origin"), allowed)
      const file = await site.request("/socket.io/socket.io.js", { headers })
      assert.strictEqual(file.headers.get("access-control-allow-origin"), allowed)
      await file.arrayBuffer()
    })
  }

  onBoth("cookie", {
    cookie: { name: "test", httpOnly: false, path: "/custom", maxAge: 60, sameSite: "strict" } as never
  }, async (site) => {
    const response = await site.request(polling)
    const { sid } = JSON.parse((await response.text()).slice(1)) as { sid: string }
    const parts = response.headers.get("set-cookie")!.split("; ").sort()
    assert.deepStrictEqual(parts, ["Max-Age=60", "Path=/custom", "SameSite=Strict", `test=${sid}`])
  })

  onBoth("cookie: true", { cookie: true }, async (site) => {
    const response = await site.request(polling)
    assert.match(response.headers.get("set-cookie")!, /^io=[\w-]{20}; Path=\/; HttpOnly; SameSite=Lax$/)
    await response.text()
  })

  onBoth("maxHttpBufferSize", { maxHttpBufferSize: 100 }, async (site) => {
    const response = await site.request(polling)
    const handshake = JSON.parse((await response.text()).slice(1)) as { sid: string; maxPayload: number }
    assert.strictEqual(handshake.maxPayload, 100)
    const large = await site.request(`${polling}&sid=${handshake.sid}`, { method: "POST", body: `4${"x".repeat(100)}` })
    assert.strictEqual(large.status, 413)
    await large.text()
  })

  onBoth("pingInterval, pingTimeout", { pingInterval: 123, pingTimeout: 456 }, async (site) => {
    const response = await site.request(polling)
    assert.deepInclude(JSON.parse((await response.text()).slice(1)) as object, { pingInterval: 123, pingTimeout: 456 })
  })

  onBoth("httpCompression", { httpCompression: { threshold: 100 } }, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    const first = await site.request(polling)
    const { sid } = JSON.parse((await first.text()).slice(1)) as { sid: string }
    await (await site.request(`${polling}&sid=${sid}`, { method: "POST", body: "40" })).text()
    const socket = await connected
    socket.emit("event", "x".repeat(1000))
    const response = await site.request(`${polling}&sid=${sid}`, { headers: { "accept-encoding": "gzip" } })
    assert.strictEqual(response.headers.get("content-encoding"), "gzip")
    assert.include(await response.text(), "xxx")
  })

  onBoth("initialPacket", { initialPacket: "hello" } as object, async (site) => {
    const response = await site.request(polling)
    assert.isTrue((await response.text()).endsWith("\u001e4hello"))
  })

  onBoth("parser", { parser: custom() }, async (site) => {
    const [socket, client] = await site.pair("/", { parser: custom() })
    const event = value(client, "event")
    socket.emit("event", 1)
    assert.strictEqual(await event, 1)
  })
})

/** A parser that sends JSON as bytes. */
function custom() {
  class Encoder {
    encode(packet: unknown): Array<Buffer> {
      return [Buffer.from(JSON.stringify(packet))]
    }
  }
  class Decoder {
    private listener: ((packet: unknown) => void) | undefined
    on(_: string, listener: (packet: unknown) => void): void {
      this.listener = listener
    }
    removeListener(): void {}
    off(): void {}
    add(data: Uint8Array): void {
      this.listener?.(JSON.parse(Buffer.from(data).toString()))
    }
    destroy(): void {}
  }
  return { Encoder, Decoder }
}
