/** Our server over WebTransport. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { EngineIO, Socket } from "effect-engine.io"
import { maxPayload } from "../shared/content.ts"
import { announce } from "./announce.ts"
import { listen, pingInterval } from "./webTransport.ts"

const echo = (socket: Socket.Socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })

Effect.gen(function*() {
  const run = Effect.runForkWith(yield* Effect.context<Effect.Services<ReturnType<typeof accept>>>())
  const port = yield* Effect.promise(() => listen((session) => void run(accept(session))))
  yield* announce(port, Socket.sendAll)
  yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.provide(EngineIO.layer({ maxPayload, pingInterval, transports: ["webtransport"] })),
  NodeRuntime.runMain
)

const accept = (session: EngineIO.WebTransportSession) => EngineIO.acceptWebTransport(session, echo)
