/**
 * What returns an Effect does nothing until that runs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Schema } from "effect"
import { HttpServerRequest } from "effect/http"
import { EngineIO, HandshakeError, Rooms, Socket, TypedSocket } from "../../src/index.ts"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { allow, Arrival, decideHeaders } from "../../src/internal/server/arrival.ts"
import { handle } from "../../src/internal/server/handler.ts"
import { handshake, handshakeOfNone, polling, webSocket } from "../../src/internal/server/handshake.ts"
import { HooksId, named } from "../../src/internal/server/namedHandler.ts"
import { refuse } from "../../src/internal/server/refuse.ts"
import { upgrade, upgradeToNone } from "../../src/internal/server/upgradeRequest.ts"
import { TypeId } from "../../src/internal/session/model.ts"
import type { Session } from "../../src/internal/session/session.ts"
import { make } from "../../src/internal/transport/entry.ts"
import { serving, settled } from "../kit/inMemory.ts"

const text = TypedSocket.protocol({ incoming: Schema.String, outgoing: Schema.String })

describe("nothing happens before it runs, and then every time,", () => {
  it.effect("of what is done with a socket", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const { socket } = client
      const typed = TypedSocket.make(socket, text)
      const { write, writeAll } = yield* Socket.toEffectSocket(socket).writer
      const sending = socket[TypeId].send(socket, [make("message", "sent")])
      void [
        Socket.send(socket, "not sent"),
        Socket.sendAll(socket, ["not sent"]),
        Socket.offer(socket, "not sent"),
        TypedSocket.send(typed, "not sent"),
        TypedSocket.sendAll(typed, ["not sent"]),
        TypedSocket.offer(typed, "not sent"),
        write("not sent"),
        writeAll(["not sent"]),
        Socket.receive(socket),
        Socket.forEach(socket, () => Effect.void),
        Socket.close(socket),
        Socket.close(socket, { discard: true })
      ]
      yield* settled
      assert.deepStrictEqual(client.take(), [])
      assert.strictEqual(yield* Socket.state(socket), "open")
      yield* Effect.andThen(sending, sending)
      yield* settled
      assert.deepStrictEqual(client.take(), ["4sent", "4sent"])
    }))

  it.effect("of what is done with all sockets, or those in a room", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("websocket")
      const rooms = yield* Rooms.make
      yield* Rooms.join(rooms, "room", client.socket)
      const broadcast = EngineIO.broadcast("sent")
      void [
        EngineIO.broadcast("not sent"),
        EngineIO.drain(),
        EngineIOCluster.broadcast("not sent"),
        EngineIOCluster.disconnect(client.socket.id),
        Rooms.broadcast(rooms, "room", "not sent"),
        Rooms.leave(rooms, "room", client.socket)
      ]
      yield* settled
      assert.deepStrictEqual(client.take(), [])
      assert.strictEqual(yield* Socket.state(client.socket), "open")
      assert.deepStrictEqual(yield* Rooms.members(rooms, "room"), [client.socket])
      assert.strictEqual(yield* broadcast, 1)
      assert.strictEqual(yield* broadcast, 1)
      yield* settled
      assert.deepStrictEqual(client.take(), ["4sent", "4sent"])
    }))

  it.effect("of what is done with a request", () => {
    const called: Array<string> = []
    const note = <A>(name: string, value: A) => (): Effect.Effect<A> => {
      called.push(name)
      return Effect.succeed(value)
    }
    const options = {
      allowRequest: note("allowRequest", undefined),
      cors: note("cors", {}),
      generateId: note("generateId", "id"),
      responseHeaders: note("responseHeaders", {})
    }
    return serving(options, function*(server) {
      const { socket } = yield* server.connect("polling")
      called.length = 0
      const { engine } = yield* EngineIO.EngineIO
      const factory = Object.assign(note("factory", { app: Effect.void }), {
        [HooksId]: {
          generateId: undefined,
          responseHeaders: undefined,
          onRefused: () => void called.push("refused")
        }
      })
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/?EIO=4&transport=polling"))
      const arrival = new Arrival(engine, named("handler", factory), request, false)
      const allowing = allow(arrival)
      const deciding = decideHeaders(arrival, socket.id, "polling", true)
      const refusing = refuse(arrival, Cause.fail(new HandshakeError.UnknownSid({ context: { sid: "none" } })))
      void [
        handle(arrival.handler),
        handshake(arrival, polling),
        handshake(arrival, webSocket),
        handshakeOfNone(arrival),
        upgrade(arrival, socket as Session),
        upgradeToNone(arrival, socket as Session)
      ]
      yield* settled
      assert.deepStrictEqual([called, engine.registry.occupied], [[], 1])
      for (const effect of [allowing, deciding, refusing]) yield* effect
      for (const effect of [allowing, deciding, refusing]) yield* effect
      assert.deepStrictEqual(called, [
        "allowRequest",
        "responseHeaders",
        "refused",
        "allowRequest",
        "responseHeaders",
        "refused"
      ])
    })
  })
})
