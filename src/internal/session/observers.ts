/**
 * Broadcast of what happens to whoever watches: made on the first subscription, gone with the last, free in between.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** How many events an observer may lag behind before it loses the oldest. */
const observerLag = 4096

export class Observers<A> {
  private readonly queues = new Set<Queue.Queue<A, Cause.Done>>()

  get isEmpty(): boolean {
    return this.queues.size === 0
  }

  publish(event: A): void {
    for (const queue of this.queues) Queue.offerUnsafe(queue, event)
  }

  /** Ends every subscriber's stream, after what it was given. */
  end(): void {
    for (const queue of this.queues) Queue.endUnsafe(queue)
    this.queues.clear()
  }

  /** A stream that subscribes when it is run, and unsubscribes when it ends; `onEmpty` is told of the last to go. */
  stream(onEmpty: () => void): Stream.Stream<A> {
    return Stream.unwrap(Effect.map(
      Effect.acquireRelease(
        Effect.tap(Queue.sliding<A, Cause.Done>(observerLag), (queue) => Effect.sync(() => this.queues.add(queue))),
        (queue) =>
          Effect.sync(() => {
            this.queues.delete(queue)
            if (this.isEmpty) onEmpty()
          })
      ),
      Stream.fromQueue
    ))
  }
}
