/** Calls from the harness to its children, over Node's process channel. */

/** What a child answers: a name for each call, with the type of its argument and of its answer. */
export type Calls = Record<string, (argument: never) => unknown>

export interface Request {
  readonly id: number
  readonly call: string
  readonly argument: unknown
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }

/** Id of the reply a child sends unasked, once, when it is ready. */
export const readyId = 0

const describe = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** Answers calls until the harness goes away, which ends the process: no child outlives a run. */
export const answer = <C extends Calls>(calls: { readonly [K in keyof C]: C[K] }, ready: unknown): void => {
  const send = (reply: Reply): void => {
    if (process.connected) process.send?.(reply)
  }
  process.on("message", (request: Request) => {
    const call = calls[request.call] as ((argument: unknown) => unknown) | undefined
    void Promise.resolve()
      .then(() => {
        if (call === undefined) throw new Error(`no call named ${request.call}`)
        return call(request.argument)
      })
      .then(
        (value) => send({ id: request.id, value }),
        (error: unknown) => send({ id: request.id, error: describe(error) })
      )
  })
  process.on("disconnect", () => process.exit(0))
  send({ id: readyId, value: ready })
}
