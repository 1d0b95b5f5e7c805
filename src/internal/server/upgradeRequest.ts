/**
 * A request to move a session to a WebSocket. What follows on the connection is in `session/upgrade.ts`.
 */
import * as Effect from "effect/Effect"
import type { TransportType } from "../../Transport.ts"
import { takesBytes } from "../protocol/query.ts"
import { isUpgradable, type Session } from "../session/session.ts"
import { startUpgrade } from "../session/upgrade.ts"
import { WebSocketCandidate } from "../transport/webSocket.ts"
import { allow, type Arrival, decideHeaders, type Reply } from "./arrival.ts"
import { of101 } from "./extraHeaders.ts"
import { traced } from "./tracing.ts"

export const upgrade = (arrival: Arrival, session: Session, transport: TransportType): Reply =>
  traced("EngineIO.upgrade", transport, steps(arrival, session, transport))

const steps = Effect.fnUntraced(function*(arrival: Arrival, session: Session, transport: TransportType) {
  yield* allow(arrival)
  const extraHeaders = yield* decideHeaders(arrival, session.id, transport, false)
  const { engine, query, request } = arrival
  return yield* engine.platform.upgrade(request, of101(extraHeaders), (connection) => {
    // The session may have moved on while the request was decided; then the client is told by a close (rule R24).
    if (transport === "websocket" && isUpgradable(session)) {
      startUpgrade(session, new WebSocketCandidate(connection, takesBytes(query)))
    } else connection.close()
  })
})
