/**
 * A client in memory: what it does with the packets that come, and how it moves from one transport to another.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Message, Packet } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import type { WebTransportSession } from "../transport/webTransportSession.ts"
import { Disconnected, type Line, polling, type Refused, type Visit, webSocket, webTransport } from "./clientLines.ts"

/** The ways to the server. */
export interface Ways {
  readonly visit: Visit
  readonly accept: (session: WebTransportSession) => Effect.Effect<void>
  /** Open while the client reads. */
  readonly awake: Latch.Latch
}

/** A line, and what closes it. */
interface Held {
  readonly line: Line
  readonly scope: Scope.Closeable
}

export interface State {
  readonly ways: Ways
  /** What has come and was not taken. */
  readonly messages: Queue.Queue<Message, Disconnected>
  /** Held by whoever sends, and during an upgrade. */
  readonly sending: Semaphore.Semaphore
  /** All that the client has open. */
  readonly scope: Scope.Closeable
  /** The id of the session. */
  readonly sid: Deferred.Deferred<string>
  /** The server has answered the probe. */
  probed: Deferred.Deferred<void>
  held: Held | undefined
  isOver: boolean
}

/** Connects, and waits for the open packet. Closes with the scope, as if the client vanished. */
export const connect = Effect.fnUntraced(function*(transport: TransportType, ways: Ways) {
  const state: State = {
    ways,
    messages: yield* Queue.unbounded<Message, Disconnected>(),
    sending: yield* Semaphore.make(1),
    scope: yield* Scope.fork(yield* Effect.scope),
    sid: yield* Deferred.make<string>(),
    probed: yield* Deferred.make<void>(),
    held: undefined,
    isOver: false
  }
  const opening = Effect.gen(function*() {
    const held = yield* open(state, transport)
    yield* unlessEnded(held.line, Deferred.await(state.sid))
    yield* settleOn(state, held)
    return state
  })
  return yield* Effect.onError(opening, () => vanish(state))
})

const open = Effect.fnUntraced(function*(state: State, transport: TransportType, sid?: string) {
  const { accept, awake, visit } = state.ways
  const ear = { awake, hear: (packet: Packet) => hear(state, packet), isOver: () => state.isOver }
  const scope = yield* Scope.fork(state.scope)
  const lines = {
    polling: polling(visit, ear, Deferred.await(state.sid)),
    websocket: webSocket(visit, ear, sid),
    webtransport: webTransport(accept, ear, sid)
  }
  return yield* Effect.onError(
    Effect.map(Scope.provide(lines[transport], scope), (line): Held => ({ line, scope })),
    () => Scope.close(scope, Exit.void)
  )
})

const unlessEnded = <A>({ ended }: Line, effect: Effect.Effect<A>): Effect.Effect<A, Refused> =>
  Effect.raceFirst(effect, Effect.flatMap(Deferred.await(ended), Effect.fail))

/** Makes a line that of the session: when it ends, so does the client. */
const settleOn = (state: State, held: Held): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    state.held = held
    const onEnded = Effect.suspend(() =>
      state.held === held ? Effect.andThen(end(state), Scope.close(held.scope, Exit.void)) : Effect.void
    )
    return Effect.forkIn(Effect.andThen(Deferred.await(held.line.ended), onEnded), state.scope)
  })

const hear = (state: State, packet: Packet): Effect.Effect<void> => {
  switch (packet.type) {
    case "open":
      return Effect.asVoid(
        Deferred.succeed(state.sid, (JSON.parse(String(packet.data)) as { readonly sid: string }).sid)
      )
    case "ping":
      // Whoever hears goes on to hear.
      return Effect.asVoid(Effect.forkIn(transmit(state, [{ type: "pong" }]), state.scope, { startImmediately: true }))
    case "pong":
      return Effect.asVoid(Deferred.succeed(state.probed, undefined))
    case "message":
      return Effect.asVoid(Queue.offer(state.messages, packet.data ?? ""))
    case "close":
      return end(state)
    default:
      return Effect.void
  }
}

/** Nothing is sent any more, and nothing comes behind what has come. */
const end = (state: State): Effect.Effect<void> =>
  Effect.suspend(() => {
    state.isOver = true
    return Effect.asVoid(Queue.fail(state.messages, new Disconnected()))
  })

const transmit = (state: State, packets: ReadonlyArray<Packet>): Effect.Effect<boolean> =>
  state.sending.withPermits(1)(
    Effect.suspend(() => state.isOver ? Effect.succeed(false) : state.held!.line.send(packets))
  )

export const send = (state: State, packets: ReadonlyArray<Packet>): Effect.Effect<void, Disconnected> =>
  Effect.flatMap(transmit(state, packets), (isTaken) => isTaken ? Effect.void : Effect.fail(new Disconnected()))

/** Nobody sends meanwhile: what is sent from then on goes by the new transport. */
export const upgrade = (state: State, transport: TransportType): Effect.Effect<void, Refused | Disconnected> =>
  state.sending.withPermits(1)(Effect.gen(function*() {
    if (state.isOver) return yield* new Disconnected()
    const old = state.held!
    state.probed = yield* Deferred.make<void>()
    // Before the probe, so that the poll the server answers then is the last.
    yield* old.line.pause
    const changeOver = Effect.gen(function*() {
      const held = yield* open(state, transport, yield* Deferred.await(state.sid))
      const probe = Effect.andThen(
        held.line.send([{ type: "ping", data: "probe" }]),
        Effect.andThen(Deferred.await(state.probed), old.line.idle)
      )
      yield* Effect.onError(unlessEnded(held.line, probe), () => Scope.close(held.scope, Exit.void))
      yield* settleOn(state, held)
      yield* held.line.send([{ type: "upgrade" }])
    })
    yield* Effect.onError(changeOver, () => old.line.resume)
    yield* Scope.close(old.scope, Exit.void)
  }))

/** Loses all connections. */
export const vanish = (state: State): Effect.Effect<void> =>
  Effect.andThen(end(state), Scope.close(state.scope, Exit.void))

/** Says goodbye. */
export const close = (state: State): Effect.Effect<void> =>
  Effect.andThen(
    state.sending.withPermits(1)(Effect.suspend(() => {
      if (state.isOver) return Effect.void
      return Effect.andThen(end(state), state.held!.line.close)
    })),
    Scope.close(state.scope, Exit.void)
  )
