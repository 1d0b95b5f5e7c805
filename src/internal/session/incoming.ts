/**
 * The messages on their way to one application: a mailbox with byte accounting whose takers are woken in the turn in
 * which the messages arrived, not through the scheduler.
 */
import * as Effect from "effect/Effect"
import type { Message } from "../../Packet.ts"

export class Incoming {
  private items: Array<Message | undefined> = []
  private sizes: Array<number> = []
  private head = 0
  private tail = 0
  bytes = 0
  private waiter: (() => void) | undefined
  private moreWaiters: Array<() => void> | undefined

  /** Whether anybody has ever taken a message, or waits for one. */
  isUsed = false

  get length(): number {
    return this.tail - this.head
  }

  push(message: Message, size: number): void {
    const index = this.tail++
    this.items[index] = message
    this.sizes[index] = size
    this.bytes += size
  }

  shift(): Message | undefined {
    if (this.head === this.tail) return undefined
    const index = this.head++
    const message = this.items[index]
    this.items[index] = undefined
    this.isUsed = true
    this.bytes -= this.sizes[index]!
    if (this.head === this.tail) {
      this.head = this.tail = 0
      if (index >= 64) {
        this.items = []
        this.sizes = []
      }
    } else if (this.head >= 1024 && this.head * 2 >= this.tail) {
      this.items = this.items.slice(this.head, this.tail)
      this.sizes = this.sizes.slice(this.head, this.tail)
      this.tail -= this.head
      this.head = 0
    }
    return message
  }

  /** Suspends until `wake`. Spurious wake-ups happen: whoever waited looks again. */
  readonly wait: Effect.Effect<void> = Effect.callback((resume) => {
    const waiter = () => resume(Effect.void)
    this.isUsed = true
    if (this.waiter === undefined) this.waiter = waiter
    else (this.moreWaiters ??= []).push(waiter)
    return Effect.sync(() => {
      if (this.waiter === waiter) this.waiter = this.moreWaiters?.shift()
      else this.moreWaiters = this.moreWaiters?.filter((other) => other !== waiter)
    })
  })

  /** Resumes every waiting taker, on the caller's stack: call it last. */
  wake(): void {
    const waiter = this.waiter
    if (waiter === undefined) return
    const more = this.moreWaiters
    this.waiter = this.moreWaiters = undefined
    waiter()
    if (more !== undefined) { for (const other of more) other() }
  }
}
