/**
 * `connect`: a client. Messages go to stdout, and what else happens to stderr; with `--json` everything is on stdout.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type { SocketErrorReason } from "effect/socket/Socket"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { Client } from "../../EngineIOClient.ts"
import type { Message } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import { exitCodeOf, explain, Failed, load, stopwatch, toFailed } from "./commandClient.ts"
import * as flags from "./flags.ts"
import { bytesOf, fieldsOf, type Line, print, printJson, remark, seconds, short } from "./text.ts"

const input = {
  url: flags.url,
  transports: flags.transports("Transports to use: it connects by the first", "polling,websocket"),
  headers: flags.headers,
  binary: flags.toggle("binary", "Lines are bytes in base64, both those of stdin and those of stdout"),
  wait: flags.duration("wait", "How long to stay after the end of stdin", "1s"),
  latency: flags.toggle("latency", "Show how long after the last line each message comes"),
  json: flags.json
}

// --- what it says ----------------------------------------------------------------------------------------------------

const opened = ({ handshake, id }: Client, transport: TransportType, millis: number): Line => {
  const { maxPayload, pingInterval, pingTimeout, upgrades } = handshake
  return {
    text: `${short(id)}  open over ${transport} after ${millis} ms; upgrades: ${upgrades.join(", ") || "none"}; ` +
      `ping every ${pingInterval} ms, pong within ${pingTimeout} ms; at most ${maxPayload ?? "any number of"} bytes`,
    fields: { event: "open", session: short(id), transport, millis, upgrades, pingInterval, pingTimeout, maxPayload }
  }
}

const upgraded = (transport: TransportType, millis: number): Line => ({
  text: `upgraded to ${transport} after ${millis} ms`,
  fields: { event: "upgrade", transport, millis }
})

const notSent = (why: string): Line => ({ text: `not sent: ${why}`, fields: { event: "not sent", why } })

const closed = (reason: SocketErrorReason | undefined, millis: number): Line => {
  const why = reason === undefined ? "stdin has ended" : explain(reason)
  const code = reason?._tag === "SocketCloseError" ? reason.code : undefined
  return { text: `closed after ${seconds(millis)}: ${why}`, fields: { event: "close", why, code, millis } }
}

// --- what it does ----------------------------------------------------------------------------------------------------

export const connect = Command.make(
  "connect",
  input,
  ({ binary, headers, json, latency, transports, url, wait }) =>
    Effect.gen(function*() {
      const EngineIOClient = yield* load("connect")
      const { stdin } = yield* Stdio.Stdio
      const tell = ({ fields, text }: Line) => json ? printJson(fields) : remark(text)

      const opening = stopwatch()
      const client = yield* Effect.mapError(
        EngineIOClient.connect(url, { transports, extraHeaders: headers }),
        toFailed
      )
      yield* tell(opened(client, yield* EngineIOClient.transport(client), opening()))
      yield* EngineIOClient.transports(client).pipe(
        Stream.drop(1),
        Stream.runForEach((transport) => tell(upgraded(transport, opening()))),
        Effect.forkScoped({ startImmediately: true })
      )

      let sinceLast: (() => number) | undefined
      const send = (line: string) =>
        Effect.gen(function*() {
          const message = binary ? yield* Effect.fromResult(Base64.decode(line)) : line
          sinceLast = stopwatch()
          yield* EngineIOClient.send(client, message)
        }).pipe(
          Effect.catch((error) => tell(notSent(error._tag === "SocketError" ? explain(error.reason) : "no base64")))
        )

      const show = (message: Message) =>
        Effect.gen(function*() {
          const millis = latency ? sinceLast?.() : undefined
          if (json) return yield* printJson({ event: "message", ...fieldsOf(message), millis })
          yield* print(typeof message === "string" ? message : binary ? Base64.encode(message) : bytesOf(message))
          if (millis !== undefined) yield* remark(`after ${millis} ms`)
        })

      const sending = stdin.pipe(
        Stream.decodeText,
        Stream.splitLines,
        Stream.runForEach(send),
        Effect.andThen(Effect.sleep(wait)),
        Effect.orDie
      )
      const receiving = Effect.flip(Stream.runForEach(EngineIOClient.messages(client), show))

      const end = yield* Effect.raceFirst(sending, receiving)
      yield* tell(closed(end?.reason, opening()))
      if (end !== undefined) return yield* new Failed({ exitCode: exitCodeOf(end.reason) })
    }).pipe(Effect.scoped)
).pipe(
  Command.withDescription(
    "A client: each line of stdin is a message, each message a line of stdout. It exits with 0 when stdin has ended or " +
      "by Ctrl-C, 2 when it cannot connect, 3 when the server closes the connection, and 4 when the connection is lost"
  ),
  Command.withShortDescription("A client: lines to messages, messages to lines"),
  Command.withExamples([
    { command: "effect-engine.io connect localhost:3000", description: "Talk to a server" },
    {
      command: "echo hello | effect-engine.io connect wss://example.com --transports websocket --json",
      description: "Send a message, and print what comes back within a second"
    },
    {
      command: "effect-engine.io connect localhost:3000/chat/ --header \"authorization: Bearer secret\" --latency",
      description: "Log in, and see how fast the server answers"
    }
  ])
)
