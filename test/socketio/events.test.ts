/**
 * Events and their acknowledgements: what is sent, to whom it is told, and in what time it is answered.
 */
import type { Socket } from "socket.io"
import { assert, describe, it } from "vitest"
import { pause, within } from "../kit/events.ts"
import { type ClientOptions, next, type Site, value } from "../kit/socketIO.ts"
import { onBoth, run } from "./both.ts"

describe("an event", () => {
  onBoth("may carry any JSON, and no more than that", {}, async (site) => {
    const [socket, client] = await site.pair()
    const args = next(client, "event")
    socket.emit("event", undefined, new Date(0), new Map([[1, 2]]), { a: undefined }, "\u001e\u2028", 1e21)
    assert.deepStrictEqual(await args, [null, "1970-01-01T00:00:00.000Z", {}, {}, "\u001e\u2028", 1e21])
  })

  onBoth("of a reserved name is refused", {}, async (site) => {
    const [socket] = await site.pair()
    for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
      assert.throws(() => socket.emit(name), `"${name}" is a reserved event name`)
    }
    assert.throws(() => site.io.emit("connect"), "\"connect\" is a reserved event name")
  })

  onBoth("is heard once, or until its listener is taken away", {}, async (site) => {
    const [socket, client] = await site.pair()
    const heard: Array<string> = []
    const listener = () => heard.push("on")
    socket.on("e", listener)
    socket.once("e", () => heard.push("once"))
    client.emit("e")
    client.emit("e")
    const done = next(socket, "done")
    client.emit("done")
    await done
    socket.off("e", listener)
    const again = next(socket, "again")
    client.emit("e")
    client.emit("again")
    await again
    assert.deepStrictEqual(heard, ["on", "once", "on"])
  })

  onBoth("sent with send is a message", {}, async (site) => {
    const [socket, client] = await site.pair()
    const both = Promise.all([next(socket, "message"), next(client, "message")])
    client.send("to server", 1)
    socket.send("to client", 2)
    assert.deepStrictEqual(await both, [["to server", 1], ["to client", 2]])
  })

  onBoth("is told to those who listen to all, in the order they ask for", {}, async (site) => {
    const [socket, client] = await site.pair()
    const heard: Array<unknown> = []
    const any = (...args: Array<unknown>) => heard.push(["any", ...args])
    socket.onAny(any)
    socket.prependAny((event) => heard.push(["before", event]))
    socket.on("e", (...args) => heard.push(["e", ...args]))
    assert.strictEqual(socket.listenersAny().length, 2)
    const e = next(socket, "e")
    client.emit("e", 1)
    await e
    socket.offAny(any)
    assert.strictEqual(socket.listenersAny().length, 1)
    socket.offAny()
    assert.strictEqual(socket.listenersAny().length, 0)
    assert.deepStrictEqual(heard, [["before", "e"], ["any", "e", 1], ["e", 1]])
  })

  onBoth("that leaves is told to those who listen to all that leave", {}, async (site) => {
    const [socket, client] = await site.pair()
    const sent: Array<unknown> = []
    const any = (...args: Array<unknown>) => sent.push(["any", ...args])
    socket.onAnyOutgoing(any)
    socket.prependAnyOutgoing((event) => sent.push(["before", event]))
    const received = next(client, "b")
    socket.emit("a", 1)
    site.io.emit("b", 2)
    await received
    socket.offAnyOutgoing(any)
    assert.strictEqual(socket.listenersAnyOutgoing().length, 1)
    assert.deepStrictEqual(sent, [["before", "a"], ["any", "a", 1], ["before", "b"], ["any", "b", 2]])
  })

  const deflate = { perMessageDeflate: { threshold: 10 } }

  /** How many bytes arrive of two events, one to a socket and one to all, with 10 000 characters each. */
  const bytesOf = async (site: Site, compress: boolean): Promise<number> => {
    const [socket, client] = await site.pair()
    const { _socket: raw } = (client.io.engine.transport as unknown as { ws: { _socket: { bytesRead: number } } }).ws
    const before = raw.bytesRead
    const event = value<string>(client, "event")
    socket.compress(compress).emit("event", "x".repeat(10_000))
    assert.strictEqual((await event).length, 10_000)
    const again = value<string>(client, "again")
    site.io.compress(compress).emit("again", "x".repeat(10_000))
    assert.strictEqual((await again).length, 10_000)
    return raw.bytesRead - before
  }

  onBoth("is compressed where the server was told so", deflate, async (site) => {
    assert.isBelow(await bytesOf(site, true), 5_000)
  })

  // On `engine.io` 6.6 it is compressed all the same.
  it("is not compressed where it asks not to be", () =>
    run("ours", deflate, undefined, async (site) => {
      assert.isAbove(await bytesOf(site, false), 20_000)
    }))
})

describe("a volatile event", () => {
  onBoth("R92: arrives where the client is ready", {}, async (site) => {
    const [socket, client] = await site.pair()
    await pause(20)
    const event = value(client, "event")
    socket.volatile.emit("event", 1)
    assert.strictEqual(await event, 1)
    const again = value(client, "again")
    site.io.volatile.emit("again", 2)
    assert.strictEqual(await again, 2)
  })

  for (const transport of ["websocket", "polling"]) {
    for (const who of ["socket", "server"]) {
      onBoth(`R92: of the ${who} is dropped behind another one, over ${transport}`, {}, async (site) => {
        const [socket, client] = await site.pair("/", { transports: [transport] })
        await pause(30)
        const received: Array<number> = []
        client.on("event", (n: number) => received.push(n))
        const sender = () => who === "socket" ? socket.volatile : site.io.volatile
        for (let n = 0; n < 3; n++) sender().emit("event", n)
        const end = value(client, "end")
        socket.emit("end")
        await end
        assert.deepStrictEqual(received, [0])
      })
    }
  }

  onBoth("R92: is dropped while a polling client is between two polls, and others are not", {}, async (site) => {
    const [socket, client] = await site.pair("/", { transports: ["polling"] })
    await pause(30)
    const received: Array<string> = []
    client.onAny((event) => received.push(event))
    const end = value(client, "end")
    socket.emit("first")
    socket.volatile.emit("volatile")
    socket.emit("end")
    await end
    assert.deepStrictEqual(received, ["first", "end"])
  })

  onBoth("of a client is dropped where that is not connected", {}, async (site) => {
    const connected = value<Socket>(site.io, "connection")
    const client = site.client()
    client.volatile.emit("lost")
    client.emit("kept")
    const events: Array<string> = []
    const socket = await connected
    socket.onAny((event) => events.push(event))
    await next(socket, "kept")
    assert.deepStrictEqual(events, ["kept"])
  })
})

describe("an acknowledgement", () => {
  onBoth("of the server answers the client", {}, async (site) => {
    const [socket, client] = await site.pair()
    socket.on("add", (a: number, b: number, answer: (sum: number, ...more: Array<unknown>) => void) => {
      answer(a + b, "more")
      answer(-1)
    })
    const answers = await within(
      new Promise((resolve) => client.emit("add", 1, 2, (...args: Array<unknown>) => resolve(args))),
      "the answer"
    )
    assert.deepStrictEqual(answers, [3, "more"])
    assert.strictEqual(await client.emitWithAck("add", 3, 4), 7)
  })

  onBoth("of the client answers the server", {}, async (site) => {
    const [socket, client] = await site.pair()
    client.on("add", (a: number, b: number, answer: (sum: number) => void) => setTimeout(answer, 1, a + b))
    assert.strictEqual(await socket.emitWithAck("add", 1, 2), 3)
    assert.strictEqual(await socket.timeout(5000).emitWithAck("add", 3, 4), 7)
    const withCallback = new Promise((resolve) => socket.emit("add", 5, 6, resolve))
    assert.strictEqual(await within(withCallback, "the answer"), 11)
  })

  onBoth("that does not come in time is an error on either side", {}, async (site) => {
    const [socket, client] = await site.pair()
    const errors = await Promise.all([
      socket.timeout(5).emitWithAck("x").catch((error: Error) => error.message),
      client.timeout(5).emitWithAck("x").catch((error: Error) => error.message),
      new Promise((resolve) => socket.timeout(5).emit("x", (error: Error) => resolve(error.message)))
    ])
    for (const error of errors) assert.strictEqual(error, "operation has timed out")
  })

  onBoth("of a broadcast has the answers of all", {}, async (site) => {
    for (let n = 0; n < 3; n++) {
      const [socket, client] = await site.pair("/", { transports: [n === 0 ? "polling" : "websocket"] })
      if (n < 2) await socket.join("a")
      client.on("who", (answer) => answer(n))
    }
    const all: Array<number> = await site.io.timeout(5000).emitWithAck("who")
    assert.deepStrictEqual(all.sort(), [0, 1, 2])
    const some = await within(
      new Promise<Array<number>>((resolve) =>
        site.io.to("a").timeout(5000).emit("who", (_: Error, answers: Array<number>) => resolve(answers))
      ),
      "the answers"
    )
    assert.deepStrictEqual(some.sort(), [0, 1])
  })

  onBoth("of a broadcast has those that came, with an error, when the time is over", {}, async (site) => {
    const [, client] = await site.pair()
    await site.pair()
    client.on("who", (answer) => answer("here"))
    const [error, answers] = await within(
      new Promise<[Error, Array<string>]>((resolve) =>
        site.io.timeout(50).emit("who", (error: Error, answers: Array<string>) => resolve([error, answers]))
      ),
      "the answers"
    )
    assert.strictEqual(error.message, "operation has timed out")
    assert.deepStrictEqual(answers, ["here"])
  })

  onBoth("of a broadcast to nobody is an empty list", {}, async (site) => {
    assert.deepStrictEqual(await site.io.to("nobody").timeout(1000).emitWithAck("who"), [])
  })

  onBoth("is asked again by a client that was told to", {}, async (site) => {
    let calls = 0
    site.io.on("connection", (socket) =>
      socket.on("flaky", (answer) => {
        if (++calls === 2) answer()
      }))
    const client = site.client("/", { ackTimeout: 30, retries: 3 })
    await within(new Promise((resolve) => client.emit("flaky", resolve)), "the answer")
    assert.strictEqual(calls, 2)
  })
})

describe("bytes", () => {
  for (
    const [name, options] of Object.entries({
      "a WebSocket": { transports: ["websocket"] },
      "polling": { transports: ["polling"] },
      "an upgrade": { transports: ["polling", "websocket"] },
      "base64": { transports: ["websocket"], forceBase64: true }
    })
  ) {
    onBoth(`pass in both directions, anywhere in an event, over ${name}`, {}, async (site) => {
      const [socket, client] = await site.pair("/", options as ClientOptions)
      const sent = {
        text: "t",
        list: [Buffer.from([1, 2, 3])],
        deep: { er: new Uint8Array([255]) },
        empty: Buffer.alloc(0)
      }
      const received = value<typeof sent>(socket, "event")
      client.emit("event", sent)
      const { deep, empty, list: [first], text } = await received
      assert.isTrue(Buffer.isBuffer(first))
      assert.deepStrictEqual([...first!], [1, 2, 3])
      assert.deepStrictEqual([...deep.er], [255])
      assert.strictEqual(empty.length, 0)
      assert.strictEqual(text, "t")
      client.on("event", (...args) => args.pop()(args))
      const [back] = await socket.emitWithAck("event", Buffer.from("ab"), new Uint8Array([7]).buffer)
      assert.strictEqual(Buffer.from(back).toString(), "ab")
    })
  }

  onBoth("are broadcast", {}, async (site) => {
    const clients = await Promise.all(
      ["polling", "websocket", "websocket"].map(async (transport) =>
        (await site.pair("/", { transports: [transport] }))[1]
      )
    )
    const received = clients.map((client) => next<[Buffer, Buffer]>(client, "bytes"))
    site.io.emit("bytes", Buffer.from("first"), Buffer.alloc(20_000, 7))
    for (const [first, second] of await Promise.all(received)) {
      assert.strictEqual(Buffer.from(first).toString(), "first")
      assert.strictEqual(second.length, 20_000)
    }
  })
})
