/**
 * Broadcast of what happens to whoever watches: a `PubSub` made for the first of them, gone with the last, and nothing in
 * between. Nobody waits for one that is slow: it loses the oldest, and is told so.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { see } from "../protocol/see.ts"
import { dropOldest } from "./effectFields.ts"

/** How much may wait for an observer before it loses the oldest: events, and bytes of the data in them. */
const most = { events: 4096, bytes: 16 * 1024 * 1024 }

/** Those who watch something. */
export interface Observers<A> {
  /** Told at once, and of everything. */
  readonly watchers: Array<(event: A) => void>
  pubsub: PubSub.PubSub<Numbered<A>> | undefined
  count: number
  /** How many events were published. */
  published: number
  /** The sizes of those that somebody has not taken, and their sum. */
  readonly sizes: Array<number>
  bytes: number
}

/** An event and its number; the end has no event. */
interface Numbered<A> {
  readonly number: number
  readonly event: A | undefined
}

/** Something that can be watched. */
export interface Observed<A> {
  observers: Observers<A> | undefined
}

/** Tells of an event with `size` bytes of data. */
export const publish = <A>(observers: Observers<A>, event: A, size: number): void => {
  const { pubsub, sizes, watchers } = observers
  for (const watcher of watchers) watcher(event)
  if (pubsub === undefined) return
  forget(observers, sizes.length - PubSub.sizeUnsafe(pubsub))
  // An event without data pushes out no large one.
  const isFull = () => sizes.length >= most.events || (size > 0 && observers.bytes + size > most.bytes)
  while (sizes.length > 0 && isFull()) {
    dropOldest(pubsub)
    forget(observers, 1)
  }
  sizes.push(size)
  observers.bytes += size
  PubSub.publishUnsafe(pubsub, { number: observers.published++, event })
}

const forget = <A>(observers: Observers<A>, count: number): void => {
  for (const size of observers.sizes.splice(0, count)) observers.bytes -= size
}

/** Ends every stream, after what it was given. */
export const end = <A>({ pubsub, published }: Observers<A>): void => {
  if (pubsub !== undefined) PubSub.endUnsafe(pubsub, { number: published, event: undefined })
}

const observersOf = <A>(observed: Observed<A>): Observers<A> =>
  observed.observers ??= { watchers: [], pubsub: undefined, count: 0, published: 0, sizes: [], bytes: 0 }

/** Tells of what happens from now on, on the stack on which it happens, until the end. */
export const watch = <A>(observed: Observed<A>, watcher: (event: A) => void): void => {
  observersOf(observed).watchers.push(watcher)
}

/** What happens from when the stream runs, until `isOver`. */
export const observe = <A>(observed: Observed<A>, isOver: () => boolean): Stream.Stream<A> =>
  Stream.unwrap(Effect.gen(function*() {
    const made = yield* PubSub.unbounded<Numbered<A>>()
    const observers = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const observers = observersOf(observed)
        observers.count++
        return observers
      }),
      (observers) =>
        Effect.sync(() => {
          if (--observers.count > 0) return
          observers.pubsub = undefined
          if (observers.watchers.length === 0) observed.observers = undefined
        })
    )
    const pubsub = observers.pubsub ??= made
    const subscription = yield* PubSub.subscribe(pubsub)
    // What ended while somebody came to watch has told the others already.
    if (isOver()) end(observers)
    let next = observers.published
    return Stream.fromPull(Effect.succeed(Effect.gen(function*() {
      const taken = yield* PubSub.takeAll(subscription)
      // We were woken on the stack of what happened; whoever watches acts in a turn of its own.
      yield* Effect.yieldNow
      const missed = taken[0].number - next
      if (missed > 0) {
        yield* Effect.logWarning(`A listener was too slow, and missed ${missed} events${see("slow-listener")}`)
      }
      next = taken[taken.length - 1]!.number + 1
      const events = taken.flatMap(({ event }) => event === undefined ? [] : [event])
      const [first, ...others] = events
      return first === undefined ? yield* Cause.done() : [first, ...others] as const
    })))
  }))
