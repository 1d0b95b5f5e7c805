/**
 * The end of a server in memory. Its clock is the test's, which nobody moves any more, so nothing may wait for it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { stop } from "../server/drain.ts"
import type { Engine } from "../server/engine.ts"
import type { MemoryPlatform } from "./memoryPlatform.ts"

/** How long applications have to end by themselves, in milliseconds of real time. */
const patience = 100

/** To be run before the server's own end. Silent clients take what they are told, and applications that go on are interrupted. */
export const release = (engine: Engine): Effect.Effect<void> =>
  Effect.gen(function*() {
    ;(engine.platform as MemoryPlatform).wakeAll()
    const stopped = yield* Effect.timeoutOption(stop(engine), patience)
    if (Option.isSome(stopped)) return
    for (const { application } of engine.supervisor.alive) application?.interruptUnsafe()
  }).pipe(Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()))
