/**
 * Broadcast of what happens to whoever watches: made on the first subscription, gone with the last, free in between.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** How much may wait for an observer before it loses the oldest: events, and bytes of the data in them. */
const most = { events: 4096, bytes: 16 * 1024 * 1024 }

/** An event with its size, which would shrink if its data were transferred. */
type Sized<A> = readonly [event: A, size: number]

/** Somebody who watches. */
class Observer<A> {
  readonly queue: Queue.Queue<Sized<A>, Cause.Done>
  private bytes = 0
  private lost = 0
  constructor(queue: Queue.Queue<Sized<A>, Cause.Done>) {
    this.queue = queue
  }

  offer(event: A, size: number): void {
    // An event without data pushes none out for its sake: the last large one stays.
    const room = size === 0 ? Infinity : most.bytes - size
    while (Queue.sizeUnsafe(this.queue) >= most.events || this.bytes > room) {
      const oldest = Queue.takeUnsafe(this.queue)
      if (oldest === undefined || Exit.isFailure(oldest)) break
      this.bytes -= oldest.value[1]
      this.lost++
    }
    this.bytes += size
    Queue.offerUnsafe(this.queue, [event, size])
  }

  /** Waits for events, and takes all there are. */
  readonly take = Effect.suspend(() => {
    const { lost } = this
    this.lost = 0
    const taken = Effect.map(
      Queue.takeAll(this.queue),
      Arr.map(([event, size]) => {
        this.bytes -= size
        return event
      })
    )
    return lost === 0
      ? taken
      : Effect.andThen(Effect.logWarning(`A listener was too slow, and missed ${lost} events`), taken)
  })
}

export class Observers<A> {
  private readonly observers = new Set<Observer<A>>()
  private readonly sizeOf: (event: A) => number
  /** `sizeOf` gives the bytes of the data in an event. */
  constructor(sizeOf: (event: A) => number) {
    this.sizeOf = sizeOf
  }

  get isEmpty(): boolean {
    return this.observers.size === 0
  }

  publish(event: A): void {
    const size = this.sizeOf(event)
    for (const observer of this.observers) observer.offer(event, size)
  }

  /** Ends every subscriber's stream, after what it was given. */
  end(): void {
    for (const { queue } of this.observers) Queue.endUnsafe(queue)
    this.observers.clear()
  }

  /** A stream that subscribes when it is run, and unsubscribes when it ends; `onEmpty` is told of the last to go. */
  stream(onEmpty: () => void): Stream.Stream<A> {
    return Stream.unwrap(Effect.map(
      Effect.acquireRelease(
        Effect.map(Queue.unbounded<Sized<A>, Cause.Done>(), (queue) => {
          const observer = new Observer(queue)
          this.observers.add(observer)
          return observer
        }),
        (observer) =>
          Effect.sync(() => {
            this.observers.delete(observer)
            if (this.isEmpty) onEmpty()
          })
      ),
      ({ take }) => Stream.fromPull(Effect.succeed(take))
    ))
  }
}
