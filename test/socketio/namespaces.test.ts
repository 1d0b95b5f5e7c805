/**
 * Namespaces, dynamic ones too, and the middlewares on the way into them.
 */
import session from "express-session"
import type { Namespace, Server, Socket } from "socket.io"
import { assert, describe } from "vitest"
import { eventually } from "../kit/events.ts"
import { type ConnectionError, next, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

describe("a namespace", () => {
  onBoth("has sockets and events of its own", {}, async (site) => {
    const [socket, client] = await site.pair("/a")
    const [, other] = await site.pair("/b")
    assert.strictEqual(socket.nsp.name, "/a")
    const received: Array<string> = []
    other.onAny((event) => received.push(event))
    const event = value(client, "event")
    site.io.of("/a").emit("event", 1)
    assert.strictEqual(await event, 1)
    const settled = value(other, "settled")
    site.io.of("/b").emit("settled")
    await settled
    assert.deepStrictEqual(received, ["settled"])
  })

  onBoth("that does not exist refuses its clients", {}, async (site) => {
    const error = await value<Error>(site.client("/none"), "connect_error")
    assert.strictEqual(error.message, "Invalid namespace")
  })

  onBoth("shares a connection with others, and ends by itself", {}, async (site) => {
    const [first, client] = await site.pair("/a")
    const other = client.io.socket("/b")
    const connected = value<Socket>(site.io.of("/b"), "connection")
    other.connect()
    const second = await connected
    assert.strictEqual(first.conn, second.conn)
    assert.notStrictEqual(first.id, second.id)
    const reason = value(second, "disconnect")
    second.disconnect()
    assert.strictEqual(await reason, "server namespace disconnect")
    client.on("still", (answer) => answer("there"))
    assert.strictEqual(await first.emitWithAck("still"), "there")
  })

  onBoth("has its own handshake, with the query of the connection", {}, async (site) => {
    site.io.of("/b")
    const [, client] = await site.pair("/a", { query: { q: "1" }, auth: { for: "a" } })
    const other = client.io.socket("/b", { auth: { for: "b" } })
    const connected = value<Socket>(site.io.of("/b"), "connection")
    other.connect()
    const { handshake } = await connected
    assert.deepStrictEqual(handshake.auth, { for: "b" })
    assert.strictEqual(handshake.query["q"], "1")
  })

  onBoth("may be known by a pattern", {}, async (site) => {
    const parent = site.io.of(/^\/room-\d+$/)
    const created = value<Namespace>(site.io, "new_namespace")
    const connected = value<Socket>(parent, "connection")
    const [client, other] = [site.client("/room-1"), site.client("/room-x")]
    const refused = value<Error>(other, "connect_error")
    assert.strictEqual((await created).name, "/room-1")
    const socket = await connected
    assert.strictEqual(socket.nsp.name, "/room-1")
    const all = value(client, "all")
    parent.emit("all", 1)
    assert.strictEqual(await all, 1)
    assert.strictEqual((await refused).message, "Invalid namespace")
  })

  onBoth("may be known by a function", {}, async (site) => {
    const parent = site.io.of((name, auth, answer) => setTimeout(answer, 1, null, name === "/dynamic" && auth["ok"]))
    parent.use((socket, next) => {
      socket.data.parent = true
      next()
    })
    const connected = value<Socket>(parent, "connection")
    site.client("/dynamic", { auth: { ok: true } })
    const refused = value<Error>(site.client("/dynamic-not", { auth: { ok: true } }), "connect_error")
    assert.isTrue((await connected).data.parent)
    assert.strictEqual((await refused).message, "Invalid namespace")
  })

  onBoth(
    "without sockets is dropped where the server was told so",
    { cleanupEmptyChildNamespaces: true },
    async (site) => {
      const parent = site.io.of(/^\/room/)
      const connected = value<Socket>(parent, "connection")
      const client = site.client("/room-1")
      const socket = await connected
      assert.isTrue(site.io._nsps.has("/room-1"))
      client.disconnect()
      await value(socket, "disconnect")
      await eventually("its end", () => site.io._nsps.has("/room-1"), (has) => !has)
    }
  )
})

describe("a middleware of a namespace", () => {
  onBoth("sees sockets in order, and lets them in", {}, async (site) => {
    const seen: Array<string> = []
    site.io.use((socket, next) => {
      seen.push(`first ${socket.handshake.auth["name"]}`)
      setTimeout(next, 1)
    })
    site.io.use((socket, next) => {
      seen.push("second")
      socket.data.user = "bob"
      next()
    })
    const [socket] = await site.pair("/", { auth: { name: "bob" } })
    assert.deepStrictEqual(seen, ["first bob", "second"])
    assert.strictEqual(socket.data.user, "bob")
  })

  onBoth("refuses a socket with an error and data", {}, async (site) => {
    site.io.use((_, next) => next(Object.assign(new Error("not authorized"), { data: { retry: "later" } })))
    let connections = 0
    site.io.on("connection", () => connections++)
    const error = await value<Error & { data: unknown }>(site.client(), "connect_error")
    assert.strictEqual(error.message, "not authorized")
    assert.deepStrictEqual(error.data, { retry: "later" })
    assert.strictEqual(connections, 0)
    assert.strictEqual(site.io.of("/").sockets.size, 0)
  })

  onBoth("counts for its namespace alone", {}, async (site) => {
    site.io.of("/guarded").use((_, next) => next(new Error("no")))
    const error = value<Error>(site.client("/guarded"), "connect_error")
    await site.pair("/")
    assert.strictEqual((await error).message, "no")
  })

  onBoth("is passed again by a client that tries again", {}, async (site) => {
    let isOpen = false
    site.io.use((_, next) => next(isOpen ? undefined : new Error("closed")))
    const client = site.client()
    await next(client, "connect_error")
    isOpen = true
    client.connect()
    await next(client, "connect")
  })
})

describe("a middleware of a socket", () => {
  onBoth("sees every event, and may change or refuse it", {}, async (site) => {
    const [socket, client] = await site.pair()
    socket.use((event, next) => {
      if (event[0] === "refused") return next(new Error("refused event"))
      event.push("added")
      next()
    })
    const error = value<Error>(socket, "error")
    client.emit("refused")
    assert.strictEqual((await error).message, "refused event")
    const args = next(socket, "event")
    client.emit("event", 1)
    assert.deepStrictEqual(await args, [1, "added"])
  })
})

describe("a middleware of the engine", () => {
  const prepare = (seen: Array<string>) => (io: Server): void => {
    io.engine.use((
      request: { url: string; headers: object; _query: Record<string, string> },
      response: { setHeader(name: string, value: string): void },
      next: () => void
    ) => {
      seen.push(`${request._query["transport"]} ${request._query["sid"] === undefined ? "new" : "known"}`)
      response.setHeader("x-seen", String(seen.length))
      next()
    })
  }

  for (const attached of [false, true]) {
    const seen: Array<string> = []
    onBoth(
      `sees every request, upgrades too, and adds headers${attached ? " (Node's server)" : ""}`,
      { attached, prepare: prepare(seen) },
      async (site) => {
        seen.length = 0
        const response = await site.request("/socket.io/?EIO=4&transport=polling")
        assert.strictEqual(response.headers.get("x-seen"), "1")
        await response.text()
        const [socket] = await site.pair("/", { transports: ["polling", "websocket"] })
        if (socket.conn.transport.name === "polling") await next(socket.conn, "upgrade")
        assert.include(seen, "polling new")
        assert.include(seen, "polling known")
        assert.include(seen, "websocket known")
      }
    )
  }

  onBoth("refuses requests", {
    attached: true,
    prepare: (io) => io.engine.use((_: unknown, __: unknown, next: (error: Error) => void) => next(new Error("no")))
  }, async (site) => {
    const errors: Array<unknown> = []
    site.io.engine.on("connection_error", ({ code, context, message, req }: ConnectionError) => {
      errors.push([code, message, context["name"], typeof req.url])
    })
    const response = await site.request("/socket.io/?EIO=4&transport=polling")
    assert.strictEqual(response.status, 400)
    assert.deepStrictEqual(await response.json(), { code: 3, message: "Bad request" })
    await next(site.client(), "connect_error")
    assert.deepStrictEqual(errors, [
      [3, "Bad request", "MIDDLEWARE_FAILURE", "string"],
      [3, "Bad request", "MIDDLEWARE_FAILURE", "string"]
    ])
  })

  onBoth("may answer by itself", {
    prepare: (io) =>
      io.engine.use((_: unknown, response: { writeHead(status: number): { end(body: string): void } }) =>
        response.writeHead(402).end("pay")
      )
  }, async (site) => {
    const response = await site.request("/socket.io/?EIO=4&transport=polling")
    assert.strictEqual(response.status, 402)
    assert.strictEqual(await response.text(), "pay")
  })

  for (const transport of ["polling", "websocket"]) {
    onBoth(`shares the session of Express over ${transport}`, {
      prepare: (io) =>
        io.engine.use(session({ secret: "s", resave: false, saveUninitialized: true, cookie: { secure: false } }))
    }, async (site) => {
      const first = await site.request("/socket.io/?EIO=4&transport=polling")
      const cookie = first.headers.get("set-cookie")!.split(";")[0]!
      assert.match(cookie, /^connect\.sid=/)
      await first.text()
      const [socket] = await site.pair("/", { transports: [transport], extraHeaders: { cookie } })
      const { session: shared } = socket.request as unknown as { session: { id: string } }
      assert.include(decodeURIComponent(cookie), shared.id)
    })
  }
})
