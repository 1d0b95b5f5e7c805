import { assert, describe, it } from "@effect/vitest"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { HttpRouter } from "effect/http"
import { Socket as Client } from "engine.io-client"
import type { Server } from "node:http"
import * as Http2 from "node:http2"
import * as Https from "node:https"
import * as Net from "node:net"
import { text } from "node:stream/consumers"
import { WebSocket } from "ws"
import { EngineIO, Socket } from "../../src/index.ts"
import { type Mode, modes } from "../kit/client.ts"
import { eventually, Mailbox, within } from "../kit/events.ts"
import { engineTarget, type OpenPacket } from "../kit/http.ts"
import { listening, Mounted } from "../kit/mounted.ts"
import { portOf } from "../kit/server.ts"
import { certificate } from "../kit/tls.ts"

const tls = certificate()
const trust = { ca: tls.cert, servername: "localhost" }

/** The real client, over TLS with HTTP/1.1. */
const connect = async (port: number, mode: Mode) => {
  const socket = new Client(`https://localhost:${port}`, {
    transports: mode === "upgrade" ? ["polling", "websocket"] : [mode],
    upgrade: mode === "upgrade",
    ca: tls.cert
  })
  const messages = new Mailbox<string | Buffer>("a message at the client")
  socket.on("message", (data: string | Buffer) => messages.put(data))
  const first = (event: "open" | "upgrade") =>
    within(
      new Promise<void>((resolve, reject) => {
        socket.on(event, () => resolve())
        socket.on("close", (reason, cause) => reject(new Error(`not connected: ${reason} ${String(cause)}`)))
      }),
      event
    )
  const upgraded = mode === "upgrade" ? first("upgrade") : Promise.resolve()
  await first("open")
  await upgraded
  return { socket, messages }
}

const echoes = async (port: number): Promise<void> => {
  for (const mode of modes) {
    const { messages, socket } = await connect(port, mode)
    socket.send("hello€")
    assert.strictEqual(await messages.next(), "hello€", mode)
    socket.send(Uint8Array.of(1, 2, 3))
    assert.deepStrictEqual(await messages.next(), Buffer.from([1, 2, 3]), mode)
    socket.close()
  }
}

interface Answer {
  readonly status: number
  readonly headers: Http2.IncomingHttpHeaders
  readonly text: string
}

/** A polling client on one connection of HTTP/2. */
class Http2Client {
  readonly session: Http2.ClientHttp2Session

  constructor(port: number) {
    this.session = Http2.connect(`https://localhost:${port}`, trust)
  }

  begin(method: string, path: string, body?: string | Uint8Array, headers: Http2.OutgoingHttpHeaders = {}) {
    const stream = this.session.request({ ":method": method, ":path": path, ...headers }, {
      endStream: body === undefined
    })
    if (body !== undefined) stream.end(body)
    const answer = new Promise<Answer>((resolve, reject) => {
      let head: Http2.IncomingHttpHeaders & Http2.IncomingHttpStatusHeader = {}
      const chunks: Array<Buffer> = []
      stream.on("response", (headers) => {
        head = headers
      })
      stream.on("data", (chunk: Buffer) => chunks.push(chunk))
      stream.on(
        "end",
        () => resolve({ status: head[":status"] ?? 0, headers: head, text: Buffer.concat(chunks).toString() })
      )
      stream.on("error", reject)
    })
    answer.catch(() => undefined)
    return { stream, answer: within(answer, `the answer to ${method}`) }
  }

  request(...args: Parameters<Http2Client["begin"]>): Promise<Answer> {
    return this.begin(...args).answer
  }

  async open(query: Readonly<Record<string, string>> = {}) {
    const { text } = await this.request("GET", engineTarget({ EIO: "4", transport: "polling", ...query }))
    const { sid } = JSON.parse(text.slice(1)) as OpenPacket
    return { sid, url: engineTarget({ EIO: "4", transport: "polling", sid }) }
  }

  close(): void {
    this.session.destroy()
  }
}

/** Polling over HTTP/2, as far as it differs from HTTP/1.1 for a server. */
const pollsOverHttp2 = async (port: number): Promise<void> => {
  const client = new Http2Client(port)
  try {
    const handshake = await client.request("GET", engineTarget({ EIO: "4", transport: "polling" }))
    assert.strictEqual(handshake.status, 200)
    assert.strictEqual(handshake.headers["content-type"], "text/plain; charset=UTF-8")
    assert.strictEqual(handshake.headers["cache-control"], "no-store")
    const { url } = await client.open()
    const parked = client.begin("GET", url)
    const post = await client.request("POST", url, "4hello€\x1ebAQID")
    assert.deepStrictEqual([post.status, post.text], [200, "ok"])
    assert.strictEqual((await parked.answer).text, "4hello€\x1ebAQID")
    // A GET whose stream the client never ends: its answer ends it.
    const endless = client.session.request({ ":method": "GET", ":path": url }, { endStream: false })
    const closed = new Promise((resolve) => endless.on("close", resolve))
    endless.resume().write("b")
    assert.strictEqual((await client.request("POST", url, "4one")).text, "ok")
    await within(closed, "the end of the stream")
    assert.strictEqual(endless.rstCode, Http2.constants.NGHTTP2_NO_ERROR)
    assert.strictEqual((await client.request("POST", url, "4two")).text, "ok")
    assert.strictEqual((await client.request("GET", url)).text, "4two")
    const large = "x".repeat(300_000)
    assert.strictEqual((await client.request("POST", url, `4${large}`)).text, "ok")
    assert.strictEqual((await client.request("GET", url)).text, `4${large}`)
    assert.strictEqual((await client.request("POST", url, "x".repeat(1_000_001))).status, 413)
    const refused = await client.request("GET", engineTarget({ EIO: "4", transport: "polling", sid: "unknown" }))
    assert.deepStrictEqual([refused.status, refused.text], [400, "{\"code\":1,\"message\":\"Session ID unknown\"}"])
    // R26: an upgrade is none in HTTP/2.
    const upgrade = await client.request("GET", engineTarget({ EIO: "4", transport: "websocket" }))
    assert.strictEqual(upgrade.text, "{\"code\":3,\"message\":\"Bad request\"}")
    // R47
    const waiting = client.begin("GET", url)
    assert.strictEqual((await client.request("POST", url, "1")).text, "ok")
    assert.strictEqual((await waiting.answer).text, "6")
  } finally {
    client.close()
  }
}

/** A session that polls over HTTP/2 and upgrades to a WebSocket over HTTP/1.1. */
const upgradesFromHttp2 = async (port: number): Promise<void> => {
  const client = new Http2Client(port)
  const { sid, url } = await client.open()
  const parked = client.begin("GET", url)
  const target = engineTarget({ EIO: "4", transport: "websocket", sid })
  const socket = new WebSocket(`wss://localhost:${port}${target}`, { ca: tls.cert })
  const frames = new Mailbox<string>("a frame")
  socket.on("message", (data: Buffer) => frames.put(data.toString()))
  await within(
    new Promise<void>((resolve, reject) => {
      socket.on("open", resolve)
      socket.on("error", reject)
    }),
    "an open WebSocket"
  )
  socket.send("2probe")
  assert.strictEqual(await frames.next(), "3probe")
  assert.strictEqual((await parked.answer).text, "6")
  socket.send("5")
  socket.send("4upgraded")
  assert.strictEqual(await frames.next(), "4upgraded")
  socket.terminate()
  client.close()
}

describe("HTTPS", () => {
  it("every transport works, next to the application's own listener", async () => {
    const server = Https.createServer(tls, (_request, response) => void response.end("theirs"))
    const mounted = await Mounted.attach(server)
    await listening(server, async ({ port }) => {
      await echoes(port)
      const theirs = await fetchTls(port, "/other")
      assert.strictEqual(theirs, "theirs")
      await mounted.release()
    })
  })
})

const fetchTls = (port: number, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    Https.get({ host: "localhost", port, path, ca: tls.cert, agent: false }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () => resolve(Buffer.concat(chunks).toString()))
    }).on("error", reject)
  })

/** A frame of HTTP/2. */
const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

describe("HTTP/2 with allowHTTP1", () => {
  const withHttp2 =
    (options: EngineIO.Options, body: (port: number, mounted: Mounted) => Promise<void>) => async () => {
      const server = Http2.createSecureServer(
        { ...tls, allowHTTP1: true },
        (_request, response) => response.end("theirs")
      )
      const mounted = await Mounted.attach(server, { engine: options })
      await listening(server, async ({ port }) => {
        await body(port, mounted)
        await mounted.release()
      })
    }

  it(
    "polling works over HTTP/2, and the application serves the rest",
    withHttp2({}, async (port) => {
      await pollsOverHttp2(port)
      const client = new Http2Client(port)
      assert.strictEqual((await client.request("GET", "/other")).text, "theirs")
      client.close()
    })
  )

  it("every transport works over HTTP/1.1", withHttp2({}, (port) => echoes(port)))

  it("a session may poll over HTTP/2 and upgrade over HTTP/1.1", withHttp2({}, (port) => upgradesFromHttp2(port)))

  it(
    "R37: a poll that the client gives up ends the session, by its stream or with the connection",
    withHttp2(
      {},
      async (port, mounted) => {
        for (const end of ["stream", "connection"]) {
          const client = new Http2Client(port)
          const { url } = await client.open()
          const parked = client.begin("GET", url)
          await client.request("POST", url, "3")
          if (end === "stream") parked.stream.close(Http2.constants.NGHTTP2_CANCEL)
          else client.close()
          const reason = await mounted.ended.next()
          assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted", end)
          assert.strictEqual(await mounted.count(), 0)
          client.close()
        }
      }
    )
  )

  it("R37: an answer that is cut ends the session, by its stream or with the connection", async () => {
    const server = Http2.createSecureServer({ ...tls, allowHTTP1: true })
    const mounted = await Mounted.attach(server, {
      engine: { httpCompression: false },
      application: (socket) => Effect.as(Socket.offer(socket, "x".repeat(5_000_000)), { app: Effect.never })
    })
    await listening(server, async ({ port }) => {
      for (const end of ["stream", "connection"]) {
        const client = new Http2Client(port)
        const { url } = await client.open()
        const { stream } = client.begin("GET", url)
        stream.pause()
        await within(new Promise((resolve) => stream.on("response", resolve)), "the head of the answer")
        if (end === "stream") stream.close(Http2.constants.NGHTTP2_CANCEL)
        else client.close()
        const reason = await mounted.ended.next()
        assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted", end)
        assert.strictEqual(await mounted.count(), 0)
        client.close()
      }
      await mounted.release()
    })
  })

  // The second says nothing went wrong, which is not to say that all has come.
  it.for([8, 0])("R44: a body whose stream is reset, with code %i, is not taken for a whole one", async (code) => {
    const server = Http2.createServer()
    const mounted = await Mounted.attach(server)
    await listening(server, async ({ port }) => {
      const session = Http2.connect(`http://localhost:${port}`)
      const opening = session.request({ ":path": engineTarget({ EIO: "4", transport: "polling" }) })
      const opened = await within(text(opening), "the handshake")
      session.close()
      const { sid } = JSON.parse(opened.slice(1)) as OpenPacket
      // Node's own client ends a stream before it resets it.
      const socket = Net.connect({ port })
      socket.on("error", () => {}).resume()
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
      socket.write(frame(4, 0, 0, Buffer.alloc(0)))
      const path = Buffer.from(engineTarget({ EIO: "4", transport: "polling", sid }))
      // POST, http, a path and a host, none of them from the table.
      const fields = [Buffer.of(0x83, 0x86, 0x04, path.length), path, Buffer.of(0x01, 1), Buffer.from("x")]
      socket.write(frame(1, 4, 1, Buffer.concat(fields)))
      socket.write(frame(0, 0, 1, Buffer.from("4pay Alice 10")))
      await eventually("the session", () => mounted.count(), (count) => count === 1)
      socket.write(frame(3, 0, 1, Buffer.of(0, 0, 0, code)))
      const reason = await mounted.ended.next()
      assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
      socket.destroy()
      await mounted.release()
    })
  })

  it(
    "a body that comes too late gets 408, and its stream ends with that",
    withHttp2({ bodyTimeout: 100 }, async (port, mounted) => {
      const warnings = new Mailbox<string>("a warning of Node")
      const warn = (warning: Error) => warnings.put(warning.message)
      process.on("warning", warn)
      const client = new Http2Client(port)
      const { url } = await client.open()
      const stream = client.session.request({ ":method": "POST", ":path": url })
      stream.write("4hel")
      let status: number | undefined
      stream.on("response", (headers) => {
        status = headers[":status"]
      })
      stream.resume()
      await within(new Promise((resolve) => stream.on("close", resolve)), "the end of the stream")
      assert.deepStrictEqual([status, stream.rstCode], [408, Http2.constants.NGHTTP2_NO_ERROR])
      const reason = await mounted.ended.next()
      assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, "Aborted")
      // The connection goes on.
      await client.open()
      process.off("warning", warn)
      assert.deepStrictEqual(warnings.all, [])
      client.close()
    })
  )

  it(
    "the options for headers work over HTTP/2 as well",
    withHttp2({
      cors: { origin: "https://a.example" },
      cookie: true,
      responseHeaders: () => Effect.succeed({ "X-Mine": "1" }),
      httpCompression: { threshold: 10 }
    }, async (port) => {
      const client = new Http2Client(port)
      const { headers } = await client.request("GET", engineTarget({ EIO: "4", transport: "polling" }), undefined, {
        "accept-encoding": "gzip"
      })
      assert.strictEqual(headers["access-control-allow-origin"], "https://a.example")
      assert.strictEqual(headers["x-mine"], "1")
      assert.strictEqual(headers["content-encoding"], "gzip")
      assert.match(headers["set-cookie"]?.[0] ?? "", /^io=/)
      const preflight = await client.request("OPTIONS", engineTarget({ EIO: "4", transport: "polling" }))
      assert.strictEqual(preflight.status, 204)
      client.close()
    })
  )

  it("a server that stops does not wait for the rest of a POST", async () => {
    const server = Http2.createSecureServer({ ...tls, allowHTTP1: true })
    const mounted = await Mounted.attach(server)
    await listening(server, async ({ port }) => {
      const client = new Http2Client(port)
      const { url } = await client.open()
      const stream = client.session.request({ ":method": "POST", ":path": url })
      stream.resume().write("4hel")
      const status = within(
        new Promise((resolve) => stream.on("response", (headers) => resolve(headers[":status"]))),
        "an answer"
      )
      await client.request("POST", engineTarget({ EIO: "4", transport: "polling" }), "")
      await within(new Promise((resolve) => server.close(resolve)), "the end of the server")
      assert.strictEqual(await status, 400)
      assert.strictEqual(stream.rstCode, Http2.constants.NGHTTP2_NO_ERROR)
      await mounted.release()
    })
  })

  it("R-C9: when the server stops listening, parked polls and WebSockets get their close", async () => {
    const server = Http2.createSecureServer({ ...tls, allowHTTP1: true })
    const mounted = await Mounted.attach(server)
    await listening(server, async ({ port }) => {
      const client = new Http2Client(port)
      const { url } = await client.open()
      const parked = client.begin("GET", url)
      await client.request("POST", url, "3")
      const { socket } = await connect(port, "websocket")
      const closed = new Promise((resolve) => socket.on("close", resolve))
      server.close()
      assert.strictEqual((await parked.answer).text, "1")
      assert.strictEqual(await within(closed, "the end of the client"), "transport close")
      await mounted.ended.reached(2)
      client.close()
      await mounted.release()
    })
  })
})

describe("Effect's server over HTTP/2", () => {
  const echo = (socket: Socket.Socket) =>
    Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
  const route = EngineIO.route("/engine.io/", echo)
  const ways = [
    ["polls behind a logger", false, HttpRouter.serve(route, { disableListenLog: true })],
    ["polls with nothing between", true, HttpRouter.serve(route, { disableListenLog: true, disableLogger: true })]
  ] as const
  for (const [way, short, serving] of ways) {
    it(`${way}: polling over HTTP/2, every transport over HTTP/1.1, and upgrades from one to the other`, async () => {
      const server = Http2.createSecureServer({ ...tls, allowHTTP1: true })
      const live = serving.pipe(
        Layer.provide(EngineIO.layer({ drainTimeout: 1_000, closeTimeout: 1_000 })),
        Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1" })),
        Layer.provide(Logger.layer([]))
      )
      const scope = Scope.makeUnsafe()
      await Effect.runPromise(Layer.buildWithScope(live, scope))
      try {
        const port = portOf(server as unknown as Server)
        await pollsOverHttp2(port)
        await echoes(port)
        await upgradesFromHttp2(port)
        const isShort = server.rawListeners("request")[0] !== server.listeners("request")[0]
        assert.strictEqual(isShort, short)
      } finally {
        await within(Effect.runPromise(Scope.close(scope, Exit.void)), "the end of the server")
      }
    })
  }
})
