/**
 * The checks every request passes, in the order of rule R5; the first that fails decides.
 */
import * as Effect from "effect/Effect"
import {
  BadHandshakeMethod,
  BadRequest,
  Forbidden,
  type HandshakeError,
  UnknownSid,
  UnknownTransport,
  UnsupportedProtocolVersion
} from "../../HandshakeError.ts"
import type { TransportType } from "../../Transport.ts"
import { readField } from "../protocol/query.ts"
import type { SocketId } from "../session/model.ts"
import { requestsOf, Session, transportOf } from "../session/session.ts"
import type { Requests } from "../transport/requests.ts"
import type { Engine } from "./engine.ts"
import { isHeaderValue } from "./headerFields.ts"
import type { NamedHandler } from "./namedHandler.ts"
import type { ForeignSession } from "./forwarding.ts"
import { find } from "./registry.ts"

/** What a request asks for, when it is none that is refused. */
export type Asked =
  | { readonly _tag: "OpenPolling" | "OpenWebSocket" }
  /** To upgrade, to a transport that is none. */
  | { readonly _tag: "OpenNone" }
  | { readonly _tag: "Get" | "Post"; readonly session: Session | ForeignSession; readonly requests: Requests }
  /** The same with a method that nobody has. */
  | { readonly _tag: "OtherMethod" }
  | Upgrade
  /** To a transport that is none. */
  | { readonly _tag: "UpgradeToNone"; readonly session: Session | ForeignSession }

/** The registry has to look for the session elsewhere, and the rest is decided then. */
export interface Elsewhere {
  readonly _tag: "Elsewhere"
  readonly verified: Effect.Effect<Asked | HandshakeError>
}

export interface Upgrade<S = Session | ForeignSession> {
  readonly _tag: "Upgrade"
  readonly session: S
}

/** What was to be the handshake of a transport is none. */
export const brokenHandshake = new BadRequest({ context: { name: "TRANSPORT_HANDSHAKE_ERROR" } })

export const verify = (
  engine: Engine,
  handler: NamedHandler,
  method: string,
  origin: string | undefined,
  url: string,
  isUpgrade: boolean
): Asked | HandshakeError | Elsewhere => {
  const { registry, settings } = engine
  const transport = readField(url, "transport")
  if (transport === undefined || transport === "webtransport" || !settings.transports.has(transport)) {
    return new UnknownTransport({ context: { transport } })
  }
  const refusal = verifyOrigin(engine, origin)
  if (refusal !== undefined) return refusal
  const sid = readField(url, "sid")
  if (sid !== undefined && sid !== "") {
    const found = registry.lookup(sid)
    return found === undefined || found instanceof Session
      ? verifySession(engine, handler, method, sid, found, transport, isUpgrade)
      : verifyElsewhere(engine, handler, method, sid, found, transport, isUpgrade)
  }
  if (method !== "GET") return new BadHandshakeMethod({ context: { method } })
  if (transport === "polling") return isUpgrade ? openNone : openPolling
  return isUpgrade ? openWebSocket : brokenHandshake
}

// By itself, since a closure in `verify` would cost every poll an object.
const verifyElsewhere = (
  engine: Engine,
  handler: NamedHandler,
  method: string,
  sid: SocketId,
  found: Effect.Effect<Session | undefined>,
  transport: string,
  isUpgrade: boolean
): Elsewhere => ({
  _tag: "Elsewhere",
  verified: Effect.map(
    found,
    (session) => verifySession(engine, handler, method, sid, session, transport, isUpgrade)
  )
})

const verifySession = (
  engine: Engine,
  handler: { readonly name: string },
  method: string,
  sid: SocketId,
  session: Session | undefined,
  transport: string,
  isUpgrade: boolean
): Asked | HandshakeError => {
  if (session === undefined) return verifyForeign(engine, handler, method, sid, transport, isUpgrade)
  if (session.handler.name !== handler.name) return foreign(engine, session)
  if (isUpgrade) return verifyUpgrade(engine, session, transport as TransportType)
  const previousTransport = transportOf(session)
  const requests = requestsOf(session)
  if (previousTransport !== transport || requests === undefined) {
    return new BadRequest({ context: { name: "TRANSPORT_MISMATCH", transport, previousTransport } })
  }
  if (method === "GET") return { _tag: "Get", session, requests }
  return method === "POST" ? { _tag: "Post", session, requests } : otherMethod
}

/** One that another member of the cluster may have, which makes the rest of the checks. */
const verifyForeign = (
  engine: Engine,
  handler: { readonly name: string },
  method: string,
  sid: SocketId,
  transport: string,
  isUpgrade: boolean
): Asked | HandshakeError => {
  const session = engine.forwarding?.find(sid, handler.name)
  if (session === undefined) return new UnknownSid({ context: { sid } })
  if (isUpgrade) return verifyUpgrade(engine, session, transport as TransportType)
  if (transport !== "polling") {
    return new BadRequest({ context: { name: "TRANSPORT_MISMATCH", transport, previousTransport: "polling" } })
  }
  if (method === "GET") return { _tag: "Get", session, requests: session }
  return method === "POST" ? { _tag: "Post", session, requests: session } : otherMethod
}

/** The checks of a request that another member has, and has checked as far as it could. */
export const verifyHere = (
  engine: Engine,
  handler: string,
  method: string,
  sid: SocketId,
  transport: TransportType,
  isUpgrade: boolean
): Asked | HandshakeError => {
  const session = engine.registry.get(sid) !== undefined ? engine.registry.lookup(sid) : undefined
  return session instanceof Session
    ? verifySession(engine, { name: handler }, method, sid, session, transport, isUpgrade)
    : new UnknownSid({ context: { sid } })
}

const openPolling = { _tag: "OpenPolling" } as const
const openWebSocket = { _tag: "OpenWebSocket" } as const
const openNone = { _tag: "OpenNone" } as const
const otherMethod = { _tag: "OtherMethod" } as const

/** The client is told no more than of a session that does not exist. */
const foreign = (engine: Engine, session: Session): HandshakeError => {
  engine.telemetry.foreign(session)
  return new UnknownSid({ context: { sid: session.id } })
}

const verifyOrigin = ({ settings }: Engine, origin: string | undefined): HandshakeError | undefined => {
  if (origin === undefined) return undefined
  // Node's own parser refuses these bytes; a request from elsewhere may still carry them (rule R7).
  if (!isHeaderValue(origin)) return new BadRequest({ context: { name: "INVALID_ORIGIN", origin } })
  return settings.allowedOrigins === undefined || settings.allowedOrigins.has(origin)
    ? undefined
    : new Forbidden({ message: "Origin not allowed" })
}

const verifyUpgrade = (
  engine: Engine,
  session: Session | ForeignSession,
  transport: TransportType
): Asked | HandshakeError =>
  upgradesDisabled(engine, transport) ?? { _tag: transport === "polling" ? "UpgradeToNone" : "Upgrade", session }

const upgradesDisabled = ({ settings }: Engine, transport: TransportType): HandshakeError | undefined =>
  settings.allowUpgrades ? undefined : new BadRequest({ context: { name: "UPGRADES_DISABLED", transport } })

/** The same checks for a WebTransport session whose first packet named the session it belongs to, or none (rule R86). */
export const verifyWebTransport = Effect.fnUntraced(function*(
  engine: Engine,
  mayJoin: (session: Session) => boolean,
  origin: string | undefined,
  query: Record<string, string>,
  sid: string | undefined
): Effect.fn.Return<{ readonly _tag: "OpenWebTransport" } | Upgrade<Session>, HandshakeError> {
  const transport = "webtransport"
  if (!engine.settings.transports.has(transport)) return yield* new UnknownTransport({ context: { transport } })
  const refusal = verifyOrigin(engine, origin)
  if (refusal !== undefined) return yield* refusal
  if (query["EIO"] !== "4") return yield* new UnsupportedProtocolVersion({ context: { protocol: 3 } })
  if (sid === undefined) return { _tag: "OpenWebTransport" }
  const session = yield* find(engine.registry, sid)
  if (session === undefined) return yield* new UnknownSid({ context: { sid } })
  if (!mayJoin(session)) return yield* foreign(engine, session)
  // Revision 3 does not know the transport.
  if (session.protocol !== 4) {
    const previousTransport = transportOf(session)
    return yield* new BadRequest({ context: { name: "TRANSPORT_MISMATCH", transport, previousTransport } })
  }
  const disabled = upgradesDisabled(engine, transport)
  return disabled === undefined ? { _tag: "Upgrade", session } : yield* disabled
})
