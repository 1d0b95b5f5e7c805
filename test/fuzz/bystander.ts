/**
 * Clients that mind their own business beside an attack: they must not notice it.
 */
import { EngineClient, type Mode } from "../kit/client.ts"
import { EngineClient3, type Mode3 } from "../kit/client3.ts"
import { type Mailbox, patience, pause, within } from "../kit/events.ts"
import type { Target } from "../kit/server.ts"

/** What a bystander talks through. */
export interface Channel {
  readonly messages: Mailbox<string | Buffer>
  send(message: string): void
}

/** A client that sends numbers and gets each of them back, in order. */
export class Bystander {
  readonly #name: string
  readonly #channel: Channel
  readonly #pace: number
  #sent = 0
  #isStopped = false
  readonly #done: Promise<void>

  /** After each few messages it pauses for `pace` milliseconds. */
  constructor(name: string, channel: Channel, pace = 5) {
    this.#name = name
    this.#channel = channel
    this.#pace = pace
    this.#done = this.#run()
    this.#done.catch(() => undefined)
  }

  static async join(target: Target, mode: Mode, pace?: number): Promise<Bystander> {
    return new Bystander(mode, await EngineClient.connect(target, mode), pace)
  }

  static async join3(target: Target, mode: Mode3, pace?: number): Promise<Bystander> {
    return new Bystander(`${mode} in revision 3`, await EngineClient3.connect(target, mode), pace)
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await pause(this.#pace)
      const first = this.#sent
      for (let n = 0; n < 5; n++) this.#channel.send(String(this.#sent++))
      const answers = await this.#channel.messages.take(5)
      answers.forEach((answer, n) => {
        if (String(answer) !== String(first + n)) throw new Error(`${answer} instead of ${first + n}`)
      })
    }
  }

  /** Waits until it has exchanged some more. */
  async isWell(): Promise<void> {
    const before = this.#sent
    await Promise.race([
      this.#done,
      within(
        (async () => {
          while (this.#sent < before + 6) await pause(5)
        })(),
        `an answer to the bystander by ${this.#name}`,
        patience + 2 * this.#pace
      )
    ]).catch((cause: unknown) => this.#failed(cause))
  }

  /** How many messages it exchanged, none of them missing, twice or in another's place. */
  async stop(): Promise<number> {
    this.#isStopped = true
    await this.#done.catch((cause: unknown) => this.#failed(cause))
    const { untaken } = this.#channel.messages
    if (untaken.length > 0) throw new Error(`bystander by ${this.#name}: ${untaken.length} messages too many`)
    return this.#sent
  }

  #failed(cause: unknown): never {
    throw new Error(`bystander by ${this.#name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}
