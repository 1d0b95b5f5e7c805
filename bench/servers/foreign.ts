/**
 * Hands a server in another language to the harness. It is built where its toolchain is. It writes its port to its
 * output, and takes bytes: `b` has it broadcast the next text, `u` send a burst, `s` write how many sessions it has.
 */
import { execFileSync, spawn } from "node:child_process"
import { mkdirSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { control } from "./control.ts"

const folderOf = (name: string) => fileURLToPath(new URL(`../peers/${name}`, import.meta.url))

/** Builds what is in the folder `name` of `peers/` with `command`; `program` is there afterwards. */
export const serveForeign = async (name: string, command: string, args: ReadonlyArray<string>, program: string) => {
  mkdirSync(folderOf("build"), { recursive: true })
  try {
    execFileSync(command, args, {
      cwd: folderOf(name),
      env: { ...process.env, CARGO_TARGET_DIR: folderOf("build/rust") },
      stdio: ["ignore", "ignore", "pipe"]
    })
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "ENOENT" ? new Error(`skipped: there is no ${command} here`) : error
  }
  // One core, as the others have.
  const peer = spawn(folderOf(`build/${program}`), {
    env: { ...process.env, GOMAXPROCS: "1" },
    stdio: ["pipe", "pipe", "inherit"]
  })
  peer.on("exit", () => process.exit(1))
  const lines = createInterface(peer.stdout)[Symbol.asyncIterator]()
  const number = async () => Number((await lines.next()).value)
  const sessions = () => {
    peer.stdin.write("s")
    return number()
  }
  control({
    port: await number(),
    pid: peer.pid,
    sessions,
    broadcast: () => peer.stdin.write("b"),
    burst: () => peer.stdin.write("u"),
    flood: () => {
      throw new Error(`${name} has no answer to a client that stops reading`)
    }
  })
}
