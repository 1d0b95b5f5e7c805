/**
 * What members of a cluster say to each other about the requests of a session: the one that has a request asks, and the
 * owner answers. An exchange has a number, which the one that asks gives it.
 */
import * as Schema from "effect/Schema"
import type { Revision } from "../../Packet.ts"
import type { TransportType } from "../../Transport.ts"
import type { SocketId } from "../session/model.ts"

/** The two ends speak the same version, or nothing. */
export const version = 2

const exchange = Schema.Number
const payload = Schema.Union([Schema.String, Schema.instanceOf<typeof Uint8Array<ArrayBufferLike>>(Uint8Array)])
const headers = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Array(Schema.String)]))

/** Who opens a connection, and a number that was never used before, which the other end has to know in its proof. */
export type Hello = typeof Hello.Type
const Hello = Schema.TaggedStruct("Hello", {
  version: Schema.Literal(version),
  from: Schema.String,
  nonce: Schema.String
})

/** A request for a WebSocket, whose connection the owner is to have. */
export type Upgrade = typeof Upgrade.Type
export const Upgrade = Schema.TaggedStruct("Upgrade", {
  sid: Schema.String,
  handler: Schema.String,
  /** Whether the client takes binary packets as they are. */
  takesBytes: Schema.Boolean,
  /** Those of the request that make it one for a WebSocket. */
  headers: Schema.Record(Schema.String, Schema.String),
  /** What goes onto the 101. */
  answered: headers,
  /** What the client has sent behind the request, in base64. */
  early: Schema.String
})

/**
 * What all members can know of a session: plain data.
 *
 * @category models
 * @since 0.2.0
 */
export interface SocketInfo {
  /** A credential, as ever: whoever knows it can speak for the client. */
  readonly id: SocketId
  /** The revision of the protocol the client speaks. */
  readonly protocol: Revision
  /** The transport it is on now. */
  readonly transport: TransportType
  /** The path of the request that opened it, without the query. */
  readonly path: string
  /** The peer's address as the application's middleware left it; not there where it is not known. */
  readonly remoteAddress?: string | undefined
  /** When it was opened, in milliseconds since 1970. */
  readonly connectedAt: number
}

/**
 * The schema of `SocketInfo`, for whoever answers requests with it.
 *
 * @category schemas
 * @since 0.2.0
 */
export const SocketInfo: Schema.Codec<SocketInfo> = Schema.Struct({
  id: Schema.String,
  protocol: Schema.Literals([3, 4]),
  transport: Schema.Literals(["polling", "websocket", "webtransport"]),
  path: Schema.String,
  remoteAddress: Schema.optional(Schema.String),
  connectedAt: Schema.Number
})

/** What every member answers for its own sessions, with a number. The one that asks numbers it as it sends it. */
const questions = {
  Count: Schema.TaggedStruct("Count", { exchange }),
  Broadcast: Schema.TaggedStruct("Broadcast", { exchange, payload }),
  Close: Schema.TaggedStruct("Close", { exchange, sid: Schema.String })
}
export type Question = typeof questions[keyof typeof questions]["Type"]

const presence = { room: Schema.String, sid: Schema.String, person: Schema.String }

/** What is told to who listens to a topic. The one that tells numbers it as it sends it. */
const news = {
  /** The first: some of those who are there. The last of these is `isLast`. */
  Snapshot: Schema.TaggedStruct("Snapshot", {
    exchange,
    presences: Schema.Array(Schema.Struct(presence)),
    isLast: Schema.Boolean
  }),
  Published: Schema.TaggedStruct("Published", { exchange, payload }),
  /** To everybody in a room. */
  RoomMessage: Schema.TaggedStruct("RoomMessage", { exchange, room: Schema.String, payload }),
  /** Somebody is in a room, or is not the same any more. */
  Present: Schema.TaggedStruct("Present", { exchange, ...presence }),
  Left: Schema.TaggedStruct("Left", { exchange, room: Schema.String, sid: Schema.String })
}
export type News = typeof news[keyof typeof news]["Type"]

/** Asked again and again: the next sessions of a list, until the last, or the `End` of the list. */
export type List = typeof List.Type
const List = Schema.TaggedStruct("List", { exchange, list: exchange })

const replies = {
  Answer: Schema.TaggedStruct("Answer", { exchange, count: Schema.Number }),
  Listed: Schema.TaggedStruct("Listed", { exchange, sockets: Schema.Array(SocketInfo), isLast: Schema.Boolean })
}
export type Reply = typeof replies[keyof typeof replies]["Type"]

export type Message = typeof Message.Type
export const Message = Schema.Union([
  // The first on every connection, by the one that opened it; then the other's; then nothing is said without proof.
  Hello,
  Schema.TaggedStruct("Welcome", { from: Schema.String, nonce: Schema.String, proof: Schema.String }),
  Schema.TaggedStruct("Proof", { proof: Schema.String }),
  // Asked for and given again and again, since a member that hangs closes no connection.
  Schema.TaggedStruct("Ping", {}),
  Schema.TaggedStruct("Pong", {}),
  // By the one that has the request.
  Schema.TaggedStruct("Get", { exchange, sid: Schema.String, handler: Schema.String }),
  Schema.TaggedStruct("Post", {
    exchange,
    sid: Schema.String,
    handler: Schema.String,
    contentType: Schema.optionalKey(Schema.String)
  }),
  Schema.TaggedStruct("Body", { exchange, payload }),
  Schema.TaggedStruct("NoBody", { exchange, why: Schema.Literals(["too large", "taken"]) }),
  /** The end of an exchange whose answer carries packets, or that its client has given up. */
  Schema.TaggedStruct("End", { exchange, written: Schema.Boolean }),
  /** A GET is to be answered now: the one that has it comes to its end. */
  Schema.TaggedStruct("Release", { exchange }),
  Upgrade,
  ...Object.values(questions),
  Schema.TaggedStruct("Listen", { exchange, topic: Schema.String }),
  Schema.TaggedStruct("Unlisten", { exchange }),
  List,
  // By the owner.
  ...Object.values(news),
  ...Object.values(replies),
  Schema.TaggedStruct("Respond", { exchange, payload, contentType: Schema.String, compress: Schema.Boolean }),
  Schema.TaggedStruct("Ok", { exchange }),
  Schema.TaggedStruct("Reject", { exchange, status: Schema.Number, words: Schema.String }),
  Schema.TaggedStruct("Destroy", { exchange }),
  /** There is no such session for the handler, or it is on another transport. */
  Schema.TaggedStruct("Refuse", { exchange, transport: Schema.optionalKey(Schema.String) })
])

export const isMessage: (value: unknown) => value is Message = Schema.is(Message)
