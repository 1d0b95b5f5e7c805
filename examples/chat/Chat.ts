/**
 * The rooms, who is in them, and what one session does there.
 */
import { Context, Effect, Layer, ScopedRef, Stream } from "effect"
import { EngineIO, Rooms, Socket, TypedSocket } from "effect-engine.io"
import { ChatProtocol, Notice, type Page, type Person, Request, type Words } from "./messages.ts"

/** Rooms that are there when nobody is. */
const standing = ["Lobby", "Effect", "Coffee"]

/** How many of the last words a room remembers, as long as it is there. */
const memory = 50

/** What somebody can do who has joined a room. */
interface Seat {
  readonly say: (text: string, key: string) => Effect.Effect<void>
  readonly type: (typing: boolean) => Effect.Effect<void>
  /** Tells the room of the transport the session is on now. */
  readonly move: Effect.Effect<void>
}

export class Chat extends Context.Service<Chat>()("chat/Chat", {
  make: Effect.gen(function*() {
    const engine = yield* EngineIO.EngineIO
    const rooms = yield* Rooms.make
    const people = new WeakMap<Socket.Socket, Person>()
    const spoken = new Map<string, Array<Words>>(standing.map((room) => [room, []]))
    let count = 0
    const nextId = (kind: string) => `${kind}-${Date.now().toString(36)}-${(count++).toString(36)}`

    // What the server makes itself is of the protocol.
    const write = (notice: Notice) => Effect.orDie(ChatProtocol.encode(notice))

    const tell = (room: string, notice: Notice) =>
      Effect.flatMap(write(notice), (message) => Rooms.broadcast(rooms, room, message))

    const listRooms = Effect.map(Rooms.counts(rooms), (counts) =>
      Notice.cases.Rooms.make({
        rooms: Array.from(spoken.keys(), (name) => ({ name, people: counts.get(name) ?? 0 }))
      }))

    const tellRooms = listRooms.pipe(
      Effect.flatMap(write),
      Effect.flatMap((message) => EngineIO.broadcast(message)),
      Effect.provideService(EngineIO.EngineIO, engine)
    )

    /** Somebody has left a room, on purpose or not. */
    const onLeft = Effect.fnUntraced(function*(room: string, person: Person) {
      if (!standing.includes(room) && (yield* Rooms.members(rooms, room)).length === 0) spoken.delete(room)
      yield* tell(room, Notice.cases.Left.make({ person }))
      yield* tellRooms
    })

    /** Takes a seat, which is left when the scope closes: with the session, or when it moves to another room. */
    const join = Effect.fnUntraced(function*(page: Page, name: string, room: string) {
      const { socket } = page
      const id = nextId("person")
      const look = Effect.map(Socket.transport(socket), (transport): Person => ({ id, name, transport }))

      const you = yield* look
      people.set(socket, you)
      yield* Effect.addFinalizer(() => onLeft(room, you))
      yield* Rooms.join(rooms, room, socket)
      const words = spoken.get(room) ?? []
      spoken.set(room, words)
      const members = yield* Rooms.members(rooms, room)
      const welcome = Notice.cases.Welcome.make({ you, room, people: members.map((it) => people.get(it)!), words })
      yield* Effect.ignore(TypedSocket.send(page, welcome))
      yield* tell(room, Notice.cases.Joined.make({ person: you }))
      yield* tellRooms

      const seat: Seat = {
        say: Effect.fnUntraced(function*(text, key) {
          const said: Words = { id: nextId("words"), person: id, name, text, key, time: Date.now() }
          words.push(said)
          if (words.length > memory) words.shift()
          yield* tell(room, Notice.cases.Said.make({ words: said }))
        }),
        type: (typing) => Effect.flatMap(look, (person) => tell(room, Notice.cases.Typing.make({ person, typing }))),
        move: Effect.flatMap(look, (person) => {
          people.set(socket, person)
          return tell(room, Notice.cases.Moved.make({ person }))
        })
      }
      return seat
    })

    /** Everything that happens between a page and the rooms, for as long as the session lives. */
    const attend = Effect.fnUntraced(function*(socket: Socket.Socket) {
      const page = TypedSocket.make(socket, ChatProtocol)
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
          Join: ({ name, room }) => ScopedRef.set(seat, join(page, name, room)),
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
