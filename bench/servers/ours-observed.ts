/** `ours` under full observation: debug logs, a tracer that keeps spans, and somebody who reads all metrics each second. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { Socket } from "effect-engine.io"
import { serve } from "./router.ts"

// What exporters have: the last lines and spans, until they are sent off.
const kept: Array<unknown> = []
const keep = (it: unknown): void => {
  if (kept.push(it) >= 512) kept.length = 0
}

const logger = Logger.map(Logger.formatLogFmt, keep)

const tracer = Tracer.make({
  span: (options) => {
    const span = new Tracer.NativeSpan(options)
    keep(span)
    return span
  }
})

const scrape = Effect.forever(Effect.delay(Effect.map(Metric.snapshot, keep), 1_000))

serve(
  (socket) => Socket.forEach(socket, (message) => Socket.send(socket, message)),
  Socket.sendAll,
  Layer.mergeAll(
    Logger.layer([logger]),
    Layer.succeed(References.MinimumLogLevel, "Debug"),
    Layer.succeed(Tracer.Tracer, tracer),
    Layer.effectDiscard(Effect.forkScoped(scrape))
  )
)
