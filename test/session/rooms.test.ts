/**
 * Rooms: who is in them, for how long, what they are told, and that nothing is left of one that is empty.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, HashMap, Ref, Scope, Stream } from "effect"
import { EngineIO, Rooms, Socket } from "../../src/index.ts"
import { type Client, serving, settled } from "../kit/inMemory.ts"

const idsOf = (sockets: ReadonlyArray<Socket.Socket>) => sockets.map(({ id }) => id).sort()

/** That nothing is left in rooms, not even their names, nor of those who watched them. */
const isEmpty = (rooms: Rooms.Rooms) =>
  Effect.gen(function*() {
    const state = Reflect.get(rooms, Symbol.for("effect-engine.io/Rooms")) as {
      readonly rooms: Ref.Ref<HashMap.HashMap<string, unknown>>
      readonly observers: unknown
    }
    return HashMap.isEmpty(yield* Ref.get(state.rooms)) && state.observers === undefined
  })

/** What happens in the rooms from now on, as words. */
const watch = Effect.fnUntraced(function*(rooms: Rooms.Rooms, names: ReadonlyMap<string, string>) {
  const seen: Array<string> = []
  const fiber = yield* Rooms.changes(rooms).pipe(
    Stream.runForEach(({ _tag, room, socket }) =>
      Effect.sync(() => void seen.push(`${names.get(socket.id)} ${_tag} ${room}`))
    ),
    Effect.forkChild({ startImmediately: true })
  )
  yield* settled
  return { seen, fiber }
})

describe("a room", () => {
  it.effect("has its members until their scopes close, and is gone with the last", () =>
    serving({}, function*(server) {
      const rooms = yield* Rooms.make
      const [ada, bob] = [yield* server.connect("websocket"), yield* server.connect("polling")]
      const [first, second] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(Rooms.join(rooms, "lobby", ada.socket), first)
      yield* Scope.provide(Rooms.join(rooms, "lobby", bob.socket), second)
      yield* Scope.provide(Rooms.join(rooms, "attic", bob.socket), second)
      assert.deepStrictEqual(idsOf(yield* Rooms.members(rooms, "lobby")), idsOf([ada.socket, bob.socket]))
      assert.deepStrictEqual(yield* Rooms.counts(rooms), new Map([["lobby", 2], ["attic", 1]]))
      yield* Scope.close(second, Exit.void)
      assert.deepStrictEqual(yield* Rooms.members(rooms, "lobby"), [ada.socket])
      assert.deepStrictEqual(yield* Rooms.members(rooms, "attic"), [])
      assert.deepStrictEqual(yield* Rooms.counts(rooms), new Map([["lobby", 1]]))
      yield* Scope.close(first, Exit.void)
      assert.isTrue(yield* isEmpty(rooms))
    }))

  it.effect("takes two sockets of the same id for two, and one that leaves does not take the other with it", () =>
    serving({ generateId: () => Effect.succeed("ada") }, function*(server) {
      const rooms = yield* Rooms.make
      const changes: Array<unknown> = []
      yield* Rooms.changes(rooms).pipe(
        Stream.runForEach((change) => Effect.sync(() => void changes.push([change._tag, change.socket]))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* settled
      const before = (yield* server.connect("websocket")).socket
      yield* Rooms.join(rooms, "lobby", before)
      yield* Socket.close(before)
      const after = (yield* server.connect("websocket")).socket
      yield* Rooms.join(rooms, "lobby", after)
      assert.strictEqual(yield* Rooms.broadcast(rooms, "lobby", "hello"), 1)
      yield* Rooms.leave(rooms, "lobby", before)
      assert.deepStrictEqual(yield* Rooms.members(rooms, "lobby"), [after])
      yield* settled
      assert.deepStrictEqual(changes, [["Joined", before], ["Joined", after], ["Left", before]])
    }))

  it.effect("is left with the session, whatever ends it, and by whoever leaves before", () =>
    serving({}, function*(server) {
      const rooms = yield* Rooms.make
      const app = (socket: Socket.Socket) =>
        Effect.gen(function*() {
          yield* Rooms.join(rooms, "lobby", socket)
          yield* Socket.forEach(socket, () => Rooms.leave(rooms, "lobby", socket))
        })
      const clients: Array<Client> = []
      for (let i = 0; i < 4; i++) clients.push(yield* server.connect("websocket", { app }))
      const [leaving, closing, closed, quiet] = clients as [Client, Client, Client, Client]
      const size = Effect.map(Rooms.members(rooms, "lobby"), ({ length }) => length)
      assert.strictEqual(yield* size, 4)
      yield* leaving.says("4bye")
      assert.strictEqual(yield* size, 3)
      // Leaving twice is leaving once.
      yield* leaving.says("4bye")
      yield* closing.leaves
      assert.strictEqual(yield* size, 2)
      yield* Socket.close(closed.socket)
      yield* settled
      assert.deepStrictEqual(yield* Rooms.members(rooms, "lobby"), [quiet.socket])
      yield* EngineIO.drain()
      yield* settled
      assert.isTrue(yield* isEmpty(rooms))
    }))

  it.effect("has a member once, who stays for the newer of two scopes", () =>
    serving({}, function*(server) {
      const rooms = yield* Rooms.make
      const { socket } = yield* server.connect("websocket")
      const { fiber, seen } = yield* watch(rooms, new Map([[socket.id, "ada"]]))
      const [older, newer] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(Rooms.join(rooms, "lobby", socket), older)
      yield* Scope.provide(Rooms.join(rooms, "lobby", socket), newer)
      assert.strictEqual(yield* Rooms.broadcast(rooms, "lobby", "hello"), 1)
      yield* Scope.close(older, Exit.void)
      assert.deepStrictEqual(yield* Rooms.members(rooms, "lobby"), [socket])
      yield* Scope.close(newer, Exit.void)
      yield* settled
      assert.deepStrictEqual(seen, ["ada Joined lobby", "ada Left lobby"])
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* isEmpty(rooms))
    }))

  it.effect("tells everybody in it, and nobody else, in order, over every transport", () =>
    serving({}, function*(server) {
      const rooms = yield* Rooms.make
      const inside = [yield* server.connect("websocket"), yield* server.connect("polling")]
      const outside = yield* server.connect("websocket")
      for (const { socket } of inside) yield* Rooms.join(rooms, "lobby", socket)
      yield* Rooms.join(rooms, "attic", outside.socket)
      for (const text of ["one", "two"]) assert.strictEqual(yield* Rooms.broadcast(rooms, "lobby", text), 2)
      assert.strictEqual(yield* Rooms.broadcast(rooms, "cellar", "three"), 0)
      const filter = (socket: Socket.Socket) => socket !== inside[0]!.socket
      assert.strictEqual(yield* Rooms.broadcast(rooms, "lobby", "four", { filter }), 1)
      yield* inside[1]!.polls
      assert.deepStrictEqual(inside.map((client) => client.take()), [["4one", "4two"], ["4one", "4two", "4four"]])
      assert.deepStrictEqual(outside.take(), [])
    }))

  it.effect("skips who is too slow or gone, and waits for nobody", () =>
    serving({ sendBuffer: { messages: 2 } }, function*(server) {
      const rooms = yield* Rooms.make
      const slow = yield* server.connect("polling")
      const fast = yield* server.connect("websocket")
      const gone = yield* server.connect("websocket")
      for (const { socket } of [slow, fast, gone]) yield* Rooms.join(rooms, "lobby", socket)
      yield* gone.leaves
      const taken: Array<number> = []
      for (const text of ["one", "two", "three"]) {
        taken.push(yield* Rooms.broadcast(rooms, "lobby", text))
        yield* settled
      }
      assert.deepStrictEqual(taken, [2, 2, 1])
      yield* slow.polls
      assert.deepStrictEqual(slow.take(), ["4one", "4two"])
      assert.deepStrictEqual(fast.take(), ["4one", "4two", "4three"])
    }))

  it.effect("lets others see who comes and goes, until they look away", () =>
    serving({}, function*(server) {
      const rooms = yield* Rooms.make
      const [ada, bob] = [yield* server.connect("websocket"), yield* server.connect("websocket")]
      const names = new Map([[ada.socket.id, "ada"], [bob.socket.id, "bob"]])
      yield* Rooms.join(rooms, "lobby", ada.socket)
      const watches = [yield* watch(rooms, names), yield* watch(rooms, names)]
      yield* Effect.scoped(
        Effect.andThen(Rooms.join(rooms, "lobby", bob.socket), Rooms.join(rooms, "attic", bob.socket))
      )
      yield* Rooms.leave(rooms, "lobby", ada.socket)
      yield* Rooms.leave(rooms, "lobby", ada.socket)
      yield* settled
      for (const { fiber, seen } of watches) {
        assert.deepStrictEqual(seen, [
          "bob Joined lobby",
          "bob Joined attic",
          "bob Left attic",
          "bob Left lobby",
          "ada Left lobby"
        ])
        yield* Fiber.interrupt(fiber)
      }
      assert.isTrue(yield* isEmpty(rooms))
    }))
})
