/**
 * The real client, `engine.io-client`, with what happens to it written down.
 */
import { Socket } from "engine.io-client"
import { Agent } from "node:http"
import { Mailbox, within } from "./events.ts"
import type { Target } from "./server.ts"

/** How a client connects. */
export type Mode = "polling" | "websocket" | "upgrade"

export const modes: ReadonlyArray<Mode> = ["polling", "websocket", "upgrade"]

/** What the client says of the end of its session. */
export interface ClientClose {
  readonly reason: string
  /** What the client's transport failed with, where it did. */
  readonly description: unknown
}

/** How a client is made and waited for. */
export interface ClientOptions {
  readonly awaitUpgrade?: boolean
  /** The address it comes from. */
  readonly localAddress?: string
}

/** A connected client. In mode `upgrade` it has completed its upgrade, unless told not to wait. */
export class EngineClient {
  readonly socket: Socket
  readonly messages: Mailbox<string | Buffer> = new Mailbox("a message at the client")
  readonly upgraded: Promise<void>
  readonly closed: Promise<ClientClose>

  private constructor(target: Target, mode: Mode, { localAddress }: ClientOptions) {
    const transports = mode === "upgrade" ? ["polling", "websocket"] : [mode]
    this.socket = new Socket(`ws://127.0.0.1:${target.port}`, {
      transports,
      upgrade: mode === "upgrade",
      ...(localAddress === undefined ? {} : { agent: new Agent({ localAddress }) as never })
    })
    this.socket.on("message", (data: string | Buffer) => this.messages.put(data))
    this.upgraded = new Promise((resolve) => {
      this.socket.on("upgrade", () => resolve())
    })
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (reason: string, description: unknown) => {
        this.messages.end(`closed: ${reason}`)
        resolve({ reason, description })
      })
    })
  }

  static async connect(target: Target, mode: Mode, options: ClientOptions = {}) {
    const client = new EngineClient(target, mode, options)
    target.clients.add(client)
    await within(
      new Promise<void>((resolve, reject) => {
        client.socket.on("open", () => resolve())
        client.socket.on(
          "close",
          (reason, description) => reject(new Error(`not connected: ${reason}`, { cause: description }))
        )
      }),
      `a ${mode} connection`
    )
    if (mode === "upgrade" && options.awaitUpgrade !== false) await within(client.upgraded, "an upgrade")
    return client
  }

  get sid(): string {
    return (this.socket as unknown as { readonly id: string }).id
  }

  send(message: string | Uint8Array): void {
    this.socket.send(message)
  }

  /** Sends a message and gives the next one that comes. */
  exchange(message: string | Uint8Array): Promise<string | Buffer> {
    this.send(message)
    return this.messages.next()
  }

  close(): Promise<ClientClose> {
    this.socket.close()
    return within(this.closed, "the end of the client")
  }
}

/** The largest text and binary messages that fit `maxPayload` on a transport, in bytes. */
export const largest = (mode: Mode, maxPayload: number): { readonly text: number; readonly binary: number } => ({
  text: maxPayload - 1,
  binary: mode === "polling" ? Math.floor((maxPayload - 1) / 4) * 3 : maxPayload
})
