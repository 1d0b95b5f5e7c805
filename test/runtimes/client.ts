/**
 * The client that each runtime runs, from the built package, against the echo at the given URL.
 */
import { Console, Effect, Stream } from "effect"
import type { Packet } from "effect-engine.io"
import * as EngineIOClient from "effect-engine.io/EngineIOClient"

const url = process.argv[2]!

const ways = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] } as const

const messages = ["h€llo 😀", "", "x".repeat(400_000), Uint8Array.of(0, 128, 255), new Uint8Array(300_000).fill(7)]

const isSame = (one: Packet.Message, other: Packet.Message): boolean =>
  typeof one === "object" && typeof other === "object"
    ? one.length === other.length && one.every((byte, index) => byte === other[index])
    : one === other

const talk = Effect.fnUntraced(function*(way: keyof typeof ways) {
  const client = yield* EngineIOClient.connect(url, { transports: ways[way] })
  if (way === "upgrade") yield* EngineIOClient.transports(client).pipe(Stream.take(2), Stream.runDrain)
  for (const message of messages) {
    yield* EngineIOClient.send(client, message)
    if (!isSame(message, yield* EngineIOClient.receive(client))) yield* Console.log(`${way}: a message was changed`)
  }
  yield* EngineIOClient.send(client, "end")
  const { reason } = yield* EngineIOClient.closed(client)
  yield* Console.log(`${way} on ${yield* EngineIOClient.transport(client)}, ended by ${reason._tag}`)
}, Effect.scoped)

const program = Effect.forEach(["polling", "websocket", "upgrade"] as const, talk)

Effect.runPromise(program).then(() => process.exit(0), (error) => {
  console.log(error)
  process.exit(1)
})
