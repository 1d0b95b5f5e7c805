/**
 * A TCP proxy that treats connections as bad networks do.
 */
import { once } from "node:events"
import * as Net from "node:net"
import { reset } from "./http.ts"

/**
 * What becomes of the bytes: `none` passes them on, `delay` and `split` pass them on late and byte by byte; `silence`
 * swallows all of them while the connections stay, `deaf` those to the server and `mute` those to the client; `reset`
 * ends both halves with a TCP reset, and every new connection.
 */
export type Fault = "none" | "delay" | "split" | "silence" | "deaf" | "mute" | "reset"

/** A place to connect to instead of a server. */
export class FaultProxy {
  readonly #target: { readonly port: number }
  readonly #server: Net.Server
  readonly #sockets: Set<Net.Socket> = new Set()
  #fault: Fault = "none"
  /** The fault of connections that ask for an upgrade, where it is not that of all. */
  upgradeFault: Fault | undefined
  /** How late it passes on a piece that is delayed, in milliseconds. */
  lateness = (): number => Math.random() * 20
  /** How many pieces it passed on or swallowed while there was a fault. */
  pieces = 0

  private constructor(target: { readonly port: number }) {
    this.#target = target
    this.#server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
  }

  static async start(target: { readonly port: number }): Promise<FaultProxy> {
    const proxy = new FaultProxy(target)
    proxy.#server.listen(0, "127.0.0.1")
    await once(proxy.#server, "listening")
    return proxy
  }

  get port(): number {
    return (this.#server.address() as Net.AddressInfo).port
  }

  /** From now on, for the connections there are and those that come. */
  set fault(fault: Fault) {
    this.#fault = fault
    if (fault !== "reset") return
    for (const socket of this.#sockets) reset(socket)
  }

  #accept(client: Net.Socket): void {
    if (this.#fault === "reset") {
      client.on("error", () => undefined)
      reset(client)
      return
    }
    const server = Net.connect({ port: this.#target.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.once("close", () => this.#sockets.delete(socket))
    }
    let isUpgrade = false
    const faultOf = (): Fault => isUpgrade && this.upgradeFault !== undefined ? this.upgradeFault : this.#fault
    client.on("data", (chunk: Buffer) => {
      if (chunk.includes("pgrade: websocket")) isUpgrade = true
      if (faultOf() === "reset") reset(client)
    })
    this.#pass(client, server, faultOf, "deaf")
    this.#pass(server, client, faultOf, "mute")
  }

  #pass(from: Net.Socket, to: Net.Socket, faultOf: () => Fault, swallower: Fault): void {
    // One thing after the other, however long each takes.
    let last: Promise<void> = Promise.resolve()
    const then = (act: () => Promise<void> | void) => {
      last = last.then(act)
    }
    from.on("data", (chunk: Buffer) => {
      const fault = faultOf()
      if (fault !== "none") this.pieces++
      if (fault === "none") then(() => void to.write(chunk))
      else if (fault === "delay") then(() => this.#later(to, chunk))
      else if (fault === "split") then(() => this.#split(to, chunk))
      else if (fault !== "silence" && fault !== swallower) then(() => void to.write(chunk))
    })
    from.on("end", () => {
      const fault = faultOf()
      if (fault !== "silence" && fault !== swallower) then(() => void to.end())
    })
    from.on("error", () => reset(to))
    from.on("close", () => {
      const fault = faultOf()
      if (fault !== "silence" && fault !== swallower) then(() => void to.destroySoon())
    })
  }

  async #later(to: Net.Socket, chunk: Buffer): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.lateness()))
    to.write(chunk)
  }

  async #split(to: Net.Socket, chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at++) {
      to.write(chunk.subarray(at, at + 1))
      // The kernel may put together what is not taken; give the other side the chance to take it.
      if (at % 16 === 15) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close")
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
