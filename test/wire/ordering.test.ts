import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Socket } from "../../src/index.ts"
import { PollingClient } from "../kit/http.ts"
import { idle, sink, withServer } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`)

describe("order and observers", () => {
  it(
    "R89: what the server sends arrives in order across the upgrade",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const received: Array<string> = []
      let sent = 0
      const send = async (count: number) => {
        for (const message of numbered(sent, sent + count)) await server.run(Socket.send(socket, message))
        sent += count
      }
      await send(10)
      received.push(...await client.messages(10))
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      await send(5)
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await send(5)
      received.push(...await client.messages(10))
      await send(10)
      candidate.send("5")
      await send(10)
      received.push(...(await candidate.messages(20)) as Array<string>)
      assert.deepStrictEqual(received, numbered(0, 40).map((message) => `4${message}`))
    })
  )

  it(
    "R89: what the client sends arrives in order across the upgrade",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post(numbered(0, 10).map((message) => `4${message}`).join("\x1e"))
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      await client.post(numbered(10, 15).map((message) => `4${message}`).join("\x1e"))
      candidate.send("2probe")
      await candidate.next()
      await client.post(numbered(15, 20).map((message) => `4${message}`).join("\x1e"))
      candidate.send("5")
      for (const message of numbered(20, 40)) candidate.send(`4${message}`)
      await server.received.reached(40)
      assert.deepStrictEqual(server.messagesOf(client.sid), numbered(0, 40))
    })
  )

  it(
    "R89: text and bytes keep their order",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      for (let i = 0; i < 200; i++) webSocket.send(i % 2 === 0 ? `4${i}` : Buffer.from([i]))
      const frames = await webSocket.frames.take(200)
      assert.deepStrictEqual(
        frames.map((frame) => typeof frame === "string" ? Number(frame.slice(1)) : frame[0]),
        Array.from({ length: 200 }, (_, i) => i)
      )
      const polling = await PollingClient.connect(server)
      const packets = Array.from(
        { length: 200 },
        (_, i) => i % 2 === 0 ? `4${i}` : `b${Buffer.from([i]).toString("base64")}`
      )
      await polling.post(packets.join("\x1e"))
      assert.deepStrictEqual(await polling.messages(200), packets)
    })
  )

  it(
    "R89: flushed waits until a batch was handed to the network",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "hello"))
      let flushed = false
      const waiting = server.run(Socket.flushed(socket)).then(() => {
        flushed = true
      })
      await server.barrier()
      assert.isFalse(flushed)
      assert.deepStrictEqual(await server.run(Socket.buffered(socket)), { messages: 1, bytes: 5 })
      assert.deepStrictEqual(await client.poll(), ["4hello"])
      await waiting
      assert.deepStrictEqual(await server.run(Socket.buffered(socket)), { messages: 0, bytes: 0 })
      const webSocket = await WebSocketClient.connect(server)
      const other = await server.socket(webSocket.sid)
      await server.run(Effect.andThen(Socket.sendAll(other, ["a", "b"]), Socket.flushed(other)))
      assert.deepStrictEqual(await webSocket.frames.take(2), ["4a", "4b"])
    })
  )

  it(
    "R89: flushed waits for what the function of the handler sent",
    withServer({
      application: (socket) =>
        Effect.gen(function*() {
          yield* Socket.send(socket, "first")
          const flushed = yield* Effect.forkDetach(Socket.flushed(socket), { startImmediately: true })
          return { app: Effect.andThen(Effect.andThen(Fiber.join(flushed), Socket.send(socket, "then")), Effect.never) }
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["4first"])
      assert.deepStrictEqual(await client.poll(), ["4then"])
    })
  )

  it(
    "R89: of each batch, first what is flushed, then that all is out",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const events = await server.collect("an event", Socket.events(socket))
      await server.run(Socket.sendAll(socket, ["one", "two"]))
      assert.deepStrictEqual(await client.poll(), ["4one", "4two"])
      await events.find((event) => event._tag === "Drained")
      const flushed = events.all.flatMap((event) => event._tag === "Flushed" ? [event.packets] : [])
      assert.deepStrictEqual(flushed.map((packets) => packets.map(({ data, type }) => ({ type, data }))), [
        [{ type: "message", data: "one" }, { type: "message", data: "two" }]
      ])
      const tags = events.all.map((event) => event._tag)
      assert.deepStrictEqual(tags, ["PacketCreated", "PacketCreated", "Flushed", "Drained"])
    })
  )

  it(
    "R89: what does not fit into an answer is flushed with the next, and told then",
    withServer({ application: idle, maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const events = await server.collect("an event", Socket.events(socket))
      await server.run(Socket.sendAll(socket, ["a", "b", "c"].map((letter) => letter.repeat(600))))
      assert.strictEqual((await client.poll()).length, 2)
      assert.strictEqual((await client.poll()).length, 1)
      await events.find((event) => event._tag === "Drained")
      const flushed = events.all.flatMap((event) => event._tag === "Flushed" ? [event.packets.length] : [])
      assert.deepStrictEqual(flushed, [2, 1])
    })
  )

  it(
    "R90: every packet of the session is announced before it is queued, the ping too, the noop not",
    withServer({ application: idle, pingInterval: 100, pingTimeout: 5_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const events = await server.collect("an event", Socket.events(await server.socket(client.sid)))
      const created = () =>
        events.all.flatMap((event) =>
          event._tag === "PacketCreated" ? [`${event.packet.type}:${event.packet.data}`] : []
        )
      await server.run(Socket.send(await server.socket(client.sid), "hello"))
      await events.find((event) => event._tag === "PacketCreated")
      assert.deepStrictEqual(created(), ["message:hello"])
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      await candidate.next()
      while (!(await client.poll()).includes("2")) { /* noops and the message */ }
      await events.find((event) => event._tag === "PacketCreated" && event.packet.type === "ping")
      assert.deepStrictEqual(created(), ["message:hello", "ping:undefined"])
    })
  )

  it(
    "R91: every packet that comes is announced before it is handled",
    withServer({ application: sink }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const packets = await server.collect("a packet", Socket.packets(await server.socket(webSocket.sid)))
      for (const frame of ["4hello", "3", "0x", "5", "6"]) webSocket.send(frame)
      webSocket.send(Buffer.from([7]))
      webSocket.send("2")
      const types = (await packets.take(7)).map((packet) => packet.type)
      assert.deepStrictEqual(types, ["message", "pong", "open", "upgrade", "noop", "message", "ping"])
      assert.strictEqual(packets.all[0]?.data, "hello")
      assert.deepStrictEqual([...packets.all[5]!.data as Uint8Array], [7])
      assert.strictEqual(await server.reasonText(webSocket.sid), "transport error")
    })
  )

  it(
    "R91: a close packet over WebSocket is announced as well",
    withServer({ application: sink }, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const packets = await server.collect("a packet", Socket.packets(await server.socket(webSocket.sid)))
      webSocket.send("1")
      assert.strictEqual((await packets.next()).type, "close")
      await server.reason(webSocket.sid)
    })
  )

  it(
    "R91: the packets of a POST too",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      const packets = await server.collect("a packet", Socket.packets(await server.socket(client.sid)))
      await client.post("4one\x1e3\x1ebAQID\x1e6")
      assert.deepStrictEqual((await packets.take(4)).map((packet) => packet.type), [
        "message",
        "pong",
        "message",
        "noop"
      ])
    })
  )
})
