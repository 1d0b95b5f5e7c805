import { expect, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { Place, Roster } from "../../src/internal/protocol/roster.ts"

it("lists what is there, in the order in which it came", () => {
  const roster = new Roster<string>()
  const places = ["a", "b", "c"].map((item) => roster.enter(new Place(item)))
  expect(roster.leave(places[1]!)).toBe(true)
  expect([...roster]).toEqual(["a", "c"])
  expect(roster.size).toBe(2)
  expect(roster.first?.item).toBe("a")
  expect(roster.leave(places[1]!)).toBe(false)
  expect(places[1]!.item).toBe(undefined)
})

/** Has 20 000 items of 1.6 kB come and go, with nothing but young collections; prints by how much the heap grew. */
const comeAndGo = (enter: string, leave: string) => `
  import { Place, Roster } from ${
  JSON.stringify(new URL("../../src/internal/protocol/roster.ts", import.meta.url).href)
}
  const table = new Set(), roster = new Roster(), here = []
  gc()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 20_000; i++) {
    const item = new Array(200).fill(i)
    here.push(${enter})
    if (here.length > 100) { const first = here.shift(); ${leave} }
    if (i % 500 === 499) gc({ type: "minor" })
  }
  gc({ type: "minor" })
  console.log(process.memoryUsage().heapUsed - before)
`

const growth = async (enter: string, leave: string): Promise<number> => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--expose-gc",
    "--input-type=module",
    "--eval",
    comeAndGo(enter, leave)
  ])
  return Number(stdout)
}

it("keeps nothing alive that has left, where a set of the same items does", async () => {
  const [ofRoster, ofSet] = await Promise.all([
    growth("roster.enter(new Place(item))", "roster.leave(first)"),
    growth("(table.add(item), item)", "table.delete(first)")
  ])
  expect(ofRoster).toBeLessThan(ofSet / 3)
})
