/**
 * A session as the protocol describes it, next to a real one: what each side sent and must get, in which order, and why
 * it ends. Commands change both; what they differ in is a failure.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Socket } from "../../src/index.ts"
import { eventually, within } from "../kit/events.ts"
import { type Connection, encodeRequest, type Poll, PollingClient } from "../kit/http.ts"
import type { TestServer } from "../kit/server.ts"
import { encodeFrame, Opcode, RawWebSocket } from "../kit/ws.ts"

/** Where the session of the model is. */
export interface Model {
  state: "none" | "open" | "ended"
  transport: "polling" | "websocket"
  /** A WebSocket is open for an upgrade. */
  candidate: "none" | "open" | "probed"
  /** A GET is parked. */
  isPolling: boolean
  /** Numbers for messages, so that each is unlike the others. */
  next: number
  /** What the server sent and the client has not got. */
  toClient: Array<string>
  /** What the client sent, all of it. */
  toServer: Array<string>
}

export const initial = (): Model => ({
  state: "none",
  transport: "polling",
  candidate: "none",
  isPolling: false,
  next: 0,
  toClient: [],
  toServer: []
})

/** The real client, with the means to do right and wrong. */
export class Real {
  readonly server: TestServer
  client: PollingClient | undefined
  socket: Socket.Socket | undefined
  poll: Poll | undefined
  webSocket: RawWebSocket | undefined
  candidate: RawWebSocket | undefined
  constructor(server: TestServer) {
    this.server = server
  }

  get sid(): string {
    return this.client!.sid
  }

  async connect(): Promise<void> {
    this.client = await PollingClient.connect(this.server)
    this.socket = await this.server.socket(this.sid)
    this.poll = undefined
    this.webSocket = undefined
    this.candidate = undefined
  }

  /** Every packet of a payload that is no heartbeat and no noop. */
  #messages(packets: ReadonlyArray<string>): Array<string> {
    return packets.filter((packet) => packet !== "2" && packet !== "6")
  }

  /** The packets of the parked GET. */
  async polled(): Promise<Array<string>> {
    const { response } = this.poll!
    this.poll = undefined
    const answer = await response
    assert.strictEqual(answer.status, 200)
    return this.#messages(answer.packets)
  }

  async park(): Promise<void> {
    this.poll = await this.client!.park()
  }

  /** The next `count` messages on the WebSocket, without their type. */
  async framed(count: number): Promise<Array<string>> {
    const messages: Array<string> = []
    while (messages.length < count) {
      const { payload } = await this.webSocket!.next()
      messages.push(...this.#messages([payload.toString()]))
    }
    return messages
  }

  post(body: string) {
    return this.client!.post(body)
  }

  /** Sends from the application. */
  send(message: string): Promise<void> {
    return this.server.run(Effect.orDie(Socket.send(this.socket!, message)))
  }

  async openCandidate(): Promise<void> {
    this.candidate = await RawWebSocket.open(this.server, { sid: this.sid })
  }

  async probe(): Promise<void> {
    this.candidate!.write(Opcode.text, "2probe")
    assert.strictEqual((await this.candidate!.next()).payload.toString(), "3probe")
  }

  async swap(): Promise<void> {
    this.webSocket = this.candidate
    this.candidate = undefined
    this.webSocket!.write(Opcode.text, "5")
    await eventually(
      "the upgrade",
      () => this.server.run(Socket.transport(this.socket!)),
      (transport) => transport === "websocket"
    )
  }

  /** The application has got exactly this from the client. */
  async received(messages: ReadonlyArray<string>): Promise<void> {
    await eventually(
      "the messages of the client",
      () => this.server.messagesOf(this.sid).length,
      (length) => length >= messages.length
    )
    assert.deepStrictEqual<ReadonlyArray<unknown>>(this.server.messagesOf(this.sid), messages)
  }

  /** The session has ended, for this reason, and nobody knows it any more. */
  async ended(tag: string): Promise<void> {
    const reason = await this.server.reason(this.sid)
    assert.strictEqual(reason._tag === "TransportError" ? reason.error._tag : reason._tag, tag)
    const response = await this.client!.get()
    assert.strictEqual(response.text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
    this.poll?.response.catch(() => undefined)
    // An upgrade that the end of its session cut short is told.
    if (this.candidate !== undefined) await this.candidate.closeCode()
    await this.candidate?.connection.close()
    await this.webSocket?.connection.close()
  }

  /** A POST that stops in the middle, on a connection that is then reset. */
  async abortPost(): Promise<void> {
    const connection: Connection = await this.client!.beginPost("4ha", 100)
    await connection.reset()
  }

  /** Two GETs at a time. */
  async overlap(): Promise<number> {
    const connection = await this.client!.connection()
    connection.socket.write(encodeRequest("GET", this.client!.url()))
    return (await within(connection.response(), "the second GET's answer")).status
  }

  frame(text: string): void {
    this.webSocket!.connection.write(encodeFrame(Opcode.text, text))
  }
}
