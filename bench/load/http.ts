/** An HTTP client for one keep-alive connection and one request at a time. Requests are made once, as bytes. */
import { connect, type Connection } from "./connection.ts"

export const getRequest = (target: string): Buffer =>
  Buffer.from(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n`)

export const postRequest = (target: string, body: string): Buffer =>
  Buffer.from(
    `POST ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nConnection: keep-alive\r\n` +
      `Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )

const headEnd = Buffer.from("\r\n\r\n")
const ok = Buffer.from("HTTP/1.1 200 ")

export class HttpConnection {
  readonly #port: number
  readonly #fail: (error: Error) => void
  #connection: Connection | undefined
  #onBody: ((body: string) => void) | undefined
  #partial: Buffer | undefined

  constructor(port: number, fail: (error: Error) => void) {
    this.#port = port
    this.#fail = fail
  }

  async open(): Promise<void> {
    const connection = await connect(this.#port)
    this.#connection = connection
    connection.onBytes = (bytes) => {
      try {
        this.#take(bytes)
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(String(error)))
      }
    }
    connection.onClose = () => {
      this.#connection = undefined
      if (this.#onBody !== undefined) {
        this.#fail(new Error("the server closed an HTTP connection that awaits an answer"))
      }
    }
  }

  /** Only a 200 answer reaches `onBody`. */
  send(request: Buffer, onBody: (body: string) => void): void {
    if (this.#onBody !== undefined) return this.#fail(new Error("two requests at once on one connection"))
    this.#onBody = onBody
    if (this.#connection !== undefined) {
      this.#connection.socket.write(request)
      return
    }
    // Node closes a connection that was idle for five seconds; every client opens another then.
    this.open().then(() => this.#connection?.socket.write(request), this.#fail)
  }

  /** A promise of the same, for what is not measured message by message. */
  ask(request: Buffer): Promise<string> {
    return new Promise((resolve) => this.send(request, resolve))
  }

  close(): void {
    if (this.#connection === undefined) return
    this.#connection.onClose = () => {}
    this.#connection.socket.destroy()
  }

  #take(chunk: Buffer): void {
    const bytes = this.#partial === undefined ? chunk : Buffer.concat([this.#partial, chunk])
    const end = bytes.indexOf(headEnd)
    const head = end < 0 ? "" : bytes.toString("latin1", 0, end)
    if (end >= 0 && bytes.compare(ok, 0, ok.length, 0, ok.length) !== 0) {
      throw new Error(`refused: ${bytes.toString("latin1")}`)
    }
    const length = end < 0 ? undefined : /content-length: *(\d+)/i.exec(head)?.[1]
    if (end >= 0 && length === undefined) throw new Error(`no content-length: ${head}`)
    const total = end + headEnd.length + Number(length)
    if (end < 0 || bytes.length < total) {
      this.#partial = Buffer.from(bytes)
      return
    }
    const onBody = this.#onBody
    if (bytes.length > total || onBody === undefined) {
      throw new Error(`an answer nobody asked for: ${bytes.toString("latin1")}`)
    }
    this.#partial = undefined
    this.#onBody = undefined
    onBody(bytes.toString("utf8", total - Number(length), total))
  }
}

export const openHttp = async (port: number, fail: (error: Error) => void): Promise<HttpConnection> => {
  const http = new HttpConnection(port, fail)
  await http.open()
  return http
}

/** Opens a session over polling and gives its id. */
export const handshake = async (http: HttpConnection): Promise<string> => {
  const body = await http.ask(getRequest("/engine.io/?EIO=4&transport=polling"))
  const sid = body.startsWith("0{") ? (JSON.parse(body.slice(1)) as { readonly sid?: unknown }).sid : undefined
  if (typeof sid !== "string") throw new Error(`unexpected handshake: ${body}`)
  return sid
}

export const pollingTarget = (sid: string): string => `/engine.io/?EIO=4&transport=polling&sid=${sid}`
