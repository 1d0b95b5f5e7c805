/**
 * Spans of what happens once in a session. Polls and messages have none.
 */
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import type { TransportType } from "../../Transport.ts"

/**
 * `effect` in a span, where somebody collects spans: those of Effect's own tracer go nowhere. The id of the session is
 * not among the attributes, because it is a credential.
 */
export const traced = <A, E>(
  name: "EngineIO.handshake" | "EngineIO.upgrade",
  transport: TransportType,
  effect: Effect.Effect<A, E, unknown>
): Effect.Effect<A, E, unknown> =>
  Effect.withFiber((fiber) =>
    fiber.getRef(Tracer.Tracer) === Tracer.nativeTracer
      ? effect
      : Effect.withSpan(effect, name, { attributes: { "engineio.transport": transport } })
  )
