/**
 * What sessions do with Effect's `Queue` and `PubSub` beyond their functions, by fields that Effect declares but calls
 * low-level. `test/effect.test.ts` names the version they were seen in, and fails when one comes to mean something else.
 */
import * as Effect from "effect/Effect"
import * as MutableList from "effect/MutableList"
import type * as PubSub from "effect/PubSub"
import type * as Queue from "effect/Queue"

/**
 * The state of queues in which no fiber waits: every `outgoing`, and an `incoming` until somebody asks for it. A queue's
 * own three sets of waiters are half a KiB, 0.06 of an idle session of `engine.io`.
 */
const nobody: Queue.Queue.State<unknown, unknown> & { readonly _tag: "Open" } = {
  _tag: "Open",
  takers: new Set(),
  offers: new Set(),
  awaiters: new Set()
}

const dispatcher = { dispatcher: Effect.runSync(Effect.fiber).currentDispatcher }

/** Takes from a new queue what it needs only where fibers wait in it. */
export const lighten = <A, E>(queue: Queue.Queue<A, E>): void => {
  queue.state = nobody
  // Nothing is scheduled for it, so it need not keep the dispatcher of the request it was made in: with that, an idle
  // session has 0.02 more.
  Object.assign(queue, dispatcher)
}

/** Gives a queue that was lightened a place to wait in. */
export const letWait = <A, E>(queue: Queue.Queue<A, E>): Queue.Queue<A, E> => {
  if (queue.state._tag !== "Done" && queue.state.takers === nobody.takers) {
    queue.state = { ...queue.state, takers: new Set(), offers: new Set(), awaiters: new Set() }
  }
  return queue
}

/** Has takers woken by `Queue.flushUnsafe` alone: a task for every message costs as much again. */
export const wakeByHand = <A, E>(queue: Queue.Queue<A, E>): void => {
  queue.scheduleRunning = true
}

/** Whether a queue has ended, and everything in it was taken. */
export const isDone = <A, E>(queue: Queue.Dequeue<A, E>): boolean => queue.state._tag === "Done"

/** Has a taker wait that is no fiber. */
export const addTaker = <A, E>(queue: Queue.Queue<A, E>, taker: Queue.Queue.Taker<E>): void => {
  const { state } = letWait(queue)
  if (state._tag !== "Done") state.takers.add(taker)
}

export const removeTaker = <A, E>(queue: Queue.Queue<A, E>, taker: Queue.Queue.Taker<E>): void => {
  if (queue.state._tag !== "Done") queue.state.takers.delete(taker)
}

/** What is in a queue, and stays there. */
export const contentsOf = <A, E>(queue: Queue.Dequeue<A, E>): Array<A> => MutableList.toArray<A>(queue.messages)

/** Takes all that is in a queue. */
export const takeContents = <A, E>(queue: Queue.Dequeue<A, E>): Array<A> => MutableList.takeAll<A>(queue.messages)

/** What the first offer that waits for room would put into the queue next. */
export const firstOffered = <A, E>(queue: Queue.Queue<A, E>): A | undefined => {
  const state: Queue.Queue.State<A, E> = queue.state
  if (state._tag !== "Open") return undefined
  for (const offer of state.offers) return offer._tag === "Single" ? offer.message : offer.remaining[offer.offset]
  return undefined
}

export const capacityOf = <A, E>(queue: Queue.Queue<A, E>): number => queue.capacity

/** From now on the queue takes no more than this, or, with `Infinity`, all. Offers that wait go on when something is taken. */
export const setCapacity = <A, E>(queue: Queue.Queue<A, E>, capacity: number): void => {
  queue.capacity = capacity
}

/** Takes the oldest from everybody who has not taken it. */
export const dropOldest = <A>({ pubsub }: PubSub.PubSub<A>): void => pubsub.slide()
