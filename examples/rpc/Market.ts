/**
 * The market: prices that wander, and what everybody has.
 */
import { Effect, Random, Schedule, SubscriptionRef } from "effect"
import { type Account, Api, type Prices, type Stock, TooExpensive } from "./Api.ts"

/** So many traders are remembered, the latest. */
const memory = 1000

const beginner: Account = { cents: 1000_00, shares: { Oak: 0, Elm: 0, Fir: 0, Ash: 0 } }

const wander = (prices: Prices) =>
  Effect.map(
    Effect.forEach(Object.entries(prices), ([stock, cents]) =>
      Effect.map(Random.nextBetween(-0.03, 0.031), (change) =>
        [stock, Math.max(1_00, Math.round(cents * (1 + change)))] as const)),
    (entries) =>
      Object.fromEntries(entries) as Prices
  )

export const MarketLive = Api.toLayer(Effect.gen(function*() {
  const prices = yield* SubscriptionRef.make<Prices>({ Oak: 120_00, Elm: 80_00, Fir: 45_00, Ash: 210_00 })
  yield* SubscriptionRef.updateEffect(prices, wander).pipe(
    Effect.repeat(Schedule.spaced("500 millis")),
    Effect.forkScoped
  )

  const accounts = new Map<string, Account>()
  const accountOf = (trader: string) => accounts.get(trader) ?? beginner
  const store = (trader: string, account: Account) => {
    accounts.delete(trader)
    accounts.set(trader, account)
    for (const [oldest] of accounts) if (accounts.size > memory) accounts.delete(oldest)
    return account
  }
  const withShare = ({ cents, shares }: Account, stock: Stock, price: number): Account => ({
    cents: cents - price,
    shares: { ...shares, [stock]: shares[stock] + 1 }
  })

  return {
    Prices: () => SubscriptionRef.changes(prices),
    Account: ({ trader }) => Effect.sync(() => accountOf(trader)),
    Buy: Effect.fnUntraced(function*({ stock, trader }) {
      const { [stock]: price } = yield* SubscriptionRef.get(prices)
      const account = accountOf(trader)
      if (account.cents < price) return yield* Effect.fail(new TooExpensive({ missing: price - account.cents }))
      return store(trader, withShare(account, stock, price))
    })
  }
}))
