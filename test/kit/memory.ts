/**
 * How much memory is in use.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { pause } from "./events.ts"

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

/** Bytes of memory in use, once what is garbage was collected. */
export const memory = async (): Promise<number> => {
  for (let i = 0; i < 3; i++) {
    await pause(5)
    collectGarbage()
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}
