/**
 * The move of a session from polling to WebTransport.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { EngineIO, Socket } from "../../src/index.ts"
import { eventually, pause, pending } from "../kit/events.ts"
import { PollingClient } from "../kit/http.ts"
import { type Config, sink, type TestServer, withServer } from "../kit/server.ts"
import { isUpgrading } from "../kit/session.ts"
import { frame, frames, MemoryClient } from "../kit/webTransport.ts"
import { WebSocketClient } from "../kit/ws.ts"

const transports = ["polling", "websocket", "webtransport"] as const

const candidateFor = async (server: TestServer, sid: string): Promise<MemoryClient> => {
  const candidate = await MemoryClient.connect(server)
  void candidate.write(frame(`0${JSON.stringify({ sid })}`))
  return candidate
}

/** A session on polling, and a WebTransport session that asked to take over and was told it may. */
const probe = async (server: TestServer) => {
  const client = await PollingClient.connect(server)
  const candidate = await candidateFor(server, client.sid)
  void candidate.write(frame("2probe"))
  assert.strictEqual(await candidate.packets.next(), "3probe")
  return { client, candidate }
}

const upgrade = async (server: TestServer) => {
  const { candidate, client } = await probe(server)
  void candidate.write(frames("5", "4upgraded"))
  assert.strictEqual(await candidate.packets.next(), "4upgraded")
  return { client, candidate }
}

/** Whether the session works on polling as if there had been no upgrade. */
const isPolling = async (server: TestServer, client: PollingClient): Promise<void> => {
  assert.strictEqual((await client.post("4over polling")).text, "ok")
  assert.deepStrictEqual(await client.messages(1), ["4over polling"])
  const socket = await server.socket(client.sid)
  assert.strictEqual(await server.run(Socket.transport(socket)), "polling")
}

const test = (name: string, config: Config, body: (server: TestServer) => Promise<void>) =>
  it(name, withServer({ transports, ...config }, body))

describe("upgrade to WebTransport", () => {
  test("R76–R78: probe, upgrade, and messages both ways in one chunk with the upgrade", {}, async (server) => {
    const { candidate, client } = await upgrade(server)
    const socket = await server.socket(client.sid)
    assert.strictEqual(await server.run(Socket.transport(socket)), "webtransport")
    assert.isTrue(await server.run(Socket.upgraded(socket)))
    assert.strictEqual((await client.get()).status, 400)
    void candidate.write(frame(Uint8Array.of(1)))
    assert.deepEqual(await candidate.packets.next(), Uint8Array.of(1))
  })

  test("R87: the end of the client after the upgrade is the end of the session", {}, async (server) => {
    for (const leave of ["close", "kill", "finish"] as const) {
      const { candidate, client } = await upgrade(server)
      candidate[leave]()
      assert.strictEqual((await server.reason(client.sid))._tag, "TransportClose")
    }
  })

  test(
    "R87: the pong of a ping that went by polling is not taken for the last",
    { pingInterval: 50 },
    async (server) => {
      const client = await PollingClient.connect(server)
      assert.deepStrictEqual(await client.poll(), ["2"])
      const candidate = await MemoryClient.connect(server, { pongs: false })
      void candidate.write(frames(`0${JSON.stringify({ sid: client.sid })}`, "2probe", "5"))
      assert.strictEqual(await candidate.packets.next(), "3probe")
      const socket = await server.socket(client.sid)
      await eventually("the upgrade", () => server.run(Socket.upgraded(socket)), (upgraded) => upgraded)
      await server.run(Socket.close(socket))
      assert.strictEqual(await candidate.packets.next(), "2")
      void candidate.write(frame("3"))
      assert.isTrue(await pending(candidate.closed))
      void candidate.write(frame("3"))
      assert.deepStrictEqual(await candidate.end(1_500), {})
    }
  )

  test(
    "R87: a ping that was due while it closed, and not sent, is not waited for",
    { pingInterval: 50 },
    async (server) => {
      const client = await PollingClient.connect(server)
      const candidate = await MemoryClient.connect(server, { pongs: false })
      void candidate.write(frames(`0${JSON.stringify({ sid: client.sid })}`, "2probe"))
      assert.strictEqual(await candidate.packets.next(), "3probe")
      const socket = await server.socket(client.sid)
      await server.run(Socket.close(socket))
      await pause(150)
      void candidate.write(frame("5"))
      assert.strictEqual(await candidate.packets.next(), "2")
      void candidate.write(frame("3"))
      assert.deepStrictEqual(await candidate.end(1_500), {})
    }
  )

  test("R77: a GET that waits is answered with a noop", {}, async (server) => {
    const client = await PollingClient.connect(server)
    const poll = await client.park()
    const candidate = await candidateFor(server, client.sid)
    void candidate.write(frame("2probe"))
    assert.strictEqual((await poll.response).text, "6")
  })

  test("R80: what no GET took goes over WebTransport, in order", { application: sink }, async (server) => {
    const { candidate, client } = await probe(server)
    await server.run(Socket.sendAll(await server.socket(client.sid), ["a", "b"]))
    void candidate.write(frame("5"))
    assert.deepStrictEqual(await candidate.packets.take(2), ["4a", "4b"])
  })

  test("R78: the first packet, probe and upgrade may come in one chunk", {}, async (server) => {
    const client = await PollingClient.connect(server)
    const candidate = await MemoryClient.connect(server)
    void candidate.write(frames(`0{"sid":"${client.sid}"}`, "2probe", "5", "4all at once"))
    assert.deepStrictEqual(await candidate.packets.take(2), ["3probe", "4all at once"])
  })

  test("R79: any other packet, bytes that are none, or the end of the candidate: still polling", {}, async (server) => {
    const client = await PollingClient.connect(server)
    for (const packet of ["4message", "9", "1", Uint8Array.of(1)]) {
      const candidate = await candidateFor(server, client.sid)
      void candidate.write(frame(packet))
      await candidate.end()
      await isPolling(server, client)
    }
    for (const bytes of [Uint8Array.of(0), Uint8Array.of(0xff, 1, 1, 1, 1, 1, 1, 1, 1)]) {
      const candidate = await candidateFor(server, client.sid)
      void candidate.write(bytes)
      await candidate.end()
      await isPolling(server, client)
    }
    for (const leave of ["kill", "close", "finish"] as const) {
      const candidate = await candidateFor(server, client.sid)
      void candidate.write(frame("2probe"))
      await candidate.packets.next()
      candidate[leave]()
      await candidate.end()
      await eventually(
        "a free way",
        async () => isUpgrading(await server.socket(client.sid)),
        (upgrading) => !upgrading
      )
      await isPolling(server, client)
    }
  })

  test("R79: a probe is answered once, a second closes the candidate", {}, async (server) => {
    const client = await PollingClient.connect(server)
    const candidate = await candidateFor(server, client.sid)
    void candidate.write(frames(...Array.from({ length: 10_000 }, () => "2probe")))
    await candidate.end()
    assert.isAtMost(candidate.packets.all.length, 1)
    await isPolling(server, client)
  })

  test("R79: a candidate that does not come to an end in time is closed", { upgradeTimeout: 60 }, async (server) => {
    const client = await PollingClient.connect(server)
    const candidate = await candidateFor(server, client.sid)
    await candidate.end()
    await isPolling(server, client)
  })

  test("R86: a second upgrade at the same time is closed, the first goes on", {}, async (server) => {
    const { candidate, client } = await probe(server)
    const second = await candidateFor(server, client.sid)
    await second.end()
    void candidate.write(frames("5", "4first"))
    assert.strictEqual(await candidate.packets.next(), "4first")
  })

  test("R86: an upgrade while a WebSocket probes is closed, and the other way round", {}, async (server) => {
    const client = await PollingClient.connect(server)
    const webSocket = await WebSocketClient.open(server, { sid: client.sid })
    webSocket.send("2probe")
    assert.strictEqual(await webSocket.next(), "3probe")
    await (await candidateFor(server, client.sid)).end()
    const other = await probe(server)
    const late = await WebSocketClient.open(server, { sid: other.client.sid })
    await late.closed
    void other.candidate.write(frames("5", "4done"))
    assert.strictEqual(await other.candidate.packets.next(), "4done")
  })

  test("R86: a session that has upgraded is not upgraded again", {}, async (server) => {
    const { candidate, client } = await upgrade(server)
    await (await candidateFor(server, client.sid)).end()
    void candidate.write(frame("4still"))
    assert.strictEqual(await candidate.packets.next(), "4still")
  })

  test("R28: refused where upgrades are off", { allowUpgrades: false }, async (server) => {
    const client = await PollingClient.connect(server)
    assert.deepStrictEqual(client.open.upgrades, [])
    await (await candidateFor(server, client.sid)).end()
    await isPolling(server, client)
  })

  test("R12: allowRequest is asked for an upgrade too", {
    allowRequest: (request) =>
      request.url.includes("webtransport") ? Effect.fail(new EngineIO.Forbidden({ message: "no" })) : Effect.void
  }, async (server) => {
    const client = await PollingClient.connect(server)
    assert.deepStrictEqual(await (await candidateFor(server, client.sid)).end(), { closeCode: 403, reason: "no" })
    await isPolling(server, client)
  })

  test(
    "R85: a session of revision 3 does not upgrade to what it does not know",
    { allowEIO3: true },
    async (server) => {
      const client = await PollingClient.connect(server)
      const response = await client.request("GET", {}, "/engine.io/?EIO=3&transport=polling")
      const sid = /"sid":"([^"]+)"/.exec(response.text)![1]!
      await (await candidateFor(server, sid)).end()
      assert.isDefined(await server.socket(sid))
    }
  )

  test("R8: sessions of another function are unknown", {}, async (server) => {
    const client = await PollingClient.connect(server)
    const candidate = new MemoryClient()
    candidate.openStream()
    const other = () => Effect.succeed({ app: Effect.never })
    await server.run(Scope.provide(EngineIO.acceptWebTransport(candidate.session, other), server.accepting))
    void candidate.write(frame(`0{"sid":"${client.sid}"}`))
    await candidate.end()
    await isPolling(server, client)
  })

  test("R8: a session opened over WebTransport cannot be polled", {}, async (server) => {
    const [client, sid] = await MemoryClient.open(server)
    const other = await PollingClient.connect(server)
    const response = await other.request("GET", {}, `/engine.io/?EIO=4&transport=polling&sid=${sid}`)
    assert.strictEqual(response.status, 400)
    await (await candidateFor(server, sid)).end()
    void client.write(frame("4still"))
    assert.strictEqual(await client.packets.next(), "4still")
  })

  test("R79: the end of the session closes the candidate", {}, async (server) => {
    const { candidate, client } = await probe(server)
    await client.post("1")
    await candidate.end()
  })

  test("R87: after the upgrade the scope of acceptWebTransport ends the session, before it only the upgrade", {
    application: sink
  }, async (server) => {
    const scope = Scope.makeUnsafe()
    const connect = async (sid: string, ...packets: ReadonlyArray<string>) => {
      const candidate = new MemoryClient()
      candidate.openStream()
      await server.run(Scope.provide(EngineIO.acceptWebTransport(candidate.session, server.factory), scope))
      void candidate.write(frames(`0{"sid":"${sid}"}`, "2probe", ...packets))
      await candidate.packets.next()
      return candidate
    }
    const upgraded = await PollingClient.connect(server)
    const probing = await PollingClient.connect(server)
    const candidates = [await connect(upgraded.sid, "5", "4x"), await connect(probing.sid)]
    await server.received.next()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    assert.isTrue(candidates.every(({ isClosed }) => isClosed))
    assert.strictEqual((await server.reason(upgraded.sid))._tag, "ServerShutdown")
    assert.strictEqual((await probing.post("4y")).text, "ok")
    const again = await candidateFor(server, probing.sid)
    void again.write(frame("2probe"))
    assert.strictEqual(await again.packets.next(), "3probe")
    assert.isTrue(await pending(again.closed))
  })
})
