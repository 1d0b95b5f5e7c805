/**
 * A request to move a session to a WebSocket. What follows on the connection is in `session/upgrade.ts`.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { Unavailable } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import { takesBytes } from "../protocol/query.ts"
import { isUpgradable, Session } from "../session/session.ts"
import { startUpgrade } from "../session/upgrade.ts"
import { WebSocketCandidate, type WebSocketConnection } from "../transport/webSocket.ts"
import { allow, type Arrival, decideHeaders, type Reply } from "./arrival.ts"
import { of101 } from "./extraHeaders.ts"
import { ForeignSession } from "./forwarding.ts"
import type { Platform } from "./platform.ts"
import { traced } from "./tracing.ts"

export const upgrade = (arrival: Arrival, session: Session | ForeignSession, transport: TransportType): Reply =>
  traced("EngineIO.upgrade", transport, steps(arrival, session, transport))

const steps = Effect.fnUntraced(function*(
  arrival: Arrival,
  session: Session | ForeignSession,
  transport: TransportType
) {
  yield* allow(arrival)
  const extraHeaders = yield* decideHeaders(arrival, session.id, transport, false)
  const { engine, query, request } = arrival
  if (session instanceof ForeignSession && transport === "websocket") {
    const { handler, id: sid, member } = session
    if (engine.stopped) return yield* new Unavailable({ message: "Server shutting down" })
    yield* engine.cluster!.upgrade(member, request, {
      _tag: "Upgrade",
      sid,
      handler,
      takesBytes: takesBytes(query),
      headers: fieldsOf(engine.platform, request),
      answered: of101(extraHeaders),
      early: ""
    })
    // It may have stopped meanwhile.
    if (engine.stopped) engine.forwarding!.release()
    return engine.platform.release(request)
  }
  return yield* engine.platform.upgrade(
    request,
    of101(extraHeaders),
    (connection) =>
      session instanceof Session && transport === "websocket"
        ? joinWebSocket(session, connection, takesBytes(query))
        : connection.close()
  )
})

/** Offers a session a WebSocket. It may have moved on meanwhile; then the client is told by a close (rule R24). */
export const joinWebSocket = (session: Session, connection: WebSocketConnection, takesBytes: boolean): void => {
  if (isUpgradable(session)) startUpgrade(session, new WebSocketCandidate(connection, takesBytes))
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
