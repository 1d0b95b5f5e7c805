/**
 * A connection of the stock client, in a scope: what arrives goes into a queue, and whatever ends it is one error.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import {
  type CloseEvent,
  SocketCloseError,
  SocketError,
  type SocketErrorReason,
  SocketOpenError,
  SocketReadError,
  SocketWriteError
} from "effect/socket/Socket"
import { Socket as StockSocket } from "engine.io-client"
import type { HandshakeData, Message } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import { see } from "../protocol/see.ts"
import type { Config } from "./clientOptions.ts"

/** Older servers do not say `maxPayload`. */
type Handshake = Omit<HandshakeData, "maxPayload"> & Partial<HandshakeData>

export interface Connection {
  readonly stock: StockSocket
  readonly handshake: Handshake
  /** What has arrived. It fails when no more will come and all was taken. */
  readonly incoming: Queue.Dequeue<Message, SocketError>
  /** Completed with the first cause of the end. */
  readonly closed: Deferred.Deferred<SocketError>
  /** Ends it, unless it has ended. */
  readonly end: (reason: SocketErrorReason) => void
}

/** So many messages may wait in the stock client; beyond them a sender waits until it has sent all. */
const mostUnsent = 100

/** Connects. The end of the scope closes the connection, after what was sent has left. */
export const open = Effect.fnUntraced(function*({ openTimeout, toStock }: Config) {
  const incoming = yield* Queue.unbounded<Message, SocketError>()
  const opened = yield* Deferred.make<Handshake, SocketError>()
  const closed = yield* Deferred.make<SocketError>()
  const end = (reason: SocketErrorReason) => {
    const error = new SocketError({ reason })
    if (!Deferred.doneUnsafe(closed, Exit.succeed(error))) return
    Deferred.doneUnsafe(opened, Exit.fail(error))
    Queue.failCauseUnsafe(incoming, Cause.fail(error))
  }
  const stock = yield* Effect.acquireRelease(
    Effect.try({
      try: () => new StockSocket(toStock()),
      catch: (cause) => new SocketError({ reason: new SocketOpenError({ kind: "Unknown", cause }) })
    }),
    (stock) =>
      Effect.sync(() => {
        end(closeReason("forced close"))
        stock.close()
      })
  )
  // What is no handshake the stock client would throw at, where nobody can catch it.
  stock.on("packet", (packet) => {
    if (packet.type === "open" && !isHandshake(packet.data)) packet.type = "error"
  })
  stock.on("handshake", (data) => {
    stock.once("open", () => void Deferred.doneUnsafe(opened, Exit.succeed(data as Handshake)))
  })
  stock.on(
    "message",
    (data: string | ArrayBuffer | Uint8Array | undefined) => void Queue.offerUnsafe(incoming, toMessage(data))
  )
  stock.on("error", (cause) =>
    end(
      Deferred.isDoneUnsafe(opened) ? new SocketReadError({ cause }) : new SocketOpenError({ kind: "Unknown", cause })
    ))
  stock.on("close", (reason, details) => end(closeReason(reason, details)))
  const handshake = yield* Effect.timeoutOrElse(Deferred.await(opened), {
    duration: openTimeout,
    orElse: () => {
      const cause = new Error("the connection did not open in time")
      return Effect.fail(new SocketError({ reason: new SocketOpenError({ kind: "Timeout", cause }) }))
    }
  })
  return { stock, handshake, incoming, closed, end } satisfies Connection
})

/** Whether the data of an open packet say all that the client asks of them. */
const isHandshake = (data: unknown): boolean => {
  try {
    const { pingInterval, pingTimeout, sid, upgrades } = JSON.parse(data as string) as Record<string, unknown>
    return typeof sid === "string" && Array.isArray(upgrades) && Number.isFinite(pingInterval) &&
      Number.isFinite(pingTimeout)
  } catch {
    return false
  }
}

/** A message without characters comes as nothing. */
const toMessage = (data: string | ArrayBuffer | Uint8Array | undefined): Message =>
  data instanceof ArrayBuffer ? new Uint8Array(data) : data ?? ""

/** The close of a WebSocket for the same reason; a transport without codes leaves 1005. */
const closeReason = (reason: string, details?: unknown): SocketCloseError => {
  const { context, description } = (details ?? {}) as {
    readonly context?: { readonly code?: number; readonly reason?: string }
    /** Of a request that failed, its status. */
    readonly description?: unknown
  }
  if (reason === "forced close") return new SocketCloseError({ code: 1000, closeReason: reason })
  if (reason === "ping timeout") return new SocketCloseError({ code: 1006, closeReason: reason })
  const text = typeof description === "string" ? description : reason
  return new SocketCloseError({ code: context?.code ?? 1005, closeReason: context?.reason || text })
}

/** Closes the connection after what was sent has left. */
export const close = ({ end, stock }: Connection, { code, reason }: CloseEvent): Effect.Effect<void> =>
  Effect.sync(() => {
    end(new SocketCloseError({ code, closeReason: reason }))
    stock.close()
  })

export const transportOf = ({ stock }: Connection): TransportType => stock.transport.name as TransportType

/** Sends a message, and waits where too many wait already. */
export const send = (connection: Connection, message: string | Uint8Array): Effect.Effect<void, SocketError> =>
  Effect.suspend(() => {
    const { stock } = connection
    const refusal = stock.readyState !== "open"
      ? "the connection is closed"
      : typeof message === "string" && transportOf(connection) === "polling" && message.includes("\x1e")
      ? `text with U+001E cannot be sent while polling${see("text-with-u001e")}`
      : undefined
    if (refusal !== undefined) {
      return Effect.fail(new SocketError({ reason: new SocketWriteError({ cause: new Error(refusal) }) }))
    }
    stock.send(message)
    return stock.writeBuffer.length > mostUnsent ? Effect.asVoid(drained(connection)) : Effect.void
  })

/** Waits until all is sent, or the connection has ended: of what is lost then, whoever receives is told. */
const drained = ({ closed, stock }: Connection): Effect.Effect<unknown> =>
  Effect.raceFirst(
    Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      stock.once("drain", done)
      return Effect.sync(() => void stock.off("drain", done))
    }),
    Deferred.await(closed)
  )
