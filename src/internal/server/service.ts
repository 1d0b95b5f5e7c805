/**
 * The service that applications know, and how it begins and ends.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { see } from "../protocol/see.ts"
import type { Config } from "./config.ts"
import { stop } from "./drain.ts"
import { type Engine, makeEngine } from "./engine.ts"
import { makeOwner } from "./owner.ts"
import type { Platform } from "./platform.ts"
import type { Registry } from "./registry.ts"

/**
 * The running server: its sessions and its options. Use the functions of this module on it.
 *
 * @category services
 * @since 0.1.0
 */
export class EngineIO extends Context.Service<EngineIO, {
  /** @internal */
  readonly engine: Engine
}>()("effect-engine.io/EngineIO") {}

/** The server with its options resolved. Its scope owns every session: when it closes, they are ended. */
export const layer = (config: Config): Layer.Layer<EngineIO, never, Platform | Registry> =>
  Layer.effect(
    EngineIO,
    Effect.gen(function*() {
      if (Option.isSome(yield* Effect.serviceOption(HttpServerRequest))) {
        yield* Effect.logWarning(
          "The engine was built while a request is handled, and ends with it: provide its layer to the server, not to a " +
            `handler${see("engine-in-a-request")}`
        )
      }
      const engine = yield* makeEngine(config)
      if (engine.cluster !== undefined) yield* engine.cluster.serve(makeOwner(engine))
      yield* Effect.addFinalizer(() => Effect.andThen(stop(engine), Effect.sync(() => engine.telemetry.end())))
      return { engine }
    })
  )
