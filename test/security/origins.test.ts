/**
 * Pages of origins that nobody invited.
 */
import { assert, describe, it } from "@effect/vitest"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { withServer } from "../kit/server.ts"
import { RawWebSocket, refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

const polling = engineTarget({ EIO: "4", transport: "polling" })
const origin = { Origin: "https://evil.example" }

describe("origins", () => {
  it(
    "CVE-2020-28481: without cors no page of another origin is let in",
    withServer({ pingInterval: 50 }, async (server) => {
      const client = await PollingClient.connect(server, { headers: origin })
      const answers = [
        client.handshake,
        await client.get({ headers: origin }),
        await fetchRaw(server, "OPTIONS", polling, { headers: origin }),
        await fetchRaw(server, "GET", polling.replace("polling", "x"), { headers: origin }),
        (await RawWebSocket.open(server, {}, { headers: origin })).response
      ]
      for (const answer of answers) {
        for (const [name] of answer.headers) assert.notMatch(name, /^access-control-/i)
      }
    })
  )

  it(
    "CVE-2020-28481: with cors, credentials never go with a star unasked, and a wrong origin gets no header at all",
    async () => {
      await withServer({ cors: true }, async (server) => {
        const { handshake } = await PollingClient.connect(server, { headers: origin })
        assert.strictEqual(handshake.header("access-control-allow-origin"), "*")
        assert.isUndefined(handshake.header("access-control-allow-credentials"))
      })()
      const cors = { origin: ["https://good.example"], credentials: true }
      await withServer({ cors }, async (server) => {
        const { handshake } = await PollingClient.connect(server, { headers: origin })
        assert.isUndefined(handshake.header("access-control-allow-origin"))
        const good = await PollingClient.connect(server, { headers: { Origin: "https://good.example" } })
        assert.strictEqual(good.handshake.header("access-control-allow-origin"), "https://good.example")
      })()
    }
  )

  it(
    "CVE-2019-13611: an origin that is not on the list opens nothing, whatever cookies its page brings",
    withServer({ allowedOrigins: ["https://good.example"] }, async (server) => {
      for (const headers of [origin, { Origin: "null" }, { Origin: "https://good.example.evil.example" }]) {
        const evil = { ...headers, Cookie: "session=stolen" }
        const refused = await fetchRaw(server, "GET", polling, { headers: evil })
        assert.strictEqual(refused.status, 403)
        assert.strictEqual(refused.text, "{\"code\":4,\"message\":\"Origin not allowed\"}")
        assert.strictEqual((await refusedUpgrade(server, {}, { headers: evil })).response.status, 403)
      }
      const headers = { Origin: "https://good.example" }
      const client = await PollingClient.connect(server, { headers })
      await WebSocketClient.connect(server, {}, { origin: "https://good.example" })
      // Nor does it help to know a session.
      const posted = await client.post("4hello", { ...origin, "Content-Type": "text/plain" })
      assert.strictEqual(posted.status, 403)
      assert.strictEqual((await refusedUpgrade(server, { sid: client.sid }, { headers: origin })).response.status, 403)
      assert.deepStrictEqual(server.received.all, [])
      assert.strictEqual(await server.count(), 2)
    })
  )
})
