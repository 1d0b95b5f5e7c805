/**
 * Things that are due the same time after they began. The oldest is due first, so one fiber sleeps until then; to begin
 * and to cancel one costs an entry in a set, and no timer.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Place, Roster } from "../protocol/roster.ts"
import { see } from "../protocol/see.ts"
import type { Deadline } from "../transport/contract.ts"

/** What it needs of the server. */
export interface ExpiryHost {
  now(): number
  fork(effect: Effect.Effect<void>): Fiber.Fiber<void>
}

export class Due<A> extends Place<A> implements Deadline {
  readonly at: number
  private readonly all: Roster<A, Due<A>>
  constructor(item: A, at: number, all: Roster<A, Due<A>>) {
    super(item)
    this.at = at
    this.all = all
  }

  cancel(): void {
    this.all.leave(this)
  }
}

export class Expiry<A> {
  private readonly all = new Roster<A, Due<A>>()
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

  add(item: A): Due<A> {
    const due = this.all.enter(new Due(item, this.host.now() + this.millis, this.all))
    if (!this.isRunning && this.millis !== Infinity) {
      this.isRunning = true
      this.host.fork(this.run)
    }
    return due
  }

  /** Does not wait for what is due first. */
  expireFirst(): void {
    const { first } = this.all
    if (first?.item === undefined) return
    const { item } = first
    first.cancel()
    this.expire(item)
  }

  private readonly run: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    // However short the time is, nothing is due before whoever adds it knows its place.
    yield* Effect.sleep(Math.ceil(this.millis))
    for (let { first } = this.all; first !== undefined; { first } = this.all) {
      const left = first.at - this.host.now()
      if (left > 0) {
        yield* Effect.sleep(Math.ceil(left))
      } else {
        // One that fails must not take the others with it.
        yield* Effect.catchCause(
          Effect.sync(() => this.expireFirst()),
          (cause) => Effect.logError(`What was due failed${see("fault-of-the-engine")}`, cause)
        )
      }
    }
    this.isRunning = false
  })
}
