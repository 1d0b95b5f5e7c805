/**
 * What the page and the server say to each other, as JSON in Engine.IO messages.
 */
import { Schema } from "effect"
import { Transport, TypedSocket } from "effect-engine.io"

const text = (longest: number) => Schema.Trimmed.check(Schema.isMinLength(1), Schema.isMaxLength(longest))

/** From the page. */
export const Request = Schema.TaggedUnion({
  /** Takes a seat in a room; who has one leaves it. */
  Join: { name: text(24), room: text(24) },
  /** Speaks in the room. The page finds its own words again by the `key` it gave them. */
  Say: { text: text(2000), key: Schema.String.check(Schema.isMaxLength(64)) },
  Typing: { typing: Schema.Boolean },
  /** Comes back as it is, to measure the way. */
  Echo: { sent: Schema.Finite }
})
export type Request = typeof Request.Type

export const Person = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  transport: Schema.Literals(Transport.TransportType.all)
})
export type Person = typeof Person.Type

export const Words = Schema.Struct({
  id: Schema.String,
  person: Schema.String,
  name: Schema.String,
  text: Schema.String,
  key: Schema.String,
  time: Schema.Finite
})
export type Words = typeof Words.Type

/** To the page. */
export const Notice = Schema.TaggedUnion({
  /** To everybody, in a room or not. */
  Rooms: { rooms: Schema.Array(Schema.Struct({ name: Schema.String, people: Schema.Finite })) },
  /** To who just joined. */
  Welcome: { you: Person, room: Schema.String, people: Schema.Array(Person), words: Schema.Array(Words) },
  /** To a room. */
  Joined: { person: Person },
  Moved: { person: Person },
  Left: { person: Person },
  Typing: { person: Person, typing: Schema.Boolean },
  Said: { words: Words },
  /** To who asked. */
  Echo: { sent: Schema.Finite },
  Problem: { text: Schema.String }
})
export type Notice = typeof Notice.Type

/** A message of the page that is no request is answered with what is wrong with it. */
export const ChatProtocol = TypedSocket.protocol({
  incoming: Request,
  outgoing: Notice,
  onInvalid: (error, page) => TypedSocket.send(page, Notice.cases.Problem.make({ text: error.message }))
})

/** A page, as the server talks to it. */
export type Page = TypedSocket.TypedSocket<Request, Notice, unknown>
