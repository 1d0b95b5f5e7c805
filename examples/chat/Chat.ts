/**
 * The rooms, who is in them, and what one session does there.
 */
import { Context, Effect, Layer, PubSub, ScopedRef, Stream } from "effect"
import { EngineIO, Socket } from "effect-engine.io"
import { Notice, type Person, readRequest, Request, type Words, writeNotice } from "./messages.ts"

/** Rooms that are there when nobody is. */
const standing = ["Lobby", "Effect", "Coffee"]

/** How many of the last words a room remembers. */
const memory = 50

/** How far a slow reader may fall behind its room before it misses something. */
const patience = 256

interface Room {
  readonly name: string
  readonly people: Map<string, Person>
  readonly words: Array<Words>
  /** Notices, written once for all who read them. */
  readonly notices: PubSub.PubSub<string>
}

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
    const rooms = new Map<string, Room>()
    let count = 0
    const nextId = (kind: string) => `${kind}-${Date.now().toString(36)}-${(count++).toString(36)}`

    const openRoom = Effect.fnUntraced(function*(name: string) {
      const known = rooms.get(name)
      if (known !== undefined) return known
      const room: Room = { name, people: new Map(), words: [], notices: yield* PubSub.sliding<string>(patience) }
      rooms.set(name, room)
      return room
    })
    yield* Effect.forEach(standing, openRoom)

    const tell = (room: Room, notice: Notice) => PubSub.publish(room.notices, writeNotice(notice))

    const listRooms = Effect.sync(() =>
      Notice.cases.Rooms.make({
        rooms: Array.from(rooms.values(), ({ name, people }) => ({ name, people: people.size }))
      })
    )

    const tellRooms = listRooms.pipe(
      Effect.flatMap((notice) => EngineIO.broadcast(writeNotice(notice))),
      Effect.provideService(EngineIO.EngineIO, engine)
    )

    const leave = Effect.fnUntraced(function*(room: Room, id: string) {
      const person = room.people.get(id)
      room.people.delete(id)
      if (room.people.size === 0 && !standing.includes(room.name)) rooms.delete(room.name)
      if (person !== undefined) yield* tell(room, Notice.cases.Left.make({ person }))
      yield* tellRooms
    })

    /** Takes a seat, which is left when the scope closes: with the session, or when it moves to another room. */
    const join = Effect.fnUntraced(function*(socket: Socket.Socket, name: string, roomName: string) {
      const room = yield* openRoom(roomName)
      const id = nextId("person")
      const look = Effect.map(Socket.transport(socket), (transport): Person => ({ id, name, transport }))

      const you = yield* look
      room.people.set(id, you)
      yield* Effect.addFinalizer(() => leave(room, id))
      yield* tell(room, Notice.cases.Joined.make({ person: you }))

      const notices = yield* PubSub.subscribe(room.notices)
      const people = Array.from(room.people.values())
      const welcome = Notice.cases.Welcome.make({ you, room: room.name, people, words: room.words })
      yield* Effect.ignore(Socket.send(socket, writeNotice(welcome)))
      yield* PubSub.takeAll(notices).pipe(
        Effect.flatMap((batch) => Socket.sendAll(socket, batch)),
        Effect.forever,
        Effect.ignore, // the session has ended, and the scope with it
        Effect.forkScoped
      )
      yield* tellRooms

      const seat: Seat = {
        say: Effect.fnUntraced(function*(text, key) {
          const words: Words = { id: nextId("words"), person: id, name, text, key, time: Date.now() }
          room.words.push(words)
          if (room.words.length > memory) room.words.shift()
          yield* tell(room, Notice.cases.Said.make({ words }))
        }),
        type: (typing) => Effect.flatMap(look, (person) => tell(room, Notice.cases.Typing.make({ person, typing }))),
        move: Effect.flatMap(look, (person) => {
          room.people.set(id, person)
          return tell(room, Notice.cases.Moved.make({ person }))
        })
      }
      return seat
    })

    /** Everything that happens between a page and the rooms, for as long as the session lives. */
    const attend = Effect.fnUntraced(function*(socket: Socket.Socket) {
      const seat = yield* ScopedRef.make((): Seat | undefined => undefined)
      const send = (notice: Notice) => Socket.send(socket, writeNotice(notice))
      const ifSeated = (f: (seat: Seat) => Effect.Effect<void>) =>
        Effect.flatMap(
          ScopedRef.get(seat),
          (taken) => taken === undefined ? send(Notice.cases.Problem.make({ text: "Join a room first" })) : f(taken)
        )

      const act = Request.match({
        Join: ({ name, room }) => ScopedRef.set(seat, join(socket, name, room)),
        Say: ({ key, text }) => ifSeated(({ say }) => say(text, key)),
        Typing: ({ typing }) => ifSeated(({ type }) => type(typing)),
        Echo: ({ sent }) => send(Notice.cases.Echo.make({ sent }))
      })

      yield* Socket.events(socket).pipe(
        Stream.filter((event) => event._tag === "Upgraded"),
        Stream.runForEach(() => Effect.flatMap(ScopedRef.get(seat), (taken) => taken?.move ?? Effect.void)),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* send(yield* listRooms)
      yield* Socket.forEach(socket, (message) =>
        readRequest(message).pipe(
          Effect.flatMap(act),
          Effect.catchTag("SchemaError", ({ message }) => send(Notice.cases.Problem.make({ text: message })))
        ))
    })

    return { attend }
  })
}) {
  static readonly layer = Layer.effect(this, this.make)
}
