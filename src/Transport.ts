/**
 * The transports an Engine.IO session can run over.
 *
 * A transport is one way to carry packets for one session. JSONP is a form of polling, not a transport of its own.
 *
 * @module
 * @since 0.1.0
 */
import * as Option from "effect/Option"

/**
 * The name of a transport, as it stands in the `transport` query parameter and in the `upgrades` of a handshake.
 *
 * @category models
 * @since 0.1.0
 */
export type TransportType = "polling" | "websocket" | "webtransport"

/**
 * Namespace of the values that belong to `TransportType`.
 *
 * @category models
 * @since 0.1.0
 */
export const TransportType = {
  /** Every transport, from the one each client can use to the newest. */
  all: ["polling", "websocket", "webtransport"] as ReadonlyArray<TransportType>,

  /**
   * Reads a transport name; anything but the exact three names is `None`.
   *
   * **Example** (Reading the query parameter)
   *
   * ```ts import.meta.vitest
   * import { Option } from "effect"
   * import { Transport } from "effect-engine.io"
   *
   * Transport.TransportType.parse("websocket") // => Option.some("websocket")
   * Transport.TransportType.parse("__proto__") // => Option.none()
   * ```
   */
  parse: (name: unknown): Option.Option<TransportType> =>
    TransportType.all.includes(name as TransportType) ? Option.some(name as TransportType) : Option.none()
}
