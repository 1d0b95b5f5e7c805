/** The load generator's process: opens and runs one driver per server, as the harness says. */
import type { LoadCalls, Target, Traffic } from "../shared/calls.ts"
import { answer } from "../shared/rpc.ts"
import { since, usage } from "../shared/usage.ts"
import { openArrivals, openConnect } from "./drivers/connect.ts"
import { openEcho } from "./drivers/echo.ts"
import { openIdle } from "./drivers/idle.ts"
import { openPaced } from "./drivers/paced.ts"
import { openPoll } from "./drivers/poll.ts"
import { openBroadcast, openBurst, openStalled } from "./drivers/push.ts"
import { openRpc } from "./drivers/rpc.ts"
import { openWebTransport } from "./drivers/webTransport.ts"
import { type Load, Trouble } from "./run.ts"

interface Opened {
  readonly load: Load
  readonly trouble: Trouble
}

const opened = new Map<string, Opened>()

const open = async (target: Target, traffic: Traffic, trouble: Trouble): Promise<Load> => {
  switch (traffic.kind) {
    case "echo":
      return openEcho(target, trouble, traffic)
    case "broadcast":
      return openBroadcast(target, trouble, traffic)
    case "burst":
      return openBurst(target, trouble)
    case "poll":
      return openPoll(target, trouble, traffic)
    case "connect":
      return openConnect(target, trouble, traffic)
    case "arrivals":
      return openArrivals(target, trouble, traffic)
    case "paced":
      return openPaced(target, trouble, traffic)
    case "idle":
      return openIdle(target, trouble, traffic)
    case "rpc":
      return openRpc(target, trouble, traffic)
    case "stalled":
      return openStalled(target, trouble)
    case "webtransport":
      return openWebTransport(target, trouble, traffic)
  }
}

const find = (server: string): Opened => {
  const found = opened.get(server)
  if (found === undefined) throw new Error(`nothing is open to ${server}`)
  return found
}

answer<LoadCalls>({
  open: async ({ target, traffic }) => {
    const trouble = new Trouble()
    opened.set(target.server, { load: await trouble.guard(open(target, traffic, trouble)), trouble })
  },
  run: async ({ server, limit }) => {
    const { load, trouble } = find(server)
    const before = usage()
    const tally = await trouble.guard(load.run(limit))
    return { ...tally, load: since(before) }
  },
  close: async ({ server }) => {
    const { load, trouble } = find(server)
    opened.delete(server)
    await trouble.guard(Promise.resolve(load.close()))
  }
}, null)
