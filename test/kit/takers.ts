/**
 * The ways an application may take what its client sends.
 */
import { Effect, Option, Queue, type Scope, Stream } from "effect"
import { type Packet, Socket } from "../../src/index.ts"

export type Taker = (
  socket: Socket.Socket,
  step: (message: Packet.Message) => Effect.Effect<void>
) => Effect.Effect<unknown, unknown, Scope.Scope>

/** One message after the other, with a step for each. */
export const inOrder: Readonly<Record<string, Taker>> = {
  "receive": (socket, step) => Effect.forever(Effect.flatMap(Socket.receive(socket), step)),
  "receive, with a timeout": (socket, step) =>
    Effect.forever(
      Effect.flatMap(Effect.timeoutOption(Socket.receive(socket), "2 seconds"), (message) =>
        Option.isNone(message) ? Effect.void : step(message.value))
    ),
  "receiveAll": (socket, step) =>
    Effect.forever(Effect.flatMap(Socket.receiveAll(socket), (messages) => Effect.forEach(messages, step))),
  "messages": (socket, step) => Stream.runForEach(Socket.messages(socket), step),
  "messages, with a buffer": (socket, step) =>
    Socket.messages(socket).pipe(Stream.buffer({ capacity: 100 }), Stream.runForEach(step)),
  "messages, in a fiber of its own": (socket, step) =>
    Stream.runForEach(Socket.messages(socket), step).pipe(Effect.forkScoped, Effect.andThen(Effect.never)),
  "forEach": (socket, step) => Socket.forEach(socket, step),
  "Queue.take": (socket, step) => Effect.forever(Effect.flatMap(Queue.take(Socket.incoming(socket)), step)),
  "Queue.takeAll": (socket, step) =>
    Effect.forever(
      Effect.flatMap(Queue.takeAll(Socket.incoming(socket)), (messages) => Effect.forEach(messages, step))
    ),
  "Queue.takeBetween": (socket, step) =>
    Effect.forever(
      Effect.flatMap(Queue.takeBetween(Socket.incoming(socket), 1, 3), (messages) => Effect.forEach(messages, step))
    ),
  "Stream.fromQueue": (socket, step) => Stream.runForEach(Stream.fromQueue(Socket.incoming(socket)), step)
}

/** Several at a time, too. */
export const takers: Readonly<Record<string, Taker>> = {
  ...inOrder,
  "messages, eight at a time": (socket, step) =>
    Socket.messages(socket).pipe(Stream.mapEffect(step, { concurrency: 8 }), Stream.runDrain),
  "messages, in any order": (socket, step) =>
    Socket.messages(socket).pipe(Stream.mapEffect(step, { concurrency: 8, unordered: true }), Stream.runDrain),
  "forEach, in several fibers": (socket, step) =>
    Effect.forEach([1, 2, 3, 4], () => Effect.exit(Socket.forEach(socket, step)), { concurrency: "unbounded" })
}
