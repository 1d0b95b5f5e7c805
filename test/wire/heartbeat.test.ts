import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Socket } from "../../src/index.ts"
import { eventually, pause, pending, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, PollingClient } from "../kit/http.ts"
import { resources } from "../kit/leaks.ts"
import { idle, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

/** Timers may be early by the part of a millisecond that the clock does not show. */
const slack = 2

const clock = () => {
  const started = performance.now()
  return () => performance.now() - started
}

/** Keeps the event loop busy. */
const block = (milliseconds: number) => {
  const elapsed = clock()
  while (elapsed() < milliseconds) { /* busy */ }
}

const target = (transport: string, sid: string) => engineTarget({ EIO: "4", transport, sid })

const requests = [
  { how: "GET", request: (sid: string) => encodeRequest("GET", target("polling", sid)) },
  { how: "POST", request: (sid: string) => encodeRequest("POST", target("polling", sid), { body: "4late" }) },
  {
    how: "upgrade",
    request: (sid: string) => encodeRequest("GET", target("websocket", sid), { headers: upgradeHeaders() })
  }
]

describe("heartbeat", () => {
  it(
    "R-H1: a WebSocket client is pinged after pingInterval",
    withServer({ pingInterval: 200 }, async (server) => {
      const elapsed = clock()
      const webSocket = await RawWebSocket.open(server)
      await webSocket.next()
      const frame = await webSocket.next()
      assert.strictEqual(frame.payload.toString(), "2")
      assert.strictEqual(frame.opcode, Opcode.text)
      assert.isAtLeast(elapsed(), 200 - slack)
    })
  )

  for (const { how, request } of requests) {
    it(
      `R-H1: a request for a session whose time is over finds it ended, whether a timer has fired or not: ${how}`,
      withServer({
        pingInterval: 100,
        pingTimeout: 100,
        allowRequest: (request) => Effect.sync(() => request.url.includes("busy") && block(400))
      }, async (server) => {
        const { sid } = await PollingClient.connect(server)
        // Both requests are there when the server, kept busy by the first beyond both deadlines, comes to the second.
        const busy = await Connection.open(server)
        const late = await Connection.open(server)
        busy.send("GET", engineTarget({ EIO: "4", transport: "polling", busy: "" }))
        late.write(request(sid))
        const response = await late.response()
        assert.strictEqual(response.status, 400)
        assert.include(response.text, "Session ID unknown")
        assert.strictEqual(await server.reasonText(sid), "ping timeout")
      })
    )
  }

  it(
    "R-H1: lateness does not add up: the time for the pong counts from when its ping was due",
    withServer({ pingInterval: 100, pingTimeout: 1_500 }, async (server) => {
      const elapsed = clock()
      const client = await PollingClient.connect(server)
      block(1_500)
      // 1600 ms after the handshake, and not 1500 ms after the server noticed that the ping was due.
      assert.strictEqual(await server.reasonText(client.sid), "ping timeout")
      assert.isBelow(elapsed(), 2_600)
    })
  )

  it(
    "R-H1: a server that was busy beyond the whole time of a client asks it before it gives it up",
    withServer({ pingInterval: 100, pingTimeout: 100 }, async (server) => {
      const webSocket = await RawWebSocket.open(server)
      await webSocket.next()
      block(400)
      for (let i = 0; i < 2; i++) {
        assert.strictEqual((await webSocket.next()).payload.toString(), "2")
        webSocket.write(Opcode.text, "3")
      }
    })
  )

  it(
    "R-H4: with 300 and 200 ms each GET brings a ping at each interval, and silence is punished at 500 ms",
    withServer({ pingInterval: 300, pingTimeout: 200 }, async (server) => {
      const client = await PollingClient.connect(server)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual((await client.get()).text, "2")
        assert.strictEqual((await client.post("3")).text, "ok")
      }
      const silent = await PollingClient.connect(server)
      await pause(500)
      assert.strictEqual((await silent.get()).status, 400)
    })
  )

  it(
    "R-H5: a hundred thousand unasked pongs start no timer, and what follows is answered",
    withServer({}, async (server) => {
      const webSocket = await WebSocketClient.connect(server)
      const timers = resources()["Timeout"] ?? 0
      for (let i = 0; i < 100_000; i++) webSocket.send("3")
      webSocket.send("4hello")
      assert.deepStrictEqual(await webSocket.messages(1), ["4hello"])
      assert.isAtMost(resources()["Timeout"] ?? 0, timers + 1)
      const polling = await PollingClient.connect(server)
      assert.strictEqual((await polling.post(`3${"\x1e3".repeat(50_000)}`)).text, "ok")
    })
  )

  it(
    "R-H6: a closing session whose messages nobody takes holds no POST, and owes its pong like any other",
    withServer({
      application: idle,
      receiveBuffer: { messages: 1 },
      pingInterval: 100,
      pingTimeout: 150,
      closeTimeout: "1 hour",
      drainTimeout: 200
    }, async (server) => {
      const client = await PollingClient.connect(server)
      const posted = client.post("4one\x1e4two\x1e4three")
      assert.strictEqual((await client.get()).text, "2")
      assert.isTrue(await pending(posted))
      const socket = await server.socket(client.sid)
      await server.run(Socket.close(socket))
      assert.strictEqual((await posted).text, "ok")
      assert.strictEqual(
        (await within(server.run(Socket.closed(socket)), "the end of the session"))._tag,
        "PingTimeout"
      )
    })
  )

  it(
    "R-H1: a session's heartbeat ends with it",
    withServer({ pingInterval: 50, pingTimeout: 50 }, async (server) => {
      const timers = resources()["Timeout"] ?? 0
      for (let i = 0; i < 10; i++) {
        const webSocket = await WebSocketClient.connect(server)
        await webSocket.close()
        const polling = await PollingClient.connect(server)
        await polling.post("1")
      }
      await server.ended.reached(20)
      await eventually("timers released", () => resources()["Timeout"] ?? 0, (now) => now <= timers)
      assert.isTrue(server.ended.all.every((it) => it.reason._tag === "TransportClose"))
    })
  )
})
