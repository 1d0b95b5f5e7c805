import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as Net from "node:net"
import { Socket } from "../../src/index.ts"
import { eventually, pending } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient, textHeaders } from "../kit/http.ts"
import { memory } from "../kit/memory.ts"
import { type Config, idle, type TestServer, withServer } from "../kit/server.ts"

const unknownSid = "{\"code\":1,\"message\":\"Session ID unknown\"}"

/** Whether the session is gone for its client. */
const isGone = async (client: PollingClient): Promise<void> => {
  const response = await client.get()
  assert.strictEqual(response.status, 400)
  assert.strictEqual(response.text, unknownSid)
}

const isTransportError = async (server: TestServer, sid: string, error: object): Promise<void> => {
  const reason = await server.reason(sid)
  assert.strictEqual(reason._tag, "TransportError")
  if (reason._tag === "TransportError") {
    assert.deepInclude({ _tag: reason.error._tag, method: "method" in reason.error && reason.error.method }, error)
  }
  assert.strictEqual(await server.reasonText(sid), "transport error")
}

describe("polling: GET", () => {
  it(
    "R35: what waits goes out as one payload",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      for (const message of ["one", "two", "three"]) await server.run(Socket.send(socket, message))
      assert.strictEqual((await client.get()).text, "4one\x1e4two\x1e4three")
      await server.run(Socket.sendAll(socket, ["four", "five"]))
      assert.strictEqual((await client.get()).text, "4four\x1e4five")
    })
  )

  it(
    "R35: a GET waits until there is something",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      assert.isTrue(await pending(poll.response))
      await client.post("4a")
      assert.strictEqual((await poll.response).status, 200)
      assert.strictEqual((await poll.response).text, "4a")
    })
  )

  it(
    "R35: a GET that waits takes all that is sent together",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      await server.run(Socket.sendAll(await server.socket(client.sid), ["a", "b", "c"]))
      assert.strictEqual((await poll.response).text, "4a\x1e4b\x1e4c")
    })
  )

  it(
    "R35: what comes while no GET waits is kept for the next",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (let i = 0; i < 5; i++) await client.post(`4${i}`)
      assert.deepStrictEqual(await client.poll(), ["40", "41", "42", "43", "44"])
      const poll = await client.park()
      assert.isTrue(await pending(poll.response))
    })
  )

  it(
    "R36: a second GET while one is pending ends the session: the first gets a close packet, the second 400",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const first = await client.park()
      const second = await client.get()
      assert.strictEqual(second.status, 400)
      assert.strictEqual(second.text, "")
      const answer = await first.response
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.text, "1")
      await isTransportError(server, client.sid, { _tag: "Overlap", method: "GET" })
      await isGone(client)
    })
  )

  it(
    "R36: so does one on the same connection, pipelined",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const connection = await Connection.open(server)
      connection.send("GET", client.url())
      connection.send("GET", client.url())
      const [first, second] = [await connection.response(), await connection.response()]
      assert.strictEqual(first.text, "1")
      assert.strictEqual(second.status, 400)
      await isTransportError(server, client.sid, { _tag: "Overlap", method: "GET" })
    })
  )

  it(
    "R37: a client that abandons its pending GET ends the session",
    withServer({}, async (server) => {
      for (const leave of ["close", "reset"] as const) {
        const client = await PollingClient.connect(server)
        const poll = await client.park()
        await poll.connection[leave]()
        await isTransportError(server, client.sid, { _tag: "Aborted", method: "GET" })
        await isGone(client)
      }
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "whoever keeps the reason does not keep the GET that was abandoned",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const request = new Promise<WeakRef<object>>((resolve) =>
        server.http.once("request", (it) => resolve(new WeakRef(it)))
      )
      const poll = await client.park()
      await poll.connection.close()
      const reason = await server.reason(client.sid)
      // Effect keeps the last request.
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "none" }))
      await eventually("the collection of the request", async () => {
        await memory()
        return (await request).deref()
      }, (it) => it === undefined)
      assert.strictEqual(reason._tag, "TransportError")
    })
  )

  it(
    "R37: closing an idle connection after an answered GET ends nothing",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const leave of ["close", "reset"] as const) {
        const connection = await Connection.open(server)
        await client.post("4hello")
        assert.strictEqual((await connection.exchange("GET", client.url())).text, "4hello")
        await connection[leave]()
        await server.barrier()
      }
      await client.post("4still here")
      assert.deepStrictEqual(await client.poll(), ["4still here"])
    })
  )

  const ways: ReadonlyArray<readonly [string, Config]> = [
    ["on a router", {}],
    ["served", { served: true }],
    ["attached", { attached: true }],
    ["attached, with headers to add", { attached: true, cors: true }]
  ]
  /** More than the buffers of a connection hold. */
  const large = "x".repeat(20_000_000)

  /** A GET that the server has; what listens beside an attached engine never sees one. */
  const begin = async (server: TestServer, client: PollingClient) => {
    const connection = await Connection.open(server)
    connection.send("GET", client.url())
    const response = connection.response()
    await server.barrier()
    return { connection, response }
  }

  for (const [way, config] of ways) {
    it(
      `R37: an answer that is cut ends the session, and nobody is told that it was flushed: ${way}`,
      withServer({ ...config, application: idle, httpCompression: false }, async (server) => {
        for (const leave of ["close", "reset"] as const) {
          const client = await PollingClient.connect(server)
          const socket = await server.socket(client.sid)
          const poll = await begin(server, client)
          poll.connection.socket.pause()
          await server.run(Socket.send(socket, large))
          const flushed = server.run(Effect.flip(Socket.flushed(socket)))
          assert.isTrue(await pending(flushed))
          await poll.connection[leave]()
          await isTransportError(server, client.sid, { _tag: "Aborted", method: "GET" })
          const error = await flushed
          assert.strictEqual(error._tag, "SocketClosed")
          assert.strictEqual(error.message, "transport error")
          await isGone(client)
        }
        assert.strictEqual(await server.count(), 0)
      })
    )

    it(
      `R37: a client that polls again before its answer is cut does not hide it: ${way}`,
      withServer({ ...config, application: idle, httpCompression: false }, async (server) => {
        const client = await PollingClient.connect(server)
        const cut = await begin(server, client)
        cut.connection.socket.pause()
        await server.run(Socket.send(await server.socket(client.sid), large))
        await server.barrier()
        const { response } = await begin(server, client)
        assert.isTrue(await pending(response))
        await cut.connection.reset()
        await isTransportError(server, client.sid, { _tag: "Aborted", method: "GET" })
        assert.strictEqual((await response).text, "1")
      })
    )

    it(
      `an answer is flushed when the network has all of it, and its client may leave then: ${way}`,
      withServer({ ...config, application: idle, httpCompression: false }, async (server) => {
        const client = await PollingClient.connect(server)
        const socket = await server.socket(client.sid)
        const reader = Net.connect({ host: "127.0.0.1", port: server.port })
        let count = 0
        reader.on("data", (chunk) => count += chunk.length)
        reader.pause()
        reader.write(encodeRequest("GET", client.url()))
        await server.barrier()
        await server.run(Socket.send(socket, large))
        const flushed = server.run(Socket.flushed(socket))
        assert.isTrue(await pending(flushed))
        reader.resume()
        await eventually("the whole answer", () => count, (count) => count > large.length)
        reader.resetAndDestroy()
        await flushed
        await client.post("4still here")
        assert.strictEqual(await server.run(Socket.receive(socket)), "still here")
      })
    )

    it(
      `the last answer of a session that closes is flushed when the network has all of it, or never: ${way}`,
      withServer({ ...config, application: idle, httpCompression: false }, async (server) => {
        for (const cut of [false, true]) {
          const client = await PollingClient.connect(server)
          const socket = await server.socket(client.sid)
          await server.run(Socket.send(socket, cut ? large : "hello"))
          await server.run(Socket.close(socket))
          const flushed = server.run(Effect.exit(Socket.flushed(socket)))
          const { connection, response } = await begin(server, client)
          if (cut) {
            connection.socket.pause()
            assert.isTrue(await pending(flushed))
            await connection.reset()
          } else assert.strictEqual((await response).text, "4hello\x1e1")
          assert.strictEqual(Exit.isSuccess(await flushed), !cut)
          assert.strictEqual(await server.reasonText(client.sid), "forced close")
          await isGone(client)
        }
      })
    )

    it(
      `R37: the answer to a handshake that is cut leaves no session: ${way}`,
      withServer({ ...config, application: idle, initialPacket: large, httpCompression: false }, async (server) => {
        const connection = await Connection.open(server)
        connection.socket.pause()
        connection.send("GET", engineTarget({ EIO: "4", transport: "polling" }))
        const { id } = await server.opened.next()
        assert.strictEqual(await server.count(), 1)
        await connection.reset()
        await isTransportError(server, id, { _tag: "Aborted", method: "GET" })
        assert.strictEqual(await server.count(), 0)
      })
    )
  }

  it(
    "R37: a GET with a body that was read to its end is not abandoned",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park({ body: "unexpected", headers: textHeaders })
      assert.isTrue(await pending(poll.response))
      await client.post("4hello")
      assert.strictEqual((await poll.response).text, "4hello")
    })
  )

  it(
    "R38: the headers of an answer with data",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("4h€llo 😀\x1ebAQIDBA==")
      const response = await client.get()
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.header("content-type"), "text/plain; charset=UTF-8")
      assert.strictEqual(response.header("content-length"), String(Buffer.byteLength("4h€llo 😀\x1ebAQIDBA==")))
      assert.strictEqual(response.header("cache-control"), "no-store")
      assert.isUndefined(response.header("x-xss-protection"))
      assert.isUndefined(response.header("content-encoding"))
      assert.isUndefined(response.header("set-cookie"))
      assert.isUndefined(response.header("access-control-allow-origin"))
      assert.strictEqual(response.text, "4h€llo 😀\x1ebAQIDBA==")
    })
  )

  it(
    "R38: Internet Explorer is told not to look for scripts",
    withServer({}, async (server) => {
      const agents = [
        "Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.1)",
        "Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko"
      ]
      for (const agent of agents) {
        const headers = { "User-Agent": agent }
        const client = await PollingClient.connect(server, { headers })
        assert.strictEqual(client.handshake.header("x-xss-protection"), "0")
        const posted = await client.post("4hello", { ...textHeaders, ...headers })
        assert.strictEqual(posted.header("x-xss-protection"), "0")
        assert.strictEqual((await client.get({ headers })).header("x-xss-protection"), "0")
      }
      const headers = { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" }
      const client = await PollingClient.connect(server, { headers })
      assert.isUndefined(client.handshake.header("x-xss-protection"))
    })
  )

  it(
    "R39: a GET after the end gets code 1",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("1")
      await isGone(client)
      assert.strictEqual((await client.post("4x")).text, unknownSid)
      assert.strictEqual((await fetchRaw(server, "PUT", client.url())).text, unknownSid)
    })
  )

  it(
    "R39: a GET that comes while an orderly close waits gets a noop and the close packet",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      await server.run(Socket.close(await server.socket(client.sid)))
      const response = await client.get()
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.text, "6\x1e1")
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
      await isGone(client)
    })
  )

  it(
    "R40: a payload may be larger than maxPayload, whose limit is for what comes in",
    withServer({ application: idle, maxPayload: 100 }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const messages = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(150))
      await server.run(Socket.sendAll(socket, messages))
      assert.deepStrictEqual(await client.messages(20), messages.map((message) => `4${message}`))
    })
  )

  it(
    "R49: a GET needs no POST and a POST no GET",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      const post = await client.beginPost("4he", 6)
      assert.isTrue(await pending(poll.response))
      post.write("llo")
      assert.strictEqual((await post.response()).text, "ok")
      assert.strictEqual((await poll.response).text, "4hello")
      const begun = await client.beginPost("4", 2)
      await server.run(Socket.send(await server.socket(client.sid), "meanwhile"))
      assert.deepStrictEqual(await client.poll(), ["4meanwhile"])
      begun.write("x")
      assert.strictEqual((await begun.response()).text, "ok")
    })
  )
})
