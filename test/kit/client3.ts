/**
 * The real client of revision 3, `engine.io-client` 3.5, on each of its transports; for JSONP with as much of a page as
 * that transport touches.
 */
import { createRequire } from "node:module"
import { runInThisContext } from "node:vm"
import { Mailbox, within } from "./events.ts"
import type { Target } from "./server.ts"

/** How a client of revision 3 connects; `base64` is one that cannot take bytes. */
export type Mode3 = "polling" | "jsonp" | "websocket" | "websocket, base64" | "upgrade" | "upgrade from jsonp"

export const modes3: ReadonlyArray<Mode3> = [
  "polling",
  "jsonp",
  "websocket",
  "websocket, base64",
  "upgrade",
  "upgrade from jsonp"
]

interface Socket3 {
  readonly id: string
  readonly transport: { readonly name: string }
  on(event: string, listener: (...args: Array<never>) => void): void
  send(data: string | Uint8Array): void
  close(): void
}

const connect3 = createRequire(import.meta.url)("engine.io-client-3") as (
  uri: string,
  options: Readonly<Record<string, unknown>>
) => Socket3

/** A connected client. In the modes that upgrade, it has. */
export class EngineClient3 {
  readonly socket: Socket3
  readonly messages: Mailbox<string | Buffer> = new Mailbox("a message at the client")
  /** The pongs that came. */
  readonly pongs: Mailbox<true> = new Mailbox("a pong")
  /** The reason that the client gives for its end. */
  readonly closed: Promise<string>

  private constructor(target: Target, mode: Mode3) {
    const upgrade = mode.startsWith("upgrade")
    this.socket = connect3(`ws://127.0.0.1:${target.port}`, {
      transports: upgrade ? ["polling", "websocket"] : [mode.startsWith("websocket") ? "websocket" : "polling"],
      upgrade,
      forceJSONP: mode.endsWith("jsonp"),
      forceBase64: mode.endsWith("base64")
    })
    // The client says nothing where the message has no characters.
    this.socket.on("message", (data: string | ArrayBuffer | Buffer | undefined = "") => {
      this.messages.put(typeof data === "string" ? data : Buffer.from(data as Buffer))
    })
    this.socket.on("pong", () => this.pongs.put(true))
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (reason: string) => {
        this.messages.end(`closed: ${reason}`)
        resolve(reason)
      })
    })
  }

  static async connect(target: Target, mode: Mode3): Promise<EngineClient3> {
    if (mode.endsWith("jsonp")) installPage()
    const client = new EngineClient3(target, mode)
    const is = (event: string) =>
      new Promise<void>((resolve, reject) => {
        client.socket.on(event, () => resolve())
        client.socket.on("close", (reason: string) => reject(new Error(`not connected: ${reason}`)))
      })
    const upgraded = is("upgrade")
    upgraded.catch(() => undefined)
    await within(is("open"), `a connection by ${mode}`)
    if (mode.startsWith("upgrade")) await within(upgraded, "an upgrade")
    return client
  }

  get sid(): string {
    return this.socket.id
  }

  send(message: string | Uint8Array): void {
    this.socket.send(message)
  }

  close(): Promise<string> {
    this.socket.close()
    return within(this.closed, "the end of the client")
  }
}

// --- page ------------------------------------------------------------------------------------------------------------

/** An element, as far as the JSONP transport knows one. */
class Element {
  readonly tag: string
  readonly style: Record<string, string> = {}
  readonly children: Set<Element> = new Set()
  parentNode: Element | undefined
  src = ""
  action = ""
  name = ""
  value = ""
  onload: (() => void) | undefined
  onerror: ((cause: unknown) => void) | undefined

  constructor(tag: string) {
    this.tag = tag
  }

  setAttribute(): void {}

  appendChild(child: Element): void {
    child.parentNode = this
    this.children.add(child)
    if (child.tag === "script") void child.#load()
  }

  removeChild(child: Element): void {
    this.children.delete(child)
  }

  /** Posts the form as browsers do; its answer is loaded into the frame. */
  submit(): void {
    void this.#post()
  }

  async #load(): Promise<void> {
    try {
      const response = await fetch(this.src)
      // Browsers run no script that does not say that it is one.
      if (!response.ok || !response.headers.get("content-type")?.startsWith("text/javascript")) {
        throw new Error(`no script: ${response.status} ${response.headers.get("content-type")}`)
      }
      runInThisContext(await response.text())
    } catch (cause) {
      this.onerror?.(cause)
    }
  }

  async #post(): Promise<void> {
    const fields = [...this.children].filter((it) => it.tag === "textarea")
    const body = new URLSearchParams(
      fields.map((it): [string, string] => [it.name, it.value.replaceAll(/\r?\n/g, "\r\n")])
    )
    await fetch(this.action, { method: "POST", body }).then((response) => response.text(), () => undefined)
    const frame = [...this.children].find((it) => it.tag === "iframe")
    frame?.onload?.()
  }
}

const installPage = (): void => {
  const body = new Element("body")
  const createElement = (tag: string) => {
    if (tag.startsWith("<")) throw new Error("not a tag")
    return new Element(tag)
  }
  Object.assign(globalThis, { document: { createElement, getElementsByTagName: () => [], head: body, body } })
}
