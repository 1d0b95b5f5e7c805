/**
 * The messages on their way to one application: a mailbox with byte accounting whose takers are woken in the turn in
 * which the messages arrived, not through the scheduler.
 */
import * as Effect from "effect/Effect"
import type { Message } from "../../Packet.ts"

/** What a message costs beside its bytes: the object, and its place here. */
const overhead = 256

type Resume = (effect: Effect.Effect<void>) => void

export class Incoming {
  // Made for the first message, given back when a burst is over: an idle session holds none.
  private items: Array<Message | undefined> | undefined
  private sizes: Array<number> | undefined
  private head = 0
  private tail = 0
  /** What waits costs so much. */
  bytes = 0
  private waiter: Resume | undefined
  private moreWaiters: Array<Resume> | undefined
  /** Whether anybody has ever taken a message, or waited for one. */
  isUsed = false

  get length(): number {
    return this.tail - this.head
  }

  push(message: Message, length: number): void {
    const size = length + overhead
    const index = this.tail++
    if (this.items === undefined || this.sizes === undefined) {
      this.items = [message]
      this.sizes = [size]
    } else {
      this.items[index] = message
      this.sizes[index] = size
    }
    this.bytes += size
  }

  shift(): Message | undefined {
    if (this.head === this.tail) return undefined
    const items = this.items!
    const sizes = this.sizes!
    const index = this.head++
    const message = items[index]
    items[index] = undefined
    this.isUsed = true
    this.bytes -= sizes[index]!
    if (this.head === this.tail) {
      this.head = this.tail = 0
      if (index >= 64) this.items = this.sizes = undefined
    } else if (this.head >= 1024 && this.head * 2 >= this.tail) {
      this.items = items.slice(this.head, this.tail)
      this.sizes = sizes.slice(this.head, this.tail)
      this.tail -= this.head
      this.head = 0
    }
    return message
  }

  /** Suspends until `wake`. Spurious wake-ups happen: whoever waited looks again. */
  readonly wait: Effect.Effect<void> = Effect.callback((resume: Resume) => {
    this.isUsed = true
    if (this.waiter === undefined) this.waiter = resume
    else (this.moreWaiters ??= []).push(resume)
  })

  /**
   * To be called when a wait was interrupted. A place cannot be given up by name without an object a wait, so all are:
   * who is still there is woken, and waits again.
   */
  get leave(): Effect.Effect<void> {
    return Effect.sync(() => this.wake())
  }

  /** Resumes every waiting taker, on the caller's stack: call it last. */
  wake(): void {
    const { moreWaiters, waiter } = this
    this.waiter = this.moreWaiters = undefined
    if (waiter !== undefined) waiter(Effect.void)
    if (moreWaiters !== undefined) { for (const resume of moreWaiters) resume(Effect.void) }
  }
}
