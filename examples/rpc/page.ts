/**
 * The page's half: a client of the API, what is seen of it, and a button that does without WebSocket.
 */
import { Clock, Effect, FiberHandle, Layer, Schedule, Stream } from "effect"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import * as EngineIOClient from "effect-engine.io/EngineIOClient"
import { type Account, Api, type Prices, type Stock, stocks, type TooExpensive } from "./Api.ts"

const $ = (id: string): HTMLElement => document.getElementById(id)!

const trader = sessionStorage.getItem("trader") ?? crypto.randomUUID()
sessionStorage.setItem("trader", trader)

// --- what is seen ----------------------------------------------------------------------------------------------------

const show = (id: string, text: string) =>
  Effect.sync(() => {
    if ($(id).textContent !== text) $(id).textContent = text
  })

const names: Readonly<Record<string, string>> = {
  polling: "Polling",
  websocket: "WebSocket",
  webtransport: "WebTransport"
}

const showConnection = (state: string) =>
  Effect.andThen(
    show("transport", names[state] ?? state),
    Effect.sync(() => {
      $("connection").dataset["state"] = state
      $("outage").hidden = state !== "away"
    })
  )

const money = (cents: number) => `${(cents / 100).toFixed(2)} €`

const showPrices = (prices: Prices) =>
  Effect.forEach(stocks, (stock) => {
    const cell = $(`${stock}-price`)
    cell.dataset["trend"] = prices[stock] < Number(cell.dataset["cents"]) ? "down" : "up"
    cell.dataset["cents"] = String(prices[stock])
    return show(cell.id, money(prices[stock]))
  }, { discard: true })

const showAccount = ({ cents, shares }: Account) =>
  Effect.andThen(
    show("cash", money(cents)),
    Effect.forEach(stocks, (stock) => show(`${stock}-shares`, String(shares[stock])), { discard: true })
  )

const showProblem = ({ missing }: TooExpensive) => show("problem", `Too expensive: ${money(missing)} are missing.`)

for (const stock of stocks) {
  const row = ($("row") as HTMLTemplateElement).content.cloneNode(true) as DocumentFragment
  row.querySelector("th")!.textContent = stock
  const [price, shares] = row.querySelectorAll("td")
  price!.id = `${stock}-price`
  shares!.id = `${stock}-shares`
  const button = row.querySelector("button")!
  button.value = stock
  button.setAttribute("aria-label", `Buy a share of ${stock}`)
  $("rows").append(row)
}

// --- what is said to the server --------------------------------------------------------------------------------------

const again = Schedule.spaced("1 second")

/** Every connection shows its transport, as it begins and when it moves. */
const connect = (transports: EngineIOClient.Options["transports"]) =>
  EngineIOClient.connect("/rpc/", { transports, closeOnBeforeunload: true }).pipe(
    Effect.tap((client) => Effect.forkScoped(Stream.runForEach(EngineIOClient.transports(client), showConnection))),
    Effect.catchTag("OptionsError", Effect.die)
  )

const protocol = (transports: EngineIOClient.Options["transports"]) =>
  RpcClient.layerProtocolSocket({ retryTransientErrors: true, retryPolicy: again }).pipe(
    Layer.provide(Layer.effect(Socket.Socket, EngineIOClient.fromClient(connect(transports)))),
    Layer.provide(Layer.succeed(RpcClient.ConnectionHooks, {
      onConnect: Effect.void,
      onDisconnect: showConnection("away")
    })),
    Layer.provide(RpcSerialization.layerJson)
  )

/** Trades over one connection after the other, until it is interrupted. */
const trade = Effect.gen(function*() {
  const client = yield* RpcClient.make(Api)

  const prices = Stream.runForEach(client.Prices(), showPrices)

  const account = Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    yield* showAccount(yield* client.Account({ trader }))
    yield* show("latency", `${(yield* Clock.currentTimeMillis) - before} ms`)
  })

  const buy = (stock: Stock) =>
    client.Buy({ trader, stock }).pipe(
      Effect.flatMap(showAccount),
      Effect.andThen(show("problem", "")),
      Effect.catchTag("TooExpensive", showProblem),
      Effect.catchTag("RpcClientError", () => show("problem", "The server does not answer. Nothing was bought."))
    )

  const clicks = Stream.fromEventListener<MouseEvent>($("rows"), "click").pipe(
    Stream.runForEach(({ target }) => target instanceof HTMLButtonElement ? buy(target.value as Stock) : Effect.void)
  )

  yield* Effect.all([
    Effect.retry(prices, again),
    Effect.repeat(Effect.ignore(account), Schedule.spaced("2 seconds")),
    clicks
  ], { concurrency: "unbounded", discard: true })
})

const program = Effect.gen(function*() {
  const trading = yield* FiberHandle.make()
  const begin = (isPollingOnly: boolean) =>
    Effect.gen(function*() {
      $("polling").setAttribute("aria-pressed", String(isPollingOnly))
      yield* showConnection("connecting")
      const layer = protocol(isPollingOnly ? ["polling"] : ["polling", "websocket"])
      yield* FiberHandle.run(trading, Effect.scoped(Effect.provide(trade, layer)))
    })
  yield* begin(false)
  yield* Stream.fromEventListener($("polling"), "click").pipe(
    Stream.runForEach(() => Effect.suspend(() => begin($("polling").getAttribute("aria-pressed") !== "true")))
  )
})

Effect.runFork(Effect.scoped(program))
