/**
 * Rooms and topics of a cluster: who hears and sees whom, when members come, die and lose each other. Most of it in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  type Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Logger,
  References,
  Schema,
  SchemaGetter,
  Scope,
  Stream
} from "effect"
import { TestClock } from "effect/testing"
import { mkdtempSync, rmSync } from "node:fs"
import type { NetConnectOpts } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeMembers } from "../../src/internal/node/memberSockets.ts"
import { Cluster, Others } from "../../src/internal/server/cluster.ts"
import * as EngineIOCluster from "../../src/EngineIOCluster.ts"
import { ClusterRooms, EngineIO, Socket } from "../../src/index.ts"
import { EngineIOTest } from "../../src/testing.ts"
import { eventually } from "../kit/events.ts"
import { settled } from "../kit/inMemory.ts"
import { MemoryNetwork } from "../kit/memoryCluster.ts"

const Person = Schema.Struct({ name: Schema.String, mood: Schema.optionalKey(Schema.String) })
type Person = typeof Person.Type
type Rooms = ClusterRooms.ClusterRooms<Person>

/** One process: a server and its rooms. */
class Member {
  readonly name: string
  readonly context: Context.Context<EngineIO.EngineIO>
  readonly rooms: Rooms
  readonly scope: Scope.Closeable
  constructor(name: string, context: Context.Context<EngineIO.EngineIO>, rooms: Rooms, scope: Scope.Closeable) {
    this.name = name
    this.context = context
    this.rooms = rooms
    this.scope = scope
  }

  /** A client whose session joins a room, and says there what it is sent, but not to itself. */
  join(name: string, room = "lobby") {
    const { rooms } = this
    const app = (socket: Socket.Socket) =>
      Effect.succeed({
        app: Effect.gen(function*() {
          yield* ClusterRooms.join(rooms, room, socket, { name })
          yield* Socket.forEach(
            socket,
            (message) => ClusterRooms.broadcast(rooms, room, message, { except: socket })
          )
        })
      })
    return EngineIOTest.connect(app, { transport: "websocket" }).pipe(
      Effect.provideContext(this.context),
      Effect.tap(settled)
    )
  }

  /** The names of those in a room. */
  sees(room = "lobby"): Effect.Effect<ReadonlyArray<string>> {
    return Effect.andThen(
      settled,
      Effect.map(ClusterRooms.people(this.rooms, room), (people) => people.map(({ name }) => name).sort())
    )
  }

  /** What changes in its rooms from now on, as words. */
  get watch() {
    const seen: Array<string> = []
    return ClusterRooms.changes(this.rooms).pipe(
      Stream.runForEach(({ _tag, person: { mood = "", name }, room }) =>
        Effect.sync(() => void seen.push(`${name}${mood} ${_tag} ${room}`))
      ),
      Effect.forkScoped({ startImmediately: true }),
      Effect.andThen(settled),
      Effect.as(seen)
    )
  }

  /** How many topics there are, here and for others. */
  get topics(): Effect.Effect<number> {
    return Effect.map(
      Effect.provideContext(EngineIO.EngineIO, this.context),
      ({ engine }) => (Reflect.get(engine.topics, "topics") as Map<string, unknown>).size
    )
  }
}

const makeMember = (network: MemoryNetwork, name: string) => makeMemberBy(network.join(name), name)

const makeMemberBy = Effect.fnUntraced(function*(cluster: Effect.Effect<Cluster, never, Scope.Scope>, name: string) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const engine = Layer.fresh(EngineIOTest.layer())
  const context = yield* Layer.build(Layer.provide(engine, Layer.effect(Cluster, cluster))).pipe(Scope.provide(scope))
  const roomsScope = yield* Scope.fork(scope)
  const rooms = yield* Effect.provideContext(Scope.provide(ClusterRooms.make("chat", Person), roomsScope), context)
  yield* settled
  return new Member(name, context, rooms, roomsScope)
})

const makePair = Effect.gen(function*() {
  const network = new MemoryNetwork()
  return { network, a: yield* makeMember(network, "a"), b: yield* makeMember(network, "b") }
})

const hear = (client: EngineIOTest.Client, ...expected: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    for (const text of expected) assert.strictEqual(yield* EngineIOTest.receive(client), text)
  })

describe("rooms of a cluster", () => {
  it.effect("let those who are in one hear each other, once and in order, wherever they are", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const [ada, bob, eve] = [yield* a.join("ada"), yield* b.join("bob"), yield* b.join("eve", "attic")]
      for (const text of ["one", "two", "three"]) yield* EngineIOTest.send(ada, text)
      yield* hear(bob, "one", "two", "three")
      yield* EngineIOTest.send(bob, "four")
      yield* hear(ada, "four")
      yield* ClusterRooms.broadcast(a.rooms, "attic", new Uint8Array([1, 2]))
      assert.deepStrictEqual([...(yield* EngineIOTest.receive(eve)) as Uint8Array], [1, 2])
      // Nobody else heard anything.
      yield* ClusterRooms.broadcast(a.rooms, "lobby", "last")
      for (const client of [ada, bob]) yield* hear(client, "last")
    }))

  it.effect("show everywhere who comes, changes and leaves", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const seen = [yield* a.watch, yield* b.watch]
      const ada = yield* a.join("ada")
      yield* b.join("bob")
      yield* b.join("eve", "attic")
      for (const member of [a, b]) {
        assert.deepStrictEqual(yield* member.sees(), ["ada", "bob"])
        assert.deepStrictEqual(yield* ClusterRooms.counts(member.rooms), new Map([["lobby", 2], ["attic", 1]]))
      }
      const again = { name: "ada", mood: "!" }
      yield* Effect.scoped(Effect.gen(function*() {
        for (let i = 0; i < 2; i++) yield* ClusterRooms.join(a.rooms, "lobby", ada.socket, again)
        yield* settled
      }))
      yield* settled
      yield* ClusterRooms.join(a.rooms, "lobby", ada.socket, again)
      yield* ClusterRooms.leave(a.rooms, "lobby", ada.socket)
      yield* ClusterRooms.leave(a.rooms, "lobby", ada.socket)
      yield* settled
      for (const changes of seen) {
        assert.deepStrictEqual(changes, [
          "ada Joined lobby",
          "bob Joined lobby",
          "eve Joined attic",
          "ada! Changed lobby",
          "ada! Left lobby",
          "ada! Joined lobby",
          "ada! Left lobby"
        ])
      }
    }))

  it.effect("are left with the session, everywhere", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const ada = yield* a.join("ada")
      assert.deepStrictEqual(yield* b.sees(), ["ada"])
      yield* EngineIOTest.vanish(ada)
      assert.deepStrictEqual(yield* b.sees(), [])
      assert.deepStrictEqual(yield* ClusterRooms.counts(b.rooms), new Map())
    }))

  it.effect("are left by nobody because another member says so whose person it is not", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const { socket } = yield* a.join("ada")
      const { engine } = yield* Effect.provideContext(EngineIO.EngineIO, b.context)
      engine.topics.publish("rooms:chat", { _tag: "Left", exchange: 0, room: "lobby", sid: socket.id })
      assert.deepStrictEqual([yield* a.sees(), yield* b.sees()], [["ada"], ["ada"]])
    }))

  it.effect("take nobody who is none of the schema", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const { socket } = yield* a.join("ada", "attic")
      const error = yield* Effect.flip(ClusterRooms.join(a.rooms, "lobby", socket, { name: 1 } as never))
      assert.strictEqual(error._tag, "SchemaError")
      assert.deepStrictEqual([yield* a.sees(), yield* b.sees()], [[], []])
    }))

  it.effect("show who is there to a member that comes, before it serves anybody, and it to the others at once", () =>
    Effect.gen(function*() {
      const { a, b, network } = yield* makePair
      yield* a.join("ada")
      yield* b.join("bob")
      const c = yield* makeMember(network, "c")
      assert.deepStrictEqual((yield* ClusterRooms.people(c.rooms, "lobby")).map(({ name }) => name).sort(), [
        "ada",
        "bob"
      ])
      const eve = yield* c.join("eve")
      for (const member of [a, b, c]) assert.deepStrictEqual(yield* member.sees(), ["ada", "bob", "eve"])
      yield* ClusterRooms.broadcast(a.rooms, "lobby", "welcome")
      yield* hear(eve, "welcome")
    }))

  it.effect("show very many to a member that comes in several messages, of which the last says so", () =>
    Effect.gen(function*() {
      const { a, network } = yield* makePair
      const { socket } = yield* a.join("ada", "room 0")
      for (let i = 1; i < 250; i++) yield* ClusterRooms.join(a.rooms, `room ${i}`, socket, { name: "ada" })
      const seen: Array<readonly [number, boolean]> = []
      const comer = yield* network.join("c")
      const link = comer.connect("a", {
        onMessage: (message) => {
          if (message._tag === "Snapshot") seen.push([message.presences.length, message.isLast])
        },
        onClose: () => {}
      })
      link.send({ _tag: "Listen", exchange: 1, topic: "rooms:chat" })
      yield* settled
      assert.deepStrictEqual(seen, [[100, false], [100, false], [50, true]])
      const d = yield* makeMember(network, "d")
      assert.strictEqual((yield* ClusterRooms.counts(d.rooms)).size, 250)
    }))

  it.effect("are left by the people of a member that dies, and by no others", () =>
    Effect.gen(function*() {
      const { a, b, network } = yield* makePair
      const c = yield* makeMember(network, "c")
      for (const member of [a, b, c]) yield* member.join(`at ${member.name}`)
      const seen = yield* a.watch
      network.kill("b")
      for (const member of [a, c]) assert.deepStrictEqual(yield* member.sees(), ["at a", "at c"])
      assert.deepStrictEqual(seen, ["at b Left lobby"])
      // One that takes its place has nothing of it.
      const d = yield* makeMember(network, "b")
      assert.deepStrictEqual(yield* d.sees(), ["at a", "at c"])
      // Nor does anybody go on telling it.
      for (const { scope } of [a, c, d]) yield* Scope.close(scope, Exit.void)
      yield* settled
      assert.strictEqual(yield* a.topics, 0)
    }))

  it.effect("are the same again after a partition, in which each side sees its own people alone", () =>
    Effect.gen(function*() {
      const { a, b, network } = yield* makePair
      const ada = yield* a.join("ada")
      const bob = yield* b.join("bob")
      network.cut()
      yield* ClusterRooms.broadcast(a.rooms, "lobby", "lost")
      network.unlink()
      assert.deepStrictEqual(yield* a.sees(), ["ada"])
      assert.deepStrictEqual(yield* b.sees(), ["bob"])
      yield* EngineIOTest.vanish(ada)
      yield* a.join("eve")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* b.sees(), ["bob"])
      network.heal()
      for (const member of [a, b]) assert.deepStrictEqual(yield* member.sees(), ["bob", "eve"])
      yield* ClusterRooms.broadcast(a.rooms, "lobby", "again")
      yield* hear(bob, "again")
    }))

  it.effect("begin after a second where a member does not answer, and show its people when it does", () =>
    Effect.gen(function*() {
      const network = new MemoryNetwork()
      const a = yield* makeMember(network, "a")
      yield* a.join("ada")
      network.cut()
      const starting = yield* Effect.forkScoped(makeMember(network, "b"))
      yield* settled
      assert.isUndefined(starting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const b = yield* Fiber.join(starting)
      assert.deepStrictEqual(yield* b.sees(), [])
      network.heal()
      assert.deepStrictEqual(yield* b.sees(), ["ada"])
    }))

  it.effect("keep no more than 16 MiB of changes for one that takes nothing, which loses the oldest and is told so", () =>
    Effect.gen(function*() {
      const { rooms, ...a } = yield* makeMember(new MemoryNetwork(), "a")
      const { socket } = yield* EngineIOTest.connect(() => Effect.succeed({ app: Effect.never })).pipe(
        Effect.provideContext(a.context)
      )
      const logs: Array<unknown> = []
      const goOn = Latch.makeUnsafe(false)
      const seen: Array<string> = []
      yield* ClusterRooms.changes(rooms).pipe(
        Stream.runForEach(({ person }) => {
          seen.push(person.name)
          return goOn.await
        }),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void logs.push(message))])),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* settled
      const mood = "x".repeat(2 ** 20 - 100)
      for (let n = 0; n <= 20; n++) {
        yield* ClusterRooms.join(rooms, "lobby", socket, { name: String(n), mood })
        yield* settled
      }
      yield* goOn.open
      yield* settled
      assert.deepStrictEqual(seen.map(Number), [0, ...Array.from({ length: 16 }, (_, n) => n + 5)])
      assert.match(String(logs), /too slow, and missed 4 events/)
    }))

  it.effect("are others under another name, and the same under one, also in one process", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const others = yield* Effect.provideContext(ClusterRooms.make("others", Person), a.context)
      const same = yield* Effect.provideContext(ClusterRooms.make("chat", Person), a.context)
      const ada = yield* a.join("ada")
      const bob = yield* b.join("bob")
      const names = (rooms: Rooms) =>
        Effect.map(ClusterRooms.people(rooms, "lobby"), (people) => people.map(({ name }) => name).sort())
      assert.deepStrictEqual([yield* names(others), yield* names(same)], [[], ["ada", "bob"]])
      yield* ClusterRooms.broadcast(others, "lobby", "nobody")
      yield* ClusterRooms.broadcast(same, "lobby", "everybody")
      for (const client of [ada, bob]) yield* hear(client, "everybody")
    }))

  it.effect("skip people of another version of the program, which the log tells", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const older = yield* ClusterRooms.make("chat", Schema.Struct({ nick: Schema.String })).pipe(
        Effect.provideContext(b.context)
      )
      const { socket } = yield* b.join("bob")
      yield* ClusterRooms.join(older, "lobby", socket, { nick: "bobby" })
      assert.deepStrictEqual(yield* a.sees(), ["bob"])
      assert.deepStrictEqual(yield* ClusterRooms.people(older, "lobby"), [{ nick: "bobby" }])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))

  it.effect("skip people whose schema fails, or waits, as it decodes", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const decode = (text: string) =>
        text === "waits"
          ? Effect.as(Effect.sleep("1 second"), text)
          : text === "fails"
          ? Effect.die(text)
          : Effect.succeed(text)
      const Text = Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: SchemaGetter.transformEffect(decode),
        encode: SchemaGetter.passthrough()
      }))
      const make = ({ context }: Member) => Effect.provideContext(ClusterRooms.make("texts", Text), context)
      const [here, there] = [yield* make(a), yield* make(b)]
      for (const name of ["waits", "fails", "ada"]) {
        yield* ClusterRooms.join(here, "lobby", (yield* a.join(name, "attic")).socket, name)
      }
      yield* settled
      assert.deepStrictEqual(yield* ClusterRooms.people(there, "lobby"), ["ada"])
      assert.lengthOf(yield* ClusterRooms.people(here, "lobby"), 3)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))

  it.effect("die of a name that is no text, before any other member is told", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const { socket } = yield* a.join("ada")
      for (
        const use of [
          ClusterRooms.join(a.rooms, undefined as never, socket, { name: "ada" }),
          ClusterRooms.broadcast(a.rooms, undefined as never, "hello"),
          Effect.provideContext(Stream.runDrain(EngineIOCluster.messages(undefined as never)), a.context)
        ]
      ) assert.isTrue(Exit.hasDies(yield* Effect.exit(use)))
      yield* settled
      assert.deepStrictEqual(yield* ClusterRooms.counts(b.rooms), new Map([["lobby", 1]]))
    }))

  it.effect("leave nothing behind when their scope closes, here or elsewhere", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      yield* a.join("ada")
      assert.deepStrictEqual(yield* b.sees(), ["ada"])
      yield* Scope.close(a.scope, Exit.void)
      assert.deepStrictEqual(yield* b.sees(), [])
      yield* Scope.close(b.scope, Exit.void)
      yield* settled
      assert.deepStrictEqual([yield* a.topics, yield* b.topics], [0, 0])
    }))
})

describe("rooms on real sockets", () => {
  const temporary = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rooms-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )
  const memberOf = (folder: string, self: string, other: string) => {
    const pathOf = (name: string) => ({ path: join(folder, name) })
    const others = new Others<NetConnectOpts>().set(other, pathOf(other))
    return makeMemberBy(
      Effect.orDie(makeMembers({ self, others, listen: pathOf(self), secret: "secret" })),
      self
    )
  }

  it.live("are those of all members, also of one that starts later, and end with it", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const a = yield* memberOf(folder, "a", "b")
      const ada = yield* a.join("ada")
      const later = yield* Scope.make()
      const b = yield* Scope.provide(memberOf(folder, "b", "a"), later)
      assert.deepStrictEqual(yield* b.sees(), ["ada"])
      const bob = yield* b.join("bob")
      const seenByA = (...names: ReadonlyArray<string>) =>
        Effect.promise(() =>
          eventually("people", () => Effect.runPromise(a.sees()), (people) => people.join() === names.join())
        )
      yield* seenByA("ada", "bob")
      const words = Array.from({ length: 100 }, (_, i) => `${i}`)
      for (const word of words) yield* EngineIOTest.send(ada, word)
      yield* hear(bob, ...words)
      yield* ClusterRooms.broadcast(b.rooms, "lobby", new Uint8Array([0, 255]))
      assert.deepStrictEqual([...(yield* EngineIOTest.receive(ada)) as Uint8Array], [0, 255])
      yield* Scope.close(later, Exit.void)
      yield* seenByA("ada")
    }))

  it.live("keep no more than 64 MiB of what is said for a member that does not read, and tell it who is there", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const a = yield* memberOf(folder, "a", "b")
      const b = yield* memberOf(folder, "b", "a")
      const heard: Array<string> = []
      yield* EngineIOCluster.messages("news").pipe(
        Stream.runForEach((message) => Effect.sync(() => void heard.push(String(message).slice(0, 4)))),
        Effect.provideContext(b.context),
        Effect.forkScoped({ startImmediately: true })
      )
      const publish = (message: string) => Effect.provideContext(EngineIOCluster.publish("news", message), a.context)
      const hears = (text: string) =>
        Effect.promise(() =>
          eventually("a message", () => (Effect.runFork(publish(text)), heard.includes(text)), (it) => it)
        )
      yield* hears("here")
      const before = heard.length
      // In one turn, in which nobody reads. Each is as large as what a listener keeps.
      for (let i = 0; i < 8; i++) Effect.runSync(publish(`${i}${"x".repeat(16 * 1024 * 1024)}`))
      yield* a.join("ada")
      yield* hears("back")
      const people = (): Promise<ReadonlyArray<string>> => Effect.runPromise(b.sees())
      yield* Effect.promise(() => eventually("people", people, (names) => names.join() === "ada"))
      const large = heard.slice(before).filter((text) => text.endsWith("xxx"))
      assert.deepStrictEqual(large, ["0xxx", "1xxx", "2xxx", "3xxx"])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
})

describe("a topic", () => {
  const listen = ({ context }: Member, topic: string) =>
    Effect.gen(function*() {
      const heard: Array<string | Uint8Array> = []
      const fiber = yield* EngineIOCluster.messages(topic).pipe(
        Stream.runForEach((message) => Effect.sync(() => void heard.push(message))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* settled
      return { heard, fiber }
    }).pipe(Effect.provideContext(context))

  const publish = ({ context }: Member, topic: string, message: Socket.Sendable) =>
    Effect.provideContext(EngineIOCluster.publish(topic, message), context)

  it.effect("tells who listens, in all members, in the order of each, and nobody else", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const [here, there, other] = [yield* listen(a, "news"), yield* listen(b, "news"), yield* listen(b, "weather")]
      for (const text of ["one", "two"]) yield* publish(a, "news", text)
      yield* settled
      yield* publish(b, "news", new Uint8Array([3]))
      yield* publish(b, "rooms:chat", "no news")
      yield* settled
      const bytes = new Uint8Array([3])
      assert.deepStrictEqual(here.heard, ["one", "two", bytes])
      assert.deepStrictEqual(there.heard, ["one", "two", bytes])
      assert.deepStrictEqual(other.heard, [])
      const before = yield* a.topics
      for (const { fiber } of [here, there]) yield* Fiber.interrupt(fiber)
      yield* settled
      assert.strictEqual(yield* a.topics, before - 1)
      yield* publish(a, "news", "three")
      assert.lengthOf(there.heard, 3)
    }))

  it.effect("is told to a process once, however many listen there, until the last of them ends", () =>
    Effect.gen(function*() {
      const { a, b } = yield* makePair
      const told = () =>
        Effect.map(
          Effect.provideContext(EngineIO.EngineIO, a.context),
          ({ engine }) =>
            (Reflect.get(engine.topics, "topics") as Map<string, { readonly listeners: ReadonlySet<unknown> }>)
              .get("news")?.listeners.size
        )
      const [first, second] = [yield* listen(b, "news"), yield* listen(b, "news")]
      assert.strictEqual(yield* told(), 1)
      yield* publish(a, "news", "one")
      yield* settled
      yield* Fiber.interrupt(first.fiber)
      yield* publish(a, "news", "two")
      yield* settled
      assert.deepStrictEqual([first.heard, second.heard], [["one"], ["one", "two"]])
      yield* Fiber.interrupt(second.fiber)
      yield* settled
      assert.isUndefined(yield* told())
    }))

  it.effect("is told no more to a member that has gone, also where it said twice that it listens", () =>
    Effect.gen(function*() {
      const { a, network } = yield* makePair
      const before = yield* a.topics
      const cluster = yield* network.join("liar")
      const link = cluster.connect("a", { onMessage: () => {}, onClose: () => {} })
      for (let i = 0; i < 2; i++) link.send({ _tag: "Listen", exchange: 1, topic: "news" })
      yield* settled
      assert.strictEqual(yield* a.topics, before + 1)
      network.kill("liar")
      yield* settled
      assert.strictEqual(yield* a.topics, before)
    }))

  it.effect("keeps no more than 16 MiB for one that takes nothing, which loses the oldest and is told so", () =>
    Effect.gen(function*() {
      const messages: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ message }) => void messages.push(message))])
      const first = yield* Deferred.make<string>()
      const goOn = Latch.makeUnsafe(false)
      const sizes: Array<number> = []
      yield* EngineIOCluster.messages("news").pipe(
        Stream.runForEach((message) =>
          Effect.gen(function*() {
            sizes.push(message.length)
            yield* Deferred.succeed(first, "")
            yield* goOn.await
          })
        ),
        Effect.provide(logger),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* EngineIOCluster.publish("news", "first")
      yield* Deferred.await(first)
      for (let i = 0; i < 20; i++) yield* EngineIOCluster.publish("news", "x".repeat(2 ** 20))
      yield* goOn.open
      yield* settled
      assert.lengthOf(sizes, 17)
      assert.match(String(messages), /too slow, and missed 4 events/)
    }).pipe(Effect.provide(EngineIOTest.layer())))

  it.effect("needs no cluster", () =>
    Effect.gen(function*() {
      const heard = yield* Effect.forkScoped(Stream.runCollect(Stream.take(EngineIOCluster.messages("news"), 1)), {
        startImmediately: true
      })
      yield* settled
      yield* EngineIOCluster.publish("news", "one")
      assert.deepStrictEqual(yield* Fiber.join(heard), ["one"])
    }).pipe(Effect.provide(EngineIOTest.layer())))
})
