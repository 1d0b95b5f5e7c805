import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch, Stream } from "effect"
import { CloseReason, EngineIO, type Packet, Socket } from "../../src/index.ts"
import { within } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { type Config, echo, idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

const textOf = (data: Packet.Message | undefined): string =>
  typeof data === "object" ? Buffer.from(data).toString() : String(data)

/** An event in a few words. */
const brief = (event: Socket.SocketEvent): string => {
  switch (event._tag) {
    case "PacketReceived":
    case "PacketCreated":
      return `${event._tag} ${event.packet.type} ${textOf(event.packet.data)}`
    case "Flushed":
      return `Flushed ${event.packets.map((it) => it.type).join()}`
    case "Upgrading":
    case "Upgraded":
      return `${event._tag} ${event.transport}`
    case "Closed":
      return `Closed ${CloseReason.message(event.reason)}`
    default:
      return event._tag
  }
}

const briefly = (event: EngineIO.EngineEvent): string => {
  switch (event._tag) {
    case "ConnectionError":
      return `ConnectionError ${event.code} ${event.message} ${JSON.stringify(event.context)}`
    case "Upgraded":
      return `Upgraded ${event.from} to ${event.to}`
    case "Closed":
      return `Closed ${CloseReason.message(event.reason)}`
    default:
      return event._tag
  }
}

const observe = async (server: TestServer, sid: string) =>
  server.collect("an event of the session", Socket.events(await server.socket(sid)))

/** All events until the stream has ended, which it does with the session. */
const untilEnd = async (events: Awaited<ReturnType<typeof observe>>): Promise<Array<string>> => {
  await events.find((it) => it._tag === "Closed")
  const more = await events.take(events.untaken.length + 1).then(() => "more", (error: Error) => error.message)
  assert.include(more, "the stream ended")
  return events.all.map(brief)
}

const sending: Config["application"] = (socket) =>
  Effect.succeed({ app: Socket.forEach(socket, () => Socket.send(socket, "answer")) })

describe("events of the server", () => {
  it(
    "connection, upgrade and close: each once, in order, with the session they are about",
    withServer({ application: sink }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const client = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      await candidate.next()
      candidate.send("5")
      await events.find((it) => it._tag === "Upgraded")
      await candidate.close()
      await server.reason(client.sid)
      const direct = await WebSocketClient.connect(server)
      await server.run(Socket.close(await server.socket(direct.sid)))
      await server.reason(direct.sid)
      await events.reached(5)
      assert.deepStrictEqual(events.all.map(briefly), [
        "Connection",
        "Upgraded polling to websocket",
        "Closed transport close",
        "Connection",
        "Closed forced close"
      ])
      const ids = events.all.map((it) => "socket" in it ? it.socket.id : "")
      assert.deepStrictEqual(ids, [client.sid, client.sid, client.sid, direct.sid, direct.sid])
    })
  )

  it(
    "R31: when connection is published the session is registered, and when close is it no longer is",
    withServer({ application: sink }, async (server) => {
      const counts = await server.collect(
        "a count",
        Stream.mapEffect(EngineIO.events, (event) => Effect.map(EngineIO.count, (count) => `${event._tag} ${count}`))
      )
      const client = await PollingClient.connect(server)
      await counts.reached(1)
      await client.post("1")
      await counts.reached(2)
      assert.deepStrictEqual(counts.all, ["Connection 1", "Closed 0"])
    })
  )

  it(
    "connection_error: every refusal once, with code, message and context",
    withServer({
      application: (socket) =>
        socket.handshake.query["token"] === "secret"
          ? Effect.succeed({ app: Effect.never })
          : Effect.fail(new EngineIO.Forbidden({ message: "no token" }))
    }, async (server) => {
      const events = await server.collect("an event", EngineIO.events)
      const get = (query: Record<string, string>, method = "GET") => fetchRaw(server, method, engineTarget(query))
      await get({ EIO: "4", transport: "pigeon" })
      await get({ EIO: "4", transport: "polling", sid: "unknown" })
      await get({ EIO: "4", transport: "polling" }, "POST")
      await get({ EIO: "4", transport: "websocket" })
      await get({ EIO: "4", transport: "polling" })
      await get({ EIO: "3", transport: "polling" })
      await refusedUpgrade(server, {})
      const { sid } = await PollingClient.connect(server, { query: { token: "secret" } })
      await get({ EIO: "4", transport: "websocket", sid })
      await events.reached(9)
      assert.deepStrictEqual(events.all.map(briefly), [
        "ConnectionError 0 Transport unknown {\"transport\":\"pigeon\"}",
        "ConnectionError 1 Session ID unknown {\"sid\":\"unknown\"}",
        "ConnectionError 2 Bad handshake method {\"method\":\"POST\"}",
        "ConnectionError 3 Bad request {\"name\":\"TRANSPORT_HANDSHAKE_ERROR\"}",
        "ConnectionError 4 no token {\"message\":\"no token\"}",
        "ConnectionError 5 Unsupported protocol version {\"protocol\":3}",
        "ConnectionError 4 no token {\"message\":\"no token\"}",
        "Connection",
        "ConnectionError 3 Bad request " +
        "{\"name\":\"TRANSPORT_MISMATCH\",\"transport\":\"websocket\",\"previousTransport\":\"polling\"}"
      ])
    })
  )

  it("initial_headers and headers: responseHeaders is asked once for each answer, first for the handshake", async () => {
    const asked: Array<string> = []
    await withServer({
      application: sink,
      responseHeaders: ({ initial, transport }) =>
        Effect.sync(() => {
          asked.push(`${initial ? "initial" : "later"} ${transport}`)
          return {}
        })
    }, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("4hello")
      await WebSocketClient.open(server, { sid: client.sid })
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "x" }))
      await WebSocketClient.connect(server)
      assert.deepStrictEqual(asked, ["initial polling", "later polling", "later websocket", "initial websocket"])
    })()
  })

  it(
    "several observers each get all, and one that leaves disturbs no other",
    withServer({ application: sink }, async (server) => {
      const first = await server.collect("an event", EngineIO.events)
      const taken = server.run(Stream.runCollect(Stream.take(EngineIO.events, 1)))
      await server.barrier()
      await PollingClient.connect(server)
      assert.lengthOf(await taken, 1)
      await PollingClient.connect(server)
      await first.reached(2)
      assert.deepStrictEqual(first.all.map(briefly), ["Connection", "Connection"])
    })
  )

  it(
    "who comes to watch a session that has ended sees nothing, and is not kept",
    withServer({ application: sink }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const socket = await server.socket(client.sid)
      const before = await observe(server, client.sid)
      await client.close()
      await server.reason(client.sid)
      assert.deepStrictEqual(
        Array.from(await within(server.run(Stream.runCollect(Socket.events(socket))), "the end of the stream")),
        []
      )
      assert.strictEqual((await untilEnd(before)).at(-1), "Closed transport close")
    })
  )

  it(
    "the stream ends with the server",
    withServer({ application: idle }, async (server) => {
      const ended = server.run(Stream.runCollect(EngineIO.events))
      await server.barrier()
      await PollingClient.connect(server)
      await server.release()
      assert.deepStrictEqual([...await ended].map(briefly), ["Connection", "Closed forced close"])
    })
  )
})

describe("events of a session", () => {
  it(
    "packet, message, packetCreate, flush and drain: of one message and its answer over polling",
    withServer({ application: sending }, async (server) => {
      const client = await PollingClient.connect(server)
      const events = await observe(server, client.sid)
      const parked = await client.park()
      await client.post("4question")
      assert.strictEqual((await parked.response).text, "4answer")
      await client.post("1")
      assert.deepStrictEqual(await untilEnd(events), [
        "PacketReceived message question",
        "PacketCreated message answer",
        "Flushed message",
        "Drained",
        "PacketReceived close undefined",
        "Closed transport close"
      ])
    })
  )

  it(
    "the same over WebSocket, bytes too",
    withServer({ application: echo }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const events = await observe(server, client.sid)
      client.send("4hello")
      await client.next()
      client.send(Buffer.from("bytes"))
      await client.next()
      await client.close()
      const turn = (data: string) => [
        `PacketReceived message ${data}`,
        `PacketCreated message ${data}`,
        "Flushed message",
        "Drained"
      ]
      assert.deepStrictEqual(await untilEnd(events), [...turn("hello"), ...turn("bytes"), "Closed transport close"])
    })
  )

  it(
    "flush tells all that goes out together, and drain comes when nothing is left",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const events = await observe(server, client.sid)
      await server.run(Socket.sendAll(socket, ["a", "b"]))
      await server.run(EngineIO.broadcast("c"))
      assert.deepStrictEqual(await client.poll(), ["4a", "4b", "4c"])
      await server.run(Socket.close(socket, { discard: true }))
      assert.deepStrictEqual(await untilEnd(events), [
        "PacketCreated message a",
        "PacketCreated message b",
        "PacketCreated message c",
        "Flushed message,message,message",
        "Drained",
        "Closed forced close"
      ])
    })
  )

  it(
    "heartbeat: the ping that is made, the pong that comes, and then the heartbeat",
    withServer({ pingInterval: 200, pingTimeout: 5_000, application: idle }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const events = await observe(server, client.sid)
      assert.strictEqual(await client.next(), "2")
      client.send("3")
      await events.find((it) => it._tag === "Heartbeat")
      await client.close()
      assert.deepStrictEqual((await untilEnd(events)).slice(0, 5), [
        "PacketCreated ping undefined",
        "Flushed ping",
        "Drained",
        "PacketReceived pong undefined",
        "Heartbeat"
      ])
    })
  )

  it(
    "heartbeat: in revision 3 the ping that comes, the heartbeat, and the pong that is made",
    withServer({ allowEIO3: true, application: idle }, async (server) => {
      const client = await WebSocketClient.connect(server, { EIO: "3" })
      const events = await observe(server, client.sid)
      client.send("2")
      assert.strictEqual(await client.next(), "3")
      await client.close()
      assert.deepStrictEqual(await untilEnd(events), [
        "PacketReceived ping undefined",
        "Heartbeat",
        "PacketCreated pong undefined",
        "Flushed pong",
        "Drained",
        "Closed transport close"
      ])
    })
  )

  it(
    "upgrading and upgrade: once each, around what is flushed to the new transport",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const events = await observe(server, client.sid)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await server.run(Socket.send(await server.socket(client.sid), "waiting"))
      candidate.send("5")
      assert.strictEqual(await candidate.next(), "4waiting")
      await candidate.close()
      assert.deepStrictEqual(await untilEnd(events), [
        "Upgrading websocket",
        "PacketCreated message waiting",
        "Upgraded websocket",
        "Flushed message",
        "Drained",
        "Closed transport close"
      ])
    })
  )

  it(
    "close: once, whatever the reason, and nothing after it",
    withServer({ application: sink }, async (server) => {
      const ends: ReadonlyArray<readonly [send: string, events: ReadonlyArray<string>]> = [
        ["9", ["Closed parse error"]],
        ["2", ["PacketReceived ping undefined", "Closed transport error"]],
        ["1", ["PacketReceived close undefined", "Closed transport close"]]
      ]
      for (const [frame, expected] of ends) {
        const client = await WebSocketClient.connect(server)
        const events = await observe(server, client.sid)
        client.send(frame)
        client.send("4too late")
        assert.deepStrictEqual(await untilEnd(events), expected)
      }
    })
  )

  it(
    "of a session that has ended the stream is empty, and so is that of its packets",
    withServer({ application: sink }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      await client.post("1")
      await server.reason(client.sid)
      assert.lengthOf(await server.run(Stream.runCollect(Socket.events(socket))), 0)
      assert.lengthOf(await server.run(Stream.runCollect(Socket.packets(socket))), 0)
    })
  )

  it(
    "R91: packets are those that come, heartbeats included",
    withServer({ pingInterval: 100, pingTimeout: 5_000, application: sink }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const packets = await server.collect("a packet", Socket.packets(await server.socket(client.sid)))
      assert.strictEqual(await client.next(), "2")
      for (const frame of ["3", "4text", "6", "5", "1"]) client.send(frame)
      await server.reason(client.sid)
      await packets.reached(5)
      assert.deepStrictEqual(packets.all.map((it) => it.type), ["pong", "message", "noop", "upgrade", "close"])
    })
  )

  it(
    "a slow listener loses the oldest beyond 16 MiB, is told how many, and holds nobody back",
    withServer({ application: sink }, async (server) => {
      const client = await WebSocketClient.connect(server)
      const socket = await server.socket(client.sid)
      const gate = Latch.makeUnsafe()
      const seen: Array<string> = []
      const listening = server.run(Stream.runForEach(Socket.packets(socket), ({ data }) => {
        seen.push(String(data).trimEnd())
        return gate.await
      }))
      const count = 100
      for (let n = 0; n < count; n++) {
        client.send(`4${String(n).padEnd(300_000)}`)
        await server.received.reached(n + 1)
      }
      gate.openUnsafe()
      await client.close()
      await listening
      assert.strictEqual(seen[0], "0")
      const kept = Math.floor(16 * 1024 * 1024 / 300_000)
      assert.deepStrictEqual(seen.slice(1).map(Number), Array.from({ length: kept }, (_, n) => count - kept + n))
      const warnings = server.logs.filter((it) => it.level === "Warn").map((it) => it.text)
      assert.lengthOf(warnings, 1)
      assert.include(warnings[0], `A listener was too slow, and missed ${count - kept - 1} events`)
    })
  )
})
