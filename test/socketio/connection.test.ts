/**
 * Socket.IO connections: transports, handshakes, ends.
 */
import type { Socket } from "socket.io"
import { assert, describe } from "vitest"
import { eventually, Mailbox, within } from "../kit/events.ts"
import { next, type Site, value } from "../kit/socketIO.ts"
import { onBoth } from "./both.ts"

const transports = {
  "polling": ["polling"],
  "a WebSocket": ["websocket"],
  "an upgrade": ["polling", "websocket"]
}

describe("a connection", () => {
  for (const [name, list] of Object.entries(transports)) {
    onBoth(`over ${name} carries events both ways`, {}, async (site) => {
      site.io.on("connection", (socket) => {
        socket.on("question", (...args) => socket.emit("answer", ...args))
      })
      const client = site.client("/", { transports: list })
      client.emit("question", 1, "two", { three: [3] }, null, true, "👋")
      assert.deepStrictEqual(await next(client, "answer"), [1, "two", { three: [3] }, null, true, "👋"])
    })
  }

  onBoth("has the same id on both sides, which is not that of the engine", {}, async (site) => {
    const [socket, client] = await site.pair()
    assert.strictEqual(socket.id, client.id)
    assert.notStrictEqual(socket.id, (socket.conn as unknown as { readonly id: string }).id)
    assert.strictEqual((socket.conn as unknown as { readonly id: string }).id, (client.io.engine as { id?: string }).id)
    assert.isTrue(socket.connected)
    assert.isFalse(socket.disconnected)
    assert.strictEqual(socket.conn.protocol, 4)
  })

  onBoth("names its transport, and tells of an upgrade", {}, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    // The client may have upgraded before it joins its namespace.
    const upgraded = new Promise<ReadonlyArray<string>>((resolve) =>
      site.io.engine.once("connection", (conn: Socket["conn"]) => {
        const names = [conn.transport.name]
        conn.once("upgrading", ({ name }: { readonly name: string }) => names.push(name))
        conn.once("upgrade", ({ name }: { readonly name: string }) => resolve([...names, name]))
      })
    )
    site.client("/", { transports: ["polling", "websocket"] })
    const socket = await connected
    assert.deepStrictEqual(await within(upgraded, "the upgrade"), ["polling", "websocket", "websocket"])
    assert.strictEqual(socket.conn.transport.name, "websocket")
    assert.isTrue((socket.conn as unknown as { readonly upgraded: boolean }).upgraded)
  })

  onBoth("keeps a thousand events in order through an upgrade", {}, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    const client = site.client("/", { transports: ["polling", "websocket"] })
    const received: Array<number> = []
    const all = new Promise<void>((resolve) =>
      client.on("n", (n: number) => {
        if (received.push(n) === 1000) resolve()
      })
    )
    const socket = await connected
    for (let n = 0; n < 1000; n++) {
      socket.emit("n", n)
      if (n % 100 === 0) await new Promise(setImmediate)
    }
    await within(all, "a thousand events")
    assert.deepStrictEqual(received, Array.from({ length: 1000 }, (_, n) => n))
  })

  onBoth("stays on polling where upgrades are not allowed", { allowUpgrades: false }, async (site) => {
    const [socket, client] = await site.pair("/", { transports: ["polling", "websocket"] })
    client.on("x", (answer) => answer("y"))
    assert.strictEqual(await socket.emitWithAck("x"), "y")
    assert.strictEqual(socket.conn.transport.name, "polling")
  })

  onBoth("is refused over a transport that is not among the options", { transports: ["polling"] }, async (site) => {
    const error = await value<Error>(site.client(), "connect_error")
    assert.strictEqual(error.message, "websocket error")
  })

  onBoth("is counted once, however many namespaces it has", {}, async (site) => {
    site.io.of("/other")
    const [, client] = await site.pair()
    const other = client.io.socket("/other")
    other.connect()
    await next(other, "connect")
    await site.pair()
    assert.strictEqual(site.io.engine.clientsCount, 2)
    client.io._close()
    await eventually("the end of one", () => site.io.engine.clientsCount, (count) => count === 1)
  })

  onBoth("that joins no namespace in time is closed", { connectTimeout: 20 }, async (site) => {
    const opened = value<{ once: () => void }>(site.io.engine, "connection")
    const socket = new WebSocket(`${site.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`)
    const closed = new Promise((resolve) => socket.addEventListener("close", resolve))
    const [reason] = await next<[string]>(await opened as never, "close")
    assert.strictEqual(reason, "forced close")
    await within(closed, "the end of the WebSocket")
  })

  onBoth("is on the path that the server was told", { path: "/elsewhere/" }, async (site) => {
    const [, client] = await site.pair("/", { path: "/elsewhere" })
    assert.isTrue(client.connected)
    const error = await value<Error>(site.client("/", { transports: ["polling"] }), "connect_error")
    assert.strictEqual(error.message, "xhr poll error")
  })
})

describe("the client's files", () => {
  onBoth("are served, compressed and with a tag", { attached: true }, async (site) => {
    const response = await site.request("/socket.io/socket.io.js")
    assert.strictEqual(response.status, 200)
    assert.match(response.headers.get("content-type")!, /^application\/javascript/)
    assert.include(await response.text(), "Socket.IO")
    const etag = response.headers.get("etag")!
    const again = await site.request("/socket.io/socket.io.js", { headers: { "if-none-match": etag } })
    assert.strictEqual(again.status, 304)
    const map = await site.request("/socket.io/socket.io.min.js.map?x")
    assert.match(map.headers.get("content-type")!, /^application\/json/)
    await map.arrayBuffer()
  })

  onBoth("are served on a router too", {}, async (site) => {
    for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"]) {
      const response = await site.request(`/socket.io/${name}`, { headers: { "accept-encoding": "gzip" } })
      assert.strictEqual(response.status, 200)
      assert.include(await response.text(), "Socket.IO")
    }
    const other = await site.request("/socket.io/package.json")
    assert.strictEqual(other.status, 400)
    assert.deepStrictEqual(await other.json(), { code: 0, message: "Transport unknown" })
  })

  onBoth("are not served where the server was told so", { serveClient: false, attached: true }, async (site) => {
    const response = await site.request("/socket.io/socket.io.js")
    assert.strictEqual(response.status, 400)
    await response.text()
  })
})

describe("the handshake of a socket", () => {
  onBoth("tells of the request", {}, async (site) => {
    const [socket] = await site.pair("/", {
      query: { room: "a b" },
      auth: { token: "secret" },
      extraHeaders: { "x-custom": "1" }
    })
    const { address, auth, headers, issued, query, secure, time, url, xdomain } = socket.handshake
    assert.strictEqual(address, "127.0.0.1")
    assert.deepStrictEqual(auth, { token: "secret" })
    assert.strictEqual(headers["x-custom"], "1")
    assert.strictEqual(query["room"], "a b")
    assert.strictEqual(query["EIO"], "4")
    assert.strictEqual(query["transport"], "websocket")
    assert.isFalse(secure)
    assert.isFalse(xdomain)
    assert.approximately(issued, Date.now(), 5000)
    assert.isFalse(Number.isNaN(Date.parse(time)))
    assert.match(url, /^\/socket\.io\/\?room=a%20b&EIO=4&transport=websocket/)
  })

  onBoth("has what the client's function gives for auth", {}, async (site) => {
    const [socket] = await site.pair("/", { auth: (answer) => setTimeout(answer, 1, { token: 7 }) })
    assert.deepStrictEqual(socket.handshake.auth, { token: 7 })
  })

  onBoth("notes a page of another origin", { cors: { origin: "http://a.example" } }, async (site) => {
    const [socket] = await site.pair("/", { extraHeaders: { origin: "http://a.example" } })
    assert.isTrue(socket.handshake.xdomain)
  })

  onBoth("comes with the request itself, which an application may drop", {}, async (site) => {
    site.io.engine.once("connection", (conn: { request: unknown }) => {
      assert.isDefined(conn.request)
    })
    const [first] = await site.pair()
    assert.strictEqual(first.request.method, "GET")
    assert.match(first.request.url!, /^\/socket\.io\//)
    assert.strictEqual(first.request.headers.upgrade, "websocket")
    site.io.engine.on("connection", (conn: { request: unknown }) => {
      conn.request = null
    })
    const [socket] = await site.pair()
    assert.deepStrictEqual(socket.handshake.headers, {})
    assert.isNull(socket.request)
  })
})

describe("a socket's end has the reason", () => {
  onBoth("client namespace disconnect", {}, async (site) => {
    const [socket, client] = await site.pair()
    const events: Array<string> = []
    socket.on("disconnecting", (reason) => events.push(`disconnecting: ${reason}, ${socket.connected}`))
    client.disconnect()
    const [reason] = await next<[string]>(socket, "disconnect")
    assert.strictEqual(reason, "client namespace disconnect")
    assert.deepStrictEqual(events, ["disconnecting: client namespace disconnect, true"])
    assert.isTrue(socket.disconnected)
  })

  onBoth("server namespace disconnect", {}, async (site) => {
    const [socket, client] = await site.pair()
    const reasons = Promise.all([value(socket, "disconnect"), value(client, "disconnect")])
    socket.emit("last", 1)
    const last = value(client, "last")
    socket.disconnect()
    assert.deepStrictEqual(await reasons, ["server namespace disconnect", "io server disconnect"])
    assert.strictEqual(await last, 1)
    assert.isFalse(client.connected)
  })

  onBoth("the same where the connection is closed with it", {}, async (site) => {
    const [socket, client] = await site.pair()
    const reasons = Promise.all([value(socket, "disconnect"), value(client, "disconnect")])
    const closed = value(client.io.engine, "close")
    socket.disconnect(true)
    assert.deepStrictEqual(await reasons, ["server namespace disconnect", "io server disconnect"])
    await closed
    await eventually("no client", () => site.io.engine.clientsCount, (count) => count === 0)
  })

  onBoth("transport close", {}, async (site) => {
    const [socket, client] = await site.pair()
    const reason = value(socket, "disconnect")
    client.io.engine.close()
    assert.strictEqual(await reason, "transport close")
  })

  onBoth("ping timeout", { pingInterval: 200, pingTimeout: 200 }, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    const silent = new WebSocket(`${site.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`)
    silent.addEventListener("open", () => silent.send("40"))
    const socket = await connected
    assert.strictEqual(await value(socket, "disconnect"), "ping timeout")
  })

  onBoth("parse error", {}, async (site) => {
    const [socket, client] = await site.pair()
    const reason = value(socket, "disconnect")
    ;(client.io.engine.transport as unknown as { ws: WebSocket }).ws.send("x")
    assert.strictEqual(await reason, "parse error")
  })

  onBoth("transport error, with what went wrong", { maxHttpBufferSize: 1000 }, async (site) => {
    const [socket, client] = await site.pair()
    const ended = next<[string, Error & { type?: string }]>(socket, "disconnect")
    client.emit("large", "x".repeat(2000))
    const [reason, details] = await ended
    assert.strictEqual(reason, "transport error")
    assert.instanceOf(details, Error)
    assert.strictEqual(details.type, "TransportError")
  })

  onBoth("forced close, or forced server close, for a client that breaks Socket.IO's protocol", {}, async (site) => {
    const [socket, client] = await site.pair()
    const reason = value<string>(socket, "disconnect")
    const closed = value(client, "disconnect")
    client.io.engine.write("9")
    assert.match(await reason, /^forced (server )?close$/)
    await closed
  })

  onBoth("server shutting down", { attached: true }, async (site) => {
    const [socket, client] = await site.pair()
    const reasons = Promise.all([value(socket, "disconnect"), value(client, "disconnect")])
    await site.io.close()
    assert.deepStrictEqual(await reasons, ["server shutting down", "transport close"])
    assert.isFalse(site.http.listening)
  })
})

describe("a client that polls", () => {
  /** A session, and the next answers to its polls. */
  const open = async (site: Site, path = "/socket.io/") => {
    const url = `${path}?EIO=4&transport=polling`
    const handshake = await (await site.request(url)).text()
    const { sid } = JSON.parse(handshake.slice(1)) as { sid: string }
    return {
      push: async (body: string) => (await site.request(`${url}&sid=${sid}`, { method: "POST", body })).text(),
      poll: async () => (await site.request(`${url}&sid=${sid}`)).text()
    }
  }

  const violations: ReadonlyArray<[name: string, packets: ReadonlyArray<string>]> = [
    ["connects twice", ["40", "40"]],
    ["sends what is no packet", ["40", "4abc"]],
    ["sends an event before it connects", ["42[\"event\"]"]]
  ]
  for (const [name, packets] of violations) {
    onBoth(`and ${name} gets what was sent to it, and then the end`, {}, async (site) => {
      const { poll, push } = await open(site)
      for (const packet of packets) await push(packet)
      if (packets[0] === "40") assert.match(await poll(), /^40\{"sid":"[\w-]{20}"\}$/)
      assert.strictEqual(await poll(), "6\u001e1")
    })
  }

  onBoth("may do so below the path", {}, async (site) => {
    const { poll, push } = await open(site, "/socket.io/default/")
    await push("40")
    assert.match(await poll(), /^40\{/)
  })

  onBoth("gets events that were sent right before its socket's end", {}, async (site) => {
    site.io.on("connection", (socket) => {
      socket.on("leave", () => {
        for (let n = 0; n < 3; n++) socket.emit("n", n)
        socket.conn.close()
      })
    })
    const client = site.client("/", { transports: ["polling"] })
    const received: Array<number> = []
    client.on("n", (n: number) => received.push(n))
    await next(client, "connect")
    client.emit("leave")
    await next(client, "disconnect")
    assert.deepStrictEqual(received, [0, 1, 2])
  })
})

describe("a message that Socket.IO cannot read", () => {
  onBoth("is told as an error, and ends the connection", {}, async (site) => {
    const [socket, client] = await site.pair()
    const [error, reason] = [value<Error>(socket, "error"), value(socket, "disconnect")]
    client.io.engine.write("5woooot")
    assert.match((await error).message, /Illegal attachments/)
    assert.strictEqual(await reason, "forced close")
  })

  onBoth("is told where it is empty", {}, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    site.client("/", { transports: ["polling"] })
    const socket = await connected
    const [error, reason] = [value<Error>(socket, "error"), value(socket, "disconnect")]
    ;(socket as unknown as { client: { ondata(data: null): void } }).client.ondata(null)
    assert.instanceOf(await error, Error)
    assert.strictEqual(await reason, "forced close")
  })
})

describe("a listener that throws", () => {
  onBoth("is the process's affair, and harms nobody else", {}, async (site) => {
    const listeners = process.listeners("uncaughtException")
    const thrown = new Mailbox<string>("an exception")
    process.removeAllListeners("uncaughtException")
    process.on("uncaughtException", (error) => thrown.put(error.message))
    try {
      const [socket, client] = await site.pair()
      socket.on("throw", () => {
        throw new Error("from an event")
      })
      socket.on("disconnect", () => {
        throw new Error("from the end")
      })
      client.emit("throw")
      assert.strictEqual(await thrown.next(), "from an event")
      client.on("still", (answer) => answer("there"))
      assert.strictEqual(await socket.timeout(5000).emitWithAck("still"), "there")
      client.io.engine.close()
      assert.strictEqual(await thrown.next(), "from the end")
      await eventually("no client", () => site.io.engine.clientsCount, (count) => count === 0)
      const [other] = await site.pair()
      assert.isTrue(other.connected)
    } finally {
      process.removeAllListeners("uncaughtException")
      for (const listener of listeners) process.on("uncaughtException", listener)
    }
  })
})
