/** The same, written as a loop: what it costs not to know `Socket.forEach` and `Socket.sendAll`. */
import { Effect } from "effect"
import { Socket } from "../../src/index.ts"
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
