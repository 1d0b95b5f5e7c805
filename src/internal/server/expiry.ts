/**
 * Things that are due the same time after they began. The oldest is due first, so one fiber sleeps until then; to begin
 * and to cancel one costs an entry in a map, and no timer.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { see } from "../protocol/see.ts"

/** What it needs of the server. */
export interface ExpiryHost {
  now(): number
  fork(effect: Effect.Effect<void>): Fiber.Fiber<void>
}

export class Expiry<A> {
  private readonly dueAt = new Map<A, number>()
  private readonly millis: number
  private readonly host: ExpiryHost
  private readonly expire: (item: A) => void
  /** Whether its fiber runs: it sleeps until the first is due, or would have been. */
  private isRunning = false
  constructor(millis: number, host: ExpiryHost, expire: (item: A) => void) {
    this.millis = millis
    this.host = host
    this.expire = expire
  }

  add(item: A): void {
    this.dueAt.set(item, this.host.now() + this.millis)
    if (this.isRunning || this.millis === Infinity) return
    this.isRunning = true
    this.host.fork(this.run)
  }

  cancel(item: A): void {
    this.dueAt.delete(item)
  }

  private readonly run: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    for (let first = this.first; first !== undefined; first = this.first) {
      const [item, at] = first
      const left = at - this.host.now()
      if (left > 0) {
        yield* Effect.sleep(Math.ceil(left))
      } else {
        this.dueAt.delete(item)
        // One that fails must not take the others with it.
        yield* Effect.catchCause(
          Effect.sync(() => this.expire(item)),
          (cause) => Effect.logError(`What was due failed${see("fault-of-the-engine")}`, cause)
        )
      }
    }
    this.isRunning = false
  })

  private get first(): readonly [A, number] | undefined {
    for (const entry of this.dueAt) return entry
    return undefined
  }
}
