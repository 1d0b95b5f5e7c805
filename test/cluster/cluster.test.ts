/**
 * Members of a cluster in memory, on the clock of the test: clients whose requests reach another member each time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Latch, Layer, Queue, Scope, Stream } from "effect"
import { Headers, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { Cluster } from "../../src/internal/server/cluster.ts"
import { stop } from "../../src/internal/server/drain.ts"
import type { Message } from "../../src/internal/server/clusterMessages.ts"
import { handle } from "../../src/internal/server/handler.ts"
import { makeHandler } from "../../src/internal/server/namedHandler.ts"
import * as Clients from "../../src/internal/testing/client.ts"
import { toServerRequest } from "../../src/internal/testing/memoryPlatform.ts"
import type { Visit } from "../../src/internal/testing/clientLines.ts"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { type CloseReason, EngineIO, Socket } from "../../src/index.ts"
import { EngineIOTest } from "../../src/testing.ts"
import { MemoryNetwork } from "../kit/memoryCluster.ts"

interface Member {
  readonly name: string
  readonly context: Context.Context<EngineIO.EngineIO | Scope.Scope>
}

type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse>

const echoing = (reasons: Queue.Queue<CloseReason.CloseReason>) => (socket: Socket.Socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => Socket.send(socket, message)),
    onDisconnect: (reason: CloseReason.CloseReason) => Queue.offer(reasons, reason)
  })

/** Two members that echo, a network between them, and why their sessions ended. */
const makePairOf = Effect.fnUntraced(function*(isBalanced: boolean) {
  const network = new MemoryNetwork()
  const reasons = yield* Queue.unbounded<CloseReason.CloseReason>()
  const handler = makeHandler(echoing(reasons))
  /** What owners have said. */
  const heard: Array<Message> = []
  const member = Effect.fnUntraced(function*(name: string) {
    const joined = yield* network.join(name)
    const connect: Cluster["connect"] = (to, handler) =>
      joined.connect(to, {
        onMessage: (message) => {
          heard.push(message)
          handler.onMessage(message)
        },
        onClose: () => handler.onClose()
      })
    const cluster = Layer.succeed(Cluster, { ...joined, connect, isBalanced })
    const engine = Layer.fresh(EngineIOTest.layer({ maxPayload: 1000 }))
    const scope = yield* Effect.scope
    return { name, context: Context.add(yield* Layer.build(Layer.provide(engine, cluster)), Scope.Scope, scope) }
  })
  const visit = (
    { context }: Member,
    method: "GET" | "POST",
    query: Readonly<Record<string, string>>,
    rest: Partial<Parameters<typeof toServerRequest>[0]> = {},
    to = handler
  ): Answer =>
    handle(to).pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        toServerRequest({
          method,
          url: `/engine.io/?${new URLSearchParams({ EIO: "4", ...query })}`,
          headers: Headers.fromInput(rest.onUpgrade && { connection: "Upgrade", upgrade: "websocket" }),
          remoteAddress: undefined,
          ...rest
        })
      ),
      Effect.provideContext(context)
    )
  /** A client that opens its session at `first`, and sends each of the requests after it to whom `next` says. */
  const connect = Effect.fnUntraced(function*(first: Member, next: () => Member = () => first) {
    let to = () => {
      to = next
      return first
    }
    const go: Visit = (method, query, rest) => visit(to(), method, query, rest)
    return yield* Clients.connect("polling", { visit: go, awake: yield* Latch.make(true), accept: () => Effect.never })
  })
  /** A session at a member of which no client polls, by its id. */
  const open = Effect.fnUntraced(function*(at: Member, rest?: Parameters<typeof visit>[3]) {
    const text = textOf(yield* visit(at, "GET", { transport: "polling" }, rest))
    return (JSON.parse(text.slice(1)) as { readonly sid: string }).sid
  })
  const a = yield* member("a")
  const b = yield* member("b")
  // What is left of sessions at the end would wait for its client, on a clock that stands still.
  yield* Effect.addFinalizer(() => Effect.sync(() => network.kill("a")))
  return { network, a, b, heard, reasons, visit, connect, open }
})

const makePair = makePairOf(false)

const polling = (sid: string) => ({ transport: "polling", sid })

const send = (client: Clients.State, ...messages: ReadonlyArray<string>) =>
  Clients.send(client, messages.map((data) => ({ type: "message", data })))

const textOf = ({ body }: HttpServerResponse.HttpServerResponse) =>
  body._tag === "Uint8Array" ? body.text ?? new TextDecoder().decode(body.body) : ""

const unknown = "{\"code\":1,\"message\":\"Session ID unknown\"}"

/** Moves the clock until an effect is done. */
const advanced = <A, E>(effect: Effect.Effect<A, E>, by: Duration.Input) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(by)
    return yield* Fiber.join(fiber)
  })

describe("a cluster in memory", () => {
  it.effect("names the owner in the id, and keeps the rest of it random", () =>
    Effect.gen(function*() {
      const { a, b, open } = yield* makePair
      assert.match(yield* open(a), /^a\.[\w-]{20}$/)
      assert.match(yield* open(b), /^b\.[\w-]{20}$/)
    }))

  for (const [where, next] of [["the other", 0], ["either", 1]] as const) {
    it.effect(`serves a session whose requests reach ${where} member, in order, over a slow network`, () =>
      Effect.gen(function*() {
        const { a, b, connect, network } = yield* makePair
        network.delay = Duration.millis(20)
        let turn = 0
        const client = yield* connect(a, () => turn++ % 2 < next ? a : b)
        for (let i = 0; i < 20; i++) {
          yield* advanced(send(client, `${i}`, `${i}!`), "200 millis")
          assert.deepStrictEqual(yield* Queue.takeN(client.messages, 2), [`${i}`, `${i}!`])
        }
      }))
  }

  it.effect("counts, tells and closes the sessions of all members", () =>
    Effect.gen(function*() {
      const { a, b, network, open, reasons, visit } = yield* makePair
      const sids = [yield* open(a), yield* open(b), yield* open(b)] as const
      const at = <A>(effect: Effect.Effect<A, never, EngineIO.EngineIO>) => Effect.provideContext(effect, a.context)
      assert.strictEqual(yield* at(EngineIOCluster.count), 3)
      assert.strictEqual(yield* at(EngineIOCluster.broadcast("all")), 3)
      for (const sid of sids) assert.strictEqual(textOf(yield* visit(a, "GET", polling(sid))), "4all")
      assert.isTrue(yield* at(EngineIOCluster.disconnect(sids[1])))
      assert.strictEqual(textOf(yield* visit(a, "GET", polling(sids[1]))), "6\u001e1")
      assert.deepStrictEqual(yield* Queue.take(reasons), { _tag: "ForcedClose" })
      assert.isFalse(yield* at(EngineIOCluster.disconnect(sids[1])))
      assert.isFalse(yield* at(EngineIOCluster.disconnect("c.x")))
      assert.isTrue(yield* at(EngineIOCluster.disconnect(sids[0])))
      // Nobody waits for one that dies.
      network.cut()
      const counting = yield* Effect.forkChild(at(EngineIOCluster.count))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(counting.pollUnsafe())
      network.kill("b")
      assert.isAtMost(yield* Fiber.join(counting), 1)
    }))

  it.effect("lists the sessions of all members, in pieces, while sessions come and go", () =>
    Effect.gen(function*() {
      const { a, b, heard, open, visit } = yield* makePair
      const path = `/engine.io/${"x".repeat(10_000)}`
      const remoteAddress = "192.0.2.1"
      const own = yield* open(a)
      const others: Array<string> = []
      for (let i = 0; i < 60; i++) {
        others.push(yield* open(b, { url: `${path}?EIO=4&transport=polling`, remoteAddress }))
      }
      const at = <A>(effect: Effect.Effect<A, never, EngineIO.EngineIO>) => Effect.provideContext(effect, a.context)
      const gone = others.pop()!
      const all = yield* at(Stream.runCollect(Stream.tap(EngineIOCluster.sockets, ({ id }) =>
        Effect.gen(function*() {
          if (id !== others[0]) return
          yield* visit(b, "POST", polling(gone), { body: "1" })
          others.push(yield* open(b))
        }))))
      assert.deepStrictEqual(new Set(all.map(({ id }) => id)), new Set([own, ...others]))
      assert.strictEqual(all.length, others.length + 1)
      assert.deepStrictEqual(
        all.find(({ id }) => id === others[0]),
        { id: others[0]!, protocol: 4, transport: "polling", path, remoteAddress, connectedAt: 0 }
      )
      for (const message of heard) assert.isBelow(JSON.stringify(message).length, 80_000)

      // Nobody is asked for more than is taken.
      heard.length = 0
      const first = yield* at(Stream.runCollect(Stream.take(EngineIOCluster.sockets, 2)))
      assert.strictEqual(first.length, 2)
      assert.isBelow(heard.length, 6)
    }))

  it.effect("lists no more sessions of a member that goes away meanwhile", () =>
    Effect.gen(function*() {
      const { a, b, network, open } = yield* makePair
      const own = yield* open(a)
      yield* open(b)
      network.cut()
      const listing = yield* Effect.forkChild(
        Effect.provideContext(Stream.runCollect(EngineIOCluster.sockets), a.context)
      )
      yield* TestClock.adjust("1 second")
      assert.isUndefined(listing.pollUnsafe())
      network.kill("b")
      assert.deepStrictEqual((yield* Fiber.join(listing)).map(({ id }) => id), [own])
    }))

  it.effect("upgrades a session where the request reaches another member", () =>
    Effect.gen(function*() {
      const { a, b, connect } = yield* makePair
      const client = yield* connect(a, () => b)
      yield* advanced(Clients.upgrade(client, "websocket"), "1 second")
      yield* send(client, "on a WebSocket")
      assert.strictEqual(yield* Queue.take(client.messages), "on a WebSocket")
    }))

  it.effect("keeps a session alive by pings, and misses a client, as in one process", () =>
    Effect.gen(function*() {
      const { a, b, connect, reasons } = yield* makePair
      const client = yield* connect(a, () => b)
      for (let i = 0; i < 120; i++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.clear(reasons), [])
      yield* client.ways.awake.close
      yield* TestClock.adjust("45 seconds")
      assert.deepStrictEqual(yield* Queue.take(reasons), { _tag: "PingTimeout" })
    }))

  it.effect("answers code 1 at once where the member or its session is unknown, or another handler's", () =>
    Effect.gen(function*() {
      const { a, b, network, open, reasons, visit } = yield* makePair
      const sid = yield* open(a)
      for (const id of ["c.x", "x", ".", "b.x", `a.${sid}`]) {
        const answer = yield* visit(b, "GET", polling(id))
        assert.deepStrictEqual([answer.status, textOf(answer)], [400, unknown], id)
      }
      const others = yield* visit(b, "GET", polling(sid), {}, makeHandler(echoing(reasons)))
      assert.strictEqual(textOf(others), unknown)
      network.kill("a")
      assert.strictEqual(textOf(yield* visit(b, "GET", polling(sid))), unknown)
    }))

  it.effect("tells a parked poll at once that the owner has died", () =>
    Effect.gen(function*() {
      const { a, b, network, open, visit } = yield* makePair
      const sid = yield* open(a)
      const parked = yield* Effect.forkChild(visit(b, "GET", polling(sid)))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(parked.pollUnsafe())
      network.kill("a")
      assert.strictEqual(textOf(yield* Fiber.join(parked)), unknown)
    }))

  it.effect("ends a session whose client gives a poll up at another member", () =>
    Effect.gen(function*() {
      const { a, b, open, reasons, visit } = yield* makePair
      const parked = yield* Effect.forkChild(visit(b, "GET", polling(yield* open(a))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(parked)
      const reason = yield* Queue.take(reasons)
      assert.isTrue(reason._tag === "TransportError" && reason.error._tag === "Aborted")
    }))

  it.effect("ends a session whose poll dies with another member, but behind a balancer, which asks again", () =>
    Effect.gen(function*() {
      for (const isBalanced of [false, true]) {
        const { a, b, network, open, reasons, visit } = yield* makePairOf(isBalanced)
        const sid = yield* open(a)
        yield* Effect.forkChild(visit(b, "GET", polling(sid)))
        yield* TestClock.adjust("1 second")
        network.kill("b")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Queue.size(reasons), isBalanced ? 0 : 1)
        if (!isBalanced) continue
        const again = yield* Effect.forkChild(visit(a, "GET", polling(sid)))
        assert.strictEqual(textOf(yield* visit(a, "POST", polling(sid), { body: "4on" })), "ok")
        assert.strictEqual(textOf(yield* Fiber.join(again)), "4on")
      }
    }))

  it.effect("ends a session whose answer was on its way to another member that died", () =>
    Effect.gen(function*() {
      const { a, b, network, open, reasons, visit } = yield* makePairOf(true)
      const sid = yield* open(a)
      yield* Effect.forkChild(visit(b, "GET", polling(sid)))
      yield* TestClock.adjust("1 second")
      network.cut()
      yield* visit(a, "POST", polling(sid), { body: "4lost" })
      network.kill("b")
      const reason = yield* Queue.take(reasons)
      assert.isTrue(reason._tag === "TransportError" && reason.error._tag === "Aborted")
    }))

  it.effect("ends a session whose client polls at two members at once", () =>
    Effect.gen(function*() {
      const { a, b, open, reasons, visit } = yield* makePair
      const sid = yield* open(a)
      const first = yield* Effect.forkChild(visit(b, "GET", polling(sid)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* visit(a, "GET", polling(sid))).status, 400)
      assert.strictEqual(textOf(yield* Fiber.join(first)), "1")
      const reason = yield* Queue.take(reasons)
      assert.isTrue(reason._tag === "TransportError" && reason.error._tag === "Overlap")
    }))

  it.effect("refuses a POST that is too large, and the session stays", () =>
    Effect.gen(function*() {
      const { a, b, open, visit } = yield* makePair
      const sid = yield* open(a)
      assert.strictEqual((yield* visit(b, "POST", polling(sid), { body: `4${"x".repeat(1000)}` })).status, 413)
      assert.strictEqual(textOf(yield* visit(b, "POST", polling(sid), { body: "4hello" })), "ok")
      assert.strictEqual(textOf(yield* visit(b, "GET", polling(sid))), "4hello")
    }))

  it.effect("acknowledges a POST when the owner has it, not before", () =>
    Effect.gen(function*() {
      const { a, b, network, open, visit } = yield* makePair
      const sid = yield* open(a)
      network.cut()
      const posted = yield* Effect.forkChild(visit(b, "POST", polling(sid), { body: "4hello" }))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(posted.pollUnsafe())
      network.heal()
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(textOf(yield* Fiber.join(posted)), "ok")
    }))

  it.effect("delivers what a member has accepted when it is drained, to clients that come by another", () =>
    Effect.gen(function*() {
      const { a, b, open, visit } = yield* makePair
      const sid = yield* open(a)
      yield* visit(b, "POST", polling(sid), { body: "4last" })
      const stopped = yield* Effect.forkChild(Effect.flatMap(
        Effect.provideContext(EngineIO.EngineIO, a.context),
        ({ engine }) => stop(engine)
      ))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(textOf(yield* visit(b, "GET", polling(sid))), "4last\u001e1")
      yield* Fiber.join(stopped)
    }))

  it.effect("lets go of the polls that wait at a member that stops, so that they come to another", () =>
    Effect.gen(function*() {
      const { a, b, open, reasons, visit } = yield* makePair
      const sid = yield* open(a)
      const parked = yield* Effect.forkChild(visit(b, "GET", polling(sid)))
      yield* TestClock.adjust("1 second")
      yield* Effect.flatMap(Effect.provideContext(EngineIO.EngineIO, b.context), ({ engine }) => stop(engine))
      assert.strictEqual(textOf(yield* Fiber.join(parked)), "6")
      // One that still reaches it does not wait.
      assert.strictEqual(textOf(yield* visit(b, "GET", polling(sid))), "6")
      // Nor does a WebSocket begin that would have to end.
      const webSocket = { transport: "websocket", sid }
      const refused = yield* visit(b, "GET", webSocket, { onUpgrade: () => assert.fail("it was taken") })
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(yield* Queue.size(reasons), 0)
    }))
})
