/**
 * Where a client that polls is: its GET, its POST, its end.
 */
import { utf8Length } from "../protocol/bytes.ts"
import { Cursor } from "../protocol/cursor.ts"
import type { Deadline } from "./contract.ts"
import type { Exchange } from "./requests.ts"

// Classes, since V8 may make what comes of a literal in the old heap, where it keeps its request and its answer with it.

/** A GET: it waits for packets, or its answer is being compressed. */
export class Get {
  _tag: "Parked" | "Answering" = "Parked"
  readonly exchange: Exchange
  constructor(exchange: Exchange) {
    this.exchange = exchange
  }
}

/** A POST whose body is on its way. */
export class Reading {
  readonly _tag = "Reading"
  readonly exchange: Exchange
  readonly deadline: Deadline
  constructor(exchange: Exchange, deadline: Deadline) {
    this.exchange = exchange
    this.deadline = deadline
  }
}

/** A POST whose answer waits until its packets are taken. */
export class Held {
  readonly _tag = "Held"
  readonly exchange: Exchange
  readonly payload: string | Uint8Array
  /** Then the length of each text is its size. */
  readonly isAscii: boolean
  readonly cursor = new Cursor()
  /** Whether all its packets are taken, and the answer only waits for room. */
  isTaken = false
  constructor(exchange: Exchange, payload: string | Uint8Array) {
    this.exchange = exchange
    this.payload = payload
    this.isAscii = typeof payload === "string" && utf8Length(payload) === payload.length
  }
}

/** Where the end is: not begun, waiting for a GET to tell the client by, told to the client, or over. */
export type End = "Open" | Waiting | "Told" | "Done"

export interface Waiting {
  readonly onTold: () => void
}

/** Of a body that was not taken as a whole, the rest will not be. */
export const letGo = ({ exchange, isTaken }: Held): void => isTaken ? exchange.ok() : exchange.reject(400)
