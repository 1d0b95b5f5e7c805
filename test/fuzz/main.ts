/**
 * `npm run fuzz -- --seconds 60 --seed 1`: fuzzes live servers until the time is up, half of it with inputs and half with
 * intents, and says how to repeat a failure. `--what inputs`, `--what intents` or the name of an intent does only that.
 */
import { parseArgs } from "node:util"
import { runFuzz } from "./fuzz.ts"
import { runSieges, showAll } from "./siege.ts"

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    rounds: { type: "string", default: "Infinity" },
    count: { type: "string", default: "120" },
    what: { type: "string", default: "all" }
  }
})

const { what } = values
const settings = {
  seed: Number(values.seed),
  seconds: Number(values.seconds) / (what === "all" ? 2 : 1),
  rounds: Number(values.rounds),
  count: Number(values.count)
}
console.log(`fuzzing for ${values.seconds} s from seed ${settings.seed}`)

const fuzz = async (): Promise<void> => {
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
}

const besiege = async (): Promise<void> => {
  const report = await runSieges({
    ...settings,
    intent: what === "all" || what === "intents" ? undefined : what,
    onIntent: (name, seed, figures) => console.log(`seed ${seed}, ${name}: ${showAll(figures)}`)
  })
  console.log(JSON.stringify({ ...report, losses: 0 }))
}

if (what === "all" || what === "inputs") await fuzz()
if (what !== "inputs") await besiege()
process.exit(0)
