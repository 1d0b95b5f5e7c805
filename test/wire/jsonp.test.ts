import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createContext, runInContext } from "node:vm"
import { gunzipSync } from "node:zlib"
import { Socket } from "../../src/index.ts"
import type { Response } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { type Config, sink, type TestServer, withServer } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

type Revision = "3" | "4"

const revisions: ReadonlyArray<Revision> = ["3", "4"]

const withServerJ = (config: Config, body: (server: TestServer) => Promise<void>) =>
  withServer({ allowEIO3: true, ...config }, body)

const connect = (server: TestServer, EIO: Revision, j = "0", query: Readonly<Record<string, string>> = {}) =>
  PlainPollingClient.connect(server, { EIO, j, ...query })

/** Runs a script as a page does, and gives what it handed to each callback; it can reach and do nothing else. */
const run = (script: string): Array<readonly [index: string, payload: unknown]> => {
  const calls: Array<readonly [string, unknown]> = []
  const callback = (index: string) => (...payload: Array<unknown>) => {
    assert.lengthOf(payload, 1)
    calls.push([index, payload[0]])
  }
  const page = createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } })
  page["___eio"] = new Proxy({}, { get: (_target, index) => callback(String(index)) })
  const before = Object.keys(page)
  runInContext(script, page)
  assert.deepStrictEqual(Object.keys(page), before)
  return calls
}

/** The payload that an answer hands over, to the one callback it names. */
const payloadOf = (response: Response, index = "0"): string => {
  assert.strictEqual(response.status, 200)
  assert.strictEqual(response.header("content-type"), "text/javascript; charset=UTF-8")
  assert.strictEqual(response.header("content-length"), String(response.body.length))
  // Older browsers take these for the end of a line.
  assert.notMatch(response.text, /[\u2028\u2029]/)
  const calls = run(response.text)
  assert.deepStrictEqual(calls.map(([index]) => index), [index])
  return calls[0]![1] as string
}

/** The body a page posts: escaped as the client does, encoded as a form. */
const form = (payload: string): string =>
  new URLSearchParams({ d: payload.replaceAll("\\n", "\\\n").replaceAll("\n", "\\n") }).toString()

const formType = "application/x-www-form-urlencoded"

const post = (client: PlainPollingClient, payload: string) => client.post(form(payload), formType)

/** A payload of one text message. */
const text = (revision: Revision, message: string): string =>
  revision === "4" ? `4${message}` : `${message.length + 1}:4${message}`

const texts = [
  "",
  "hello",
  "€😀",
  "\"quoted\" 'single' `back`",
  "\\ \\n \\\\n \\u0022",
  "a\r\nb\n\n\n\nc",
  "\u2028\u2029\u0000\u007f\ufeff\ufffd",
  "</script><script>alert(1)</script><!--",
  ");alert(1);//",
  "${alert(1)}",
  JSON.stringify({ text: "two\nlines" })
]

for (const revision of revisions) {
  describe(`JSONP in revision ${revision}`, () => {
    it(
      "R55: the answer is a script that hands the payload to the client's callback (A13)",
      withServerJ({ application: sink }, async (server) => {
        const { handshake, sid } = await connect(server, revision, "4")
        const open = `0{"sid":"${sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,` +
          "\"maxPayload\":1000000}"
        const payload = revision === "4" ? open : `${open.length}:${open}`
        assert.strictEqual(handshake.text, `___eio[4](${JSON.stringify(payload)});`)
        assert.strictEqual(payloadOf(handshake, "4"), payload)
        assert.strictEqual(handshake.header("cache-control"), "no-store")
      })
    )

    it(
      "R55: whatever the text, the script is valid and hands it over as it is",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        for (const message of texts) {
          await server.run(Socket.send(await server.socket(client.sid), message))
          assert.strictEqual(payloadOf(await client.get()), text(revision, message))
        }
      })
    )

    it(
      "R55: of j the digits alone are used, so nothing can be injected",
      withServerJ({ application: sink }, async (server) => {
        const cases: ReadonlyArray<readonly [j: string, index: string]> = [
          ["12", "12"],
          ["8](0);globalThis.stolen=1//", "801"],
          ["a=1;alert(2)", "12"],
          ["7\r\nSet-Cookie: evil=8", "78"],
          ["5\u2028", "5"],
          ["'6'", "6"],
          ["3٣", "3"],
          ["", "0"],
          ["__proto__", "0"],
          ["]", "0"]
        ]
        for (const [j, index] of cases) {
          const { handshake } = await connect(server, revision, j)
          payloadOf(handshake, index)
          assert.match(handshake.text, /^___eio\[\d+\]\("/)
          assert.strictEqual(handshake.header("set-cookie"), undefined)
        }
      })
    )

    it(
      "R57: bytes are base64, with and without b64",
      withServerJ({}, async (server) => {
        const base64 = revision === "4" ? "bAQIDBA==" : "10:b4AQIDBA=="
        for (const query of [{}, { b64: "1" }]) {
          const client = await connect(server, revision, "0", query)
          await server.run(Socket.send(await server.socket(client.sid), Uint8Array.of(1, 2, 3, 4)))
          assert.strictEqual(payloadOf(await client.get()), base64)
          assert.strictEqual((await post(client, base64)).text, "ok")
          assert.strictEqual(payloadOf(await client.get()), base64)
          assert.deepStrictEqual(
            Buffer.from(server.messagesOf(client.sid)[0] as Uint8Array).toString("hex"),
            "01020304"
          )
        }
      })
    )

    it(
      "R56: what the page posts arrives as it was, escaped line feeds too",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        for (const message of texts) {
          const response = await post(client, text(revision, message))
          assert.strictEqual(response.text, "ok")
          assert.strictEqual(response.header("content-type"), "text/html")
          assert.strictEqual(payloadOf(await client.get()), text(revision, message))
        }
        assert.deepStrictEqual(server.messagesOf(client.sid), texts)
      })
    )

    it(
      "R56: several packets may be posted at once",
      withServerJ({ application: sink }, async (server) => {
        const client = await connect(server, revision)
        await post(client, revision === "4" ? "4a\x1e4b\n\x1e4c" : "2:4a3:4b\n2:4c")
        assert.deepStrictEqual((await server.received.take(3)).map((it) => it.message), ["a", "b\n", "c"])
      })
    )

    it(
      "R56: a form without d, or with two, is ignored and answered with ok",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        for (const body of ["", "e=4a", "d=4a&d=4b", "4a"]) {
          assert.strictEqual((await client.post(body, formType)).text, "ok", body)
        }
        await post(client, text(revision, "after"))
        assert.strictEqual(payloadOf(await client.get()), text(revision, "after"))
        assert.deepStrictEqual(server.messagesOf(client.sid), ["after"])
      })
    )

    it(
      "R46: a form whose d is no payload gets 400 and ends the session",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        assert.strictEqual((await client.post("d=hello", formType)).status, 400)
        assert.strictEqual(await server.reasonText(client.sid), "parse error")
      })
    )

    it(
      "R44: a form larger than maxPayload gets 413, and the session stays",
      withServerJ({ maxPayload: 1_000 }, async (server) => {
        const client = await connect(server, revision)
        assert.strictEqual((await post(client, text(revision, "x".repeat(1_000)))).status, 413)
        await post(client, text(revision, "small"))
        assert.strictEqual(payloadOf(await client.get()), text(revision, "small"))
      })
    )

    it(
      "R55: the packets of the protocol wear the same dress",
      withServerJ({ application: sink }, async (server) => {
        const packet = (type: string) => revision === "4" ? type : `1:${type}`
        const overlapping = await connect(server, revision)
        const first = await overlapping.park()
        assert.strictEqual((await overlapping.get()).status, 400)
        assert.strictEqual((await first.response).text, `___eio[0]("${packet("1")}");`)

        const leaving = await connect(server, revision)
        const parked = await leaving.park()
        await post(leaving, packet("1"))
        assert.strictEqual((await parked.response).text, `___eio[0]("${packet("6")}");`)

        const closed = await connect(server, revision)
        await server.run(Socket.close(await server.socket(closed.sid)))
        const last = revision === "4" ? "6\x1e1" : "1:61:1"
        assert.strictEqual(payloadOf(await closed.get()), last)
      })
    )

    it(
      "R57: whether a session is JSONP is said at the handshake, not by later requests",
      withServerJ({}, async (server) => {
        const plain = await PlainPollingClient.connect(server, { EIO: revision })
        const dressed = await connect(server, revision, "9")
        for (const client of [plain, dressed]) {
          await server.run(Socket.send(await server.socket(client.sid), "hello"))
        }
        // `get` repeats nothing of the handshake's query but the revision.
        assert.strictEqual(payloadOf(await dressed.get(), "9"), text(revision, "hello"))
        assert.strictEqual((await plain.get()).text, text(revision, "hello"))
      })
    )

    it(
      "R57: the transport is called polling, and can be upgraded",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        const socket = await server.socket(client.sid)
        assert.strictEqual(socket.handshake.transport, "polling")
        assert.strictEqual(await server.run(Socket.transport(socket)), "polling")
        const candidate = await WebSocketClient.open(server, { EIO: revision, sid: client.sid })
        candidate.send("2probe")
        assert.strictEqual(await candidate.next(), "3probe")
        candidate.send("5")
        candidate.send("4a\nb\\n")
        assert.strictEqual(await candidate.next(), "4a\nb\\n")
      })
    )

    it(
      "R55: the script is what is compressed",
      withServerJ({
        httpCompression: { threshold: 100 },
        application: (socket) =>
          Effect.succeed({ app: Effect.andThen(Socket.send(socket, "x".repeat(1_000)), Effect.never) })
      }, async (server) => {
        const client = await connect(server, revision)
        const response = await client.get({ headers: { "Accept-Encoding": "gzip" } })
        assert.strictEqual(response.header("content-encoding"), "gzip")
        assert.strictEqual(response.header("content-length"), String(response.body.length))
        const script = gunzipSync(response.body).toString()
        assert.deepStrictEqual(run(script), [["0", text(revision, "x".repeat(1_000))]])
      })
    )

    it(
      "R20: a refusal is JSON, whoever asks",
      withServerJ({}, async (server) => {
        const client = await connect(server, revision)
        await post(client, revision === "4" ? "1" : "1:1")
        const response = await client.get()
        assert.strictEqual(response.header("content-type"), "application/json")
        assert.strictEqual(response.text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
      })
    )
  })
}
