/**
 * Clients that take turns at a fixed rate, whether the server keeps up or not. The time of a message counts from the
 * moment it was due, so a server that stalls is charged for every message it held up.
 */
import type { Limit, Target } from "../../shared/calls.ts"
import { openMany } from "../connection.ts"
import type { Load, Trouble } from "../run.ts"
import { closeAll, type EchoClient, echoMessages, openEchoClient } from "./echo.ts"

const percentile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

export const openPaced = async (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly rate: number }
): Promise<Load> => {
  const messages = echoMessages(target.dialect, 32, false)
  const due: Array<Array<number>> = Array.from({ length: options.clients }, () => [])
  let arrived: (latency: number) => void = () => {}
  const onEcho = (index: number, count: number): void => {
    const now = performance.now()
    for (let i = 0; i < count; i++) {
      const since = due[index]?.shift()
      if (since === undefined) return trouble.fail(new Error("more echoes than messages"))
      arrived((now - since) * 1000)
    }
  }
  const clients: Array<EchoClient> = await openMany(
    options.clients,
    (index) => openEchoClient(target, trouble, messages, onEcho, index)
  )
  let turn = 0
  const run = (limit: Limit) =>
    new Promise<Awaited<ReturnType<Load["run"]>>>((resolve) => {
      const total = Math.floor(limit.millis * options.rate / 1000)
      const latencies = new Float64Array(total)
      const start = performance.now()
      let sent = 0
      let received = 0
      arrived = (micros) => {
        latencies[received++] = micros
        if (received < total) return
        latencies.sort()
        const latency = {
          p50: percentile(latencies, 0.5),
          p99: percentile(latencies, 0.99),
          "p99.9": percentile(latencies, 0.999)
        }
        resolve({ units: total, millis: performance.now() - start, latency })
      }
      // A timer would send a millisecond's messages at once; polling the sockets without pause sends each when due.
      const step = (): void => {
        const now = performance.now()
        for (
          let at = start + sent * 1000 / options.rate;
          at <= now && sent < total;
          at = start + sent * 1000 / options.rate
        ) {
          const index = turn++ % options.clients
          due[index]?.push(at)
          clients[index]?.send(1)
          sent++
        }
        if (sent < total) setImmediate(step)
      }
      step()
    })
  return { run, close: () => closeAll(clients.map((client) => client.connection)) }
}
