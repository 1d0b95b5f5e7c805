/**
 * Who is in which room of a cluster, by sockets of this process or as other members say.
 */
import { observe, type Observed, type Observers, publish } from "../session/observers.ts"
import type { Socket, SocketId } from "../session/model.ts"
import type * as Stream from "effect/Stream"

/**
 * What can be observed of rooms with `changes`. The union is closed: `Joined`, `Changed`, `Left`.
 *
 * @category models
 * @since 0.2.0
 */
export type Change<Person> =
  /** Somebody is in the room who was not. */
  | { readonly _tag: "Joined"; readonly room: string; readonly person: Person }
  /** Somebody in the room is not the same any more, by joining again. */
  | { readonly _tag: "Changed"; readonly room: string; readonly person: Person }
  /** Somebody is no longer in the room: has left, has lost the connection, or is of a member that cannot be reached. */
  | { readonly _tag: "Left"; readonly room: string; readonly person: Person }

export interface Presence<Person> {
  readonly room: string
  readonly sid: SocketId
  readonly person: Person
  /** The person, as the members tell each other. */
  readonly text: string
  /** Whose it is: a socket's of ours, or another member's, by its name. */
  readonly owner: Socket | string | undefined
}

export class Presences<Person> implements Observed<Change<Person>> {
  observers: Observers<Change<Person>> | undefined
  private readonly rooms = new Map<string, Map<SocketId, Presence<Person>>>()

  take(presence: Presence<Person>): void {
    const { person, room, sid, text } = presence
    const presences = this.rooms.get(room) ?? new Map<SocketId, Presence<Person>>()
    const before = presences.get(sid)
    this.rooms.set(room, presences.set(sid, presence))
    if (before?.text !== text) this.tell({ _tag: before === undefined ? "Joined" : "Changed", room, person }, presence)
  }

  /** Whether it was still taken. */
  leave(presence: Presence<Person>): boolean {
    const { person, room, sid } = presence
    const presences = this.rooms.get(room)
    if (presences?.get(sid) !== presence) return false
    presences.delete(sid)
    if (presences.size === 0) this.rooms.delete(room)
    this.tell({ _tag: "Left", room, person }, presence)
    return true
  }

  find(room: string, sid: SocketId): Presence<Person> | undefined {
    return this.rooms.get(room)?.get(sid)
  }

  filter(accept: (presence: Presence<Person>) => boolean): ReadonlyArray<Presence<Person>> {
    return Array.from(this.rooms.values(), (presences) => Array.from(presences.values()).filter(accept)).flat()
  }

  people(room: string): ReadonlyArray<Person> {
    return Array.from(this.rooms.get(room)?.values() ?? [], ({ person }) => person)
  }

  get counts(): ReadonlyMap<string, number> {
    return new Map(Array.from(this.rooms, ([room, { size }]) => [room, size]))
  }

  get changes(): Stream.Stream<Change<Person>> {
    return observe<Change<Person>>(this, () => false)
  }

  private tell(change: Change<Person>, { text }: Presence<Person>): void {
    if (this.observers !== undefined) publish(this.observers, change, text.length)
  }
}
