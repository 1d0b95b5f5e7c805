/** What every driver shares: the bounds of one measured run, and what becomes of a failure. */
import type { Limit, Tally } from "../shared/calls.ts"

export interface Load {
  readonly run: (limit: Limit) => Promise<Omit<Tally, "load">>
  readonly close: () => Promise<void> | void
}

/** The first thing that went wrong, for whoever waits now or will wait next. */
export class Trouble {
  #error: Error | undefined
  #reject: ((error: Error) => void) | undefined

  readonly fail = (error: unknown): void => {
    this.#error ??= error instanceof Error ? error : new Error(String(error))
    this.#reject?.(this.#error)
  }

  guard<A>(promise: Promise<A>): Promise<A> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    return Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        this.#reject = reject
      })
    ])
  }
}

export class Run {
  readonly done: Promise<Omit<Tally, "load">>
  readonly #start = performance.now()
  readonly #deadline: number
  readonly #most: number
  #begun = 0
  #finished = 0
  #active = 0
  #resolve: (tally: Omit<Tally, "load">) => void = () => {}

  constructor(limit: Limit) {
    this.#deadline = this.#start + limit.millis
    this.#most = limit.units ?? Infinity
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** Whether there is time for another `units`, which are then begun. */
  begin(units: number): boolean {
    if (this.#begun >= this.#most || performance.now() >= this.#deadline) return false
    this.#begun += units
    this.#active++
    return true
  }

  /** What one successful `begin` began is finished. Begin the next before, or the run may end. */
  finish(units: number): void {
    this.#finished += units
    if (--this.#active === 0) {
      this.#resolve({ units: this.#finished, millis: performance.now() - this.#start })
    }
  }
}
