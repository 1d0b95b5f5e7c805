/** An application with work to do: it reads and writes JSON for a tenth of a millisecond before it answers. */
import { Effect } from "effect"
import { Socket } from "effect-engine.io"

const record = JSON.stringify(
  Array.from({ length: 16 }, (_, id) => ({ id, name: `name ${id}`, tags: ["a", "b"], at: 1e12 + id }))
)

const work = Effect.sync(() => {
  for (let i = 0; i < 15; i++) JSON.stringify(JSON.parse(record))
})

export const busy = (socket: Socket.Socket) =>
  Socket.forEach(socket, (message) => Effect.andThen(work, Socket.send(socket, message)))
