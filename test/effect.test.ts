/**
 * What we rely on of Effect that it does not promise: private members of its server on Node, and fields of its queues that
 * it declares, but calls low-level. Each test says what it would mean to us if Effect changed it. The range of the peer
 * dependencies goes no further than the version that all of it was seen in.
 */
import { NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, PubSub, Queue, Ref, Scope } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type RequestListener } from "node:http"
import { fileURLToPath } from "node:url"
import { toNode } from "../src/internal/node/nodeRequest.ts"
import { forget, remember, setUpgraded, writeContinue } from "../src/internal/node/effectServer.ts"
import { callEffects, effectListeners, isBegunBy, looksStraight } from "../src/internal/node/straight.ts"
import { baseOf, requestKeys } from "../src/internal/server/context.ts"
import * as fields from "../src/internal/session/effectFields.ts"
import { get, set } from "../src/internal/session/session.ts"
import { Mailbox } from "./kit/events.ts"
import { Connection } from "./kit/http.ts"
import { portOf, unwatched } from "./kit/server.ts"

/** The version of `effect` and `@effect/platform-node` in which all of this was seen. */
const seen = "4.1.0"

const readJson = <A>(name: string): A =>
  JSON.parse(readFileSync(fileURLToPath(import.meta.resolve(`../${name}`)), "utf8")) as A
const versionOf = (name: string): string =>
  readJson<{ readonly version: string }>(`node_modules/${name}/package.json`).version

/** What to say where Effect is not what it was. */
const since = (what: string, consequence: string): string =>
  `${what} in effect ${seen}; in ${versionOf("effect")} that is no longer so. ${consequence}`

describe("the versions of Effect", () => {
  it("that the package asks for are those it was tested with", () => {
    const { peerDependencies } = readJson<{ readonly peerDependencies: Record<string, string> }>("package.json")
    for (const name of ["effect", "@effect/platform-node"]) {
      assert.strictEqual(
        versionOf(name),
        seen,
        `${name} is another version: where the tests below pass, name it in this file, and in the peer dependencies`
      )
      assert.strictEqual(peerDependencies[name], `~${seen}`, `${name}, as a peer dependency`)
    }
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// queues
// ---------------------------------------------------------------------------------------------------------------------

const makeQueue = Queue.unbounded<string, string>()

/** Something that waits for a queue, and is no fiber. */
const makeTaker = () => {
  const taker = { woken: 0, ready: () => true, resume: () => void taker.woken++ }
  return taker
}

describe("a queue of Effect", () => {
  it.effect("consists of the fields that `lighten` knows", () =>
    Effect.gen(function*() {
      const queue = yield* makeQueue
      assert.sameMembers(
        Object.keys(queue),
        ["dispatcher", "capacity", "strategy", "messages", "scheduleRunning", "state"],
        since("A queue had these fields", "See what it has now: a session has two queues.")
      )
      assert.deepStrictEqual<unknown>(
        queue.state,
        { _tag: "Open", takers: new Set(), offers: new Set(), awaiters: new Set() },
        since("The state of a queue was this", "All sessions share one that has to look the same.")
      )
    }))

  it.effect("tells its takers in a task of its dispatcher, unless `scheduleRunning` says that one is under way", () =>
    Effect.gen(function*() {
      for (const byHand of [false, true]) {
        const queue = yield* makeQueue
        fields.lighten(queue)
        let tasks = 0
        Object.assign(queue, { dispatcher: { scheduleTask: () => tasks++ } })
        if (byHand) fields.wakeByHand(queue)
        const taker = makeTaker()
        fields.addTaker(queue, taker)
        Queue.offerUnsafe(queue, "a")
        assert.strictEqual(
          tasks,
          byHand ? 0 : 1,
          since("An offer scheduled one task, unless `scheduleRunning` was set", "Every message may cost a task.")
        )
        assert.strictEqual(taker.woken, 0)
        Queue.flushUnsafe(queue)
        assert.strictEqual(taker.woken, 1, since("`flushUnsafe` woke takers at once", "Applications would not wake."))
        assert.isTrue(queue.scheduleRunning)
      }
    }))

  it.effect("keeps those who wait in sets of its `state`, a taker that is no fiber among them", () =>
    Effect.gen(function*() {
      const words = since(
        "`takers` were those who wait",
        "Loops over messages would not wake, or wake behind their end."
      )
      const [one, other] = [yield* makeQueue, yield* makeQueue]
      for (const queue of [one, other]) {
        fields.lighten(queue)
        fields.wakeByHand(queue)
      }
      const [stays, goes, elsewhere] = [makeTaker(), makeTaker(), makeTaker()]
      fields.addTaker(one, stays)
      fields.addTaker(one, goes)
      fields.removeTaker(one, goes)
      fields.addTaker(other, elsewhere)
      const fiber = yield* Effect.forkChild(Queue.takeAll(fields.letWait(one)), { startImmediately: true })
      Queue.offerUnsafe(one, "a")
      Queue.flushUnsafe(one)
      assert.deepStrictEqual([stays.woken, goes.woken, elsewhere.woken], [1, 0, 0], words)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["a"], words)
    }))

  it.effect("that was lightened ends like any other, once everything is taken, and leaves the others as they are", () =>
    Effect.gen(function*() {
      const words = since("`state._tag` said how far a queue is", "Sessions would not notice their end.")
      const [one, other] = [yield* makeQueue, yield* makeQueue]
      fields.lighten(one)
      fields.lighten(other)
      Queue.offerUnsafe(one, "a")
      Queue.failCauseUnsafe(one, Cause.fail("over"))
      assert.isFalse(fields.isDone(one), words)
      assert.deepStrictEqual(Queue.takeUnsafe(one), Exit.succeed("a"), words)
      assert.isTrue(fields.isDone(one), words)
      assert.strictEqual(yield* Effect.flip(Queue.take(fields.letWait(one))), "over", words)
      assert.isFalse(fields.isDone(other), words)
      Queue.offerUnsafe(other, "b")
      assert.deepStrictEqual(Queue.takeUnsafe(other), Exit.succeed("b"), words)
    }))

  it.effect("may be given another `capacity`, to which offers wait, and go on when something is taken", () =>
    Effect.gen(function*() {
      const words = since(
        "`capacity` could be set",
        "Reading from clients would stop too early, or never, or not go on."
      )
      const queue = yield* makeQueue
      fields.lighten(queue)
      for (const message of ["a", "b", "c"]) Queue.offerUnsafe(queue, message)
      fields.setCapacity(queue, 2)
      assert.strictEqual(fields.capacityOf(queue), 2)
      const offer = yield* Effect.forkChild(Queue.offer(fields.letWait(queue), "d"), { startImmediately: true })
      assert.deepStrictEqual(Queue.takeUnsafe(queue), Exit.succeed("a"))
      assert.isUndefined(offer.pollUnsafe(), words)
      assert.deepStrictEqual(Queue.takeUnsafe(queue), Exit.succeed("b"))
      assert.isTrue(yield* Fiber.join(offer), words)
      assert.deepStrictEqual(yield* Queue.takeAll(queue), ["c", "d"], words)
      fields.setCapacity(queue, Infinity)
      assert.isTrue(Queue.offerUnsafe(queue, "e"), words)
    }))

  it.effect("without capacity is a line, whose first is to be seen in `offers`", () =>
    Effect.gen(function*() {
      const words = since("`offers` were those who wait for room", "Senders without room would wait for ever.")
      const line = yield* Queue.bounded<string>(0)
      assert.isUndefined(fields.firstOffered(line), words)
      const one = yield* Effect.forkChild(Queue.offer(line, "a"), { startImmediately: true })
      const more = yield* Effect.forkChild(Queue.offerAll(line, ["b", "c"]), { startImmediately: true })
      for (const message of ["a", "b", "c"]) {
        assert.strictEqual(fields.firstOffered(line), message, words)
        assert.deepStrictEqual(Queue.takeUnsafe(line), Exit.succeed(message), words)
      }
      assert.isUndefined(fields.firstOffered(line), words)
      assert.isTrue(yield* Fiber.join(one), words)
      assert.deepStrictEqual(yield* Fiber.join(more), [], words)
      Queue.shutdownUnsafe(line)
      assert.isUndefined(fields.firstOffered(line), words)
    }))

  it.effect("has as many `messages` as wait", () =>
    Effect.gen(function*() {
      const queue = yield* makeQueue
      for (const message of ["a", "b"]) Queue.offerUnsafe(queue, message)
      Queue.takeUnsafe(queue)
      assert.strictEqual(
        queue.messages.length,
        1,
        since("`messages` were those that wait", "Transports ask it for every packet.")
      )
    }))
})

describe("Effect's other data", () => {
  it.effect("a PubSub lets go of its oldest by `pubsub.slide`", () =>
    Effect.scoped(Effect.gen(function*() {
      const words = since("`pubsub.slide` dropped the oldest", "A slow listener would hold events of any size.")
      const pubsub = yield* PubSub.unbounded<number>()
      const subscription = yield* PubSub.subscribe(pubsub)
      for (const event of [1, 2, 3]) PubSub.publishUnsafe(pubsub, event)
      fields.dropOldest(pubsub)
      assert.strictEqual(PubSub.sizeUnsafe(pubsub), 2, words)
      assert.deepStrictEqual(yield* PubSub.takeAll(subscription), [2, 3], words)
    })))

  it.effect("a Ref holds its value in `ref.current`", () =>
    Effect.gen(function*() {
      const ref = yield* Ref.make("a")
      assert.strictEqual(get(ref), "a")
      set(ref, "b")
      assert.strictEqual(
        yield* Ref.get(ref),
        "b",
        since("A Ref held its value in `ref.current`", "Sessions write theirs there.")
      )
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// the server
// ---------------------------------------------------------------------------------------------------------------------

/** A server of Effect on Node, without us, whose only route runs `handler`. */
const serve = (
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>,
  http = createServer()
) =>
  Effect.gen(function*() {
    http.on("upgrade", remember)
    yield* Layer.build(
      HttpRouter.serve(HttpRouter.add("*", "/", handler), { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
      )
    )
    const connection = yield* Effect.acquireRelease(
      Effect.promise(() => Connection.open(unwatched(portOf(http)))),
      (connection) => Effect.sync(() => connection.socket.destroy())
    )
    return connection
  })

const upgrade = {
  headers: {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="
  }
}

describe("Effect's server", () => {
  it.live("gives a handler of each request the services that `requestKeys` names, and no others", () =>
    Effect.gen(function*() {
      const contexts = new Mailbox<ReadonlyMap<string, unknown>>("a request")
      const connection = yield* serve(Effect.gen(function*() {
        contexts.put((yield* Effect.context<never>()).mapUnsafe)
        return HttpServerResponse.empty()
      }))
      connection.send("GET", "/?one")
      const one = yield* Effect.promise(() => contexts.next())
      connection.send("GET", "/?other")
      const other = yield* Effect.promise(() => contexts.next())
      assert.sameMembers(
        Array.from(one.keys()).filter((key) => one.get(key) !== other.get(key)),
        Array.from(requestKeys),
        since("A request brought these services", "Those it brings now would stay in memory as long as its session.")
      )
    }))

  it.live("adds them to a base that all requests have in common", () =>
    Effect.gen(function*() {
      const bases = new Mailbox<unknown>("a request")
      const connection = yield* serve(Effect.gen(function*() {
        const context = yield* Effect.context<never>()
        assert.isUndefined(baseOf(Context.makeUnsafe(context.mapUnsafe)), "what has the request in it is no base")
        bases.put(baseOf(context))
        return HttpServerResponse.empty()
      }))
      connection.send("GET", "/?one")
      const one = yield* Effect.promise(() => bases.next())
      connection.send("GET", "/?other")
      const other = yield* Effect.promise(() => bases.next())
      const words = since("A context had a base", "All of its services are compared for each session, at more cost.")
      assert.isDefined(one, words)
      assert.strictEqual(one, other, words)
    }))

  it.live("has a client go on that waits to send its body, where `writeContinue` of a request is called", () =>
    Effect.gen(function*() {
      const words = since("Requests had `writeContinue`", "Clients that expect status 100 would wait before they send.")
      const connection = yield* serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        writeContinue(request)
        return HttpServerResponse.empty({ status: 204 })
      }))
      connection.send("POST", "/", { headers: { Expect: "100-continue", "Content-Length": "1" } })
      assert.strictEqual((yield* Effect.promise(() => connection.response())).status, 100, words)
    }))

  it.live("writes nothing behind an upgrade whose response stands in `upgradeState`", () =>
    Effect.gen(function*() {
      const words = since("`upgradeState.response` was what answered an upgrade", "It would be kept open at more cost.")
      let isSet = false
      const connection = yield* serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        const response = HttpServerResponse.empty({ status: 101 })
        isSet = setUpgraded(request, response)
        const { socket } = toNode(request)
        socket.resume().once("end", () => socket.destroy())
        socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n")
        // When everything was written that is written for it.
        setImmediate(() => socket.write("the first bytes"))
        return response
      }))
      const first = new Mailbox<Buffer>("bytes")
      connection.socket.on("data", (chunk: Buffer) => first.put(chunk))
      connection.send("GET", "/", upgrade)
      let read = String(yield* Effect.promise(() => first.next()))
      assert.isTrue(isSet, words)
      while (!read.endsWith("bytes")) read += String(yield* Effect.promise(() => first.next()))
      assert.strictEqual(read, "HTTP/1.1 101 Switching Protocols\r\n\r\nthe first bytes", words)
    }))

  it.live("leaves a response alone that was ended already", () =>
    Effect.gen(function*() {
      const words = since("A response that had ended was left alone", "Polls would be answered twice.")
      const connection = yield* serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        NodeHttpServerRequest.toServerResponse(request).end("ours")
        return HttpServerResponse.text("theirs")
      }))
      for (const target of ["/?one", "/?other"]) {
        const response = yield* Effect.promise(() => connection.exchange("GET", target))
        assert.deepStrictEqual([response.status, response.text], [200, "ours"], words)
      }
    }))

  it.live("has no place for the response of a request that is no upgrade", () =>
    Effect.gen(function*() {
      const connection = yield* serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        const isSet = setUpgraded(request, HttpServerResponse.empty({ status: 101 }))
        return HttpServerResponse.text(String(isSet))
      }))
      connection.send("GET", "/")
      assert.strictEqual((yield* Effect.promise(() => connection.response())).text, "false")
    }))

  it.live("adds two listeners to the connection of an upgrade, in the same turn, and the second interrupts", () =>
    Effect.gen(function*() {
      const words = since("Those two were there", "Upgraded connections would keep their requests in memory.")
      const counts = new Mailbox<ReadonlyArray<number>>("an upgrade")
      const connection = yield* serve(Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
        const source: IncomingMessage = toNode(request)
        const count = () => source.socket.listenerCount("error") + source.socket.listenerCount("close")
        // They are added once the handler is under way.
        setImmediate(() => {
          const before = count()
          forget(source)
          counts.put([before - count()])
          source.socket.destroy()
        })
        return HttpServerResponse.empty({ status: 101 })
      }))
      connection.send("GET", "/", upgrade)
      assert.deepStrictEqual(yield* Effect.promise(() => counts.next()), [2], words)
    }))

  it.live("comes to the handler of a route in three steps, in the fiber that its listener began", () =>
    Effect.gen(function*() {
      const words = since("That was so", "Polls would take the way of the router, at more cost.")
      const http = createServer()
      let source: IncomingMessage
      let request: RequestListener | undefined
      const connection = yield* serve(
        Effect.withFiber((fiber) => {
          const seen = { looks: looksStraight(fiber), is: isBegunBy(request!, source, fiber) }
          return Effect.map(
            Effect.yieldNow,
            () =>
              HttpServerResponse.jsonUnsafe({
                ...seen,
                later: looksStraight(fiber) || isBegunBy(request!, source, fiber)
              })
          )
        }),
        http
      )
      request = effectListeners(http)?.request
      assert.strictEqual(request, http.listeners("request")[0] as RequestListener, words)
      http.off("request", request!).on("request", (incoming, response) => {
        source = incoming
        callEffects(request!, incoming, response)
      })
      assert.isUndefined(effectListeners(http))
      assert.deepStrictEqual(
        JSON.parse((yield* Effect.promise(() => connection.exchange("GET", "/"))).text),
        { looks: true, is: true, later: false },
        words
      )
    }))

  it.live("takes its listener for status 100 away when it ends", () =>
    Effect.gen(function*() {
      const words = since("That was so", "Polls would go on after the end of the server.")
      const http = createServer()
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(
        HttpRouter.serve(HttpRouter.add("*", "/", HttpServerResponse.empty()), { disableListenLog: true }).pipe(
          Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" }))
        ),
        scope
      )
      assert.isDefined(effectListeners(http), words)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(http.listenerCount("checkContinue"), 0, words)
    }))
})
