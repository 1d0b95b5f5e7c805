/** Polling clients that send one payload and send the next when all of it is back. */
import type { Target } from "../../shared/calls.ts"
import { bytesOf, differentOf, textOf } from "../../shared/content.ts"
import { openMany } from "../connection.ts"
import { getRequest, handshake, openHttp, pollingTarget, postRequest } from "../http.ts"
import { type Load, Run, type Trouble } from "../run.ts"

const separator = "\u001e"

export interface PollOptions {
  readonly clients: number
  readonly packets: number
  /** Whether a GET waits at the server before anything is sent, on a connection of its own. */
  readonly parked: boolean
  readonly size: number
  readonly binary: boolean
}

/** The packets that follow each other, and again from the start. */
const packetsOf = ({ binary, size }: PollOptions): ReadonlyArray<string> =>
  Array.from(
    { length: differentOf(size) },
    (_, index) => binary ? `b${bytesOf(size, index).toString("base64")}` : `4${textOf(size, index)}`
  )

/** What a client has yet to do: hear `ok`, and get `missing` packets. */
interface Exchange {
  busy: boolean
  index: number
  missing: number
  posted: boolean
  owesPong: boolean
}

const openClient = async (
  target: Target,
  trouble: Trouble,
  options: PollOptions,
  packets: ReadonlyArray<string>,
  onDone: () => boolean
): Promise<{ readonly start: () => void; readonly close: () => Promise<void> }> => {
  const posts = await openHttp(target.port, trouble.fail)
  const gets = options.parked ? await openHttp(target.port, trouble.fail) : posts
  const sid = await trouble.guard(handshake(posts))
  const bodies = Array.from(
    { length: packets.length / options.packets },
    (_, index) => packets.slice(index * options.packets, (index + 1) * options.packets).join(separator)
  )
  const targetPath = pollingTarget(sid)
  const requests = bodies.map((body) => postRequest(targetPath, body))
  const get = getRequest(targetPath)
  const exchange: Exchange = { busy: false, index: 0, missing: 0, posted: true, owesPong: false }
  const next = (): void => {
    if (!exchange.busy || !exchange.posted || exchange.missing > 0) return
    exchange.busy = false
    exchange.index = (exchange.index + 1) % bodies.length
    if (onDone()) start()
  }
  const poll = (): void => gets.send(get, onPayload)
  const onPayload = (payload: string): void => {
    if (payload === bodies[exchange.index] && exchange.missing === options.packets) {
      exchange.missing = 0
    } else {
      for (const packet of payload.split(separator)) takeOne(packet)
    }
    if (options.parked || exchange.missing > 0) poll()
    next()
  }
  const takeOne = (packet: string): void => {
    if (packet === "2") {
      exchange.owesPong = true
    } else if (exchange.missing > 0 && packet === packets[(exchange.index + 1) * options.packets - exchange.missing]) {
      exchange.missing--
    } else {
      trouble.fail(new Error(`not what was expected: ${JSON.stringify(packet)}`))
    }
  }
  const onPosted = (body: string): void => {
    if (body !== "ok") trouble.fail(new Error(`a POST was answered ${JSON.stringify(body)}`))
    exchange.posted = true
    if (!options.parked) poll()
    next()
  }
  const start = (): void => {
    exchange.busy = true
    exchange.missing = options.packets
    exchange.posted = false
    const request = requests[exchange.index] ?? get
    posts.send(
      exchange.owesPong ? postRequest(targetPath, `3${separator}${bodies[exchange.index]}`) : request,
      onPosted
    )
    exchange.owesPong = false
  }
  if (options.parked) poll()
  return {
    start,
    close: async () => {
      if (options.parked) gets.close()
      else await trouble.guard(posts.ask(postRequest(targetPath, "1")))
      posts.close()
    }
  }
}

export const openPoll = async (target: Target, trouble: Trouble, options: PollOptions): Promise<Load> => {
  let run: Run | undefined
  const onDone = (): boolean => {
    const more = run?.begin(options.packets) ?? false
    run?.finish(options.packets)
    return more
  }
  const packets = packetsOf(options)
  const clients = await openMany(options.clients, () => openClient(target, trouble, options, packets, onDone))
  return {
    run: (limit) => {
      const current = new Run(limit)
      run = current
      for (const client of clients) {
        if (current.begin(options.packets)) client.start()
      }
      return current.done
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.close()))
    }
  }
}
