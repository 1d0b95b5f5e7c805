/**
 * A session as a socket of `effect/socket`: what it receives is read in batches, and every end is an error with a code.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as EffectSocket from "effect/socket/Socket"
import * as CloseReason from "../../CloseReason.ts"
import { type Entry, make } from "../transport/entry.ts"
import { type InvalidMessage, type Socket, type SocketClosed, TypeId } from "./model.ts"

/**
 * The socket for everything that speaks over `effect/socket/Socket`, such as `effect/rpc`.
 *
 * **Details**
 *
 * A `pull` gives all messages that have arrived, and makes room for them in `receiveBuffer`. When the session has ended
 * and all was taken, it fails with a `SocketCloseError`: the code is that of the client where it gave one, and else the
 * one a WebSocket would have for it, such as 1001 when the server shuts down, 1006 when the client fell silent, 1009 when
 * its message was too large, or 1005 where nothing is known. The end of the reader's scope closes the session.
 *
 * A `write` waits like `Socket.send`; it fails with a `SocketWriteError` whose `cause` is the `SocketClosed` or
 * `InvalidMessage` that `Socket.send` fails with. Writing a `CloseEvent` closes the session like `Socket.close`. Engine.IO
 * has no codes of its own, so the client does not hear of the event's code; the reader fails with it.
 *
 * An `app` that reads by this socket is not interrupted for asking once too often: it ends by itself, or is interrupted
 * after `closeTimeout`.
 *
 * **Example** (Echo, by `effect/socket`)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EngineIO, Socket } from "effect-engine.io"
 *
 * const echo = EngineIO.route("/engine.io/", (socket) =>
 *   Effect.succeed({
 *     app: Effect.gen(function*() {
 *       const { reader, writer } = Socket.toEffectSocket(socket)
 *       const { pull } = yield* reader
 *       const { writeAll } = yield* writer
 *       while (true) yield* writeAll(yield* pull)
 *     })
 *   }))
 * ```
 *
 * @category converting
 * @since 0.2.0
 */
export const toEffectSocket = (socket: Socket): EffectSocket.Socket => {
  const operations = socket[TypeId]
  let closeEvent: EffectSocket.CloseEvent | undefined

  const close = (event?: EffectSocket.CloseEvent) =>
    Effect.suspend(() => {
      closeEvent ??= event
      return operations.close(socket, false)
    })

  const makeReader = Effect.sync(() => {
    // Made once for all pulls.
    const all = Effect.mapError(
      Queue.takeAll(operations.incoming(socket)),
      ({ reason }) => closeError(closeEvent ?? toCloseEvent(reason))
    )
    const pull = Effect.suspend(() => {
      operations.noteTaken(socket)
      return all
    })
    return { pull, upgrade: EffectSocket.SocketUpgradeError.unsupported }
  })

  const reader = Effect.acquireRelease(
    makeReader,
    () => Effect.andThen(close(), Effect.sync(() => operations.endIncoming(socket)))
  )

  const send = (entries: ReadonlyArray<Entry>) => Effect.mapError(operations.send(socket, entries), writeError)

  const write = (chunk: Uint8Array | string | EffectSocket.CloseEvent) =>
    Effect.suspend(() => {
      if (EffectSocket.isCloseEvent(chunk)) return close(chunk)
      const entry = make("message", chunk)
      return operations.accept(socket, entry) === "Accepted" ? Effect.void : send([entry])
    })

  const writeAll = (chunks: NonEmptyReadonlyArray<Uint8Array | string>) =>
    Effect.suspend(() => send(chunks.map((chunk) => make("message", chunk))))

  return EffectSocket.make({ reader, writer: Effect.succeed({ write, writeAll }) })
}

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const closeError = ({ code, reason }: EffectSocket.CloseEvent) =>
  new EffectSocket.SocketError({ reason: new EffectSocket.SocketCloseError({ code, closeReason: reason }) })

const writeError = (cause: SocketClosed | InvalidMessage) =>
  new EffectSocket.SocketError({ reason: new EffectSocket.SocketWriteError({ cause }) })

/** The close of a WebSocket that ended for the same reason. */
const toCloseEvent = (reason: CloseReason.CloseReason): EffectSocket.CloseEvent => {
  const text = CloseReason.message(reason)
  switch (reason._tag) {
    case "TransportClose":
      return new EffectSocket.CloseEvent(reason.code ?? 1005, reason.reason ?? text)
    case "TransportError":
      return new EffectSocket.CloseEvent(codeOf(reason.error), reason.error.message)
    case "PingTimeout":
      return new EffectSocket.CloseEvent(1006, text)
    case "ParseError":
      return new EffectSocket.CloseEvent(1002, reason.error.message)
    case "ForcedClose":
      return new EffectSocket.CloseEvent(1000, text)
    case "AppFailed":
      return new EffectSocket.CloseEvent(1011, text)
    case "ServerShutdown":
      return new EffectSocket.CloseEvent(1001, text)
  }
}

const codeOf = (error: CloseReason.TransportFailure): number => {
  switch (error._tag) {
    case "Aborted":
    case "WriteFailed":
      return 1006
    case "InvalidContent":
    case "InvalidHeartbeat":
    case "Overlap":
      return 1002
    case "PayloadTooLarge":
      return 1009
    case "WebSocketProtocol":
      return error.code
  }
}
