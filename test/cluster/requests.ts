/** What the tests of clusters do with connections and clients. */
import { assert } from "vitest"
import { type Connection, engineTarget } from "../kit/http.ts"

export const polling = engineTarget({ EIO: "4", transport: "polling" })

/** Opens a session on a connection; gives the target of its requests. */
export const open = async (connection: Connection): Promise<string> => {
  const { packets } = await connection.exchange("GET", polling)
  const { sid } = JSON.parse(packets[0]!.slice(1)) as { readonly sid: string }
  return engineTarget({ EIO: "4", transport: "polling", sid })
}

export interface Client {
  send(message: string): void
  readonly messages: { next(): Promise<string | Buffer> }
}

/** Sends numbers, and hears all of them again. */
export const count = async (client: Client, from: number, to: number): Promise<void> => {
  for (let i = from; i < to; i++) client.send(`${i}`)
  for (let i = from; i < to; i++) assert.strictEqual(String(await client.messages.next()), `${i}`)
}
