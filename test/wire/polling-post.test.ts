import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { type CloseReason, Socket } from "../../src/index.ts"
import { eventually, pending } from "../kit/events.ts"
import { Connection, encodeChunk, encodeRequest, PollingClient, type Response, textHeaders } from "../kit/http.ts"
import { sink, type TestServer, withServer } from "../kit/server.ts"

const unknownSid = "{\"code\":1,\"message\":\"Session ID unknown\"}"

const isEmpty = (response: Response | undefined, status: number): void => {
  assert.strictEqual(response?.status, status)
  assert.strictEqual(response?.text, "")
}

const isOk = (response: Response | undefined): void => {
  assert.strictEqual(response?.status, 200)
  assert.strictEqual(response?.text, "ok")
}

const isAlive = async (server: TestServer, client: PollingClient): Promise<void> => {
  const before = server.messagesOf(client.sid).length
  isOk(await client.post("4still here"))
  await eventually("the message", () => server.messagesOf(client.sid).slice(before), (it) => it[0] === "still here")
}

const transportError = async (server: TestServer, sid: string): Promise<CloseReason.TransportFailure> => {
  const reason = await server.reason(sid)
  assert.strictEqual(reason._tag, "TransportError")
  return (reason as CloseReason.TransportError).error
}

describe("polling: POST", () => {
  it(
    "R41: a POST is answered with ok once its packets are taken",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const response = await client.post("4hello")
      isOk(response)
      assert.strictEqual(response.header("content-type"), "text/html")
      assert.strictEqual(response.header("content-length"), "2")
      assert.strictEqual(response.header("cache-control"), "no-store")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["hello"])
    })
  )

  it("R41: while the application's queue is full, ok waits for the application", async () => {
    const gate = Deferred.makeUnsafe<void>()
    await withServer({
      receiveBuffer: { messages: 2 },
      application: (socket, server) =>
        Effect.succeed({
          app: Effect.andThen(
            Deferred.await(gate),
            Socket.forEach(socket, (message) => Effect.sync(() => server.received.put({ sid: socket.id, message })))
          )
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      isOk(await client.post("41"))
      const connection = await client.connection()
      const url = client.url()
      connection.send("POST", url, { body: "42\x1e43\x1e44", headers: textHeaders })
      const response = connection.response()
      await server.settled(url)
      assert.isTrue(await pending(response))
      Deferred.doneUnsafe(gate, Effect.void)
      isOk(await response)
      await server.received.reached(4)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["1", "2", "3", "4"])
    })()
  })

  it(
    "R42: a second POST while one is coming in ends the session; the first is dropped, a pending GET told",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      const first = await client.beginPost("4he", 6)
      isEmpty(await client.post("4second"), 400)
      assert.strictEqual((await poll.response).text, "1")
      first.write("llo")
      assert.notStrictEqual((await first.outcome())?.status, 200)
      const error = await transportError(server, client.sid)
      assert.strictEqual(error._tag, "Overlap")
      assert.strictEqual(error.message, "data request overlap from client")
      assert.strictEqual((await client.get()).text, unknownSid)
      assert.deepStrictEqual(server.received.all, [])
    })
  )

  it(
    "R43: binary content is refused in revision 4 and ends the session",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      isEmpty(await client.post(Buffer.from([0, 1, 2]), { "Content-Type": "application/octet-stream" }), 400)
      assert.strictEqual((await poll.response).text, "1")
      const error = await transportError(server, client.sid)
      assert.strictEqual(error._tag, "InvalidContent")
      assert.strictEqual(error.message, "invalid content")
      assert.strictEqual((await client.get()).text, unknownSid)
    })
  )

  it(
    "R43: any other content type, or none, is text",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const types = [
        "text/plain",
        "text/html; charset=latin1",
        "application/json",
        "application/octet-stream; charset=utf-8",
        "nonsense"
      ]
      for (const type of types) isOk(await client.post("4h€llo", { "Content-Type": type }))
      isOk(await client.post("4h€llo", {}))
      assert.deepStrictEqual(server.messagesOf(client.sid), Array.from({ length: types.length + 1 }, () => "h€llo"))
    })
  )

  it(
    "R44: a body of more than maxPayload bytes gets 413, and the session stays",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      isEmpty(await client.post("4".repeat(1_001)), 413)
      isEmpty(await client.post(`4${"€".repeat(334)}`), 413)
      isEmpty(await client.post("4a\x1e".repeat(400)), 413)
      assert.isTrue(await pending(poll.response))
      await isAlive(server, client)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["still here"])
      assert.strictEqual((await poll.response).text, "4still here")
    })
  )

  it(
    "R44: the announced length is enough to refuse a body",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await client.beginPost("4", 1_001)
      isEmpty(await connection.outcome(), 413)
      await connection.close()
      await server.barrier()
      await isAlive(server, client)
    })
  )

  it(
    "R44: a chunked body is counted as it comes",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const headers = { ...textHeaders, "Transfer-Encoding": "chunked" }
      const exact = await Connection.open(server)
      exact.write(encodeRequest("POST", client.url(), { headers }))
      for (const part of ["4", "x".repeat(500), "y".repeat(499), ""]) exact.write(encodeChunk(part))
      isOk(await exact.response())
      const larger = await Connection.open(server)
      larger.write(encodeRequest("POST", client.url(), { headers }))
      for (const part of ["4", "x".repeat(500), "y".repeat(500)]) larger.write(encodeChunk(part))
      isEmpty(await larger.outcome(), 413)
      await larger.close()
      await isAlive(server, client)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["x".repeat(500) + "y".repeat(499), "still here"])
    })
  )

  it(
    "R44: a much larger body is refused without being kept",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await Connection.open(server)
      connection.send("POST", client.url(), { body: Buffer.alloc(5_000_000, "4"), headers: textHeaders })
      isEmpty(await connection.outcome(), 413)
      await connection.close()
      await isAlive(server, client)
    })
  )

  it(
    "R44: a client that abandons its POST ends the session",
    withServer({}, async (server) => {
      for (const leave of ["close", "reset"] as const) {
        const client = await PollingClient.connect(server)
        const poll = await client.park()
        const connection = await client.beginPost("4he", 6)
        await connection[leave]()
        assert.strictEqual((await poll.response).text, "1")
        const error = await transportError(server, client.sid)
        assert.strictEqual(error._tag, "Aborted")
        assert.strictEqual(error.message, "data request connection closed prematurely")
        assert.strictEqual((await client.get()).text, unknownSid)
        assert.deepStrictEqual(server.messagesOf(client.sid), [])
      }
    })
  )

  it(
    "R45: a body of exactly maxPayload bytes is accepted",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      isOk(await client.post(`4${"x".repeat(999)}`))
      isOk(await client.post(`4${"€".repeat(333)}`))
      assert.deepStrictEqual(server.messagesOf(client.sid), ["x".repeat(999), "€".repeat(333)])
    })
  )

  it(
    "R45: a character may be cut anywhere between two pieces",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const body = Buffer.from("4a€😀é")
      for (let cut = 1; cut < body.length; cut++) {
        const connection = await Connection.open(server)
        const headers = { ...textHeaders, "Content-Length": String(body.length) }
        const url = client.url()
        connection.write(encodeRequest("POST", url, { headers, body: body.subarray(0, cut) }))
        await server.requests.find((it) => it === url)
        connection.write(body.subarray(cut))
        isOk(await connection.response())
        await connection.close()
      }
      const chunked = await Connection.open(server)
      chunked.write(encodeRequest("POST", client.url(), { headers: { "Transfer-Encoding": "chunked" } }))
      for (const byte of body) chunked.write(encodeChunk(Buffer.from([byte])))
      chunked.write(encodeChunk(""))
      isOk(await chunked.response())
      assert.deepStrictEqual(server.messagesOf(client.sid), Array.from({ length: body.length }, () => "a€😀é"))
    })
  )

  it(
    "R46: what is no packet gets 400 and ends the session with a parse error",
    withServer({}, async (server) => {
      for (const body of ["", "x", "7", "9hello", "\x1e", "4hello\x1e", "4a\x1e\x1e4b", "👍", "abc"]) {
        const client = await PollingClient.connect(server)
        const poll = await client.park()
        isEmpty(await client.post(body), 400)
        assert.isTrue((await poll.response).text.endsWith("1"), `${JSON.stringify(body)}: the GET was told`)
        assert.strictEqual(await server.reasonText(client.sid), "parse error")
        assert.strictEqual((await client.get()).text, unknownSid)
        assert.strictEqual((await client.post("4x")).text, unknownSid)
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R46: the packets before the bad one reach the application, those after it do not",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      isEmpty(await client.post("4one\x1e4two\x1e9bad\x1e4three"), 400)
      assert.strictEqual(await server.reasonText(client.sid), "parse error")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["one", "two"])
    })
  )

  it(
    "R47: a close packet ends the session: the POST gets ok, a pending GET a noop",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      isOk(await client.post("1"))
      assert.strictEqual((await poll.response).status, 200)
      assert.strictEqual((await poll.response).text, "6")
      assert.deepInclude(await server.reason(client.sid), { _tag: "TransportClose" })
      assert.strictEqual((await client.get()).text, unknownSid)
    })
  )

  it(
    "R47: what stands before the close packet arrives, what stands after it is ignored",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      isOk(await client.post("4one\x1e4two\x1e1\x1e4three\x1e9bad"))
      assert.strictEqual(await server.reasonText(client.sid), "transport close")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["one", "two"])
    })
  )

  it(
    "R48: a session that its application closes on a message answers that POST with ok",
    withServer({
      application: (socket) =>
        Effect.succeed({
          app: Effect.andThen(Socket.receive(socket), Socket.close(socket)).pipe(Effect.andThen(Effect.never))
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      isOk(await client.post("4bye"))
      assert.deepStrictEqual(await client.poll(), ["6", "1"])
      assert.strictEqual(await server.reasonText(client.sid), "forced close")

      const waiting = await PollingClient.connect(server)
      const poll = await waiting.park()
      isOk(await waiting.post("4bye"))
      assert.strictEqual((await poll.response).text, "1")
      assert.strictEqual(await server.reasonText(waiting.sid), "forced close")
    })
  )

  it(
    "R48: so does one whose application ends on a message",
    withServer({ application: (socket) => Effect.succeed({ app: Socket.receive(socket) }) }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      isOk(await client.post("4bye\x1e4ignored"))
      assert.strictEqual((await poll.response).text, "1")
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
    })
  )

  it(
    "R41: POSTs follow one another on one connection",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await Connection.open(server)
      for (let i = 0; i < 100; i++) isOk(await connection.exchange("POST", client.url(), { body: `4${i}` }))
      assert.deepStrictEqual(await client.messages(100), Array.from({ length: 100 }, (_, i) => `4${i}`))
    })
  )

  it(
    "R44: a POST of many small packets is read in linear time",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      // In quadratic time it would not be answered within the patience of the client.
      isOk(await client.post(`4${"\x1e3".repeat(400_000)}`))
      assert.strictEqual(await server.count(), 1)
    })
  )
})
