import { assert, describe, it } from "@effect/vitest"
import { Socket } from "../../src/index.ts"
import { pending } from "../kit/events.ts"
import { PollingClient, type Response } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import { idle, sink, type TestServer, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, WebSocketClient } from "../kit/ws.ts"

/** A session on polling, and a WebSocket that asked to take over and was told it may. */
const probe = async (server: TestServer) => {
  const client = await PollingClient.connect(server)
  return { client, candidate: await probeWith(server, client) }
}

const probeWith = async (server: TestServer, client: PollingClient): Promise<WebSocketClient> => {
  const candidate = await WebSocketClient.open(server, { sid: client.sid })
  candidate.send("2probe")
  assert.strictEqual(await candidate.next(), "3probe")
  return candidate
}

/** A session that has upgraded. */
const upgrade = async (server: TestServer) => {
  const { candidate, client } = await probe(server)
  candidate.send("5")
  candidate.send("4upgraded")
  assert.strictEqual(await candidate.next(), "4upgraded")
  return { client, webSocket: candidate }
}

/** Whether the session works on polling as if there had been no upgrade. */
const isPolling = async (server: TestServer, client: PollingClient): Promise<void> => {
  assert.strictEqual((await client.post("4over polling")).text, "ok")
  assert.deepStrictEqual(await client.messages(1), ["4over polling"])
  const socket = await server.socket(client.sid)
  assert.strictEqual(await server.run(Socket.transport(socket)), "polling")
  assert.isFalse(await server.run(Socket.upgraded(socket)))
}

const isMismatch = (response: Response): void => {
  assert.strictEqual(response.status, 400)
  assert.strictEqual(response.text, "{\"code\":3,\"message\":\"Bad request\"}")
}

describe("upgrade: start", () => {
  it(
    "R76: a candidate that never probes is closed after upgradeTimeout",
    withServer({ upgradeTimeout: 100 }, async (server) => {
      const client = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      assert.strictEqual((await candidate.closed).code, 1005)
      await isPolling(server, client)
    })
  )

  it(
    "R77: a probe is answered at once, and a GET that waits gets a noop at once",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      await probeWith(server, client)
      await server.barrier()
      assert.isFalse(await pending(poll.response))
      assert.strictEqual((await poll.response).text, "6")
      assert.strictEqual((await poll.response).header("content-type"), "text/plain; charset=UTF-8")
    })
  )

  it(
    "R77: the observers learn of the probe",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const events = await server.collect("an event", Socket.events(await server.socket(client.sid)))
      const candidate = await probeWith(server, client)
      await events.find((event) => event._tag === "Upgrading" && event.transport === "websocket")
      candidate.send("5")
      await events.find((event) => event._tag === "Upgraded" && event.transport === "websocket")
    })
  )
})

describe("upgrade: completion", () => {
  it(
    "R78: an upgrade packet moves the session, and what waited goes out there",
    withServer({ application: idle }, async (server) => {
      const { candidate, client } = await probe(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.sendAll(socket, ["one", "two"]))
      candidate.send("5")
      assert.deepStrictEqual(await candidate.frames.take(2), ["4one", "4two"])
      assert.strictEqual(await server.run(Socket.transport(socket)), "websocket")
      assert.isTrue(await server.run(Socket.upgraded(socket)))
      assert.strictEqual(await server.count(), 1)
    })
  )

  it(
    "R78: an upgrade packet without a probe is accepted",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("5")
      candidate.send("4hello")
      assert.strictEqual(await candidate.next(), "4hello")
      assert.isTrue(await server.run(Socket.upgraded(await server.socket(client.sid))))
    })
  )

  it(
    "R78: a session that was closing when the upgrade came closes on the new transport",
    withServer({ application: idle }, async (server) => {
      const { candidate, client } = await probe(server)
      const socket = await server.socket(client.sid)
      await server.run(Socket.send(socket, "last words"))
      await server.run(Socket.close(socket))
      assert.strictEqual(await server.run(Socket.state(socket)), "closing")
      candidate.send("5")
      assert.strictEqual(await candidate.next(), "4last words")
      assert.strictEqual((await candidate.closed).code, 1005)
      assert.strictEqual(await server.reasonText(client.sid), "forced close")
      assert.strictEqual(await server.count(), 0)
    })
  )
})

describe("upgrade: failure", () => {
  it(
    "R79: any other packet closes the candidate, and is not delivered",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const packet of ["4early", "0", "1", "2", "2probeX", "3", "3probe", "6", "bAQID", Buffer.from([1, 2, 3])]) {
        const candidate = await WebSocketClient.open(server, { sid: client.sid })
        candidate.send(packet)
        assert.strictEqual((await candidate.closed).code, 1005)
      }
      assert.deepStrictEqual(server.received.all, [])
      await isPolling(server, client)
    })
  )

  it(
    "R79: so it is after a probe",
    withServer({}, async (server) => {
      const { candidate, client } = await probe(server)
      candidate.send("4early")
      assert.strictEqual((await candidate.closed).code, 1005)
      await isPolling(server, client)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["over polling"])
    })
  )

  it(
    "R79: a second probe closes the candidate too, without an answer",
    withServer({}, async (server) => {
      const { candidate, client } = await probe(server)
      candidate.send("2probe")
      assert.strictEqual((await candidate.closed).code, 1005)
      assert.deepStrictEqual(candidate.frames.untaken, [])
      await isPolling(server, client)
      const second = await probeWith(server, client)
      second.send("5")
      second.send("4hello")
      assert.strictEqual(await second.next(), "4hello")
    })
  )

  it(
    "R79: so do bytes that are no packet of revision 3",
    withServer({ allowEIO3: true, upgradeTimeout: "1 hour" }, async (server) => {
      const { sid } = await PlainPollingClient.connect(server)
      const candidate = await WebSocketClient.open(server, { EIO: "3", sid })
      candidate.send(Buffer.from([9, 1]))
      assert.strictEqual((await candidate.closed).code, 1005)
    })
  )

  it(
    "R79: what is no packet, or no frame, closes the candidate only",
    withServer({ maxPayload: 1_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      for (const packet of ["", "9", "x", "x".repeat(1_001)]) {
        const candidate = await WebSocketClient.open(server, { sid: client.sid })
        candidate.send(packet)
        await candidate.closed
      }
      const raw = await RawWebSocket.open(server, { sid: client.sid })
      raw.connection.write(Buffer.from("\xFF\xFFgarbage", "latin1"))
      await raw.closed
      const invalid = await RawWebSocket.open(server, { sid: client.sid })
      invalid.write(Opcode.text, Uint8Array.from([0xff]))
      assert.strictEqual(await invalid.closeCode(), 1007)
      await server.barrier()
      await isPolling(server, client)
    })
  )

  it(
    "R79: a candidate that leaves changes nothing, and a later one may succeed",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      for (const afterProbe of [false, true]) {
        for (const leave of ["frame", "close", "reset"] as const) {
          const raw = await RawWebSocket.open(server, { sid: client.sid })
          if (afterProbe) {
            raw.write(Opcode.text, "2probe")
            assert.strictEqual((await raw.next()).payload.toString(), "3probe")
          }
          if (leave === "frame") raw.write(Opcode.close)
          else await raw.connection[leave]()
          await raw.closed
          await server.barrier()
          await isPolling(server, client)
        }
      }
      const candidate = await probeWith(server, client)
      candidate.send("5")
      candidate.send("4at last")
      assert.strictEqual(await candidate.next(), "4at last")
    })
  )

  it(
    "R79: the end of the session closes the candidate",
    withServer({}, async (server) => {
      const ends: ReadonlyArray<(client: PollingClient) => Promise<unknown>> = [
        (client) => client.post("1"),
        (client) => client.post("9"),
        async (client) => server.run(Socket.close(await server.socket(client.sid), { discard: true }))
      ]
      for (const end of ends) {
        const { candidate, client } = await probe(server)
        await end(client)
        assert.strictEqual((await candidate.closed).code, 1005)
        await server.reason(client.sid)
      }
      assert.strictEqual(await server.count(), 0)
    })
  )
})

describe("upgrade: messages", () => {
  it(
    "R80: while the upgrade lasts a GET takes what waits, and the rest goes to the new transport",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      const send = (...messages: Array<string>) => server.run(Socket.sendAll(socket, messages))
      await send("1", "2")
      assert.deepStrictEqual(await client.poll(), ["41", "42"])
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await send("3")
      assert.deepStrictEqual(await client.messages(1), ["43"])
      await send("4", "5")
      candidate.send("5")
      assert.deepStrictEqual(await candidate.frames.take(2), ["44", "45"])
      await send("6")
      assert.strictEqual(await candidate.next(), "46")
    })
  )

  it(
    "R80: the client's POSTs arrive while the upgrade lasts, before what it sends afterwards",
    withServer({ application: sink }, async (server) => {
      const { candidate, client } = await probe(server)
      assert.strictEqual((await client.post("41\x1e42")).text, "ok")
      assert.strictEqual((await client.post("43")).text, "ok")
      candidate.send("5")
      candidate.send("44")
      await server.received.reached(4)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["1", "2", "3", "4"])
    })
  )

  it(
    "R81: a GET that still waits when the upgrade completes gets a close packet",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("5")
      assert.strictEqual((await poll.response).status, 200)
      assert.strictEqual((await poll.response).text, "1")
      candidate.send("4hello")
      assert.strictEqual(await candidate.next(), "4hello")
    })
  )

  it(
    "R81: requests of the old transport get code 3 afterwards, and harm nothing",
    withServer({}, async (server) => {
      const { client, webSocket } = await upgrade(server)
      isMismatch(await client.get())
      isMismatch(await client.post("4old"))
      isMismatch(await client.post("1"))
      isMismatch(await client.request("PUT"))
      webSocket.send("4still here")
      assert.strictEqual(await webSocket.next(), "4still here")
      assert.deepStrictEqual(server.messagesOf(client.sid), ["upgraded", "still here"])
    })
  )

  it(
    "R80: a POST of which there was no room for all is refused by the upgrade, and the session goes on",
    withServer({ application: idle }, async (server) => {
      const client = await PollingClient.connect(server)
      const socket = await server.socket(client.sid)
      const post = client.post("4x\x1e".repeat(5_000) + "4x")
      const candidate = await WebSocketClient.open(server, { sid: client.sid })
      candidate.send("2probe")
      assert.strictEqual(await candidate.next(), "3probe")
      await server.requests.reached(3)
      await server.barrier()
      candidate.send("5")
      assert.strictEqual((await post).status, 400)
      candidate.send("4over WebSocket")
      let last: unknown
      while (last !== "over WebSocket") last = (await server.run(Socket.receiveAll(socket))).at(-1)
      assert.isTrue(await server.run(Socket.upgraded(socket)))
    })
  )

  it(
    "R81: a POST that is cut short by the upgrade does not end the session",
    withServer({}, async (server) => {
      const { candidate, client } = await probe(server)
      const post = await client.beginPost("4he", 6)
      candidate.send("5")
      candidate.send("4hello")
      assert.strictEqual(await candidate.next(), "4hello")
      post.write("llo")
      await Promise.race([post.outcome(), post.closed])
      await post.reset()
      await server.barrier()
      candidate.send("4still here")
      assert.strictEqual(await candidate.messages(1).then(([it]) => it), "4still here")
      assert.strictEqual(await server.count(), 1)
    })
  )

  it(
    "R84: the end of the old transport's connections is not the session's",
    withServer({}, async (server) => {
      const { webSocket } = await upgrade(server)
      for (const connection of server.connections) await connection.reset()
      await server.barrier()
      webSocket.send("4still here")
      assert.strictEqual(await webSocket.next(), "4still here")
    })
  )

  it(
    "R84: a rejected candidate's further frames are ignored",
    withServer({}, async (server) => {
      const client = await PollingClient.connect(server)
      const raw = await RawWebSocket.open(server, { sid: client.sid })
      raw.write(Opcode.text, "4early")
      for (const frame of ["2probe", "5", "4late", "1"]) raw.write(Opcode.text, frame)
      assert.isUndefined(await raw.closeCode())
      raw.write(Opcode.text, "5")
      raw.write(Opcode.close)
      await raw.closed
      await isPolling(server, client)
      assert.deepStrictEqual(server.messagesOf(client.sid), ["over polling"])
      assert.isFalse(raw.frames.all.some((frame) => frame.opcode === Opcode.text))
    })
  )
})

describe("upgrade: heartbeat", () => {
  it(
    "R82: a ping that was sent before the upgrade must still be answered after it",
    withServer({ pingInterval: 100, pingTimeout: 400 }, async (server) => {
      const begun = performance.now()
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["2"])
      const candidate = await probeWith(server, client)
      candidate.send("5")
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
      const elapsed = performance.now() - begun
      assert.isAtLeast(elapsed, 490)
      assert.isBelow(elapsed, 900)
      await candidate.closed
      assert.strictEqual(await server.count(), 0)
    })
  )

  it(
    "R82: a pong over the new transport answers it",
    withServer({ pingInterval: 100, pingTimeout: 2_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["2"])
      const candidate = await probeWith(server, client)
      candidate.send("5")
      candidate.send("3")
      for (let i = 0; i < 4; i++) {
        assert.strictEqual(await candidate.next(), "2")
        candidate.send("3")
      }
      assert.strictEqual(await server.count(), 1)
    })
  )

  it(
    "R83: while the upgrade lasts pings go through the old transport",
    withServer({ pingInterval: 150, pingTimeout: 2_000 }, async (server) => {
      const { candidate, client } = await probe(server)
      const packets: Array<string> = []
      while (!packets.includes("2")) packets.push(...await client.poll())
      assert.isTrue(packets.every((packet) => packet === "2" || packet === "6"))
      assert.deepStrictEqual(candidate.frames.untaken, [])
      candidate.send("5")
      candidate.send("3")
      assert.strictEqual(await candidate.next(), "2")
    })
  )
})
