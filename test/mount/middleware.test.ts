import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import express from "express"
import session from "express-session"
import { createServer, type IncomingMessage } from "node:http"
import { EngineIO, Payload, Socket } from "../../src/index.ts"
import { eventually, Mailbox, turn, within } from "../kit/events.ts"
import {
  Connection,
  encodeRequest,
  engineTarget,
  fetchRaw,
  PollingClient,
  type Response,
  textHeaders
} from "../kit/http.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import type { Target } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })

const withMiddleware = (
  middleware: ReadonlyArray<EngineIO.Middleware>,
  body: (target: Parameters<Parameters<typeof listening>[1]>[0], mounted: Mounted) => Promise<void>,
  engine: EngineIO.Options = {}
) =>
async () => {
  const server = createServer()
  const mounted = await Mounted.attach(server, { middleware, engine: { drainTimeout: "100 millis", ...engine } })
  await listening(server, async (target) => {
    await body(target, mounted)
    await mounted.release()
  })
}

/** What the engine says of requests it refused. */
const refusals = async (mounted: Mounted): Promise<ReadonlyArray<EngineIO.EngineEvent>> => {
  const events: Array<EngineIO.EngineEvent> = []
  const note = (event: EngineIO.EngineEvent) =>
    Effect.sync(() => {
      if (event._tag === "ConnectionError") events.push(event)
    })
  void mounted.run(Stream.runForEach(EngineIO.events, note)).catch(() => undefined)
  await turn()
  return events
}

const knock = async (target: Target, query: Readonly<Record<string, string>> = {}): Promise<Connection> => {
  const connection = await Connection.open(target)
  const url = engineTarget({ EIO: "4", transport: "websocket", ...query })
  connection.send("GET", url, { headers: upgradeHeaders() })
  return connection
}

const expressSession = session({ secret: "secret", resave: false, saveUninitialized: true, cookie: { path: "/" } })

describe("middleware", () => {
  it("R51: express-session sets its cookie on polling and on the 101, and knows its client again", async () => {
    const ids: Array<string> = []
    const note: EngineIO.Middleware = (request, _response, next) => {
      ids.push((request as IncomingMessage & { readonly sessionID: string }).sessionID)
      next()
    }
    await withMiddleware([expressSession, note], async (target) => {
      const client = await PollingClient.connect(target)
      const [cookie] = client.handshake.all("set-cookie")
      assert.strictEqual(client.handshake.header("content-type"), "text/plain; charset=UTF-8")
      assert.strictEqual(client.handshake.header("content-length"), String(client.handshake.body.length))
      assert.match(cookie ?? "", /^connect\.sid=s%3A[^;]+; Path=\/; HttpOnly$/)
      const direct = await RawWebSocket.open(target)
      assert.match(direct.response.header("set-cookie") ?? "", /^connect\.sid=/)
      const known = await RawWebSocket.open(target, {}, { headers: { Cookie: cookie!.split(";")[0] } })
      assert.strictEqual(known.response.status, 101)
      assert.strictEqual(ids.length, 3)
      assert.strictEqual(ids[2], ids[0])
      assert.notStrictEqual(ids[1], ids[0])
    })()
  })

  it.each([{}, { cors: { origin: "*" } }])(
    "a middleware that ends the answers later, as express-session does, gets each of them once, with options %j",
    (options) =>
      withMiddleware([expressSession], async (target) => {
        const client = await PollingClient.connect(target)
        const parked = await client.park()
        const posted = await client.post("4hello")
        assert.strictEqual(posted.text, "ok")
        assert.match(posted.header("set-cookie") ?? "", /^connect\.sid=/)
        const polled = await parked.response
        assert.strictEqual(polled.text, "4hello")
        assert.strictEqual(polled.header("access-control-allow-origin"), options.cors?.origin)
      }, options)()
  )

  it(
    "R32, R51: its cookie and ours stand side by side",
    withMiddleware([expressSession], async (target) => {
      const client = await PollingClient.connect(target)
      const cookies = client.handshake.all("set-cookie").map((it) => it.split("=")[0]).sort()
      assert.deepStrictEqual(cookies, ["connect.sid", "io"])
    }, { cookie: true })
  )

  it(
    "R32, R51: the cookies of one, ours, and those of responseHeaders have a line each",
    withMiddleware([
      (_request, response, next) => {
        response.setHeader("Set-Cookie", ["m=1", "m=2"])
        next()
      }
    ], async (target) => {
      const cookies = (response: Response) => response.all("set-cookie").map((it) => it.split(";")[0]!).sort()
      const client = await PollingClient.connect(target)
      assert.deepStrictEqual(cookies(client.handshake), ["a=1", "b=2", `io=${client.sid}`, "m=1", "m=2"])
      assert.deepStrictEqual(cookies(await client.post("4hello")), ["a=1", "b=2", "m=1", "m=2"])
      assert.deepStrictEqual(cookies((await RawWebSocket.open(target)).response), ["a=1", "b=2", "m=1", "m=2"])
    }, { cookie: true, responseHeaders: () => Effect.succeed({ "set-cookie": ["a=1", "b=2"] }) })
  )

  it("R51: they run in order, on every request and every upgrade, and their headers are on the answers", async () => {
    const seen: Array<string> = []
    const mark = (name: string): EngineIO.Middleware => (request, response, next) => {
      seen.push(`${name} ${request.method}`)
      response.setHeader(`X-${name}`, "1")
      setImmediate(next)
    }
    await withMiddleware([mark("A"), mark("B")], async (target) => {
      const client = await PollingClient.connect(target)
      const post = await client.post("4hello")
      const upgrade = await RawWebSocket.open(target, { sid: client.sid })
      const refused = await fetchRaw(target, "GET", engineTarget({ EIO: "4", transport: "x" }))
      for (const response of [client.handshake, post, upgrade.response, refused]) {
        assert.deepStrictEqual([response.header("x-a"), response.header("x-b")], ["1", "1"])
      }
      assert.deepStrictEqual(seen, ["A GET", "B GET", "A POST", "B POST", "A GET", "B GET", "A GET", "B GET"])
    })()
  })

  it(
    "R51: one that answers itself ends the request, and the connection of an upgrade",
    withMiddleware([(_request, response) => void response.writeHead(401).end("no")], async (target, mounted) => {
      const refused = await fetchRaw(target, "GET", polling)
      assert.deepStrictEqual([refused.status, refused.text], [401, "no"])
      const connection = await Connection.open(target)
      const url = engineTarget({ EIO: "4", transport: "websocket" })
      connection.write(encodeRequest("GET", url, { headers: upgradeHeaders() }))
      assert.isUndefined(await connection.outcome())
      assert.strictEqual(await mounted.count(), 0)
    })
  )

  it("R14: one that fails, or throws, gives code 3", async () => {
    const failing: ReadonlyArray<EngineIO.Middleware> = [
      (_request, _response, next) => next(new Error("no")),
      () => {
        throw new Error("no")
      }
    ]
    for (const middleware of failing) {
      await withMiddleware([middleware], async (target, mounted) => {
        const events: Array<EngineIO.EngineEvent> = []
        const watching = Effect.runFork(
          Effect.promise(() =>
            mounted.run(Stream.runForEach(EngineIO.events, (event) => Effect.sync(() => events.push(event))))
          )
        )
        await turn()
        const refused = await fetchRaw(target, "GET", polling)
        assert.deepStrictEqual([refused.status, refused.text], [400, "{\"code\":3,\"message\":\"Bad request\"}"])
        const connection = await Connection.open(target)
        const url = engineTarget({ EIO: "4", transport: "websocket" })
        connection.write(encodeRequest("GET", url, { headers: upgradeHeaders() }))
        assert.isUndefined(await connection.outcome())
        await eventually("both in the events", () => events.length, (count) => count === 2)
        for (const event of events) {
          assert.include(event, { _tag: "ConnectionError", code: 3, message: "Bad request" })
          if (event._tag === "ConnectionError") assert.deepInclude(event.context, { name: "MIDDLEWARE_FAILURE" })
        }
        watching.interruptUnsafe()
      })()
    }
  })

  it(
    "R51: a client that leaves while one decides harms nothing",
    withMiddleware([(_request, _response, next) => void setTimeout(next, 50)], async (target, mounted) => {
      const url = engineTarget({ EIO: "4", transport: "websocket" })
      for (const request of [encodeRequest("GET", polling), encodeRequest("GET", url, { headers: upgradeHeaders() })]) {
        const connection = await Connection.open(target)
        connection.write(request)
        await connection.reset()
      }
      // A later client is served, and when it is the others were dealt with.
      await PollingClient.connect(target)
      assert.strictEqual(await mounted.count(), 1)
    })
  )

  it("R34: what one makes of the request is what the application sees", async () => {
    const impersonate: EngineIO.Middleware = (request, _response, next) => {
      request.headers["x-user"] = "tom"
      next()
    }
    await withMiddleware([impersonate], async (target, mounted) => {
      const { sid } = await PollingClient.connect(target)
      const socket = (await mounted.run(EngineIO.sockets)).get(sid)
      assert.strictEqual(socket?.handshake.headers["x-user"], "tom")
    }, { allowRequest: (request) => Effect.sync(() => assert.strictEqual(request.headers["x-user"], "tom")) })()
  })

  const failures: Readonly<Record<string, EngineIO.Middleware>> = {
    "rejects": async () => {
      await turn()
      throw new Error("no")
    },
    "rejects with nothing": () => Promise.reject(undefined),
    "throws nothing": () => {
      throw undefined
    },
    "calls next with an error, twice, and throws": (_request, _response, next) => {
      next(new Error("no"))
      next(new Error("no"))
      throw new Error("no")
    }
  }
  for (const [what, middleware] of Object.entries(failures)) {
    it(
      `R14: one that ${what} gives code 3, once`,
      withMiddleware([middleware], async (target, mounted) => {
        const events = await refusals(mounted)
        const refused = await fetchRaw(target, "GET", polling)
        assert.deepStrictEqual([refused.status, refused.text], [400, "{\"code\":3,\"message\":\"Bad request\"}"])
        assert.isUndefined(await (await knock(target)).outcome())
        await eventually("both in the events", () => events.length, (count) => count === 2)
        assert.strictEqual(await mounted.count(), 0)
      })
    )
  }

  it(
    "R51: one that passes a request on twice has it served once",
    withMiddleware([
      (_request, _response, next) => {
        next()
        next()
        setImmediate(next)
      }
    ], async (target, mounted) => {
      const client = await PollingClient.connect(target)
      assert.strictEqual((await client.post("4hello")).text, "ok")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      const webSocket = await WebSocketClient.connect(target)
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
      assert.strictEqual(await mounted.count(), 2)
    })
  )

  const tooLate: Readonly<Record<string, EngineIO.Middleware>> = {
    "throws": (_request, _response, next) => {
      next()
      throw new Error("late")
    },
    "rejects": async (_request, _response, next) => {
      next()
      await turn()
      throw new Error("late")
    },
    "fails": (_request, _response, next) => {
      next()
      setImmediate(() => next(new Error("late")))
    }
  }
  for (const [what, late] of Object.entries(tooLate)) {
    it(
      `R51: one that ${what} after it has passed a request on has its connection closed, once, unless it is answered`,
      withMiddleware([
        (request, response, next) => request.url?.includes("late") === true ? late(request, response, next) : next()
      ], async (target, mounted) => {
        const client = await PollingClient.connect(target)
        const events = await refusals(mounted)
        await client.post("4hello")
        const socket = (await mounted.run(EngineIO.sockets)).get(client.sid)!
        const waiting = () => mounted.run(Socket.buffered(socket))
        await eventually("the echo", waiting, ({ messages }) => messages === 1)
        const answered = await client.request("GET", {}, `${client.url()}&late=1`)
        assert.strictEqual(answered.text, "4hello")
        const connection = await Connection.open(target)
        connection.send("GET", `${client.url()}&late=1`)
        assert.isUndefined(await connection.outcome())
        await within((await knock(target, { late: "1" })).closed, "the end of the upgrade")
        await eventually("all in the events", () => events.length, (count) => count === 3)
        await eventually("no session", () => mounted.count(), (count) => count === 0)
      })
    )
  }

  it(
    "R51: one that writes to a response that is ended, or is the engine's, harms nobody else",
    withMiddleware([
      (request, response, next) => {
        next()
        if (request.url?.includes("late") === true) response.write("late")
      }
    ], async (target, mounted) => {
      const client = await PollingClient.connect(target)
      const events = await refusals(mounted)
      assert.strictEqual(
        (await fetchRaw(target, "GET", engineTarget({ EIO: "4", transport: "x", late: "1" }))).status,
        400
      )
      await eventually("it in the events", () => events.length, (count) => count === 2)
      const connection = await Connection.open(target)
      connection.send("GET", `${client.url()}&late=1`)
      await target.settled("")
      await client.post("4hello")
      await within(connection.closed, "the end of the connection")
      await eventually("no session", () => mounted.count(), (count) => count === 0)
    })
  )

  it(
    "R51: one that begins an answer and passes the request on has its connection closed",
    withMiddleware([
      (_request, response, next) => {
        response.writeHead(200, { "X-Begun": "1" })
        setImmediate(next)
      }
    ], async (target, mounted) => {
      const events = await refusals(mounted)
      const connection = await Connection.open(target)
      connection.send("GET", polling)
      await within(connection.closed, "the end of the connection")
      await within((await knock(target)).closed, "the end of the upgrade")
      await eventually("both in the events", () => events.length, (count) => count === 2)
      assert.strictEqual(await mounted.count(), 0)
    })
  )

  /** What may have been done to a body whose bytes are still to be had. */
  const parsers: ReadonlyArray<readonly [string, EngineIO.Middleware]> = [
    ["as text", express.text({ type: "*/*", limit: "2mb" })],
    ["as bytes", express.raw({ type: "*/*", limit: "2mb" })],
    ["not at all, and stopped", (request, _response, next) => {
      request.pause()
      next()
    }]
  ]
  for (const [way, parser] of parsers) {
    for (const engine of [{}, { cors: true }]) {
      it(
        `R41, R44: a body that one has read ${way} is taken from there, with options ${JSON.stringify(engine)}`,
        withMiddleware([parser], async (target) => {
          const client = await PollingClient.connect(target)
          assert.strictEqual((await client.post("4h€llo\x1ebAQID")).text, "ok")
          assert.deepStrictEqual(await client.messages(2), ["4h€llo", "bAQID"])
          assert.strictEqual((await client.post(`4${"€".repeat(333_334)}`)).status, 413)
          assert.strictEqual((await client.post("4still here")).text, "ok")
        }, engine)
      )
    }
  }

  it(
    "R43: a payload of bytes that one has read as bytes is taken from there",
    withMiddleware([express.raw({ type: "*/*" })], async (target) => {
      const client = await PlainPollingClient.connect(target)
      const payload = Payload.encode([{ type: "message", data: Uint8Array.of(1, 200) }], { revision: 3, binary: true })
      assert.strictEqual((await client.post(payload)).text, "ok")
      assert.deepStrictEqual((await client.get()).body, Buffer.from(payload as Uint8Array))
    }, { allowEIO3: true })
  )

  const takers: ReadonlyArray<readonly [string, EngineIO.Middleware]> = [
    ["parsed", express.urlencoded({ type: "*/*", extended: false })],
    ["thrown away", (request, _response, next) => void request.resume().on("end", () => next())],
    ["read in part", (request, _response, next) => {
      if (request.method === "GET") next()
      else request.once("data", () => next())
    }]
  ]
  for (const [way, taker] of takers) {
    for (const engine of [{}, { cors: true }]) {
      it(
        `a body that one has ${way} is missed at once, in words that name the cause, with options ${
          JSON.stringify(engine)
        }`,
        withMiddleware([taker], async (target, mounted) => {
          const client = await PollingClient.connect(target)
          const { status, text } = await client.post("4hello")
          assert.strictEqual(status, 500)
          assert.match(text, /read before it came to the engine.*express\.json/)
          const reason = await mounted.ended.next()
          assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
          assert.deepStrictEqual(mounted.warnings, [text])
        }, engine)
      )
    }
  }

  /** With a middleware that holds requests of one method; the mailbox has what lets each go on. */
  const holding = (
    method: "GET" | "POST",
    body: (target: Target, mounted: Mounted, held: Mailbox<() => void>) => Promise<void>
  ) =>
  () => {
    const held = new Mailbox<() => void>("a request that is held")
    const hold: EngineIO.Middleware = (request, _response, next) => {
      if (request.method === method) held.put(next)
      else next()
    }
    return withMiddleware([hold], (target, mounted) => body(target, mounted, held))()
  }

  it(
    "R16: a client that leaves while one holds its upgrade leaves no connection",
    holding("GET", async (target, mounted, held) => {
      const connection = await knock(target)
      const goOn = await held.next()
      const closed = new Promise((resolve) => connection.socket.once("close", resolve))
      connection.socket.end()
      await within(closed, "the end of the connection")
      goOn()
      await turn()
      assert.strictEqual(await mounted.count(), 0)
    })
  )

  it(
    "R26: the body of a request that asks for another protocol is left to it while one holds it",
    holding("POST", async (target, _mounted, held) => {
      const client = await PollingClient.connect(target)
      const connection = await Connection.open(target)
      const headers = { ...upgradeHeaders({ Upgrade: "h2c" }), "Content-Length": "6" }
      connection.send("POST", client.url(), { headers })
      const goOn = await held.next()
      connection.write("4hello")
      await turn()
      goOn()
      assert.strictEqual((await connection.response()).text, "ok")
      assert.deepStrictEqual(await client.poll(), ["4hello"])
    })
  )

  it(
    "R16: what a client says while one holds its upgrade is not lost",
    holding("GET", async (target, _mounted, held) => {
      const connection = await knock(target)
      const goOn = await held.next()
      connection.write(encodeFrame(Opcode.text, "4early"))
      // An answer to others shows that the server has read it.
      for (let i = 0; i < 2; i++) await fetchRaw(target, "POST", polling)
      goOn()
      assert.strictEqual((await connection.response()).status, 101)
      const got: Array<Buffer> = []
      await eventually("the echo", async () => {
        got.push(await connection.upgraded.next())
        return Buffer.concat(got).toString("latin1")
      }, (bytes) => bytes.includes("4early"))
    })
  )

  const breaking = (isOnce: boolean): EngineIO.Middleware => (request, response, next) => {
    if (request.headers["x-break"] !== undefined) {
      const { writeHead } = response
      let count = 0
      response.writeHead = (...args: Array<unknown>) => {
        if (count++ === 0 || !isOnce) throw new TypeError("nothing for a header")
        return Reflect.apply(writeHead, response, args)
      }
    }
    next()
  }
  const headers = { ...textHeaders, "X-Break": "yes" }
  const broken: ReadonlyArray<
    readonly [string, string, (client: PollingClient, connection: Connection) => Promise<unknown> | void]
  > = [
    ["a GET with packets", "WriteFailed", async (client, connection) => {
      await client.post("4hello")
      connection.send("GET", client.url(), { headers })
    }],
    ["a GET that has waited", "WriteFailed", async (client, connection) => {
      const url = client.url()
      connection.send("GET", url, { headers })
      await client.target.settled(url)
      await client.post("4hello")
    }],
    ["a GET that is compressed", "WriteFailed", async (client, connection) => {
      await client.post(`4${"x".repeat(5000)}`)
      connection.send("GET", client.url(), { headers: { ...headers, "Accept-Encoding": "gzip" } })
    }],
    ["a POST", "WriteFailed", (client, connection) => {
      connection.send("POST", client.url(), { headers, body: "4hello" })
    }],
    ["a POST of no packets", "ParseError", (client, connection) => {
      connection.send("POST", client.url(), { headers, body: "9" })
    }]
  ]
  for (const [what, tag, ask] of broken) {
    for (const isOnce of [true, false]) {
      const [when, outcome] = isOnce ? ["once", "gets 500"] : ["whenever it is written", "loses its connection"]
      it(
        `${what} whose head throws ${when} ${outcome}, and its session ends`,
        withMiddleware([breaking(isOnce)], async (target, mounted) => {
          const client = await PollingClient.connect(target)
          const connection = await Connection.open(target)
          const answer = connection.outcome()
          await ask(client, connection)
          assert.strictEqual((await answer)?.status, isOnce ? 500 : undefined)
          const reason = await mounted.ended.next()
          assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, tag)
          assert.strictEqual(await mounted.count(), 0)
        })
      )
    }
  }

  it(
    "R14: one that throws has its connection closed, where the head of the refusal throws too",
    withMiddleware([breaking(false), (request, _response, next) => {
      next(request.headers["x-break"] === undefined ? undefined : new Error("no"))
    }], async (target, mounted) => {
      const connection = await Connection.open(target)
      connection.send("GET", polling, { headers })
      assert.strictEqual(await connection.outcome(), undefined)
      await PollingClient.connect(target)
      assert.strictEqual(await mounted.count(), 1)
    })
  )
})
