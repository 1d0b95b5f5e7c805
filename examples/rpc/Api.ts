/**
 * What the page can ask of the server: the one description of both ends.
 */
import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"

export const stocks = ["Oak", "Elm", "Fir", "Ash"] as const

export const Stock = Schema.Literals(stocks)
export type Stock = typeof Stock.Type

/** Of one share each, in cents. */
export const Prices = Schema.Record(Stock, Schema.Int)
export type Prices = typeof Prices.Type

export const Account = Schema.Struct({ cents: Schema.Int, shares: Schema.Record(Stock, Schema.Int) })
export type Account = typeof Account.Type

export class TooExpensive extends Schema.TaggedError<TooExpensive>()("TooExpensive", { missing: Schema.Int }) {}

const trader = Schema.String.check(Schema.isMaxLength(64))

export const Api = RpcGroup.make(
  /** The prices now, and whenever they change. */
  Rpc.make("Prices", { success: Prices, stream: true }),
  Rpc.make("Account", { payload: { trader }, success: Account }),
  /** Buys one share. */
  Rpc.make("Buy", { payload: { trader, stock: Stock }, success: Account, error: TooExpensive })
)
