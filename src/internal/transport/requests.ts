/**
 * How requests of HTTP reach a transport that takes them: each is an exchange, which the transport answers then or later.
 */
import type { WriteFailed } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"

/** The door for the requests of one session's client. */
export interface Requests {
  onGet(exchange: Exchange): void
  onPost(exchange: Exchange): void
}

/** The body of a POST, or why there is none: it is larger than may be, or somebody else has read it. */
export type Body = { readonly body: string | Uint8Array } | "too large" | "taken"

/** A request of a polling client that waits for its answer. */
export interface Exchange {
  readonly contentType: string | undefined
  /**
   * Answers a GET with a payload. `compress` says whether any packet in it may be compressed; if it is, the answer is
   * given later.
   */
  respond(payload: string | Uint8Array, contentType: string, compress: boolean): void
  /** Answers a POST whose packets were taken. */
  ok(): void
  /** Answers with a status, and words for whoever runs the server. */
  reject(status: number, words?: string): void
  /** Answers as to a request for no session there is. */
  refuse(error: HandshakeError): void
  /** Drops the connection without an answer. */
  destroy(): void
  /** Reads the body; called back once, and not after `onAborted`. */
  readBody(limit: number, binary: boolean, done: (body: Body) => void): void
  holder: ExchangeHolder | undefined
}

/** Told when a GET has its answer, and of the end of an exchange, once. */
export interface ExchangeHolder {
  /** Called by `respond`, or later where the payload is compressed. */
  onAnswered(exchange: Exchange): void
  /**
   * The client gave the request up before it was answered, or a GET before it had the whole answer; with `failure` it was
   * we who could not write the answer.
   */
  onAborted(exchange: Exchange, failure?: WriteFailed): void
  onWritten(exchange: Exchange): void
}
