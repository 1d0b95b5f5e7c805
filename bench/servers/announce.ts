/** Hands a server of ours to the harness. */
import * as Effect from "effect/Effect"
import { EngineIO, Socket } from "effect-engine.io"
import { control } from "./control.ts"

type Push = (
  socket: Socket.Socket,
  texts: Iterable<string>
) => Effect.Effect<void, Socket.SocketClosed | Socket.InvalidMessage>

/** One `send` after the other: what waits is what the send buffer takes. */
export const sendEach: Push = (socket, texts) =>
  Effect.gen(function*() {
    for (const text of texts) yield* Socket.send(socket, text)
  })

/** `burst` is how this server sends many messages at once. */
export const announce = (port: number, burst: Push): Effect.Effect<void, never, EngineIO.EngineIO> =>
  Effect.map(Effect.context<EngineIO.EngineIO>(), (context) => {
    const runSync = Effect.runSyncWith(context)
    const runFork = Effect.runForkWith(context)
    const toFirst = (push: Push) => (texts: Iterable<string>): void => {
      const [socket] = runSync(EngineIO.sockets).values()
      if (socket !== undefined) runFork(push(socket, texts))
    }
    control({
      port,
      sessions: () => runSync(EngineIO.count),
      broadcast: (text) => runSync(EngineIO.broadcast(text)),
      burst: toFirst(burst),
      flood: toFirst(sendEach)
    })
  })
