/**
 * A poll: what is sent to and fro, and the program that each socket gets. A vote counts as long as its socket is there.
 */
import { Effect, Ref, Schema } from "effect"
import * as SocketIO from "effect-engine.io/SocketIO"
import type { Server } from "socket.io"

const Choice = Schema.Literals(["Tea", "Coffee", "Water"])

const Tally = Schema.Record(Choice, Schema.Int)

class SameVote extends Schema.TaggedError<SameVote>()("SameVote", { choice: Choice }) {}

/** From the page: answered with how many have voted so. */
const Vote = SocketIO.event("vote", { payload: Choice, success: Schema.Int, error: SameVote })

/** To the page. */
const Changed = SocketIO.event("changed", { payload: Tally })

/** Runs the poll for all sockets of a server. */
export const poll = (io: Server) =>
  Effect.gen(function*() {
    const votes = yield* Ref.make(new Map<string, typeof Choice.Type>())

    const tally = Effect.map(Ref.get(votes), (votes) => {
      const counts = { Tea: 0, Coffee: 0, Water: 0 }
      for (const choice of votes.values()) counts[choice]++
      return counts
    })
    const tell = (to: SocketIO.Emitter) => Effect.orDie(Effect.flatMap(tally, (it) => SocketIO.emit(to, Changed, it)))

    yield* SocketIO.connections(io, (socket) =>
      Effect.gen(function*() {
        yield* tell(socket)
        yield* SocketIO.on(socket, Vote, (choice) =>
          Effect.gen(function*() {
            if ((yield* Ref.get(votes)).get(socket.id) === choice) return yield* new SameVote({ choice })
            yield* Ref.update(votes, (votes) => new Map(votes).set(socket.id, choice))
            yield* tell(io)
            return (yield* tally)[choice]
          }))
        yield* Effect.addFinalizer(() =>
          Effect.andThen(
            Ref.update(votes, (votes) => new Map([...votes].filter(([id]) => id !== socket.id))),
            tell(io)
          )
        )
      }))
  })
