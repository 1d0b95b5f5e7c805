/**
 * What is asked of all members of a cluster at once: each answers for its own sessions, with a number or a list.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { forcedClose } from "../../CloseReason.ts"
import { close } from "../session/close.ts"
import type { SocketId } from "../session/model.ts"
import { type Session, transportOf } from "../session/session.ts"
import { broadcast } from "./broadcast.ts"
import { memberOf } from "./cluster.ts"
import type { Question, SocketInfo } from "./clusterMessages.ts"
import type { Engine } from "./engine.ts"

/** The answer of this process. */
export const answer = ({ registry }: Engine, question: Question): number => {
  switch (question._tag) {
    case "Count":
      return registry.count
    case "Broadcast":
      return broadcast(registry.all, question.payload)
    case "Close": {
      const session = registry.get(question.sid)
      if (session !== undefined) close(session, forcedClose)
      return session === undefined ? 0 : 1
    }
  }
}

/** The sum of all answers. A member that goes away meanwhile has none. */
export const askAll = (engine: Engine, question: Question): Effect.Effect<number> =>
  Effect.suspend(() => {
    const own = answer(engine, question)
    const { cluster, forwarding } = engine
    if (cluster === undefined || forwarding === undefined) return Effect.succeed(own)
    return Effect.map(
      Effect.forEach(cluster.others.keys(), (member) => forwarding.ask(member, question), { concurrency: "unbounded" }),
      (answers) => answers.reduce((sum, it) => sum + it, own)
    )
  })

/** The answer of whoever owns a session. */
export const askOwner = (engine: Engine, sid: SocketId, question: Question): Effect.Effect<number> =>
  Effect.suspend(() => {
    const { cluster, forwarding } = engine
    const member = cluster && memberOf(cluster, sid)
    return member === undefined || forwarding === undefined
      ? Effect.succeed(answer(engine, question))
      : forwarding.ask(member, question)
  })

const infoOf = (session: Session): SocketInfo => {
  const { handshake: { remoteAddress, time, url }, id, protocol } = session
  const transport = transportOf(session)
  return { id, protocol, transport, path: url.split("?", 1)[0]!, remoteAddress, connectedAt: time }
}

/** How much of a list is sent at once, in characters: the owner has others to serve in between. */
const mostAtOnce = 2 ** 16

/** The next sessions of a list. */
export const takeNext = (list: Iterator<Session>): { sockets: ReadonlyArray<SocketInfo>; isLast: boolean } => {
  const sockets: Array<SocketInfo> = []
  for (let size = 0; size < mostAtOnce;) {
    const next = list.next()
    if (next.done === true) return { sockets, isLast: true }
    const info = infoOf(next.value)
    sockets.push(info)
    size += JSON.stringify(info).length
  }
  return { sockets, isLast: false }
}

/** The sessions of all members, of each in the order in which they were opened. */
export const listAll = ({ cluster, forwarding, registry }: Engine): Stream.Stream<SocketInfo> =>
  Stream.suspend(() => {
    const own = Stream.map(Stream.fromIterable(registry.all), infoOf)
    if (cluster === undefined || forwarding === undefined) return own
    const others = Array.from(cluster.others.keys(), (member) => forwarding.list(member))
    return Stream.mergeAll([own, ...others], { concurrency: "unbounded" })
  })
