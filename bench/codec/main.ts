/** The process that measures the codecs, in turns of some milliseconds; as in a server, the platform brings its base64. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { EngineIOLive } from "../../src/index.ts"
import type { CodecCalls } from "../shared/calls.ts"
import { answer } from "../shared/rpc.ts"
import { usage } from "../shared/usage.ts"
import { type Case, cases } from "./cases.ts"

// What is returned is kept, so that none of the work may be left out.
let sink: unknown

interface Turn {
  micros: number
  runs: number
}

const turn = (run: () => unknown, millis: number, total: Turn): void => {
  const before = usage().micros
  const end = performance.now() + millis
  let runs = 0
  while (performance.now() < end) {
    for (let i = 0; i < 500; i++) sink = run()
    runs += 500
  }
  total.micros += usage().micros - before
  total.runs += runs
}

const round = (one: Case, millis: number) => {
  const ours: Turn = { micros: 0, runs: 0 }
  const theirs: Turn = { micros: 0, runs: 0 }
  for (let i = 0; i < 2; i++) {
    turn(one.theirs, millis / 4, theirs)
    turn(one.ours, millis / 2, ours)
    turn(one.theirs, millis / 4, theirs)
  }
  const nanos = ({ micros, runs }: Turn): number => micros * 1000 / runs
  return { title: one.title, ours: nanos(ours), theirs: nanos(theirs) }
}

await Effect.runPromise(Effect.scoped(Layer.build(EngineIOLive)))
answer<CodecCalls>({ round: ({ millis }) => cases.map((one) => round(one, millis)) }, null)
process.on("exit", () => sink)
