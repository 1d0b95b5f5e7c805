/**
 * Timers for many sessions. Every duration the server uses has one list, kept in order of expiry simply by appending,
 * and one fiber that sleeps until its head is due: adding, moving and removing a deadline cost a few assignments, and an
 * idle session owns no timer. Time is Effect's `Clock`, so tests control it.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Something that is due once. Subclasses hold what it is about, so that a deadline is one object. */
export abstract class Deadline {
  previous: Deadline | undefined
  next: Deadline | undefined
  list: DeadlineList | undefined
  /** When it is due, in whole milliseconds since the server began. */
  at = 0
  abstract expire(): void

  cancel(): void {
    this.list?.remove(this)
  }
}

export class DeadlineList {
  private head: Deadline | undefined
  private tail: Deadline | undefined
  private running = false
  private readonly millis: number
  private readonly owner: Deadlines
  constructor(millis: number, owner: Deadlines) {
    this.millis = millis
    this.owner = owner
  }

  /**
   * Arms a deadline, anew if it was armed before, in this list or another. It counts from now, or from `from`, a moment
   * just past; such a one is noticed late where others stand before it that were armed meanwhile.
   */
  add(deadline: Deadline, from = this.owner.now()): void {
    deadline.list?.remove(deadline)
    deadline.list = this
    // Whole numbers, since a fraction would cost every deadline an object; never too early.
    deadline.at = Math.ceil(from + this.millis)
    deadline.previous = this.tail
    if (this.tail === undefined) this.head = deadline
    else this.tail.next = deadline
    this.tail = deadline
    if (!this.running && this.millis !== Infinity) {
      this.running = true
      this.owner.fork(this.run)
    }
  }

  remove(deadline: Deadline): void {
    if (deadline.previous === undefined) this.head = deadline.next
    else deadline.previous.next = deadline.next
    if (deadline.next === undefined) this.tail = deadline.previous
    else deadline.next.previous = deadline.previous
    deadline.previous = deadline.next = deadline.list = undefined
  }

  // Ends when a sleep finds the list empty; the next `add` starts it again.
  private readonly run: Effect.Effect<void> = Effect.suspend(() =>
    Effect.whileLoop({
      while: () => this.head !== undefined,
      body: () => Effect.sleep(Math.max(0, Math.ceil(this.head!.at - this.owner.now()))),
      step: () => this.expireDue()
    })
  ).pipe(Effect.ensuring(Effect.sync(() => {
    this.running = false
  })))

  private expireDue(): void {
    const now = this.owner.now()
    while (this.head !== undefined && this.head.at <= now) {
      const due = this.head
      this.remove(due)
      try {
        due.expire()
      } catch (defect) {
        // It is logged, and those behind it go on.
        this.owner.fork(Effect.die(defect))
      }
    }
  }
}

export class Deadlines {
  private readonly lists = new Map<number, DeadlineList>()
  private readonly clock: Clock.Clock
  readonly fork: (effect: Effect.Effect<void>) => void
  private readonly origin: bigint
  constructor(clock: Clock.Clock, fork: (effect: Effect.Effect<void>) => void) {
    this.clock = clock
    this.origin = clock.monotonicTimeNanosUnsafe()
    this.fork = fork
  }

  /** Milliseconds since the server began, by the monotonic clock. */
  now(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe() - this.origin) / 1e6
  }

  /** The list of everything that is due `millis` milliseconds after it is armed. */
  after(millis: number): DeadlineList {
    let list = this.lists.get(millis)
    if (list === undefined) this.lists.set(millis, list = new DeadlineList(millis, this))
    return list
  }
}
