import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { EngineIO } from "../../src/index.ts"
import { Connection, engineTarget, fetchRaw, PollingClient, type Response } from "../kit/http.ts"
import { withReference } from "../kit/reference.ts"
import { type Config, sink, type Target, withServer } from "../kit/server.ts"
import { RawWebSocket, refusedUpgrade, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const handshake = engineTarget({ EIO: "4", transport: "polling" })

/** The answer to an upgrade that is accepted. */
const upgradeResponse = async (target: Target, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
  (await RawWebSocket.open(target, {}, { headers })).response

// --- cookie ----------------------------------------------------------------------------------------------------------

describe("cookie", () => {
  /** The cookies that a polling handshake sets, with the session's id. */
  const cookiesOf = async (config: Config) => {
    let result: { sid: string; cookies: Array<string> } | undefined
    await withServer(config, async (server) => {
      const client = await PollingClient.connect(server)
      result = { sid: client.sid, cookies: client.handshake.all("set-cookie") }
    })()
    return result!
  }

  it("R32: by default there is none", async () => {
    assert.deepStrictEqual((await cookiesOf({})).cookies, [])
    assert.deepStrictEqual((await cookiesOf({ cookie: false })).cookies, [])
  })

  it("R32: true is the reference's default, byte for byte (A19)", async () => {
    const { cookies, sid } = await cookiesOf({ cookie: true })
    assert.deepStrictEqual(cookies, [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`])
    assert.deepStrictEqual(
      await withReference({ cookie: true }, async (target) => {
        const client = await PollingClient.connect(target)
        return client.handshake.all("set-cookie").map((it) => it.replace(client.sid, sid))
      }),
      cookies
    )
  })

  it("R32: a name, and each attribute", async () => {
    const shapes: ReadonlyArray<readonly [EngineIO.Options["cookie"], string]> = [
      ["sid", "sid=ID; Path=/; HttpOnly; SameSite=Lax"],
      [{}, "io=ID; Path=/; HttpOnly; SameSite=Lax"],
      [{ name: "a", path: "/chat" }, "a=ID; Path=/chat; HttpOnly; SameSite=Lax"],
      [{ path: false }, "io=ID; HttpOnly; SameSite=Lax"],
      [{ httpOnly: false }, "io=ID; Path=/; SameSite=Lax"],
      [{ httpOnly: undefined, sameSite: undefined, path: undefined }, "io=ID; Path=/; HttpOnly; SameSite=Lax"],
      [{ sameSite: "strict" }, "io=ID; Path=/; HttpOnly; SameSite=Strict"],
      [
        { sameSite: "none", secure: true, partitioned: true },
        "io=ID; Path=/; HttpOnly; Secure; Partitioned; SameSite=None"
      ],
      [
        { maxAge: "1 hour", domain: "example.com", expires: new Date(0) },
        "io=ID; Max-Age=3600; Domain=example.com; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"
      ],
      [{ priority: "high" }, "io=ID; Path=/; Priority=High; HttpOnly; SameSite=Lax"]
    ]
    for (const [cookie, expected] of shapes) {
      const { cookies, sid } = await cookiesOf({ cookie })
      assert.deepStrictEqual(cookies, [expected.replace("ID", sid)])
    }
  })

  it("R32: the id is encoded", async () => {
    const id = "a b;é"
    const { cookies } = await cookiesOf({ cookie: true, generateId: () => Effect.succeed(id) })
    assert.deepStrictEqual(cookies, [`io=${encodeURIComponent(id)}; Path=/; HttpOnly; SameSite=Lax`])
  })

  it(
    "R32: later answers, refusals and a WebSocket's 101 set none",
    withServer({ cookie: true }, async (server) => {
      const client = await PollingClient.connect(server)
      const responses = [
        await client.post("4hello"),
        await client.get(),
        await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "x" })),
        await upgradeResponse(server)
      ]
      for (const response of responses) assert.deepStrictEqual(response.all("set-cookie"), [])
    })
  )

  it("R32: a Set-Cookie of responseHeaders is a second one", async () => {
    const { cookies, sid } = await cookiesOf({
      cookie: true,
      responseHeaders: () => Effect.succeed({ "Set-Cookie": "mine=1" })
    })
    assert.sameMembers(cookies, [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`, "mine=1"])
  })
})

// --- response headers ------------------------------------------------------------------------------------------------

describe("responseHeaders", () => {
  const marking: Config = {
    responseHeaders: ({ id, initial, request, transport }) =>
      Effect.succeed({
        "X-Session": id,
        "X-Initial": String(initial),
        "X-Transport": transport,
        "X-Method": request.method
      })
  }

  it(
    "R33: on the answers to a session's requests, which know the session and whether they are the first",
    withServer(marking, async (server) => {
      const client = await PollingClient.connect(server)
      const marks = (response: Response) =>
        ["x-session", "x-initial", "x-transport", "x-method"].map((name) => response.header(name))
      assert.deepStrictEqual(marks(client.handshake), [client.sid, "true", "polling", "GET"])
      assert.deepStrictEqual(marks(await client.post("4hello")), [client.sid, "false", "polling", "POST"])
      assert.deepStrictEqual(marks(await client.get()), [client.sid, "false", "polling", "GET"])
      const upgrade = await RawWebSocket.open(server, { sid: client.sid })
      assert.deepStrictEqual(marks(upgrade.response), [client.sid, "false", "websocket", "GET"])
      const direct = await RawWebSocket.open(server)
      const { sid } = JSON.parse((await direct.next()).payload.toString().slice(1)) as { readonly sid: string }
      assert.deepStrictEqual(marks(direct.response), [sid, "true", "websocket", "GET"])
    })
  )

  it(
    "R33: not on refusals, nor on an answer 413",
    withServer({ ...marking, maxPayload: 100 }, async (server) => {
      const client = await PollingClient.connect(server)
      const responses = [
        await client.post("x".repeat(101)),
        await client.request("PUT"),
        await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "x" })),
        await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid: "unknown" })),
        (await refusedUpgrade(server, { sid: "unknown" })).response
      ]
      for (const response of responses) {
        assert.isAtLeast(response.status, 400)
        assert.strictEqual(response.header("x-session"), undefined)
      }
    })
  )

  const manyCookies: ReadonlyArray<readonly [string, EngineIO.Options["responseHeaders"]]> = [
    ["a list", () => Effect.succeed({ "Set-Cookie": ["a=1; HttpOnly; Path=/x; Later", "a=1; Path=/y", "b"] })],
    ["pairs", () =>
      Effect.succeed(
        [
          ["set-cookie", "a=1; HttpOnly; Path=/x; Later"],
          ["Set-Cookie", "a=1; Path=/y"],
          ["set-cookie", "b"]
        ] as const
      )]
  ]
  for (const [form, responseHeaders] of manyCookies) {
    for (const attached of [false, true]) {
      it(
        `R33: cookies in ${form} have a line each, as they are, on every answer${attached ? ", attached" : ""}`,
        withServer({ cookie: true, attached, responseHeaders }, async (server) => {
          const client = await PollingClient.connect(server)
          const expected = ["a=1; HttpOnly; Path=/x; Later", "a=1; Path=/y", "b"]
          const own = `io=${client.sid}; Path=/; HttpOnly; SameSite=Lax`
          assert.deepStrictEqual(client.handshake.all("set-cookie"), [own, ...expected])
          const answers = [
            await client.post("4hello"),
            await client.get(),
            await upgradeResponse(server),
            await upgradeResponse(server, { "Sec-WebSocket-Extensions": "permessage-deflate" }),
            (await RawWebSocket.open(server, { sid: client.sid })).response
          ]
          for (const answer of answers) assert.deepStrictEqual(answer.all("set-cookie"), expected)
          const refused = [await client.request("PUT"), await client.request("POST", { body: "x".repeat(1_000_001) })]
          for (const answer of refused) assert.deepStrictEqual(answer.all("set-cookie"), [])
        })
      )
    }
  }

  it("R33: a web handler gives cookies a line each, too", async () => {
    const { dispose, handler } = HttpRouter.toWebHandler(
      Layer.provideMerge(
        EngineIO.route("/engine.io", () => Effect.succeed({ app: Effect.never })),
        EngineIO.layer({ responseHeaders: () => Effect.succeed({ "set-cookie": ["a=1", "b=2; Path=/"] }) })
      ),
      { disableLogger: true }
    )
    const response = await handler(new Request(`http://localhost${handshake}`))
    assert.deepStrictEqual(response.headers.getSetCookie(), ["a=1", "b=2; Path=/"])
    await dispose()
  })

  it(
    "R33: other lists stand in one line",
    withServer(
      { responseHeaders: () => Effect.succeed({ "X-List": ["a", "b"], "X-None": undefined }) },
      async (server) => {
        for (const answer of [await fetchRaw(server, "GET", handshake), await upgradeResponse(server)]) {
          assert.deepStrictEqual([answer.header("x-list"), answer.header("x-none")], ["a, b", undefined])
        }
      }
    )
  )

  it("R33: what says how an answer is to be read is not the application's", async () => {
    for (const name of ["Content-Length", "transfer-encoding", "Upgrade", "Sec-WebSocket-Accept"]) {
      await withServer({ responseHeaders: () => Effect.succeed({ [name]: "5" }) }, async (server) => {
        assert.strictEqual((await fetchRaw(server, "GET", handshake)).status, 500)
        assert.strictEqual((await refusedUpgrade(server, {})).response.status, 500)
        assert.strictEqual(await server.count(), 0)
        assert.include(server.logs[0]?.text, JSON.stringify(name))
      })()
    }
  })

  it(
    "R33: they may replace the headers of the protocol",
    withServer({ responseHeaders: () => Effect.succeed({ "Cache-Control": "private" }) }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual(client.handshake.header("cache-control"), "private")
      assert.strictEqual((await client.post("4a")).header("cache-control"), "private")
    })
  )

  it(
    "R33: a value with a line break is never written, over any transport",
    withServer({ responseHeaders: () => Effect.succeed({ "X-A": "b\r\nSet-Cookie: evil=1" }) }, async (server) => {
      const polling = await fetchRaw(server, "GET", handshake)
      assert.strictEqual(polling.status, 500)
      assert.deepStrictEqual(polling.all("set-cookie"), [])
      const { raw, response } = await refusedUpgrade(server, {})
      assert.strictEqual(response.status, 500)
      assert.notInclude(raw, "evil")
      // The server goes on.
      assert.strictEqual((await fetchRaw(server, "GET", handshake)).status, 500)
    })
  )
})

// --- CORS ------------------------------------------------------------------------------------------------------------

const corsNames = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-expose-headers",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-max-age",
  "vary"
]

const corsOf = (response: Response): Record<string, string> =>
  Object.fromEntries(corsNames.flatMap((name) => {
    const value = response.header(name)
    return value === undefined ? [] : [[name, value]]
  }))

type Cors = EngineIO.CorsOptions

const corsCases: Record<string, Cors> = {
  "no options": {},
  "any origin": { origin: "*" },
  "any origin, with credentials": { origin: "*", credentials: true },
  "one origin": { origin: "https://a.example" },
  "every origin, reflected": { origin: true, credentials: true },
  "an expression": { origin: /\.example$/ },
  "a list": { origin: ["https://b.example", /^https:\/\/a\./] },
  "an empty list": { origin: [] },
  "exposed headers": { exposedHeaders: ["X-A", "X-B"] },
  "exposed headers as text": { exposedHeaders: "X-A,X-B" },
  "no exposed headers": { exposedHeaders: [] },
  "allowed headers": { allowedHeaders: ["X-A", "X-B"] },
  "allowed headers as text": { allowedHeaders: "X-A" },
  "no allowed headers": { allowedHeaders: [] },
  "methods": { methods: ["GET", "POST"] },
  "methods as text": { methods: "GET" },
  "no methods": { methods: [] },
  "maximal age": { maxAge: 600 },
  "maximal age zero": { maxAge: 0 },
  "all at once": {
    origin: ["https://a.example"],
    credentials: true,
    exposedHeaders: "X-A",
    allowedHeaders: ["X-B"],
    methods: ["GET"],
    maxAge: 5,
    optionsSuccessStatus: 200
  }
}

/** What a server says of CORS in answer to requests of all kinds. */
const survey = async (target: Target): Promise<Record<string, unknown>> => {
  const seen: Record<string, unknown> = {}
  const note = (what: string, response: Response) => {
    seen[what] = { status: response.status, ...corsOf(response) }
  }
  for (const origin of [undefined, "https://a.example", "https://evil.test", "null"]) {
    const headers: Record<string, string> = origin === undefined ? {} : { Origin: origin }
    const client = await PollingClient.connect(target, { headers })
    note(`handshake from ${origin}`, client.handshake)
    note(`POST from ${origin}`, await client.request("POST", { body: "4hello", headers }))
    note(`GET from ${origin}`, await client.get({ headers }))
    note(`error from ${origin}`, await fetchRaw(target, "GET", engineTarget({ EIO: "4", transport: "x" }), { headers }))
    note(`101 from ${origin}`, await upgradeResponse(target, headers))
    const asks: ReadonlyArray<Record<string, string>> = [
      {},
      { "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-custom,content-type" }
    ]
    for (const [index, ask] of asks.entries()) {
      const options = { headers: { ...headers, ...ask } }
      note(`preflight ${index} from ${origin}`, await fetchRaw(target, "OPTIONS", handshake, options))
      note(`preflight ${index} of a session from ${origin}`, await client.request("OPTIONS", options))
    }
  }
  return seen
}

describe("CORS", () => {
  it(
    "R50: by default there are no headers, and OPTIONS is a bad method",
    withServer({}, async (server) => {
      const headers = { Origin: "https://a.example" }
      const client = await PollingClient.connect(server, { headers })
      const preflight = await fetchRaw(server, "OPTIONS", handshake, { headers })
      assert.strictEqual(preflight.text, "{\"code\":2,\"message\":\"Bad handshake method\"}")
      for (const response of [client.handshake, preflight, await upgradeResponse(server, headers)]) {
        assert.deepStrictEqual(corsOf(response), {})
      }
    })
  )

  for (const [name, cors] of Object.entries(corsCases)) {
    it(`R50: ${name}: the headers are those of the reference with the cors package`, async () => {
      const expected = await withReference({ cors: cors as Record<string, unknown> }, survey)
      await withServer({ cors }, async (server) => {
        assert.deepStrictEqual(await survey(server), expected)
      })()
    })
  }

  it("R50: true is the same as no options", async () => {
    const expected = await withReference({ cors: {} }, survey)
    await withServer({ cors: true }, async (server) => assert.deepStrictEqual(await survey(server), expected))()
  })

  it("R50: a function of the origin decides like the one of the reference", async () => {
    const isAllowed = (origin: string | undefined) => origin === "https://a.example"
    const allowed = async (target: Target) =>
      corsOf(await fetchRaw(target, "GET", handshake, { headers: { Origin: "https://a.example" } }))
    const expected = await withReference({
      cors: { origin: (origin, done) => done(null, isAllowed(origin)) }
    }, allowed)
    await withServer({ cors: { origin: isAllowed } }, async (server) => {
      assert.deepStrictEqual(await allowed(server), expected)
      const refused = await fetchRaw(server, "GET", handshake, { headers: { Origin: "https://evil.test" } })
      assert.deepStrictEqual(corsOf(refused), { vary: "Origin" })
    })()
  })

  it("R50: a function of the request gives the options of each", async () => {
    const expected = await withReference({
      cors: (request, done) =>
        done(null, { origin: "https://a.example", exposedHeaders: String(request.headers["x-tenant"]) })
    }, (target) => fetchRaw(target, "GET", handshake, { headers: { "X-Tenant": "t1" } }))
    const cors = (request: { readonly headers: Readonly<Record<string, string | undefined>> }) =>
      Effect.succeed({ origin: "https://a.example", exposedHeaders: String(request.headers["x-tenant"]) })
    await withServer({ cors }, async (server) => {
      const options = { headers: { "X-Tenant": "t1" } }
      assert.deepStrictEqual(corsOf(await fetchRaw(server, "GET", handshake, options)), corsOf(expected))
      assert.strictEqual((await upgradeResponse(server, options.headers)).header("vary"), "Origin")
      assert.strictEqual((await fetchRaw(server, "OPTIONS", handshake, options)).status, 204)
    })()
  })

  it("R50: the function is asked once for a request, preflights too", async () => {
    let asked = 0
    const cors = () => Effect.sync(() => ({ origin: `https://${asked++}.example` }))
    await withServer({ cors }, async (server) => {
      await fetchRaw(server, "OPTIONS", handshake, { headers: { Origin: "https://a.example" } })
      assert.strictEqual(asked, 1)
      const client = await PollingClient.connect(server)
      await client.post("4hello")
      assert.strictEqual(asked, 3)
    })()
  })

  it("R50: preflightContinue leaves a preflight to the protocol, which refuses it", async () => {
    const answer = async (target: Target) => {
      const response = await fetchRaw(target, "OPTIONS", handshake, { headers: { Origin: "https://a.example" } })
      return { text: response.text, ...corsOf(response) }
    }
    const expected = await withReference({ cors: { preflightContinue: true } }, answer)
    assert.strictEqual(expected.text, "{\"code\":2,\"message\":\"Bad handshake method\"}")
    for (const cors of [{ preflightContinue: true }, () => Effect.succeed({ preflightContinue: true })]) {
      await withServer({ cors }, async (server) => assert.deepStrictEqual(await answer(server), expected))()
    }
  })

  it("R50: with the origin false there is no CORS", async () => {
    const answers = async (target: Target) => {
      const preflight = await fetchRaw(target, "OPTIONS", handshake, { headers: { Origin: "https://a.example" } })
      return [preflight.text, corsOf(preflight), corsOf((await PollingClient.connect(target)).handshake)]
    }
    const expected = await withReference({ cors: { origin: false } }, answers)
    await withServer({ cors: { origin: false } }, async (server) => {
      assert.deepStrictEqual(await answers(server), expected)
    })()
  })

  it("R50: an origin that is not allowed is not answered with a literal false, nor refused", async () => {
    for (const origin of [[], () => false, /^$/]) {
      await withServer({ cors: { origin } }, async (server) => {
        for (const method of ["GET", "OPTIONS"]) {
          const response = await fetchRaw(server, method, handshake, { headers: { Origin: "https://evil.test" } })
          assert.strictEqual(response.header("access-control-allow-origin"), undefined)
          assert.isBelow(response.status, 300)
        }
      })()
    }
  })

  for (const value of ["https://€.example", "https://a.example\r\nSet-Cookie: evil=1"]) {
    const places: ReadonlyArray<EngineIO.CorsOptions> = [
      { origin: value },
      { origin: "https://a.example", exposedHeaders: value },
      { allowedHeaders: [value] },
      { methods: [value] },
      { optionsSuccessStatus: 99 }
    ]
    it(`R50: a function that gives ${JSON.stringify(value)} has each of its requests refused, and logged`, async () => {
      for (const options of places) {
        await withServer({ cors: () => Effect.succeed(options) }, async (server) => {
          const answers = [
            await fetchRaw(server, "GET", handshake, { headers: { Origin: value } }),
            await fetchRaw(server, "OPTIONS", handshake),
            (await refusedUpgrade(server, {})).response
          ]
          for (const answer of answers) {
            assert.strictEqual(answer.status, 500)
            assert.deepStrictEqual(answer.all("set-cookie"), [])
          }
          assert.strictEqual(await server.count(), 0)
          assert.deepStrictEqual(server.opened.all, [])
          assert.strictEqual(server.logs.filter(({ text }) => text.includes("no header can carry")).length, 3)
        })()
      }
    })
  }

  it(
    "R7, R50: what a request asks for is given back only where a header can carry it",
    withServer({ cors: { origin: true }, lenient: true }, async (server) => {
      const headers = { Origin: "https://a\x01.example", "Access-Control-Request-Headers": "x\x02" }
      const preflight = await fetchRaw(server, "OPTIONS", handshake, { headers })
      assert.deepStrictEqual([preflight.status, corsOf(preflight)], [204, {
        "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
        vary: "Origin, Access-Control-Request-Headers"
      }])
      const refused = await fetchRaw(server, "GET", handshake, { headers })
      assert.strictEqual(refused.text, "{\"code\":3,\"message\":\"Bad request\"}")
      assert.strictEqual((await refusedUpgrade(server, {}, { headers })).response.status, 400)
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R50: an expression with a memory gives the same answer twice",
    withServer({ cors: { origin: /example/g } }, async (server) => {
      for (let round = 0; round < 3; round++) {
        const response = await fetchRaw(server, "GET", handshake, { headers: { Origin: "https://a.example" } })
        assert.strictEqual(response.header("access-control-allow-origin"), "https://a.example")
      }
    })
  )

  it(
    "R50: the application's own refusal can be read by the page too",
    withServer({
      cors: { origin: "https://a.example" },
      application: () =>
        Effect.fail(HttpServerResponse.text("log in first", { status: 401, headers: { "X-Mine": "1" } }))
    }, async (server) => {
      const response = await fetchRaw(server, "GET", handshake, { headers: { Origin: "https://a.example" } })
      assert.strictEqual(response.status, 401)
      assert.strictEqual(response.text, "log in first")
      assert.strictEqual(response.header("x-mine"), "1")
      assert.deepStrictEqual(corsOf(response), { "access-control-allow-origin": "https://a.example", vary: "Origin" })
    })
  )
})

// --- origins ---------------------------------------------------------------------------------------------------------

describe("allowedOrigins", () => {
  it(
    "CVE-2019-13611: by default every origin may connect",
    withServer({ application: sink }, async (server) => {
      const headers = { Origin: "https://evil.test" }
      await PollingClient.connect(server, { headers })
      await WebSocketClient.connect(server, {}, { headers })
    })
  )

  it(
    "CVE-2019-13611: a page of another origin is refused, over polling and WebSocket, handshake and upgrade",
    withServer({ allowedOrigins: ["https://a.example", "null"] }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const evil = { Origin: "https://evil.test" }
      const polling = await fetchRaw(server, "GET", handshake, { headers: evil })
      assert.strictEqual(polling.status, 403)
      assert.strictEqual(polling.text, "{\"code\":4,\"message\":\"Origin not allowed\"}")
      const direct = await refusedUpgrade(server, {}, { headers: evil })
      assert.strictEqual(direct.response.status, 403)
      assert.strictEqual(direct.response.text, "Origin not allowed")

      const client = await PollingClient.connect(server, { headers: { Origin: "https://a.example" } })
      const upgrade = await refusedUpgrade(server, { sid: client.sid }, { headers: evil })
      assert.strictEqual(upgrade.response.status, 403)
      assert.strictEqual((await client.request("POST", { body: "4hello", headers: evil })).status, 403)
      assert.strictEqual((await client.post("4hello")).text, "ok")
      assert.deepStrictEqual(await client.messages(1), ["4hello"])
      await events.reached(5)
      assert.deepStrictEqual(events.all.map((it) => it._tag === "ConnectionError" ? it.code : it._tag), [
        4,
        4,
        "Connection",
        4,
        4
      ])
    })
  )

  it(
    "CVE-2019-13611: an allowed origin may, and so may who sends none, as no page does",
    withServer({ allowedOrigins: ["https://a.example", "null"] }, async (server) => {
      for (
        const headers of [{ Origin: "https://a.example" }, { Origin: "null" }, {}] as Array<Record<string, string>>
      ) {
        const client = await PollingClient.connect(server, { headers })
        await WebSocketClient.open(server, { sid: client.sid }, { headers })
        await WebSocketClient.connect(server, {}, { headers })
      }
      for (
        const Origin of [
          "https://A.example",
          "https://a.example.evil.test",
          "http://a.example",
          "https://a.example:444"
        ]
      ) {
        assert.strictEqual((await fetchRaw(server, "GET", handshake, { headers: { Origin } })).status, 403, Origin)
      }
    })
  )
})

describe("headers of requests to upgrade", () => {
  it(
    "R23: an upgrade of another revision of WebSocket names those there are, with the headers of CORS or without",
    withServer({ cors: true }, async (server) => {
      const connection = await Connection.open(server)
      connection.send("GET", engineTarget({ EIO: "4", transport: "websocket" }), {
        headers: upgradeHeaders({ "Sec-WebSocket-Version": "12" })
      })
      const response = await connection.response()
      assert.strictEqual(response.status, 400)
      assert.strictEqual(response.header("sec-websocket-version"), "13, 8")
    })
  )
})
