/**
 * What the protocol's own conformance suite asks of a server of revision 4, with its settings (T1).
 */
import { assert, describe, it } from "@effect/vitest"
import { pause } from "../kit/events.ts"
import { fetchRaw, PollingClient } from "../kit/http.ts"
import { type Config, withServer } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

const settings: Config = { pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 }

describe("conformance suite", () => {
  it(
    "T2: the open packet has exactly five members",
    withServer(settings, async (server) => {
      for (const { open } of [await PollingClient.connect(server), await WebSocketClient.connect(server)]) {
        assert.deepStrictEqual(Object.keys(open), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"])
        assert.isString(open.sid)
        assert.strictEqual(open.pingInterval, 300)
        assert.strictEqual(open.pingTimeout, 200)
        assert.strictEqual(open.maxPayload, 1_000_000)
      }
    })
  )

  it(
    "T3: POST and PUT without a session get 400",
    withServer(settings, async (server) => {
      for (const method of ["POST", "PUT"]) {
        assert.strictEqual((await fetchRaw(server, method, "/engine.io/?EIO=4&transport=polling")).status, 400)
      }
    })
  )

  it(
    "T4: a missing or unreadable EIO gets 400, or the end of a WebSocket",
    withServer(settings, async (server) => {
      for (const query of ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=4&transport=abc"]) {
        assert.strictEqual((await fetchRaw(server, "GET", `/engine.io/?${query}`)).status, 400)
      }
      for (const EIO of ["", "abc"]) {
        const outcome = await WebSocketClient.open(server, { EIO }).then(
          (client) => client.closed.then(() => "closed"),
          () => "refused"
        )
        assert.include(["closed", "refused"], outcome)
      }
    })
  )

  it(
    "T5: three messages that came in one POST come back in one GET",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      assert.strictEqual((await client.post("4test1\x1e4test2\x1e4test3")).text, "ok")
      assert.strictEqual((await client.get()).text, "4test1\x1e4test2\x1e4test3")
    })
  )

  it(
    "T6: text and bytes come back as they were sent",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      await client.post("4hello\x1ebAQIDBA==")
      assert.strictEqual((await client.get()).text, "4hello\x1ebAQIDBA==")
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
      webSocket.send(Buffer.from([1, 2, 3, 4]))
      assert.deepStrictEqual(await webSocket.next(), Buffer.from([1, 2, 3, 4]))
    })
  )

  it(
    "T7: of two GETs five milliseconds apart the first gets a close packet, the second 400",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      const first = client.get()
      await pause(5)
      const second = client.get()
      assert.strictEqual((await first).status, 200)
      assert.strictEqual((await first).text, "1")
      assert.strictEqual((await second).status, 400)
    })
  )

  it(
    "T8: after an aborted GET the next one gets 400",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      const poll = await client.park()
      await poll.connection.close()
      assert.strictEqual((await client.get()).status, 400)
    })
  )

  it(
    "T9: a pending GET gets a noop when the client closes",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      const [poll] = await Promise.all([client.get(), client.post("1")])
      assert.strictEqual(poll.status, 200)
      assert.strictEqual(poll.text, "6")
      assert.strictEqual((await client.get()).status, 400)
    })
  )

  it(
    "T10: a GET that comes after the probe is answered with a noop within about 100 ms",
    withServer({ ...settings, pingInterval: 5_000 }, async (server) => {
      const client = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.open(server, { sid: client.sid })
      webSocket.send("2probe")
      assert.strictEqual(await webSocket.next(), "3probe")
      assert.strictEqual((await client.get()).text, "6")
      webSocket.send("5")
      webSocket.send("4hello")
      assert.strictEqual(await webSocket.next(), "4hello")
    })
  )

  it(
    "T11: requests of the old transport, and a second WebSocket, are turned away after an upgrade",
    withServer(settings, async (server) => {
      const client = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.open(server, { sid: client.sid })
      webSocket.send("2probe")
      await webSocket.next()
      webSocket.send("5")
      webSocket.send("4hello")
      assert.deepStrictEqual(await webSocket.messages(1), ["4hello"])
      assert.strictEqual((await client.get()).status, 400)
      assert.strictEqual((await client.post("4hello")).status, 400)
      const second = await WebSocketClient.open(server, { sid: client.sid })
      await second.closed
      webSocket.send("4still here")
      assert.deepStrictEqual(await webSocket.messages(1), ["4still here"])
    })
  )

  it(
    "T1: pings come over both transports and silence is noticed within half a second",
    withServer(settings, async (server) => {
      const polling = await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual((await polling.get()).text, "2")
        await polling.post("3")
        assert.strictEqual(await webSocket.next(), "2")
        webSocket.send("3")
      }
      await webSocket.closed
      assert.strictEqual(await server.reasonText(webSocket.sid), "ping timeout")
    })
  )

  it(
    "T9: a WebSocket that is closed, or sends a close packet, ends its session",
    withServer(settings, async (server) => {
      const first = await WebSocketClient.connect(server)
      await first.close()
      const second = await WebSocketClient.connect(server)
      second.send("1")
      await second.closed
      assert.strictEqual(await server.reasonText(first.sid), "transport close")
      assert.strictEqual(await server.reasonText(second.sid), "transport close")
    })
  )
})
