/**
 * What `docs/observing.md` promises: metrics, logs and spans.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, HashSet, Layer, Metric, References, Tracer } from "effect"
import { HttpMiddleware } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { inspect } from "node:util"
import { CloseReason, HandshakeError, Socket } from "../../src/index.ts"
import { EngineClient } from "../kit/client.ts"
import { eventually } from "../kit/events.ts"
import { engineTarget, fetchRaw, PollingClient } from "../kit/http.ts"
import { withServer } from "../kit/server.ts"
import { WebSocketClient } from "../kit/ws.ts"

const handshake = engineTarget({ EIO: "4", transport: "polling" })

describe("metrics", () => {
  const references = Layer.succeed(Metric.MetricRegistry)(new Map())

  it(
    "count sessions, traffic, ends, refusals and upgrades, and measure what takes time",
    withServer({ references, pingInterval: 50, anyPacketIsAlive: true }, async (server) => {
      const read = async (): Promise<Record<string, number>> => {
        const text = await Effect.runPromise(Effect.provide(PrometheusMetrics.format(), references))
        const samples = text.split("\n").filter((line) => line.startsWith("engineio_"))
        return Object.fromEntries(samples.map((line) => {
          const [, name, value] = /^(.*) (\S+)$/.exec(line)!
          return [name!, Number(value)]
        }))
      }
      const started = performance.now()
      const client = await EngineClient.connect(server, "upgrade")
      const polling = await PollingClient.connect(server)
      await client.exchange("four")
      await client.exchange(new Uint8Array(10))
      await polling.post("4ä")
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid: "nobody" }))
      await server.socket(polling.sid).then((socket) => server.run(Socket.send(socket, "waits")))
      const open = await eventually("a pong", read, (it) => it["engineio_round_trip_seconds_count"]! > 0)
      const at = (name: string, labels = "") => open[name + labels]
      const websocket = "{transport=\"websocket\"}"
      assert.strictEqual(at("engineio_sessions", websocket), 1)
      assert.strictEqual(at("engineio_sessions", "{transport=\"polling\"}"), 1)
      assert.strictEqual(at("engineio_received_messages_total", websocket), 2)
      assert.strictEqual(at("engineio_received_bytes_total", websocket), 14)
      assert.strictEqual(at("engineio_sent_messages_total", websocket), 2)
      assert.strictEqual(at("engineio_sent_bytes_total", websocket), 14)
      assert.strictEqual(at("engineio_received_bytes_total", "{transport=\"polling\"}"), 2)
      assert.strictEqual(at("engineio_handshake_errors_total", "{code=\"1\"}"), 1)
      assert.strictEqual(at("engineio_upgrades_total"), 1)
      assert.strictEqual(at("engineio_upgrade_seconds_count"), 1)
      // The echo, and what was sent besides.
      assert.isAtLeast(at("engineio_buffered_bytes")!, 7)
      for (const name of ["engineio_upgrade_seconds", "engineio_round_trip_seconds"]) {
        assert.include(Object.keys(open), `${name}_bucket{le="0.001"}`)
      }
      // It was a part of the time since then.
      assert.isAtMost(at("engineio_upgrade_seconds_sum")!, (performance.now() - started) / 1000)
      await client.close()
      await polling.post("1")
      await server.ended.reached(2)
      const closed = await read()
      assert.strictEqual(closed["engineio_closes_total{reason=\"transport close\"}"], 2)
      assert.strictEqual(closed[`engineio_sessions${websocket}`], 0)
      assert.strictEqual(closed["engineio_buffered_bytes"], 0)
    })
  )

  it(
    "have names as Prometheus asks: counters end in _total, times in _seconds, sizes say bytes",
    withServer({ references }, async () => {
      const snapshot = await Effect.runPromise(Effect.provide(Metric.snapshot, references))
      const ours = snapshot.filter(({ id }) => id.startsWith("engineio_"))
      assert.isAbove(ours.length, 20)
      for (const { id, type } of ours) {
        assert.strictEqual(id.endsWith("_total"), type === "Counter", id)
        if (type === "Histogram") assert.match(id, /_seconds$/)
        assert.notMatch(id, /milli|_bytes_(?!total)/)
      }
    })
  )
})

describe("logs", () => {
  const debug = Layer.succeed(References.MinimumLogLevel)("Debug")

  it(
    "tell at Debug who comes, moves and goes, by the beginning of the id",
    withServer({ references: debug }, async (server) => {
      const client = await EngineClient.connect(server, "upgrade")
      const { sid } = client
      await client.close()
      await server.ended.reached(1)
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid }))
      const lines = await eventually("the lines", () => server.logs, (logs) => logs.length >= 4)
      assert.deepStrictEqual(lines.map(({ level }) => level), ["Debug", "Debug", "Debug", "Debug"])
      assert.deepStrictEqual(
        lines.map(({ text }) => text.split(" Cause")[0]),
        ["Session opened", "Session upgraded", "Session closed", "Request refused"]
      )
      assert.deepStrictEqual(
        lines.slice(0, 3).map(({ annotations }) => annotations!["session"]),
        Array.from({ length: 3 }, () => `${sid.slice(0, 6)}…`)
      )
      assert.notInclude(JSON.stringify(lines), sid)
    })
  )

  it(
    "keep silent above it, while nothing is wrong",
    withServer({}, async (server) => {
      const client = await EngineClient.connect(server, "upgrade")
      await client.close()
      await fetchRaw(server, "GET", engineTarget({ EIO: "4", transport: "polling", sid: "nobody" }))
      await server.ended.reached(1)
      assert.deepStrictEqual(server.logs, [])
    })
  )
})

describe("a socket", () => {
  it(
    "as JSON, or printed, shows the beginning of its id, and nothing of the server",
    withServer({}, async (server) => {
      const { sid } = await PollingClient.connect(server)
      const socket = await server.socket(sid)
      const shown = { _id: "Socket", id: `${sid.slice(0, 6)}…`, protocol: 4, transport: "polling", state: "open" }
      assert.deepStrictEqual(JSON.parse(JSON.stringify({ socket })), { socket: shown })
      assert.strictEqual(inspect(socket), inspect(shown))
    })
  )

  it(
    "is itself, and no other, in maps and sets of Effect's",
    withServer({}, async (server) => {
      const [one, other] = [await PollingClient.connect(server), await PollingClient.connect(server)]
      const socket = await server.socket(one.sid)
      const sockets = HashSet.make(socket, await server.socket(other.sid))
      await one.post("4hello")
      assert.deepStrictEqual(await one.poll(), ["4hello"])
      assert.isTrue(HashSet.has(sockets, await server.socket(one.sid)))
      assert.strictEqual(HashSet.size(HashSet.remove(sockets, socket)), 1)
    })
  )
})

describe("spans", () => {
  /** Everything a server does, with the tracing of its HTTP requests off. */
  const recording = () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    const references = Layer.merge(
      Layer.succeed(Tracer.Tracer)(tracer),
      Layer.succeed(HttpMiddleware.TracerDisabledWhen)(() => true)
    )
    return { spans, references }
  }

  const brief = (span: Tracer.NativeSpan): string => {
    const outcome = span.status._tag === "Ended" ? span.status.exit._tag : span.status._tag
    return `${span.name} ${String(span.attributes.get("engineio.transport"))} ${outcome}`
  }

  it("cover handshakes and upgrades, not polls and messages", async () => {
    const { references, spans } = recording()
    await withServer({ references }, async (server) => {
      const client = await EngineClient.connect(server, "upgrade")
      await client.exchange("hello")
      const polling = await PollingClient.connect(server)
      await polling.post("4hello")
      await polling.poll()
      await WebSocketClient.connect(server)
      await eventually("their ends", () => spans, (all) => all.every(({ status }) => status._tag === "Ended"))
      assert.deepStrictEqual(spans.map(brief), [
        "EngineIO.handshake polling Success",
        "EngineIO.upgrade websocket Success",
        "EngineIO.handshake polling Success",
        "EngineIO.handshake websocket Success"
      ])
      for (const { attributes } of spans) assert.deepStrictEqual([...attributes.keys()], ["engineio.transport"])
    })()
  })

  it("say what refused", async () => {
    const { references, spans } = recording()
    const application = () => Effect.fail(new HandshakeError.Forbidden({ message: "not you" }))
    await withServer({ references, application }, async (server) => {
      assert.strictEqual((await fetchRaw(server, "GET", handshake)).status, 403)
    })()
    assert.deepStrictEqual(spans.map(brief), ["EngineIO.handshake polling Failure"])
    const { status } = spans[0]!
    assert.include(status._tag === "Ended" ? String(status.exit) : status._tag, "not you")
  })

  it("are the parents of those of the application", async () => {
    const { references, spans } = recording()
    const app = Effect.withSpan(Effect.void, "mine")
    await withServer({ references, application: () => Effect.succeed({ app }) }, async (server) => {
      await WebSocketClient.connect(server)
      await server.ended.reached(1)
      assert.strictEqual(CloseReason.message(server.ended.all[0]!.reason), "forced close")
    })()
    const mine = spans.find(({ name }) => name === "mine")!
    assert.strictEqual(mine.traceId, spans[0]!.traceId)
  })
})
