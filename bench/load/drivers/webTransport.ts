/** Clients of WebTransport, whose stream is a TCP connection, that send one message and the next when it is back. */
import type { Target } from "../../shared/calls.ts"
import { bytesOf, differentOf, textOf } from "../../shared/content.ts"
import { collect, connect, openMany } from "../connection.ts"
import { streamFrame } from "../frames.ts"
import { type Load, Run, type Trouble } from "../run.ts"
import { FrameStream } from "../stream.ts"

const open = streamFrame(Buffer.from("0"), false)

export const openWebTransport = async (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly size: number; readonly binary: boolean }
): Promise<Load> => {
  const { binary, size } = options
  const frames = Array.from(
    { length: differentOf(size) },
    (_, index) => streamFrame(binary ? bytesOf(size, index) : Buffer.from(`4${textOf(size, index)}`), binary)
  )
  const expected = { bytes: Buffer.concat(frames), frameSize: frames[0]!.length }
  let run: Run | undefined
  const clients = await openMany(options.clients, async () => {
    const connection = await connect(target.port)
    connection.socket.write(open)
    // A byte or three of length come before the open packet, and nothing behind it.
    await collect(connection, (bytes) => bytes.at(-1) === 0x7d ? bytes : undefined)
    const stream = new FrameStream(expected, () => trouble.fail(new Error("a heartbeat")))
    let next = 0
    const send = () => connection.socket.write(frames[next++ % frames.length]!)
    connection.onClose = () => trouble.fail(new Error("the server closed a session"))
    connection.onBytes = (bytes) => {
      try {
        if (stream.take(bytes) === 0 || run === undefined) return
        if (run.begin(1)) send()
        run.finish(1)
      } catch (error) {
        trouble.fail(error)
      }
    }
    return { connection, send }
  })
  return {
    run: (limit) => {
      const current = new Run(limit)
      run = current
      for (const { send } of clients) if (current.begin(1)) send()
      return current.done
    },
    close: () => {
      for (const { connection } of clients) {
        connection.onClose = () => {}
        connection.socket.destroy()
      }
    }
  }
}
