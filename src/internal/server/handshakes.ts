/**
 * The kinds of handshakes that are HTTP requests.
 */
import * as jsonp from "../protocol/jsonp.ts"
import { takesBytes } from "../protocol/query.ts"
import { doorsOf } from "../session/doors.ts"
import type { Session } from "../session/session.ts"
import { PollingTransport } from "../transport/polling.ts"
import { WebSocketTransport } from "../transport/webSocket.ts"
import { of101 } from "./dressing.ts"
import { type Answer, Handshaking } from "./handshake.ts"

/** The first GET of a client that polls: its answer carries the first packets. */
export class PollingHandshaking extends Handshaking {
  protected readonly transport = "polling"

  protected answer(session: Session): Answer {
    const { engine, query } = this
    return engine.platform.exchange(this.request, this.dressing, (exchange) => {
      const { j } = query
      const transport = new PollingTransport(doorsOf(session), {
        // A callback without a number would make a script that is none.
        jsonp: j === undefined ? undefined : jsonp.callbackIndex(j) || "0",
        binary: takesBytes(query) && j === undefined,
        maxPayload: engine.settings.maxPayload,
        maxPackets: engine.settings.maxPacketsPerPayload
      })
      transport.onFirstGet(exchange)
      this.begin(session, transport)
    })
  }
}

/** A request to upgrade, to a WebSocket. */
export class WebSocketHandshaking extends Handshaking {
  protected readonly transport = "websocket"

  protected answer(session: Session): Answer {
    return this.engine.platform.upgrade(
      this.request,
      of101(this.dressing),
      (connection) => this.begin(session, new WebSocketTransport(connection, doorsOf(session), takesBytes(this.query)))
    )
  }
}

/** A request to upgrade to a transport that is none: the connection is accepted, and closed (rule R24). */
export class EmptyHandshaking extends PollingHandshaking {
  protected override identify(): Answer {
    return this.engine.platform.upgrade(this.request, of101(this.dressing), (connection) => connection.close())
  }
}
