/**
 * The beginning of a WebTransport session: what opens one, what does not, and the guards, which are those of the other
 * transports.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, pause, pending } from "../kit/events.ts"
import { fetchRaw, PollingClient } from "../kit/http.ts"
import { nothingLeft, snapshot } from "../kit/leaks.ts"
import { type Config, idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { frame, frames, MemoryClient } from "../kit/webTransport.ts"
import { WebSocketClient } from "../kit/ws.ts"

const transports = ["polling", "websocket", "webtransport"] as const

const forbidden = Effect.fail(new EngineIO.Forbidden({ message: "not you" }))

/** A client that asks for a session. */
const ask = async (server: TestServer, request?: EngineIO.WebTransportRequest, first = "0"): Promise<MemoryClient> => {
  const client = await MemoryClient.connect(server, {}, request)
  void client.write(frame(first))
  return client
}

/** What a client that asks for a session is refused with. */
const refusal = async (server: TestServer, request?: EngineIO.WebTransportRequest) =>
  (await ask(server, request)).end(3_000)

describe("the first packet over WebTransport", () => {
  it(
    "R85: a client that opens no stream is closed after upgradeTimeout",
    withServer({ transports, upgradeTimeout: 60 }, async (server) => {
      const before = snapshot(server)
      const client = new MemoryClient()
      const started = performance.now()
      await server.acceptWebTransport(client.session)
      await client.end()
      assert.isAtLeast(performance.now() - started, 55)
      await nothingLeft(server, before)
    })
  )

  it(
    "R85: a client that sends no whole packet is closed in the same time",
    withServer({ transports, upgradeTimeout: 60 }, async (server) => {
      const before = snapshot(server)
      const client = await MemoryClient.connect(server)
      void client.write(frame("0").slice(0, 1))
      await client.end()
      assert.strictEqual(await server.count(), 0)
      await nothingLeft(server, before)
    })
  )

  it(
    "R85: a client that leaves before it sent anything is forgotten, whichever way it goes",
    withServer({ transports }, async (server) => {
      const before = snapshot(server)
      for (const openStream of [true, false]) {
        for (const leave of ["close", "kill", "finish"] as const) {
          const client = new MemoryClient()
          if (openStream) client.openStream()
          await server.acceptWebTransport(client.session)
          client[leave]()
          if (leave === "finish" && !openStream) client.close()
          await client.end()
        }
      }
      await nothingLeft(server, before)
    })
  )

  it(
    "R86: anything but `0` closes the session; nothing is registered",
    withServer({ transports }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      for (const first of ["4hi", "2probe", "5", "1", "6", "b", "9", "0{", "0null", "0[]", "0\"x\"", "0{}", "01"]) {
        const client = await ask(server, undefined, first)
        await client.end()
      }
      const binary = await MemoryClient.connect(server)
      void binary.write(frame(Uint8Array.of(0x30)))
      await binary.end()
      const oversize = await MemoryClient.connect(server)
      void oversize.write(frame(new Uint8Array(1_000_001)).slice(0, 9))
      await oversize.end()
      const empty = await MemoryClient.connect(server)
      void empty.write(Uint8Array.of(0))
      await empty.end()
      assert.strictEqual(await server.count(), 0)
      assert.strictEqual((await events.reached(16)).length, 16)
      assert.isTrue(events.all.every((event) => event._tag === "ConnectionError" && event.code === 3))
    })
  )

  it(
    "R86: an unknown sid closes the session, names of Object's prototype too",
    withServer({ transports }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const sids = ["unknown", "", "__proto__", "constructor", "hasOwnProperty", "toString"]
      for (const sid of sids) {
        const client = await ask(server, undefined, `0${JSON.stringify({ sid })}`)
        await client.end()
      }
      for (
        const first of ["0{\"__proto__\":{\"sid\":\"x\"}}", "0{\"sid\":5}", "0{\"sid\":[\"x\"]}", "0{\"sid\":null}"]
      ) {
        await (await ask(server, undefined, first)).end()
      }
      const all = await events.reached(10)
      assert.deepStrictEqual(all.map((it) => it._tag === "ConnectionError" ? it.code : -1), [
        ...sids.map(() => 1),
        3,
        3,
        3,
        3
      ])
    })
  )

  it(
    "R86: a polluted Object.prototype opens no door",
    withServer({ transports }, async (server) => {
      const { sid } = await PollingClient.connect(server)
      const prototype: object = Object.getPrototypeOf({})
      Object.defineProperty(prototype, "sid", { value: sid, configurable: true })
      try {
        await (await ask(server, undefined, "0{}")).end()
      } finally {
        delete (prototype as { sid?: string }).sid
      }
      assert.isDefined(await server.socket(sid))
    })
  )

  it(
    "R85: what comes with the first packet is not lost while the application decides",
    withServer({
      transports,
      application: (socket, server) => Effect.delay(sink(socket, server), 50)
    }, async (server) => {
      const client = await MemoryClient.connect(server)
      await client.write(frames("0", "4a", "4b"))
      void client.write(frame("4c"))
      const sid = await client.handshake()
      await server.received.reached(3)
      assert.deepStrictEqual(server.messagesOf(sid), ["a", "b", "c"])
    })
  )
})

describe("the guards of WebTransport", () => {
  const refused = (
    name: string,
    config: Config,
    expected: { readonly closeCode: number; readonly reason: string },
    request?: EngineIO.WebTransportRequest
  ) =>
    it(
      name,
      withServer({ transports, ...config }, async (server) => {
        assert.deepStrictEqual(await refusal(server, request), expected)
        assert.strictEqual(await server.count(), 0)
        assert.strictEqual(server.opened.all.length, 0)
      })
    )

  refused("R88: transports without webtransport", { transports: ["polling", "websocket"] }, {
    closeCode: 400,
    reason: "Transport unknown"
  })

  refused("R12, R88: allowRequest", { allowRequest: () => forbidden }, { closeCode: 403, reason: "not you" })

  const fromElsewhere = { headers: { origin: "https://elsewhere.example" } }
  refused("R88: allowedOrigins", { allowedOrigins: ["https://example.com"] }, {
    closeCode: 403,
    reason: "Origin not allowed"
  }, fromElsewhere)

  refused("R7, R88: an Origin that no header may carry", {}, { closeCode: 400, reason: "Bad request" }, {
    headers: { origin: "https://\u0001" }
  })

  refused("R13: another revision in the URL, even where revision 3 is served", { allowEIO3: true }, {
    closeCode: 400,
    reason: "Unsupported protocol version"
  }, { url: "/engine.io/?EIO=3&transport=webtransport" })

  refused("R14: an id that cannot be made", { generateId: () => Effect.fail("none left") }, {
    closeCode: 400,
    reason: "Bad request"
  })

  refused("R88: the factory's Forbidden", { application: () => forbidden }, { closeCode: 403, reason: "not you" })

  refused("R88: the factory's own answer", {
    application: () => Effect.fail(HttpServerResponse.text("log in", { status: 401 }))
  }, { closeCode: 401, reason: "log in" })

  refused("R16: a factory that takes too long", { application: () => Effect.never, handshakeTimeout: 40 }, {
    closeCode: 503,
    reason: "Handshake timeout"
  })

  for (const [name, failure] of [["fails", Effect.fail("no")], ["dies", Effect.die(new Error("no"))]] as const) {
    it(
      `R88: a factory that ${name} is a log line and closes the session`,
      withServer({ transports, application: () => failure }, async (server) => {
        assert.deepStrictEqual(await refusal(server), { closeCode: 500, reason: "Internal Server Error" })
        const lines = await eventually(
          "a log line",
          () => server.logs.filter(({ level }) => level === "Error"),
          (lines) => lines.length > 0
        )
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]!.text, /failed to decide on a handshake/)
      })
    )
  }

  it(
    "R88: maxSessions",
    withServer({ transports, maxSessions: 1 }, async (server) => {
      await MemoryClient.open(server)
      assert.deepStrictEqual(await refusal(server), { closeCode: 503, reason: "Too many sessions" })
    })
  )

  it(
    "R88: a server that drains",
    withServer({ transports }, async (server) => {
      await server.run(EngineIO.drain())
      assert.deepStrictEqual(await refusal(server), { closeCode: 503, reason: "Server shutting down" })
    })
  )

  it(
    "R17, R88: generateId sees the request, and an origin that is allowed passes",
    withServer({
      transports,
      allowedOrigins: ["https://example.com"],
      generateId: (request) => Effect.succeed(`id of ${request.headers["x-user"]}`)
    }, async (server) => {
      const client = await ask(server, {
        url: "https://example.com:3000/engine.io/?EIO=4&transport=webtransport&room=a",
        headers: new Headers({ "Origin": "https://example.com", "X-User": "ada", "cookie": "a=b" }),
        remoteAddress: "192.0.2.1"
      })
      assert.strictEqual(await client.handshake(), "id of ada")
      const { handshake } = await server.opened.next()
      assert.strictEqual(handshake.url, "/engine.io/?EIO=4&transport=webtransport&room=a")
      assert.strictEqual(handshake.query["room"], "a")
      assert.strictEqual(handshake.remoteAddress, "192.0.2.1")
      assert.strictEqual(handshake.headers["x-user"], "ada")
      assert.deepStrictEqual({ ...handshake.cookies }, { a: "b" })
    })
  )

  it(
    "R88: the factory runs in the context of the request; without one there is little in it",
    withServer({
      transports,
      application: (socket, server) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
          server.requests.put(`${request.method} ${request.url} ${Option.getOrElse(request.remoteAddress, () => "?")}`)
          return idle(socket, server)
        })
    }, async (server) => {
      await (await ask(server, {})).handshake()
      await (await ask(server, { url: "chat?room=a#b", remoteAddress: "::1" })).handshake()
      assert.deepStrictEqual(server.requests.all, ["GET / ?", "GET /chat?room=a#b ::1"])
    })
  )

  it(
    "R16: a client that leaves while the application decides interrupts it",
    withServer({
      transports,
      application: (_, server) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => server.requests.put("gone")))
    }, async (server) => {
      const before = snapshot(server)
      for (const leave of ["close", "kill"] as const) {
        const client = await ask(server)
        await pause(10)
        client[leave]()
        await server.requests.next()
      }
      await nothingLeft(server, before)
    })
  )
})

describe("the offer of WebTransport", () => {
  it(
    "R28: only the handshake of polling offers it, and only where it is configured",
    withServer({ transports }, async (server) => {
      assert.deepStrictEqual((await PollingClient.connect(server)).open.upgrades, ["websocket", "webtransport"])
      const webSocket = await WebSocketClient.open(server)
      assert.deepStrictEqual(JSON.parse(String(await webSocket.next()).slice(1)).upgrades, [])
    })
  )

  it(
    "R6: it is no transport of a request",
    withServer({ transports }, async (server) => {
      const response = await fetchRaw(server, "GET", "/engine.io/?EIO=4&transport=webtransport")
      assert.strictEqual(response.text, "{\"code\":0,\"message\":\"Transport unknown\"}")
    })
  )
})

describe("the scope of acceptWebTransport", () => {
  it(
    "ends its sessions, after what they had accepted is delivered, and nobody else's",
    withServer({ transports, application: sink }, async (server) => {
      const scope = Scope.makeUnsafe()
      const client = new MemoryClient()
      server.webTransports.add(client)
      client.openStream()
      await server.run(Scope.provide(EngineIO.acceptWebTransport(client.session, server.factory), scope))
      void client.write(frame("0"))
      const sid = await client.handshake()
      const [other] = await MemoryClient.open(server)
      await server.run(Socket.send(await server.socket(sid), "last"))
      await Effect.runPromise(Scope.close(scope, Exit.void))
      assert.isTrue(client.isClosed)
      assert.include(client.packets.all, "4last")
      assert.strictEqual((await server.reason(sid))._tag, "ServerShutdown")
      assert.isTrue(await pending(other.closed))
    })
  )

  it(
    "ends one whose client has not said anything yet",
    withServer({ transports }, async (server) => {
      const scope = Scope.makeUnsafe()
      const client = new MemoryClient()
      await server.run(Scope.provide(EngineIO.acceptWebTransport(client.session, server.factory), scope))
      await Effect.runPromise(Scope.close(scope, Exit.void))
      assert.isTrue(client.isClosed)
    })
  )
})
