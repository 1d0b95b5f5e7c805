/** Clients that only receive: broadcasts, bursts, and a flood to a client that does not read. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Target } from "../../shared/calls.ts"
import { broadcastTexts, burstTexts, cycle, floodCount, floodCycle, framed, trigger } from "../../shared/content.ts"
import { connect, openMany } from "../connection.ts"
import { opcode, pongFrame } from "../frames.ts"
import { type Load, Run, type Trouble } from "../run.ts"
import { type Expected, expected, FrameStream } from "../stream.ts"
import { openWebSocket } from "../webSocket.ts"
import { closeAll } from "./echo.ts"

const pushed = ({ dialect }: Target, texts: ReadonlyArray<string | Buffer>): Expected =>
  expected(opcode.text, texts.slice(0, cycle).map((text) => Buffer.from(framed(dialect, text.toString()))))

const openReceiver = async (
  target: Target,
  trouble: Trouble,
  content: Expected,
  onMessages: (count: number) => void
) => {
  const connection = await openWebSocket(target)
  const stream = new FrameStream(content, () => connection.socket.write(pongFrame))
  connection.onClose = () => trouble.fail(new Error("the server closed a WebSocket"))
  connection.onBytes = (bytes) => {
    try {
      const count = stream.take(bytes)
      if (count > 0) onMessages(count)
    } catch (error) {
      trouble.fail(error)
    }
  }
  return connection
}

const openTrigger = async (target: Target, byte: number) => {
  const connection = await connect(target.control)
  const one = Buffer.from([byte])
  return { pull: () => connection.socket.write(one), close: () => connection.socket.destroy() }
}

/** Keeps `inFlight` broadcasts under way; one is done when every client has it. */
export const openBroadcast = async (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly inFlight: number }
): Promise<Load> => {
  const received: Array<number> = Array.from({ length: options.clients }, () => 0)
  // Who has broadcast n is counted in slot n modulo their number, which is more than are ever under way.
  const reached: Array<number> = Array.from({ length: options.inFlight * 2 }, () => 0)
  const control = await openTrigger(target, trigger.broadcast)
  let run: Run | undefined
  const onMessages = (index: number, count: number): void => {
    for (let i = 0; i < count; i++) {
      const broadcast = received[index] ?? 0
      received[index] = broadcast + 1
      const slot = broadcast % reached.length
      const clients = (reached[slot] ?? 0) + 1
      reached[slot] = clients
      if (clients < options.clients) continue
      reached[slot] = 0
      if (run === undefined) return trouble.fail(new Error("a broadcast nobody asked for"))
      if (run.begin(options.clients)) control.pull()
      run.finish(options.clients)
    }
  }
  const content = pushed(target, broadcastTexts)
  const connections = await openMany(
    options.clients,
    (index) => openReceiver(target, trouble, content, (count) => onMessages(index, count))
  )
  return {
    run: (limit) => {
      const current = new Run(limit)
      run = current
      for (let i = 0; i < options.inFlight; i++) {
        if (current.begin(options.clients)) control.pull()
      }
      return current.done
    },
    close: () => {
      control.close()
      return closeAll(connections)
    }
  }
}

/** One burst after the other to a single client. */
export const openBurst = async (target: Target, trouble: Trouble): Promise<Load> => {
  const size = burstTexts.length
  const control = await openTrigger(target, trigger.burst)
  let missing = 0
  let run: Run | undefined
  const start = (): void => {
    missing = size
    control.pull()
  }
  const connection = await openReceiver(target, trouble, pushed(target, burstTexts), (count) => {
    missing -= count
    if (missing < 0 || run === undefined) return trouble.fail(new Error("more than one burst"))
    if (missing > 0) return
    if (run.begin(size)) start()
    run.finish(size)
  })
  return {
    run: (limit) => {
      const current = new Run(limit)
      run = current
      if (current.begin(size)) start()
      return current.done
    },
    close: () => {
      control.close()
      return closeAll([connection])
    }
  }
}

/** The first run sends to a client that stopped reading and ends after the given time; the second reads it all. */
export const openStalled = async (target: Target, trouble: Trouble): Promise<Load> => {
  const control = await openTrigger(target, trigger.flood)
  let missing = floodCount
  let reading: Run | undefined
  const connection = await openReceiver(target, trouble, pushed(target, floodCycle), (count) => {
    missing -= count
    if (missing < 0) trouble.fail(new Error("more than was sent"))
    if (missing === 0) reading?.finish(floodCount)
  })
  connection.socket.pause()
  let stalled = false
  return {
    run: async (limit) => {
      if (!stalled) {
        stalled = true
        control.pull()
        await sleep(limit.millis)
        return { units: 0, millis: limit.millis }
      }
      reading = new Run(limit)
      reading.begin(floodCount)
      connection.socket.resume()
      return reading.done
    },
    close: () => {
      control.close()
      return closeAll([connection])
    }
  }
}
