/**
 * The rooms, who is in them, and what one session does there.
 */
import { Context, Effect, Layer, Schema, Scope, ScopedRef, Stream } from "effect"
import { ClusterRooms, EngineIO, Rooms, Socket, TypedSocket } from "effect-engine.io"
import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
import { ChatProtocol, Notice, type Page, Person, Request, Words } from "./messages.ts"

/** Rooms that are there when nobody is. */
const standing = ["Lobby", "Effect", "Coffee"]

/** How many of the last words a room remembers, as long as it is there. */
const memory = 50

/** What the processes of the chat tell each other. */
const Said = Schema.fromJsonString(Schema.Struct({ room: Schema.String, words: Words }))

/** What somebody can do who has joined a room. */
interface Seat {
  readonly say: (text: string, key: string) => Effect.Effect<void>
  readonly type: (typing: boolean) => Effect.Effect<void>
  /** Shows the room the transport the session is on now. */
  readonly move: Effect.Effect<void>
}

export class Chat extends Context.Service<Chat>()("chat/Chat", {
  make: Effect.gen(function*() {
    const engine = yield* EngineIO.EngineIO
    const rooms = yield* ClusterRooms.make("chat", Person)
    /** What this process has heard. */
    const spoken = new Map<string, ReadonlyArray<Words>>()

    // What the server makes itself is of the protocol.
    const write = (notice: Notice) => Effect.orDie(ChatProtocol.encode(notice))

    const tell = (room: string, notice: Notice) =>
      Effect.flatMap(write(notice), (message) => ClusterRooms.broadcast(rooms, room, message))

    /** Tells those of this process: each tells its own of what all hear. */
    const tellHere = (room: string, notice: Notice) =>
      Effect.flatMap(write(notice), (message) => Rooms.broadcast(rooms.here, room, message))

    const listRooms = Effect.map(ClusterRooms.counts(rooms), (counts) =>
      Notice.cases.Rooms.make({
        rooms: Array.from(new Set([...standing, ...counts.keys()]), (name) => ({ name, people: counts.get(name) ?? 0 }))
      }))

    const tellRooms = listRooms.pipe(
      Effect.flatMap(write),
      Effect.flatMap((message) => EngineIO.broadcast(message)),
      Effect.provideService(EngineIO.EngineIO, engine)
    )

    const isThere = (room: string) =>
      Effect.map(ClusterRooms.counts(rooms), (counts) => counts.has(room) || standing.includes(room))

    const onChange = Effect.fnUntraced(function*({ _tag, person, room }: ClusterRooms.Change<Person>) {
      yield* tellHere(room, Notice.cases[_tag === "Changed" ? "Moved" : _tag].make({ person }))
      if (!(yield* isThere(room))) spoken.delete(room)
      if (_tag !== "Changed") yield* tellRooms
    })

    const say = (room: string, words: Words) =>
      Schema.encodeEffect(Said)({ room, words }).pipe(
        Effect.orDie,
        Effect.flatMap((message) => EngineIOCluster.publish("said", message)),
        Effect.provideService(EngineIO.EngineIO, engine)
      )

    const onSaid = Effect.fnUntraced(function*({ room, words }: typeof Said.Type) {
      const before = spoken.get(room) ?? []
      // A page that comes back says again what its new process may not have heard.
      if (before.some(({ key }) => key === words.key) || !(yield* isThere(room))) return
      spoken.set(room, [...before, words].slice(-memory))
      yield* tellHere(room, Notice.cases.Said.make({ words }))
    })

    yield* Effect.forkScoped(Stream.runForEach(ClusterRooms.changes(rooms), onChange), { startImmediately: true })
    yield* EngineIOCluster.messages("said").pipe(
      // A process of another version may say something else.
      Stream.runForEach((message) => Effect.ignore(Effect.flatMap(Schema.decodeUnknownEffect(Said)(message), onSaid))),
      Effect.forkScoped({ startImmediately: true })
    )

    /** Takes a seat, which is left when the scope closes: with the session, or when it moves to another room. */
    const join = Effect.fnUntraced(function*(page: Page, id: string, name: string, room: string) {
      const { socket } = page
      const scope = yield* Effect.scope
      const look = Effect.map(Socket.transport(socket), (transport): Person => ({ id, name, transport }))
      const sit = Effect.gen(function*() {
        const person = yield* look
        yield* Effect.orDie(ClusterRooms.join(rooms, room, socket, person))
        return person
      })

      const you = yield* sit
      const people = yield* ClusterRooms.people(rooms, room)
      const welcome = Notice.cases.Welcome.make({ you, room, people, words: spoken.get(room) ?? [] })
      yield* Effect.ignore(TypedSocket.send(page, welcome))

      const seat: Seat = {
        say: (text, key) => say(room, { id: crypto.randomUUID(), person: id, name, text, key, time: Date.now() }),
        type: (typing) => Effect.flatMap(look, (person) => tell(room, Notice.cases.Typing.make({ person, typing }))),
        move: Effect.asVoid(Scope.provide(sit, scope))
      }
      return seat
    })

    /** Everything that happens between a page and the rooms, for as long as the session lives. */
    const attend = Effect.fnUntraced(function*(socket: Socket.Socket) {
      const page = TypedSocket.make(socket, ChatProtocol)
      const id = crypto.randomUUID()
      const seat = yield* ScopedRef.make((): Seat | undefined => undefined)
      const send = (notice: Notice) => TypedSocket.send(page, notice)
      const ifSeated = (f: (seat: Seat) => Effect.Effect<void>) =>
        Effect.flatMap(
          ScopedRef.get(seat),
          (taken) => taken === undefined ? send(Notice.cases.Problem.make({ text: "Join a room first" })) : f(taken)
        )

      yield* Socket.events(socket).pipe(
        Stream.filter((event) => event._tag === "Upgraded"),
        Stream.runForEach(() => Effect.flatMap(ScopedRef.get(seat), (taken) => taken?.move ?? Effect.void)),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* send(yield* listRooms)
      yield* TypedSocket.forEach(
        page,
        Request.match({
          Join: ({ name, room }) => ScopedRef.set(seat, join(page, id, name, room)),
          Say: ({ key, text }) => ifSeated(({ say }) => say(text, key)),
          Typing: ({ typing }) => ifSeated(({ type }) => type(typing)),
          Echo: ({ sent }) => send(Notice.cases.Echo.make({ sent }))
        })
      )
    })

    return { attend }
  })
}) {
  static readonly layer = Layer.effect(this, this.make)
}
