/**
 * What happens in a server, for whoever watches.
 */
import type { CloseReason } from "../../CloseReason.ts"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import type { Socket } from "../session/model.ts"

/**
 * What can be observed of a server with `EngineIO.events`. The union is closed: `Connection`, `ConnectionError`,
 * `Upgraded`, `Closed`.
 *
 * @category models
 * @since 0.1.0
 */
export type EngineEvent =
  /** A session was opened. */
  | { readonly _tag: "Connection"; readonly socket: Socket }
  /** A request was refused: with one of the protocol's codes, or by the application. */
  | {
    readonly _tag: "ConnectionError"
    readonly code: HandshakeError["code"]
    readonly message: string
    readonly context: unknown
  }
  /** A session moved to another transport. */
  | { readonly _tag: "Upgraded"; readonly socket: Socket; readonly from: TransportType; readonly to: TransportType }
  /** A session ended. */
  | { readonly _tag: "Closed"; readonly socket: Socket; readonly reason: CloseReason }
