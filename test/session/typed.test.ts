/**
 * Sockets that speak in values: what is decoded and encoded, in which format, and what becomes of the rest.
 */
import { assert, describe, it } from "@effect/vitest"
import { decode, decodeMulti, encode } from "@msgpack/msgpack"
import {
  Context,
  Effect,
  Fiber,
  Layer,
  Logger,
  References,
  Result,
  Schema,
  SchemaGetter,
  SchemaIssue,
  type Scope,
  Stream
} from "effect"
import { SchemaBinary } from "effect/encoding"
import { RpcSerialization } from "effect/rpc"
import { type CloseReason, Socket, TypedSocket } from "../../src/index.ts"
import { type App, nothing, serving } from "../kit/inMemory.ts"

const Question = Schema.TaggedUnion({ Add: { number: Schema.Int }, Day: { of: Schema.Date } })
const Answer = Schema.Union([
  Schema.Struct({ sum: Schema.Int }),
  Schema.Struct({ day: Schema.Date }),
  Schema.Struct({ problem: Schema.String })
])

const calculator = TypedSocket.protocol({ incoming: Question, outgoing: Answer })

type Calculator = TypedSocket.TypedSocket<typeof Question.Type, typeof Answer.Type>

const answer = (typed: Calculator) => {
  let sum = 0
  return Question.match({
    Add: ({ number }) => TypedSocket.send(typed, { sum: sum += number }),
    Day: ({ of }) => TypedSocket.send(typed, { day: new Date(of.getTime() + 86_400_000) })
  })
}

/** The ways to receive, each as the same application. */
const ways: ReadonlyArray<readonly [name: string, app: (typed: Calculator) => Effect.Effect<unknown, unknown>]> = [
  ["forEach", (typed) => TypedSocket.forEach(typed, answer(typed))],
  ["messages", (typed) => Stream.runForEach(TypedSocket.messages(typed), answer(typed))],
  ["receive", (typed) => {
    const reply = answer(typed)
    return Effect.forever(Effect.flatMap(TypedSocket.receive(typed), reply))
  }]
]

type Line = readonly [level: string, text: string, session: unknown]

/** Gives `body` what is logged meanwhile: everything but what the server logs for debugging. */
const logged = (body: (lines: ReadonlyArray<Line>) => Effect.Effect<void, unknown, Scope.Scope>) => {
  const lines: Array<Line> = []
  const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
    const { issue, session } = fiber.getRef(References.CurrentLogAnnotations)
    if (issue !== undefined || logLevel !== "Debug") lines.push([logLevel, String(message), session])
  })
  return body(lines).pipe(
    Effect.provide(Logger.layer([logger])),
    Effect.provideService(References.MinimumLogLevel, "Debug")
  )
}

const speaking = <In, Out, E>(
  protocol: TypedSocket.Protocol<In, Out, E>,
  app: (typed: TypedSocket.TypedSocket<In, Out, E>) => Effect.Effect<unknown, unknown>,
  onDisconnect?: App["onDisconnect"]
): App => ({ app: (socket) => app(TypedSocket.make(socket, protocol)), onDisconnect })

/** Messages that are no question. */
const nonsense = [
  "",
  "{",
  "null",
  "[]",
  "{\"_tag\":\"Add\"}",
  "{\"_tag\":\"Add\",\"number\":1.5}",
  "{\"_tag\":\"Sub\"}"
]

const page = " (see effect-engine.io/docs/errors.md#message-that-does-not-decode)"

describe("a typed socket", () => {
  for (const [name, app] of ways) {
    it.effect(`receives values by ${name}, in order, and sends values`, () =>
      serving({}, function*(server) {
        for (const transport of ["websocket", "polling"] as const) {
          const client = yield* server.connect(transport, speaking(calculator, app))
          yield* client.says("4{\"_tag\":\"Add\",\"number\":1}", "4{\"_tag\":\"Add\",\"number\":2}")
          yield* client.polls
          assert.deepStrictEqual(client.take(), ["4{\"sum\":1}", "4{\"sum\":3}"])
          yield* client.says("4{\"_tag\":\"Day\",\"of\":\"2026-02-28T12:00:00.000Z\"}")
          yield* client.polls
          assert.deepStrictEqual(client.take(), ["4{\"day\":\"2026-03-01T12:00:00.000Z\"}"])
        }
      }))

    it.effect(`skips what does not decode, by ${name}, and tells of it: a warning for the first, then debug`, () =>
      logged((lines) =>
        serving({}, function*(server) {
          const client = yield* server.connect("websocket", speaking(calculator, app))
          for (const text of nonsense) yield* client.says(`4${text}`)
          yield* client.says(new Uint8Array(8), "4{\"_tag\":\"Add\",\"number\":1}")
          assert.deepStrictEqual(client.take(), ["4{\"sum\":1}"])
          assert.strictEqual(yield* Socket.state(client.socket), "open")
          const text = `A message does not decode: it is skipped${page}`
          const session = `${client.socket.id.slice(0, 6)}…`
          assert.deepStrictEqual(lines, [
            ["Warn", text, session],
            ...nonsense.map(() => ["Debug", text, session] as const)
          ])
          yield* (yield* server.connect("websocket", speaking(calculator, app))).says("4{")
          assert.deepStrictEqual(lines.at(-1)?.[0], "Warn")
        })
      ))

    it.effect(`closes the session by ${name}, where the protocol says so: nothing behind is looked at`, () =>
      logged((lines) =>
        serving({}, function*(server) {
          const strict = TypedSocket.protocol({ incoming: Question, outgoing: Answer, onInvalid: "close" })
          const reasons: Array<CloseReason.CloseReason> = []
          const client = yield* server.connect(
            "websocket",
            speaking(strict, app, (reason) => Effect.sync(() => void reasons.push(reason)))
          )
          yield* client.says("4{\"_tag\":\"Add\",\"number\":1}", "4{", "4{\"_tag\":\"Add\",\"number\":2}")
          assert.deepStrictEqual(client.take(), ["4{\"sum\":1}"])
          assert.deepStrictEqual(reasons, [{ _tag: "ForcedClose" }])
          assert.deepStrictEqual(lines.map(([level, text]) => [level, text]), [
            ["Warn", `A message does not decode: its session is closed${page}`]
          ])
          assert.deepStrictEqual(server.left, nothing)
        })
      ))
  }

  it.effect("answers what does not decode, where the protocol says so, with all that there is to know of it", () =>
    serving({}, function*(server) {
      const polite = TypedSocket.protocol({
        incoming: Question,
        outgoing: Answer,
        onInvalid: (error, socket, message) =>
          TypedSocket.send(socket, { problem: `${String(message)}: ${error.message}` })
      })
      const client = yield* server.connect(
        "websocket",
        speaking(polite, (typed) => TypedSocket.forEach(typed, () => Effect.void))
      )
      yield* client.says("4{", "4{\"_tag\":\"Add\"}")
      assert.deepStrictEqual(client.take(), [
        `4${JSON.stringify({ problem: "{: Expected a message of the format" })}`,
        `4${JSON.stringify({ problem: "{\"_tag\":\"Add\"}: Missing key\n  at [\"number\"]" })}`
      ])
    }))

  it.effect("fails with what `onInvalid` fails with", () =>
    serving({}, function*(server) {
      const failing = TypedSocket.protocol({
        incoming: Question,
        outgoing: Answer,
        onInvalid: (_, __, message) => Effect.fail(`not ${String(message)}`)
      })
      const client = yield* server.connect("websocket")
      const typed = TypedSocket.make(client.socket, failing)
      for (
        const taken of [
          TypedSocket.receive(typed),
          TypedSocket.forEach(typed, () => Effect.void),
          Stream.runDrain(TypedSocket.messages(typed))
        ]
      ) {
        const fiber = yield* Effect.forkChild(Effect.flip(taken), { startImmediately: true })
        yield* client.says("4this")
        assert.strictEqual(yield* Fiber.join(fiber), "not this")
      }
    }))

  it.effect("answers together what came together, without leaving the turn", () =>
    serving({}, function*(server) {
      const client = yield* server.connect("polling", speaking(calculator, ways[0]![1]))
      yield* client.polls
      yield* client.says("4{\"_tag\":\"Add\",\"number\":1}", "4{\"_tag\":\"Add\",\"number\":2}")
      // One GET was there for both.
      assert.deepStrictEqual(client.take(), ["4{\"sum\":1}", "4{\"sum\":3}"])
    }))

  it.effect("sends nothing that is none of the protocol, and says why", () =>
    serving({ sendBuffer: { messages: 2 } }, function*(server) {
      const client = yield* server.connect("polling")
      const typed = TypedSocket.make(client.socket, calculator)
      const wrong = { sum: 1.5 }
      const anything = TypedSocket.protocol({ incoming: Schema.Any, outgoing: Schema.Any })
      for (
        const sent of [
          TypedSocket.send(typed, wrong),
          TypedSocket.sendAll(typed, [{ sum: 1 }, wrong]),
          TypedSocket.offer(typed, wrong),
          TypedSocket.send(TypedSocket.make(client.socket, anything), undefined)
        ]
      ) assert.strictEqual((yield* Effect.flip<unknown, { readonly _tag: string }, never>(sent))._tag, "SchemaError")
      assert.strictEqual((yield* Socket.buffered(client.socket)).messages, 0)
      yield* TypedSocket.sendAll(typed, [{ sum: 1 }, { sum: 2 }])
      assert.isFalse(yield* TypedSocket.offer(typed, { sum: 3 }))
      yield* client.polls
      assert.deepStrictEqual(client.take(), ["4{\"sum\":1}", "4{\"sum\":2}"])
    }))

  it.effect("decodes with the services of its schema", () =>
    serving({}, function*(server) {
      class Names extends Context.Service<Names, ReadonlyMap<string, string>>()("test/Names") {}
      const lookUp = SchemaGetter.transformEffect((name: string) =>
        Effect.flatMap(Names, (names) =>
          names.has(name)
            ? Effect.succeed(names.get(name)!)
            : Effect.fail(new SchemaIssue.InvalidValue({ expected: "a name" })))
      )
      const Named = Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: lookUp,
        encode: lookUp
      }))
      const protocol = TypedSocket.protocol({ incoming: Named, outgoing: Named })
      const client = yield* server.connect("websocket", {
        app: (socket) => {
          const typed = TypedSocket.make(socket, protocol)
          return TypedSocket.forEach(typed, (name) => TypedSocket.send(typed, name)).pipe(
            Effect.provide(Layer.succeed(Names, new Map([["a", "Ada"], ["Ada", "a"]])))
          )
        }
      })
      yield* client.says("4\"b\"", "4\"a\"")
      assert.deepStrictEqual(client.take(), ["4\"a\""])
    }))
})

describe("a format", () => {
  const values: ReadonlyArray<typeof Question.Type> = [
    { _tag: "Add", number: 1 },
    { _tag: "Day", of: new Date("2026-02-28T12:00:00Z") }
  ]
  const schemaBinary = Effect.provide(RpcSerialization.RpcSerialization, RpcSerialization.layerSchemaBinary())
  const formats: ReadonlyArray<readonly [name: string, format: Effect.Effect<TypedSocket.Format>, text: boolean]> = [
    ["JSON", Effect.succeed(TypedSocket.json), true],
    ["RpcSerialization.json", Effect.succeed(TypedSocket.fromRpcSerialization(RpcSerialization.json)), true],
    ["RpcSerialization.ndjson", Effect.succeed(TypedSocket.fromRpcSerialization(RpcSerialization.ndjson)), true],
    ["RpcSerialization.layerSchemaBinary", Effect.map(schemaBinary, TypedSocket.fromRpcSerialization), false],
    [
      "SchemaBinary",
      Effect.succeed({
        codecFor: SchemaBinary.toCodec,
        encode: (bytes) => bytes as Uint8Array,
        decode: (message) => message
      }),
      false
    ],
    [
      "MessagePack",
      Effect.succeed({
        codecFor: TypedSocket.json.codecFor,
        encode: (value) => encode(value),
        decode: (message) => decode(message as Uint8Array)
      }),
      false
    ],
    [
      "an RpcSerialization with MessagePack",
      Effect.succeed(TypedSocket.fromRpcSerialization({
        ...RpcSerialization.json,
        contentType: "application/msgpack",
        makeUnsafe: () => ({
          encode: (value) => encode(value),
          decode: (bytes) => [...decodeMulti(bytes as Uint8Array)]
        })
      })),
      false
    ]
  ]
  for (const [name, makeFormat, isText] of formats) {
    it.effect(`${name}: values come back as they were, whatever else is no value`, () =>
      Effect.gen(function*() {
        const format = yield* makeFormat
        const { decode, encode } = TypedSocket.protocol({ incoming: Question, outgoing: Question, format })
        for (const value of values) {
          const message = yield* encode(value)
          assert.strictEqual(typeof message === "string", isText)
          assert.deepStrictEqual(yield* decode(message), value)
        }
        for (const message of ["", "{", "\n", "1\n2", new Uint8Array(0), new Uint8Array([0xff, 1, 2])]) {
          assert.isTrue(Result.isFailure(yield* Effect.result(decode(message))))
        }
        const message = yield* encode(values[0]!)
        if (typeof message === "string") {
          const half = message.length / 2
          // Two values, and one in two messages.
          for (const text of [message + message, message.slice(0, half), message.slice(half)]) {
            assert.isTrue(Result.isFailure(yield* Effect.result(decode(text))), text)
          }
        }
        assert.deepStrictEqual(yield* decode(message), values[0])
      }))
  }

  it.effect("fails for a value that it cannot write", () =>
    Effect.gen(function*() {
      const format: TypedSocket.Format = {
        ...TypedSocket.json,
        encode: () => {
          throw new Error("no")
        }
      }
      const { encode } = TypedSocket.protocol({ incoming: Question, outgoing: Question, format })
      assert.strictEqual((yield* Effect.flip(encode(values[0]!)))._tag, "SchemaError")
    }))
})
