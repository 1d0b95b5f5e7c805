/**
 * Rooms: sessions that are spoken to together. A room is there as long as somebody is in it. They are those of one
 * process; `ClusterRooms` has those of a whole cluster.
 *
 * **Example** (A lobby)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { EngineIO, Rooms, Socket } from "effect-engine.io"
 *
 * const lobby = Layer.unwrap(Effect.gen(function*() {
 *   const rooms = yield* Rooms.make
 *   return EngineIO.route("/engine.io/", (socket) =>
 *     Effect.succeed({
 *       app: Effect.gen(function*() {
 *         yield* Rooms.join(rooms, "lobby", socket)
 *         yield* Socket.forEach(socket, (message) => Rooms.broadcast(rooms, "lobby", message))
 *       })
 *     }))
 * }))
 * ```
 *
 * @module
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { broadcast as broadcastTo, type BroadcastOptions } from "./internal/server/broadcast.ts"
import { observe, type Observed, publish } from "./internal/session/observers.ts"
import type { Sendable, Socket } from "./Socket.ts"

const TypeId: unique symbol = Symbol.for("effect-engine.io/Rooms")

/**
 * Some rooms, by name. They know nothing of other rooms, also where those have the same names.
 *
 * @category models
 * @since 0.2.0
 */
export interface Rooms {
  readonly [TypeId]: State
}

interface State extends Observed<Change> {
  readonly rooms: Ref.Ref<HashMap.HashMap<string, Room>>
}

/** Its sockets. Each has another symbol every time it joins, by which the scope of each time knows its own. */
type Room = HashMap.HashMap<Socket, symbol>

/**
 * What can be observed of rooms with `changes`. The union is closed: `Joined`, `Left`.
 *
 * @category models
 * @since 0.2.0
 */
export type Change =
  /** A socket is in the room that was not. */
  | { readonly _tag: "Joined"; readonly room: string; readonly socket: Socket }
  /** A socket is no longer in the room: it has left, or its session has ended. */
  | { readonly _tag: "Left"; readonly room: string; readonly socket: Socket }

/**
 * Makes rooms, without anybody in them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make: Effect.Effect<Rooms> = Effect.map(
  Ref.make(HashMap.empty<string, Room>()),
  (rooms): Rooms => ({ [TypeId]: { rooms, observers: undefined } })
)

/**
 * Takes a socket into a room until the scope closes: in `app` and in the function of a handler, that of the session.
 *
 * A socket is in a room once. Where it joins again, it is not seen to leave or join, and stays until the newer scope
 * closes.
 *
 * @category membership
 * @since 0.2.0
 */
export const join = (rooms: Rooms, room: string, socket: Socket): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.suspend(() => {
      const member = Symbol()
      return Effect.map(
        Ref.modify(rooms[TypeId].rooms, (all) => {
          const members = membersOf(all, room)
          return [HashMap.has(members, socket), HashMap.set(all, room, HashMap.set(members, socket, member))]
        }),
        (wasThere) => {
          if (!wasThere) tell(rooms, { _tag: "Joined", room, socket })
          return member
        }
      )
    }),
    (member) => remove(rooms, room, socket, member)
  ))

/**
 * Takes a socket out of a room before its scope closes.
 *
 * @category membership
 * @since 0.2.0
 */
export const leave = (rooms: Rooms, room: string, socket: Socket): Effect.Effect<void> => remove(rooms, room, socket)

/** Removes a socket from a room; where `member` is given, only if it has not joined again since. */
const remove = (rooms: Rooms, room: string, socket: Socket, member?: symbol): Effect.Effect<void> =>
  Effect.map(
    Ref.modify(rooms[TypeId].rooms, (all) => {
      const members = membersOf(all, room)
      const found = Option.getOrUndefined(HashMap.get(members, socket))
      if (found === undefined || (member !== undefined && found !== member)) return [false, all]
      const others = HashMap.remove(members, socket)
      return [true, HashMap.isEmpty(others) ? HashMap.remove(all, room) : HashMap.set(all, room, others)]
    }),
    (isGone) => {
      if (isGone) tell(rooms, { _tag: "Left", room, socket })
    }
  )

const membersOf = (all: HashMap.HashMap<string, Room>, room: string): Room =>
  Option.getOrElse(HashMap.get(all, room), () => HashMap.empty())

const tell = ({ [TypeId]: { observers } }: Rooms, change: Change): void => {
  if (observers !== undefined) publish(observers, change, 0)
}

/**
 * Who is in a room now.
 *
 * @category getters
 * @since 0.2.0
 */
export const members = (rooms: Rooms, room: string): Effect.Effect<ReadonlyArray<Socket>> =>
  Effect.map(Ref.get(rooms[TypeId].rooms), (all) => Array.from(HashMap.keys(membersOf(all, room))))

/**
 * How many are in each room that has anybody in it.
 *
 * @category getters
 * @since 0.2.0
 */
export const counts = (rooms: Rooms): Effect.Effect<ReadonlyMap<string, number>> =>
  Effect.map(Ref.get(rooms[TypeId].rooms), (all) => new Map(HashMap.toEntries(HashMap.map(all, HashMap.size))))

/**
 * Sends one message to everybody in a room, or to those a filter accepts, encoding it once. Like `EngineIO.broadcast` it
 * never waits for a slow client: one whose send buffer is full is skipped, and so is one whose session has ended. Returns
 * how many took it.
 *
 * **Example** (To everybody else)
 *
 * ```ts
 * import { Rooms, type Socket } from "effect-engine.io"
 *
 * const say = (rooms: Rooms.Rooms, socket: Socket.Socket, text: string) =>
 *   Rooms.broadcast(rooms, "lobby", text, { filter: (other) => other !== socket })
 * ```
 *
 * @category sending
 * @since 0.2.0
 */
export const broadcast = (
  rooms: Rooms,
  room: string,
  message: Sendable,
  options?: BroadcastOptions
): Effect.Effect<number> =>
  Effect.map(Ref.get(rooms[TypeId].rooms), (all) => broadcastTo(HashMap.keys(membersOf(all, room)), message, options))

/**
 * Who joins and leaves, from the moment the stream runs. Costs nothing while nobody listens; a listener that falls more
 * than 4 096 changes behind loses the oldest, which a warning in the log tells. The stream does not end by itself.
 *
 * @category observing
 * @since 0.2.0
 */
export const changes = (rooms: Rooms): Stream.Stream<Change> => observe<Change>(rooms[TypeId], () => false)
