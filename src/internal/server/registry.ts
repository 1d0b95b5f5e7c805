/**
 * The registry: which sessions there are. Nothing else finds a session by its id.
 *
 * It is a service, so that another one can know of sessions in other processes too; this one knows those of its own.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { pingTimeout } from "../../CloseReason.ts"
import { itemsOf, Place } from "../protocol/roster.ts"
import { end } from "../session/end.ts"
import { isOverdue } from "../session/heartbeat.ts"
import type { SocketId } from "../session/model.ts"
import type { Session } from "../session/session.ts"

export interface Registry {
  /** Keeps an id for a handshake, until that registers its session or releases the id; `false` when it is in use. */
  reserve(id: SocketId): boolean
  unreserve(id: SocketId): void
  register(session: Session): void
  /** `false` where it was not registered. */
  unregister(session: Session): boolean
  /** The session with an id. What is known at once is no Effect, since most polls are served without a fiber. */
  lookup(id: SocketId): Session | undefined | Effect.Effect<Session | undefined>
  /** The session with an id, where it is one of this process. */
  get(id: SocketId): Session | undefined
  /** The sessions of this process. */
  readonly all: Iterable<Session>
  readonly count: number
  /** How many sessions there are or may be in a moment. */
  readonly occupied: number
}

export const Registry: Context.Service<Registry, Registry> = Context.Service("effect-engine.io/Registry")

/** The session with an id, for whoever can wait. */
export const find = (registry: Registry, id: SocketId): Effect.Effect<Session | undefined> =>
  Effect.suspend(() => {
    const found = registry.lookup(id)
    return Effect.isEffect(found) ? found : Effect.succeed(found)
  })

const makeLocal = (): Registry => {
  const places = new Map<SocketId, Place<Session>>()
  /** Ids of handshakes that are not decided yet. */
  const reserved = new Set<SocketId>()
  const get = (id: SocketId): Session | undefined => places.get(id)?.item
  return {
    reserve: (id) => {
      if (places.has(id) || reserved.has(id)) return false
      reserved.add(id)
      return true
    },
    unreserve: (id) => void reserved.delete(id),
    register: (session) => {
      reserved.delete(session.id)
      places.set(session.id, new Place(session))
    },
    unregister: (session) => {
      const place = places.get(session.id)
      if (place?.item !== session) return false
      place.item = undefined
      return places.delete(session.id)
    },
    lookup: (id) => {
      const session = get(id)
      if (session === undefined || !isOverdue(session)) return session
      // One whose time is over is none any more, whether its fiber has noticed or not (rule R-H1).
      end(session, pingTimeout)
      return get(id)
    },
    get,
    all: { [Symbol.iterator]: () => itemsOf(places.values()) },
    get count() {
      return places.size
    },
    get occupied() {
      return places.size + reserved.size
    }
  }
}

/** A registry for one server, of the sessions of this process. */
export const layerLocal: Layer.Layer<Registry> = Layer.fresh(Layer.sync(Registry, makeLocal))
