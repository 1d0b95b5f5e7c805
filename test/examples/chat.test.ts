/**
 * The chat without its page: what its server says to clients in memory. The page is in `test/browser/`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { Socket } from "effect-engine.io"
import { EngineIOTest } from "effect-engine.io/testing"
import { Chat } from "../../examples/chat/Chat.ts"
import { Notice, type Request } from "../../examples/chat/messages.ts"

const app = (socket: Socket.Socket) => Effect.map(Chat, ({ attend }) => ({ app: attend(socket) }))

const read = Schema.decodeUnknownEffect(Schema.fromJsonString(Notice))

const say = (client: EngineIOTest.Client, request: Request) => EngineIOTest.send(client, JSON.stringify(request))

/** The next notice of a kind, whatever comes before. */
const hear = Effect.fnUntraced(function*<T extends Notice["_tag"]>(client: EngineIOTest.Client, tag: T) {
  while (true) {
    const notice = yield* Effect.flatMap(EngineIOTest.receive(client), read)
    if (notice._tag === tag) return notice as Extract<Notice, { readonly _tag: T }>
  }
})

const peopleIn = ({ rooms }: Extract<Notice, { readonly _tag: "Rooms" }>) =>
  Object.fromEntries(rooms.map(({ name, people }) => [name, people]))

const standing = { Lobby: 0, Effect: 0, Coffee: 0 }

const chat = (body: Effect.Effect<void, unknown, Effect.Services<ReturnType<typeof connect>>>) =>
  body.pipe(Effect.provide(Chat.layer), Effect.provide(EngineIOTest.layer()))

const connect = (name?: string, room = "Attic") =>
  Effect.gen(function*() {
    const client = yield* EngineIOTest.connect(app)
    if (name !== undefined) yield* say(client, { _tag: "Join", name, room })
    return client
  })

describe("the chat's server", () => {
  it.effect("lets those in a room hear each other, once each, and greets who joins with what was said", () =>
    chat(Effect.gen(function*() {
      const ada = yield* connect("Ada")
      const { you } = yield* hear(ada, "Welcome")
      yield* say(ada, { _tag: "Say", text: "hello", key: "1" })
      assert.strictEqual((yield* hear(ada, "Said")).words.text, "hello")

      const bob = yield* connect("Bob")
      const welcome = yield* hear(bob, "Welcome")
      assert.deepStrictEqual(welcome.people.map(({ name }) => name).sort(), ["Ada", "Bob"])
      assert.deepStrictEqual(welcome.words.map(({ text }) => text), ["hello"])
      assert.strictEqual((yield* hear(ada, "Joined")).person.name, "Bob")

      yield* EngineIOTest.upgrade(ada, "websocket")
      assert.deepStrictEqual((yield* hear(bob, "Moved")).person, { ...you, transport: "websocket" })
      for (const key of ["2", "3"]) yield* say(ada, { _tag: "Say", text: key, key })
      for (const key of ["2", "3"]) assert.strictEqual((yield* hear(bob, "Said")).words.key, key)
    })))

  it.effect("counts the people in its rooms, and keeps none that nobody is in, but for the standing ones", () =>
    chat(Effect.gen(function*() {
      const watcher = yield* connect()
      assert.deepStrictEqual(peopleIn(yield* hear(watcher, "Rooms")), standing)
      const ada = yield* connect("Ada")
      assert.deepStrictEqual(peopleIn(yield* hear(watcher, "Rooms")), { ...standing, Attic: 1 })
      const bob = yield* connect("Bob")
      assert.deepStrictEqual(peopleIn(yield* hear(watcher, "Rooms")), { ...standing, Attic: 2 })
      yield* say(bob, { _tag: "Join", name: "Bob", room: "Lobby" })
      assert.strictEqual((yield* hear(ada, "Left")).person.name, "Bob")
      yield* hear(watcher, "Rooms")
      assert.deepStrictEqual(peopleIn(yield* hear(watcher, "Rooms")), { ...standing, Lobby: 1, Attic: 1 })
      yield* EngineIOTest.vanish(ada)
      assert.deepStrictEqual(peopleIn(yield* hear(watcher, "Rooms")), { ...standing, Lobby: 1 })
    })))

  it.effect("says what is wrong with a message, and goes on", () =>
    chat(Effect.gen(function*() {
      const client = yield* connect()
      for (const text of ["{", "{\"_tag\":\"Sing\"}", "{\"_tag\":\"Join\",\"name\":\" \",\"room\":\"Attic\"}"]) {
        yield* EngineIOTest.send(client, text)
        assert.match((yield* hear(client, "Problem")).text, /^Expected/)
      }
      yield* say(client, { _tag: "Typing", typing: true })
      assert.strictEqual((yield* hear(client, "Problem")).text, "Join a room first")
      yield* say(client, { _tag: "Echo", sent: 1 })
      assert.strictEqual((yield* hear(client, "Echo")).sent, 1)
    })))
})
