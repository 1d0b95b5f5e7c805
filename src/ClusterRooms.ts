/**
 * Rooms of a whole cluster: whoever is in one is spoken to, and seen, in every process. A person is in a room by a socket
 * of one process; the others know what a `Schema` makes of that person. Without a cluster they are rooms of one process.
 *
 * Nothing is stored, and nothing goes through a broker: members tell each other, and one that comes is told who is there.
 *
 * - Who is in a room is the same in all members in the end: where a link between two is lost, each sees the people of the
 *   other leave, and come when it is back.
 * - What one process says arrives in its order, and once. It is lost for members that cannot be reached at that moment.
 *
 * **Example** (A lobby on all cores)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { ClusterRooms, EngineIO, Socket } from "effect-engine.io"
 *
 * const Person = Schema.Struct({ name: Schema.String })
 *
 * const lobby = Layer.unwrap(Effect.gen(function*() {
 *   const rooms = yield* ClusterRooms.make("chat", Person)
 *   return EngineIO.route("/engine.io/", (socket) =>
 *     Effect.succeed({
 *       app: Effect.gen(function*() {
 *         yield* ClusterRooms.join(rooms, "lobby", socket, { name: socket.handshake.query["name"] ?? "somebody" })
 *         yield* Socket.forEach(socket, (message) => ClusterRooms.broadcast(rooms, "lobby", message))
 *       })
 *     }))
 * }))
 * ```
 *
 * @module
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { toMessage } from "./internal/protocol/bytes.ts"
import { see } from "./internal/protocol/see.ts"
import type { News } from "./internal/server/clusterMessages.ts"
import { type Change, type Presence, Presences } from "./internal/server/presence.ts"
import { EngineIO } from "./internal/server/service.ts"
import { checkName, type Hear } from "./internal/server/topics.ts"
import * as Rooms from "./Rooms.ts"
import type { Sendable, Socket, SocketId } from "./Socket.ts"

export type { Change } from "./internal/server/presence.ts"

const TypeId: unique symbol = Symbol.for("effect-engine.io/ClusterRooms")

/**
 * Some rooms, by name, and the people in them.
 *
 * @category models
 * @since 0.2.0
 */
export interface ClusterRooms<in out Person> {
  /** The same rooms as far as they are of this process, with its sockets. What is broadcast there goes no further. */
  readonly here: Rooms.Rooms
  readonly [TypeId]: State<Person>
}

interface State<in out Person> {
  readonly presences: Presences<Person>
  readonly encode: (person: Person) => Effect.Effect<string, Schema.SchemaError>
  /** Tells the rooms of all other members. */
  readonly publish: (news: News) => void
}

/**
 * Makes rooms, the same in all members that make some with this name, until the scope closes. Make them once in a process,
 * in a `Layer` say.
 *
 * It waits until the members that are known have said who is there, for a second at most: make them before the server
 * listens, in the layer of a service that is provided below the server's. Whoever is no `Person` here, since that member
 * runs another version of the program, is not seen, which a warning in the log tells.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = <Person, Encoded>(
  name: string,
  schema: Schema.Codec<Person, Encoded>
): Effect.Effect<ClusterRooms<Person>, never, EngineIO | Scope.Scope> =>
  Effect.gen(function*() {
    const { engine: { supervisor, topics } } = yield* EngineIO
    const here = yield* Rooms.make
    const presences = new Presences<Person>()
    const topic = `rooms:${name}`
    const codec = Schema.fromJsonString(Schema.toCodecJson(schema))
    const decode = Schema.decodeUnknownExit(codec)

    const add = (owner: string | undefined, room: string, sid: SocketId, text: string): void => {
      const person = decode(text)
      if (Exit.isSuccess(person)) return presences.take({ room, sid, person: person.value, text, owner })
      supervisor.fork(Effect.logWarning(
        `Somebody in a room of another process does not decode${see("person-that-does-not-decode")}`,
        person.cause
      ))
    }
    const hear: Hear = (news, member) => {
      switch (news._tag) {
        case "Snapshot":
          for (const { person, room, sid } of news.presences) add(member, room, sid, person)
          return
        case "Present":
          return add(member, news.room, news.sid, news.person)
        case "Left": {
          const left = presences.find(news.room, news.sid)
          if (left !== undefined && left.owner === member) presences.leave(left)
          return
        }
        case "Gone":
          for (const left of presences.filter(({ owner }) => owner === member)) presences.leave(left)
          return
        case "RoomMessage":
          return void Effect.runSync(Rooms.broadcast(here, news.room, news.payload))
      }
    }
    const state: State<Person> = {
      presences,
      encode: Schema.encodeEffect(codec),
      publish: (news) => topics.publish(topic, news, hear)
    }
    const own = () => presences.filter(({ owner }) => typeof owner === "object")
    yield* topics.host(topic, () => own().map(({ room, sid, text }) => ({ room, sid, person: text })))
    yield* Effect.addFinalizer(() => Effect.sync(() => own().forEach((presence) => giveUp(state, presence))))
    yield* topics.listen(topic, hear)
    return { here, [TypeId]: state }
  })

/**
 * Takes somebody into a room, with a socket of this process, until the scope closes: in `app` and in the function of a
 * handler, that of the session. Fails with `SchemaError` where the person is none of the schema; nobody joins then.
 *
 * A socket is in a room once. Where it joins again, it is not seen to leave, and stays until the newer scope closes; a
 * person that is not the same is seen as `Changed`.
 *
 * @category membership
 * @since 0.2.0
 */
export const join = <Person>(
  { here, [TypeId]: state }: ClusterRooms<Person>,
  room: string,
  socket: Socket,
  person: Person
): Effect.Effect<void, Schema.SchemaError, Scope.Scope> =>
  Effect.gen(function*() {
    checkName(room)
    const text = yield* state.encode(person)
    yield* Rooms.join(here, room, socket)
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const presence = { room, sid: socket.id, person, text, owner: socket }
        state.presences.take(presence)
        state.publish({ _tag: "Present", exchange: 0, room, sid: socket.id, person: text })
        return presence
      }),
      (presence) => Effect.sync(() => giveUp(state, presence))
    )
  })

/**
 * Takes a socket of this process out of a room before its scope closes.
 *
 * @category membership
 * @since 0.2.0
 */
export const leave = <Person>(
  { here, [TypeId]: state }: ClusterRooms<Person>,
  room: string,
  socket: Socket
): Effect.Effect<void> =>
  Effect.andThen(
    Rooms.leave(here, room, socket),
    Effect.sync(() => {
      const presence = state.presences.find(room, socket.id)
      if (presence?.owner === socket) giveUp(state, presence)
    })
  )

const giveUp = <Person>({ publish, presences }: State<Person>, presence: Presence<Person>): void => {
  if (presences.leave(presence)) publish({ _tag: "Left", exchange: 0, room: presence.room, sid: presence.sid })
}

/**
 * Who is in a room now, in all members.
 *
 * @category getters
 * @since 0.2.0
 */
export const people = <Person>(
  { [TypeId]: { presences } }: ClusterRooms<Person>,
  room: string
): Effect.Effect<ReadonlyArray<Person>> => Effect.sync(() => presences.people(room))

/**
 * How many are in each room that has anybody in it, in all members.
 *
 * @category getters
 * @since 0.2.0
 */
export const counts = <Person>(
  { [TypeId]: { presences } }: ClusterRooms<Person>
): Effect.Effect<ReadonlyMap<string, number>> => Effect.sync(() => presences.counts)

/**
 * Sends one message to everybody in a room, in all members, but for a socket that you name. It waits for nobody: neither for
 * other members, nor for a slow client, which is skipped when its send buffer is full.
 *
 * **Example** (To everybody else)
 *
 * ```ts
 * import { ClusterRooms, type Socket } from "effect-engine.io"
 *
 * const say = (rooms: ClusterRooms.ClusterRooms<string>, socket: Socket.Socket, text: string) =>
 *   ClusterRooms.broadcast(rooms, "lobby", text, { except: socket })
 * ```
 *
 * @category sending
 * @since 0.2.0
 */
export const broadcast = <Person>(
  { here, [TypeId]: { publish } }: ClusterRooms<Person>,
  room: string,
  message: Sendable,
  { except }: { readonly except?: Socket | undefined } = {}
): Effect.Effect<void> =>
  Effect.suspend(() => {
    checkName(room)
    publish({ _tag: "RoomMessage", exchange: 0, room, payload: toMessage(message) })
    return Effect.asVoid(Rooms.broadcast(here, room, message, { filter: (socket) => socket !== except }))
  })

/**
 * Who joins, changes and leaves, in all members, from the moment the stream runs. Costs nothing while nobody listens; a
 * listener that falls more than 4 096 changes or 16 MiB behind loses the oldest, which a warning in the log tells. The
 * stream does not end by itself.
 *
 * @category observing
 * @since 0.2.0
 */
export const changes = <Person>({ [TypeId]: { presences } }: ClusterRooms<Person>): Stream.Stream<Change<Person>> =>
  presences.changes
