/**
 * The recipes for one server each client, run by the real balancers before two servers.
 */
import { assert, describe, it } from "vitest"
import { balancers, missingOf, withBalancer } from "../kit/balancers.ts"
import { EngineClient, largest } from "../kit/client.ts"
import { unwatched, withServer } from "../kit/server.ts"

for (const balancer of balancers) {
  const missing = missingOf([balancer])

  describe.skipIf(missing !== "")(`behind ${balancer.heading}${missing}`, () => {
    it("sessions stay with their server, from the first poll through the upgrade, and are spread over both", async () => {
      await withServer({}, async (one) => {
        await withServer({}, (other) =>
          withBalancer(balancer, "proxies.md", [one.port, other.port], async (port) => {
            const clients = await Promise.all(
              Array.from({ length: 20 }, (_, i) =>
                EngineClient.connect(unwatched(port), i % 2 === 0 ? "upgrade" : "polling", {
                  localAddress: `127.0.${i}.2`
                }))
            )
            for (const client of clients) {
              assert.strictEqual(await client.exchange("hello"), "hello")
            }
            const counts = [await one.count(), await other.count()] as const
            assert.strictEqual(counts[0] + counts[1], clients.length)
            assert.isAbove(Math.min(...counts), 0)
            for (const client of clients) {
              await client.close()
            }
          }))()
      })()
    })

    for (const mode of ["polling", "websocket"] as const) {
      it(`the largest messages pass both ways on ${mode}`, async () => {
        await withServer(
          {},
          (server) =>
            withBalancer(balancer, "proxies.md", [server.port, server.port], async (port) => {
              const client = await EngineClient.connect(unwatched(port), mode)
              const message = "x".repeat(largest(mode, 1_000_000).text)
              assert.strictEqual(await client.exchange(message), message)
              await client.close()
            })
        )()
      })
    }
  })
}
