/**
 * `effect/rpc` over Engine.IO, both ends ours: what its users rely on, over every transport, in text and in bytes.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Queue, Ref, Stream } from "effect"
import { RpcClient } from "effect/rpc"
import type { Options } from "../../src/EngineIOClient.ts"
import { installWebTransport, loadMoq, QuicServer } from "../kit/quic.ts"
import { connect, Journal, OutOfStock, portOf, type Serialization, serializations, server } from "./api.ts"

const moq = await loadMoq()
const quic = typeof moq === "string" ? undefined : await QuicServer.start(moq)
if (typeof moq !== "string" && quic !== undefined) installWebTransport(moq, quic)

const ways: Readonly<Record<string, Options>> = {
  "polling only": { transports: ["polling"] },
  "WebSocket only": { transports: ["websocket"] },
  "polling, then WebSocket": { transports: ["polling", "websocket"] },
  "WebTransport only": { transports: ["webtransport"] },
  "polling, then WebTransport": { transports: ["polling", "webtransport"] }
}

type Client = Effect.Success<ReturnType<typeof connect>>

/** A client that the tests of one transport share, as those of a page do. */
class Shared extends Context.Service<Shared, {
  readonly client: Client
  readonly another: Effect.Effect<
    Client,
    Effect.Error<ReturnType<typeof connect>>,
    Effect.Services<ReturnType<typeof connect>>
  >
}>()("test/Shared") {}

const world = (serialization: Serialization, options: Options) =>
  Layer.effect(
    Shared,
    Effect.gen(function*() {
      const another = connect(yield* portOf, options, serialization)
      return { another, client: yield* another }
    })
  ).pipe(Layer.provideMerge(server({ serialization, quic, transports: ["polling", "websocket", "webtransport"] })))

for (const [way, options] of Object.entries(ways)) {
  const isMissing = quic === undefined && options.transports?.includes("webtransport") === true
  for (const serialization of Object.keys(serializations) as ReadonlyArray<Serialization>) {
    describe.skipIf(isMissing)(`RPC in ${serialization}, ${way}${isMissing ? ` (skipped: ${moq})` : ""}`, () => {
      layer(world(serialization, options), { excludeTestServices: true })((it) => {
        it.effect("answers a call", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            assert.strictEqual(yield* client.Echo({ text: "hello" }), "hello")
            assert.strictEqual(yield* client.Echo({ text: "grüße €😀\u001e\n\u0000" }), "grüße €😀\u001e\n\u0000")
            assert.strictEqual(yield* client.Echo({ text: "" }), "")
            assert.strictEqual(yield* client.Buy({ item: "bread" }), undefined)
          }))

        it.effect("fails with the error of the handler", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const error = yield* Effect.flip(client.Buy({ item: "cake" }))
            assert.instanceOf(error, OutOfStock)
            assert.strictEqual((error as OutOfStock).item, "cake")
          }))

        it.effect("dies of a defect, and answers the next call", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const exit = yield* Effect.exit(client.Break({ how: "crack" }))
            assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
            assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), "crack")
            assert.strictEqual(yield* client.Echo({ text: "still here" }), "still here")
          }))

        it.effect("carries large text and large bytes", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const text = "€uro ".repeat(50_000)
            assert.isTrue(text === (yield* client.Echo({ text })))
            const bytes = new Uint8Array(300_000).map((_, index) => index * 7)
            assert.deepStrictEqual(yield* client.Reverse({ bytes }), bytes.toReversed())
          }))

        it.effect("runs many calls at a time", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const orders = Array.from({ length: 300 }, (_, order) => order)
            // None is answered before the last has come.
            const answers = yield* Effect.forEach(
              orders,
              (order) => client.Together({ order, isLast: order === 299 }),
              {
                concurrency: "unbounded"
              }
            )
            assert.deepStrictEqual(answers, orders)
          }))

        it.effect("gives a stream in order, to its end", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const count = (to: number) => Stream.runCollect(client.Count({ to }))
            assert.deepStrictEqual(yield* count(1000), Array.from({ length: 1000 }, (_, index) => index + 1))
            const several = yield* Effect.all([count(10), count(20), count(30)], { concurrency: "unbounded" })
            assert.deepStrictEqual(several.map(({ length }) => length), [10, 20, 30])
          }))

        it.effect("fails a stream behind what it gave", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const seen: Array<number> = []
            const deliveries = Stream.runForEach(
              client.Deliveries({ item: "tea" }),
              (value) => Effect.sync(() => seen.push(value))
            )
            assert.instanceOf(yield* Effect.flip(deliveries), OutOfStock)
            assert.deepStrictEqual(seen, [1, 2])
          }))

        it.effect("makes no more of a stream than its reader takes, and stops with it", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const { interrupted, made } = yield* Journal
            yield* Ref.set(made, 0)
            const seen = yield* client.Forever({ name: "stream" }, { streamBufferSize: 1 }).pipe(
              Stream.rechunk(1),
              Stream.tap(() => client.Echo({ text: "slow" })),
              Stream.take(5),
              Stream.runCollect
            )
            assert.deepStrictEqual(seen, [1, 2, 3, 4, 5])
            assert.strictEqual(yield* Queue.take(interrupted), "stream")
            assert.isBelow(yield* Ref.get(made), 50)
          }))

        it.effect("interrupts the handler with its call", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            const { begun, interrupted } = yield* Journal
            const call = yield* Effect.forkChild(client.Hang({ name: "call" }))
            assert.strictEqual(yield* Queue.take(begun), "call")
            yield* Fiber.interrupt(call)
            assert.strictEqual(yield* Queue.take(interrupted), "call")
          }))

        it.effect("interrupts what it runs for a client that leaves, and nobody else's", () =>
          Effect.gen(function*() {
            const { another, client } = yield* Shared
            const { begun, interrupted } = yield* Journal
            const stays = yield* Effect.forkChild(client.Hang({ name: "stays" }))
            assert.strictEqual(yield* Queue.take(begun), "stays")
            yield* Effect.scoped(Effect.gen(function*() {
              const leaver = yield* another
              yield* Effect.forkChild(leaver.Hang({ name: "leaves" }))
              assert.strictEqual(yield* Queue.take(begun), "leaves")
            }))
            assert.strictEqual(yield* Queue.take(interrupted), "leaves")
            yield* Fiber.interrupt(stays)
            assert.strictEqual(yield* Queue.take(interrupted), "stays")
          }))

        it.effect("carries the headers of a call", () =>
          Effect.gen(function*() {
            const { client } = yield* Shared
            assert.strictEqual(yield* client.WhoAmI(), "nobody")
            assert.strictEqual(yield* RpcClient.withHeaders(client.WhoAmI(), { "x-name": "Ada" }), "Ada")
          }))
      })
    })
  }
}
