/**
 * Waiting for what happens instead of for time to pass: every wait ends with the event or, much later, with an error
 * that says what did not come.
 */

/** How long anything that must happen may take before a test gives up. */
export const patience = 8_000

/** How long the end of a server may take: one that has words for a client who is away waits for it, ten seconds at most. */
export const stopPatience = 15_000

/** A failed wait, named after what did not happen. */
export class NeverCame extends Error {
  constructor(what: string, milliseconds: number, seen: string) {
    super(`${what} did not come within ${milliseconds} ms${seen === "" ? "" : `; seen: ${seen}`}`)
    this.name = "NeverCame"
  }
}

/** The outcome of `promise`, or an error that names `what` when it does not settle. */
export const within = <A>(promise: Promise<A>, what: string, milliseconds = patience, seen = () => ""): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const gaveUp = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new NeverCame(what, milliseconds, seen())), milliseconds)
  })
  return Promise.race([promise, gaveUp]).finally(() => clearTimeout(timer))
}

/** The next turn of the event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A pause that is part of what a test says (a client that stays silent), never a way to wait for the server. */
export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Whether `promise` is still unsettled. Meaningful after a round trip that gave the other side its chance. */
export const pending = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false
  const mark = () => {
    settled = true
  }
  promise.then(mark, mark)
  await turn()
  return !settled
}

/** Looks again every few milliseconds until `read` gives what `accept` wants: for state that announces nothing. */
export const eventually = async <A>(
  what: string,
  read: () => A | Promise<A>,
  accept: (value: A) => boolean,
  milliseconds = patience
): Promise<A> => {
  const end = performance.now() + milliseconds
  while (true) {
    const value = await read()
    if (accept(value)) return value
    if (performance.now() > end) throw new NeverCame(what, milliseconds, show(value))
    await pause(4)
  }
}

/** Everything that happened, in order, and a place to wait for what will. */
export class Mailbox<A> {
  readonly what: string
  readonly all: Array<A> = []
  #taken = 0
  #ended: Error | undefined
  #wake: Array<() => void> = []

  constructor(what: string) {
    this.what = what
  }

  put(value: A): void {
    this.all.push(value)
    this.#notify()
  }

  /** After this, waiting for more fails at once. */
  end(why: string): void {
    this.#ended ??= new Error(`no more of ${this.what}: ${why}`)
    this.#notify()
  }

  /** What has arrived and was not taken by `next`. */
  get untaken(): ReadonlyArray<A> {
    return this.all.slice(this.#taken)
  }

  /** The next value in order, each given once. */
  async next(milliseconds = patience): Promise<A> {
    await this.#until(() => this.all.length > this.#taken, this.what, milliseconds)
    return this.all[this.#taken++]!
  }

  /** The next `count` values in order. */
  async take(count: number, milliseconds = patience): Promise<Array<A>> {
    await this.#until(() => this.all.length >= this.#taken + count, `${count} of ${this.what}`, milliseconds)
    this.#taken += count
    return this.all.slice(this.#taken - count, this.#taken)
  }

  /** The first value, past or future, that `accept` wants; takes nothing. */
  async find(accept: (value: A) => boolean, what = this.what, milliseconds = patience): Promise<A> {
    await this.#until(() => this.all.some(accept), what, milliseconds)
    return this.all.find(accept)!
  }

  /** Waits until `count` values have arrived in all, taken or not. */
  async reached(count: number, milliseconds = patience): Promise<ReadonlyArray<A>> {
    await this.#until(() => this.all.length >= count, `${count} of ${this.what}`, milliseconds)
    return this.all
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = []
    for (const resume of wake) resume()
  }

  async #until(ready: () => boolean, what: string, milliseconds: number): Promise<void> {
    const wait = async () => {
      while (!ready()) {
        if (this.#ended !== undefined) throw this.#ended
        await new Promise<void>((resolve) => this.#wake.push(resolve))
      }
    }
    if (!ready()) await within(wait(), what, milliseconds, () => `${this.all.length}, last ${show(this.all.at(-1))}`)
  }
}

const show = (value: unknown): string => {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
