/**
 * An engine whose registry or platform is another one.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option } from "effect"
import { HttpRouter } from "effect/http"
import { createServer } from "node:http"
import { EngineIO, Socket } from "../../src/index.ts"
import { layer as nodePlatform } from "../../src/internal/node/nodePlatform.ts"
import { type Config, resolve } from "../../src/internal/server/config.ts"
import { Platform } from "../../src/internal/server/platform.ts"
import { layerLocal, Registry } from "../../src/internal/server/registry.ts"
import { layer as engine } from "../../src/internal/server/service.ts"
import { PollingClient } from "../kit/http.ts"
import { portOf, unwatched } from "../kit/server.ts"
import { refusedUpgrade, WebSocketClient } from "../kit/ws.ts"

const layerWith = (services: (config: Config) => Layer.Layer<Platform | Registry>) =>
  Layer.unwrap(Effect.map(resolve<never, never>({}), (config) => Layer.provide(engine(config), services(config))))

/** A registry that has to ask for every session, as for those of other processes. */
const asking = Layer.fresh(Layer.effect(
  Registry,
  Effect.map(Registry, (local): Registry =>
    Object.assign(Object.create(local), {
      lookup: (id: string) => Effect.andThen(Effect.sleep(1), Effect.sync(() => local.lookup(id) as never))
    }))
)).pipe(Layer.provide(layerLocal))

const echo = (socket: Socket.Socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })

describe("a registry that takes its time", () => {
  for (const where of ["on a router", "attached"]) {
    it(`finds the session of every request, ${where}`, async () => {
      const http = createServer()
      const listener = NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1" })
      const server = where === "attached"
        ? Layer.provide(Layer.effectDiscard(EngineIO.attach(http, echo)), listener)
        : Layer.provide(
          HttpRouter.serve(EngineIO.route("/engine.io/", echo), { disableLogger: true, disableListenLog: true }),
          listener
        )
      const program = Effect.gen(function*() {
        const target = unwatched(portOf(http))
        const sid = yield* Effect.promise(async () => {
          const client = await PollingClient.connect(target)
          await client.post("4polled")
          assert.deepStrictEqual(await client.poll(), ["4polled"])
          const unknown = client.url().replace(client.sid, "unknown")
          for (const method of ["GET", "POST"]) {
            assert.deepStrictEqual(
              JSON.parse((await client.request(method, {}, unknown)).text),
              { code: 1, message: "Session ID unknown" }
            )
          }
          const { response } = await refusedUpgrade(target, { sid: "unknown" })
          assert.strictEqual(response.text, "Session ID unknown")
          const webSocket = await WebSocketClient.open(target, { sid: client.sid })
          webSocket.send("2probe")
          assert.strictEqual(await webSocket.next(), "3probe")
          webSocket.send("5")
          webSocket.send("4moved")
          assert.strictEqual(await webSocket.next(), "4moved")
          return client.sid
        })
        assert.isTrue(Option.isSome(yield* EngineIO.socket(sid)))
        assert.isTrue(Option.isNone(yield* EngineIO.socket("unknown")))
        http.closeAllConnections()
      })
      const live = Layer.provideMerge(server, layerWith((config) => Layer.merge(nodePlatform(config), asking)))
      await Effect.runPromise(Effect.scoped(Effect.provide(program, live)))
    })
  }
})

describe("a platform that is not Node's", () => {
  it("has nothing to attach to a Node server, which says so", async () => {
    const elsewhere = Layer.succeed(Platform, { lingeringClosed: Effect.void } as Platform)
    const attaching = Effect.provide(
      Effect.scoped(EngineIO.attach(createServer(), echo)),
      layerWith(() => Layer.merge(elsewhere, layerLocal))
    )
    const exit = await Effect.runPromiseExit(attaching)
    assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("Node's platform"))
  })
})
