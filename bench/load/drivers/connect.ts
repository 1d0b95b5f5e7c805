/** Clients that come, and go at once: the whole life of a session, over and over. */
import type { Target } from "../../shared/calls.ts"
import { textOf } from "../../shared/content.ts"
import { textFrame } from "../frames.ts"
import { getRequest, handshake, openHttp, pollingTarget } from "../http.ts"
import { type Load, Run, type Trouble } from "../run.ts"
import { closeWebSocket, expectText, openWebSocket, probeWebSocket } from "../webSocket.ts"

const message = `4${textOf(32, 0)}`
const messageFrame = textFrame(message)
const probeFrame = textFrame("2probe")
const upgradeFrame = textFrame("5")

const openAndClose = async (target: Target): Promise<void> => {
  await closeWebSocket(await openWebSocket(target))
}

/** Like a client of the field: it polls while it probes, and switches when that poll was answered. */
const upgradeAndClose = async (target: Target, trouble: Trouble): Promise<void> => {
  const http = await openHttp(target.port, trouble.fail)
  const sid = await handshake(http)
  const polled = http.ask(getRequest(pollingTarget(sid)))
  const connection = await probeWebSocket(target.port, sid, probeFrame)
  const payload = await polled
  if (payload !== "6") throw new Error(`expected a noop, got ${JSON.stringify(payload)}`)
  connection.socket.write(upgradeFrame)
  connection.socket.write(messageFrame)
  await expectText(connection, message)
  await closeWebSocket(connection)
  http.close()
}

export const openConnect = (
  target: Target,
  trouble: Trouble,
  options: { readonly concurrency: number; readonly upgrade: boolean }
): Load => ({
  run: (limit) => {
    const run = new Run(limit)
    const live = () => options.upgrade ? upgradeAndClose(target, trouble) : openAndClose(target)
    const repeat = async (): Promise<void> => {
      let more = true
      while (more) {
        await live()
        more = run.begin(1)
        run.finish(1)
      }
    }
    for (let i = 0; i < options.concurrency; i++) {
      if (run.begin(1)) repeat().catch(trouble.fail)
    }
    return run.done
  },
  close: () => {}
})

/** They come when their time is there, whether those before them are done or not, as clients do. */
export const openArrivals = (target: Target, trouble: Trouble, { rate }: { readonly rate: number }): Load => ({
  run: (limit) => {
    const run = new Run(limit)
    const start = performance.now()
    let begun = 0
    // One more, until all have come.
    run.begin(0)
    const arrive = () => {
      for (const due = (performance.now() - start) * rate / 1000; begun < due; begun++) {
        if (!run.begin(1)) {
          clearInterval(clock)
          return run.finish(0)
        }
        upgradeAndClose(target, trouble).then(() => run.finish(1)).catch(trouble.fail)
      }
    }
    const clock = setInterval(arrive, 1)
    return run.done
  },
  close: () => {}
})
