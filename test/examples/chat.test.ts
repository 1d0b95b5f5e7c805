/**
 * The chat without its page: what its server says to clients in memory, and, on two workers, to real ones. The page is in
 * `test/browser/`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { Socket } from "effect-engine.io"
import { EngineIOTest } from "effect-engine.io/testing"
import { Chat } from "../../examples/chat/Chat.ts"
import { Notice, type Request } from "../../examples/chat/messages.ts"
import { EngineClient } from "../kit/client.ts"
import { eventually, pause } from "../kit/events.ts"
import { type Program, withProgram } from "../kit/program.ts"
import { type Target, unwatched } from "../kit/server.ts"

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

  it.effect("shows who takes another name as the same person", () =>
    chat(Effect.gen(function*() {
      const ada = yield* connect("Ada")
      const { you } = yield* hear(ada, "Welcome")
      const bob = yield* connect("Bob")
      yield* hear(bob, "Welcome")
      yield* say(ada, { _tag: "Join", name: "Augusta", room: "Attic" })
      const renamed = { ...you, name: "Augusta" }
      assert.deepStrictEqual((yield* hear(bob, "Moved")).person, renamed)
      const welcome = yield* hear(ada, "Welcome")
      assert.deepStrictEqual([welcome.you, welcome.people.length], [renamed, 2])
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

/** Somebody who is in the lobby until the page is closed: it connects again when its connection is lost. */
class Page {
  readonly name: string
  /** What was said, by its keys. */
  readonly heard = new Map<string, string>()
  /** Whom the page shows, by their ids. */
  private people = new Map<string, string>()
  private lobby = 0
  /** How often it was told of everybody, and who that was the last time. */
  welcomes = 0
  welcomed: ReadonlyArray<string> = []
  /** The name of the worker it is or was connected to. */
  worker = ""
  private readonly target: Target
  private client: EngineClient | undefined
  private isClosed = false
  private constructor(name: string, target: Target) {
    this.name = name
    this.target = target
  }

  static async open(name: string, target: Target): Promise<Page> {
    const page = new Page(name, target)
    await page.connect()
    return page
  }

  private async connect(): Promise<void> {
    const client = await EngineClient.connect(this.target, "websocket").catch(() => undefined)
    if (client === undefined) return this.comeBack()
    this.client = client
    this.worker = client.sid.split(".")[0]!
    client.socket.on("message", (text: string) => this.receive(JSON.parse(text)))
    void client.closed.then(() => this.isClosed ? undefined : this.comeBack())
    this.send({ _tag: "Join", name: this.name, room: "Lobby" })
    const before = this.welcomes
    await eventually("a welcome", () => this.welcomes, (welcomes) => welcomes > before)
  }

  /** Not at once, as the chat's page. */
  private async comeBack(): Promise<void> {
    await pause(200)
    await this.connect()
  }

  private receive(notice: Notice): void {
    if (notice._tag === "Welcome") {
      this.people = new Map(notice.people.map(({ id, name }) => [id, name]))
      this.welcomed = [...this.people.values()].sort()
      this.welcomes++
      for (const { key, text } of notice.words) this.heard.set(key, text)
    } else if (notice._tag === "Joined") this.people.set(notice.person.id, notice.person.name)
    else if (notice._tag === "Left") this.people.delete(notice.person.id)
    else if (notice._tag === "Rooms") this.lobby = notice.rooms.find(({ name }) => name === "Lobby")!.people
    else if (notice._tag === "Said") {
      assert.isFalse(this.heard.has(notice.words.key))
      this.heard.set(notice.words.key, notice.words.text)
    }
  }

  send(request: Request): void {
    this.client!.send(JSON.stringify(request))
  }

  /** Waits until exactly these people are here. */
  sees(...names: ReadonlyArray<string>): Promise<unknown> {
    const seen = () => ({ people: [...this.people.values()].sort(), count: this.lobby })
    return eventually(
      `${names} at the page of ${this.name}`,
      seen,
      ({ count, people }) => people.join() === names.join() && count === names.length
    )
  }

  close(): Promise<unknown> {
    this.isClosed = true
    return this.client!.close()
  }
}

describe("the chat on two workers", () => {
  const processes = ({ output }: Program) => Array.from(output.matchAll(/by process (\d+)/g), ([, pid]) => Number(pid))

  const listening = (program: Program, count: number) =>
    eventually(`worker ${count}`, () => processes(program), ({ length }) => length >= count, 20_000)

  /** A page that is connected to a worker for which `accept` holds. */
  const openAt = async (name: string, target: Target, accept: (worker: string) => boolean): Promise<Page> => {
    for (let i = 0; i < 20; i++) {
      const page = await Page.open(name, target)
      if (accept(page.worker)) return page
      await page.close()
    }
    return assert.fail("no connection reached the worker")
  }

  /** One after the other says something, which all hear once. */
  const talk = async (pages: ReadonlyArray<Page>, text: string): Promise<void> => {
    for (const speaker of pages) {
      const words = `${text} ${speaker.name}`
      speaker.send({ _tag: "Say", text: words, key: words })
      for (const page of pages) await eventually(words, () => page.heard.get(words), (it) => it === words)
    }
  }

  it(
    "lets people at different workers talk, and shows who is here, also after one was killed and all were replaced",
    withProgram(["examples/chat/main.ts", "--workers=2"], async (program) => {
      const [first] = await listening(program, 2)
      const target = unwatched(Number(/localhost:(\d+)/.exec(program.output)![1]))
      const ada = await Page.open("ada", target)
      const bob = await openAt("bob", target, (worker) => worker !== ada.worker)
      const before = [ada.worker, bob.worker]
      for (const page of [ada, bob]) await page.sees("ada", "bob")
      await talk([ada, bob], "hello")

      // One of them comes back.
      const welcomes = ada.welcomes + bob.welcomes
      process.kill(first!, "SIGKILL")
      await eventually("a welcome", () => ada.welcomes + bob.welcomes, (count) => count > welcomes)
      for (const page of [ada, bob]) await page.sees("ada", "bob")
      await talk([ada, bob], "still here")
      await listening(program, 3)
      const eve = await openAt("eve", target, (worker) => !before.includes(worker))
      assert.includeMembers([...eve.welcomed], ["ada", "bob", "eve"])
      for (const page of [ada, bob, eve]) await page.sees("ada", "bob", "eve")
      await talk([ada, bob, eve], "who is new")

      const all = [ada, bob, eve]
      program.process.kill("SIGUSR2")
      await listening(program, 5)
      const olds = new Set([...before, eve.worker])
      await eventually(
        "new workers",
        () => all.map(({ worker }) => worker),
        (now) => now.every((it) => !olds.has(it)),
        20_000
      )
      for (const page of all) await page.sees("ada", "bob", "eve")
      await talk(all, "all new")
      for (const page of all) await page.close()
      assert.strictEqual(await program.end("SIGTERM"), 0)
    }, { PORT: "0" }),
    60_000
  )
})
