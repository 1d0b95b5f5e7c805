/**
 * A request to move a session to a WebSocket. What follows on the connection is in `session/upgrade.ts`.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { takesBytes } from "../protocol/query.ts"
import type { SocketId } from "../session/model.ts"
import { isUpgradable, Session } from "../session/session.ts"
import { startUpgrade } from "../session/upgrade.ts"
import { webSocketCandidate, type WebSocketConnection } from "../transport/webSocket.ts"
import { allow, type Arrival, decideHeaders, type Reply, shuttingDown } from "./arrival.ts"
import { of101 } from "./extraHeaders.ts"
import type { ForeignSession } from "./forwarding.ts"
import type { Platform } from "./platform.ts"
import { traced } from "./tracing.ts"

export const upgrade = (arrival: Arrival, session: Session | ForeignSession): Reply =>
  traced("EngineIO.upgrade", "websocket", steps(arrival, session))

const steps = Effect.fnUntraced(function*(arrival: Arrival, session: Session | ForeignSession) {
  yield* allow(arrival)
  const headers = of101(yield* decideHeaders(arrival, session.id, "websocket", false))
  const { engine, query, request } = arrival
  if (session instanceof Session) {
    return yield* engine.platform.upgrade(
      request,
      headers,
      (connection) => joinWebSocket(session, connection, takesBytes(query))
    )
  }
  const { handler, id: sid, member } = session
  if (engine.stopped) return yield* shuttingDown
  yield* engine.cluster!.upgrade(member, request, {
    _tag: "Upgrade",
    sid,
    handler,
    takesBytes: takesBytes(query),
    headers: fieldsOf(engine.platform, request),
    answered: headers,
    early: ""
  })
  // It may have stopped meanwhile.
  if (engine.stopped) engine.forwarding!.release()
  return engine.platform.release(request)
})

/** To a transport that is none: the connection is accepted, and closed (rule R24). */
export const upgradeToNone = (arrival: Arrival, { id }: Session | ForeignSession): Reply =>
  traced("EngineIO.upgrade", "polling", acceptAndClose(arrival, id))

const acceptAndClose = Effect.fnUntraced(function*(arrival: Arrival, id: SocketId) {
  yield* allow(arrival)
  const headers = of101(yield* decideHeaders(arrival, id, "polling", false))
  const { engine, request } = arrival
  return yield* engine.platform.upgrade(request, headers, (connection) => connection.close())
})

/** Offers a session a WebSocket. It may have moved on meanwhile; then the client is told by a close (rule R24). */
export const joinWebSocket = (session: Session, connection: WebSocketConnection, takesBytes: boolean): void => {
  if (isUpgradable(session)) startUpgrade(session, webSocketCandidate(connection, takesBytes))
  else connection.close()
}

const fieldsOf = (platform: Platform, request: HttpServerRequest): Record<string, string> => {
  const fields: Record<string, string> = {}
  for (const name of fieldNames) {
    const value = platform.header(request, name)
    if (value !== undefined) fields[name] = value
  }
  return fields
}

/** What the opening handshake of a WebSocket looks at. */
const fieldNames = [
  "upgrade",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-protocol",
  "sec-websocket-extensions"
]
