/**
 * The checks every request passes, in the order of rule R5; the first that fails decides.
 */
import {
  BadHandshakeMethod,
  BadRequest,
  Forbidden,
  type HandshakeError,
  UnknownSid,
  UnknownTransport
} from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import type { Session } from "../session/session.ts"
import type { Engine } from "./engine.ts"

/** What a request turned out to be, when it is none that is refused. */
export type Verdict =
  | { readonly _tag: "Handshake"; readonly transport: TransportType }
  | { readonly _tag: "Poll"; readonly session: Session }
  | { readonly _tag: "Upgrade"; readonly session: Session; readonly transport: TransportType }

// Node's own parser refuses these bytes; a request from elsewhere may still carry them (rule R7).
const isHeaderValue = (value: string): boolean => {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false
  }
  return true
}

export const verify = (
  engine: Engine,
  owner: object,
  method: string,
  origin: string | undefined,
  query: Record<string, string>,
  isUpgrade: boolean
): Verdict | HandshakeError => {
  const { settings } = engine
  const transport = query["transport"]
  if (transport === undefined || transport === "webtransport" || !settings.transports.has(transport)) {
    return new UnknownTransport({ context: { transport } })
  }
  if (origin !== undefined) {
    if (!isHeaderValue(origin)) return new BadRequest({ context: { name: "INVALID_ORIGIN", origin } })
    if (settings.allowedOrigins !== undefined && !settings.allowedOrigins.has(origin)) {
      return new Forbidden({ message: "Origin not allowed" })
    }
  }
  const sid = query["sid"]
  if (sid !== undefined && sid !== "") {
    const session = engine.get(sid)
    if (session === undefined || session.owner !== owner) return new UnknownSid({ context: { sid } })
    if (isUpgrade) {
      return settings.allowUpgrades
        ? { _tag: "Upgrade", session, transport: transport as TransportType }
        : new BadRequest({ context: { name: "UPGRADES_DISABLED", transport } })
    }
    const previousTransport = session.transportName
    return previousTransport === transport && transport === "polling"
      ? { _tag: "Poll", session }
      : new BadRequest({ context: { name: "TRANSPORT_MISMATCH", transport, previousTransport } })
  }
  if (method !== "GET") return new BadHandshakeMethod({ context: { method } })
  if (transport === "websocket" && !isUpgrade) {
    return new BadRequest({ context: { name: "TRANSPORT_HANDSHAKE_ERROR" } })
  }
  return { _tag: "Handshake", transport: transport as TransportType }
}
