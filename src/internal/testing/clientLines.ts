/**
 * The client's end of each transport: how its packets reach the server, and who takes what the server sends.
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { type Packet, parse } from "../../Packet.ts"
import * as Payload from "../../Payload.ts"
import type { TransportType } from "../../Transport.ts"
import { encodeText } from "../protocol/revision4.ts"
import type { MemoryRequest } from "./memoryPlatform.ts"
import type { MemoryWebSocket } from "./memoryWebSocket.ts"
import { MemoryWebTransport } from "./memoryWebTransport.ts"

/**
 * The server refused a handshake or an upgrade: by your function, a guard, or the protocol.
 *
 * `status` is that of the answer; of a WebTransport session the code it was closed with, or 0. `code` is the protocol's,
 * which only answers to polls have.
 *
 * @category errors
 * @since 0.2.0
 */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  readonly code: number | undefined
  readonly message: string
}> {}

/**
 * The server has ended the session, or the client has left: nothing can be sent, and nothing more comes.
 *
 * @category errors
 * @since 0.2.0
 */
export class Disconnected extends Data.TaggedError("Disconnected") {
  override readonly message = "the client is not connected"
}

/** One transport of a client. */
export interface Line {
  readonly transport: TransportType
  /** Hands packets to the server, together; false where it did not take them. */
  readonly send: (packets: ReadonlyArray<Packet>) => Effect.Effect<boolean>
  /** Says that the client leaves. */
  readonly close: Effect.Effect<void>
  /** Completed when the server has ended it, or refused it. */
  readonly ended: Deferred.Deferred<Refused>
  /** Polls no more, once the poll under way is answered: `idle` waits for that. */
  readonly pause: Effect.Effect<void>
  readonly idle: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

/** What the lines of one client have in common. */
export interface Ear {
  /** Open while the client reads what comes. */
  readonly awake: Latch.Latch
  readonly hear: (packet: Packet) => Effect.Effect<void>
  readonly isOver: () => boolean
}

/** Sends a request of the client to its handler. What a function fails with passes through it, unseen by the types. */
export type Visit = (
  method: MemoryRequest["method"],
  parameters: Readonly<Record<string, string>>,
  rest?: Pick<MemoryRequest, "body" | "onUpgrade">
) => Effect.Effect<HttpServerResponse.HttpServerResponse>

const decoder = new TextDecoder()

const textOf = ({ body }: HttpServerResponse.HttpServerResponse): string =>
  body._tag === "Uint8Array" ? body.text ?? decoder.decode(body.body) : ""

const toRefused = (response: HttpServerResponse.HttpServerResponse): Refused => {
  const text = textOf(response)
  try {
    const { code, message } = JSON.parse(text) as { readonly code: number; readonly message: string }
    return new Refused({ status: response.status, code, message })
  } catch {
    return new Refused({ status: response.status, code: undefined, message: text })
  }
}

const closedByServer = new Refused({ status: 0, code: undefined, message: "closed by the server" })

/** Polls until the line is paused, or its scope closes. */
export const polling = Effect.fnUntraced(function*(
  visit: Visit,
  { awake, hear, isOver }: Ear,
  sid: Effect.Effect<string>
): Effect.fn.Return<Line, Refused, Scope.Scope> {
  const scope = yield* Effect.scope
  const ended = yield* Deferred.make<Refused>()
  const transport = "polling"
  const take = (response: HttpServerResponse.HttpServerResponse): Effect.Effect<void> => {
    const packets = Payload.parse(textOf(response))
    return Effect.forEach(packets._tag === "Success" ? packets.success : [], hear, { discard: true })
  }
  const request = (method: MemoryRequest["method"], body = "") =>
    Effect.flatMap(sid, (sid) => visit(method, { transport, sid }, { body }))

  const first = yield* visit("GET", { transport })
  if (first.status !== 200) return yield* toRefused(first)
  yield* take(first)

  const polls = { isPaused: false }
  const poll = Effect.gen(function*() {
    while (!polls.isPaused && !isOver()) {
      const response = yield* request("GET")
      yield* awake.await
      if (response.status !== 200) return void (yield* Deferred.succeed(ended, toRefused(response)))
      yield* take(response)
      yield* awake.await
    }
  })
  const start = Effect.forkIn(poll, scope, { startImmediately: true })
  let loop = yield* start

  const post = (packets: ReadonlyArray<Packet>) =>
    request("POST", String(Payload.encode(packets))).pipe(
      Effect.flatMap((response) =>
        response.status === 200 ? Effect.succeed(true) : Effect.as(Deferred.succeed(ended, toRefused(response)), false)
      ),
      // Whoever sends may be interrupted; the request ends with the connection.
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.flatMap(Fiber.await),
      Effect.map((exit) => Exit.isSuccess(exit) && exit.value)
    )
  return {
    transport,
    ended,
    send: post,
    close: Effect.asVoid(post([{ type: "close" }])),
    pause: Effect.sync(() => {
      polls.isPaused = true
    }),
    idle: Effect.suspend(() => Effect.asVoid(Fiber.await(loop))),
    resume: Effect.gen(function*() {
      polls.isPaused = false
      if (loop.pollUnsafe() !== undefined) loop = yield* start
    })
  }
})

const frameOf = ({ data, type }: Packet) => typeof data === "object" ? data : encodeText(type, data)

export const webSocket = Effect.fnUntraced(function*(
  visit: Visit,
  { awake, hear }: Ear,
  sid: string | undefined
): Effect.fn.Return<Line, Refused, Scope.Scope> {
  const transport = "websocket"
  let connection: MemoryWebSocket | undefined
  const onUpgrade = (it: MemoryWebSocket) => void (connection = it)
  const response = yield* visit("GET", sid === undefined ? { transport } : { transport, sid }, { onUpgrade })
  if (connection === undefined) return yield* toRefused(response)
  const opened: MemoryWebSocket = connection
  yield* Effect.addFinalizer(() => Effect.sync(() => opened.leave()))

  const ended = yield* Deferred.make<Refused>()
  const read = Effect.gen(function*() {
    while (true) {
      const frame = yield* Queue.take(opened.outgoing)
      yield* awake.await
      opened.taken(frame)
      const packet = parse(frame)
      if (packet._tag === "Success") yield* hear(packet.success)
    }
  })
  yield* Effect.forkScoped(Effect.catchTag(read, "Done", () => Deferred.succeed(ended, closedByServer)))
  return {
    transport,
    ended,
    send: (packets) =>
      Effect.sync(() => {
        opened.say(packets.map(frameOf))
        return opened.open
      }),
    close: Effect.sync(() => opened.leave()),
    pause: Effect.void,
    idle: Effect.void,
    resume: Effect.void
  }
})

export const webTransport = Effect.fnUntraced(function*(
  accept: (session: MemoryWebTransport["session"]) => Effect.Effect<void>,
  { awake, hear }: Ear,
  sid: string | undefined
): Effect.fn.Return<Line, never, Scope.Scope> {
  const connection = new MemoryWebTransport()
  yield* Effect.addFinalizer(() => Effect.sync(() => connection.end()))
  yield* accept(connection.session)
  yield* connection.say([sid === undefined ? { type: "open" } : { type: "open", data: JSON.stringify({ sid }) }])

  const ended = yield* Deferred.make<Refused>()
  const read = Effect.gen(function*() {
    for (let packets = yield* connection.take; packets.length > 0; packets = yield* connection.take) {
      yield* awake.await
      yield* Effect.forEach(packets, hear, { discard: true })
    }
    const { closeCode = 0, reason = "" } = (yield* Deferred.await(connection.closed)) ?? {}
    yield* Deferred.succeed(ended, new Refused({ status: closeCode, code: undefined, message: reason }))
  })
  yield* Effect.forkScoped(read)
  return {
    transport: "webtransport",
    ended,
    send: (packets) => Effect.andThen(connection.say(packets), Effect.map(Deferred.isDone(ended), (isOver) => !isOver)),
    close: Effect.sync(() => connection.end({})),
    pause: Effect.void,
    idle: Effect.void,
    resume: Effect.void
  }
})
