/** The same, written as a loop: what it costs not to know `Socket.forEach` and `Socket.sendAll`. */
import * as Effect from "effect/Effect"
import { Socket } from "effect-engine.io"
import { sendEach } from "./announce.ts"
import { serve } from "./router.ts"

serve(
  (socket) =>
    Effect.gen(function*() {
      while (true) {
        const message = yield* Socket.receive(socket)
        yield* Socket.send(socket, message)
      }
    }),
  sendEach
)
