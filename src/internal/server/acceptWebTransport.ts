/**
 * A WebTransport session, from its arrival until it is over: its first packet opens a session or upgrades one (rules
 * R85, R86). What guards the other transports guards this one.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { serverShutdown } from "../../CloseReason.ts"
import { type Packet, PacketError } from "../../Packet.ts"
import { close } from "../session/close.ts"
import { SessionDoors } from "../session/doors.ts"
import { end } from "../session/end.ts"
import { isUpgradable, type Session } from "../session/session.ts"
import { startUpgrade } from "../session/upgrade.ts"
import { type FrameListener, parseFrame } from "../transport/frameTransport.ts"
import { webTransportCandidate, WebTransportTransport } from "../transport/webTransport.ts"
import { type ConnectionHost, WebTransportConnection } from "../transport/webTransportConnection.ts"
import type { WebTransportSession } from "../transport/webTransportSession.ts"
import { allow, Arrival } from "./arrival.ts"
import type { Engine } from "./engine.ts"
import { handshake, type Kind } from "./handshake.ts"
import { type Factory, named, type NamedHandler } from "./namedHandler.ts"
import { refuse, type Refused } from "./refuse.ts"
import { traced } from "./tracing.ts"
import { brokenHandshake, verifyWebTransport } from "./verify.ts"

/**
 * What an HTTP/3 library knows of the request behind a WebTransport session: whatever is left out, guards and handlers
 * do not see.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebTransportRequest {
  /** The request's target, with or without scheme and host. Default: `/`. */
  readonly url?: string | undefined
  readonly headers?: Headers.Input | undefined
  readonly remoteAddress?: string | undefined
}

/** Serves a session in a fiber of the scope; returns at once. */
export const accept = (
  engine: Engine,
  factory: Factory,
  session: WebTransportSession,
  info: WebTransportRequest
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.scope,
    (scope) =>
      Effect.forkIn(Effect.interruptible(serve(engine, factory, session, toRequest(info))), scope, {
        startImmediately: true
      })
  ).pipe(Effect.asVoid)

/** The request as handlers know it, although no HTTP message is behind it. */
const toRequest = ({ headers, remoteAddress, url = "/" }: WebTransportRequest): HttpServerRequest.HttpServerRequest => {
  const target = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "")
  return HttpServerRequest.fromWeb(new Request("https://localhost")).modify({
    url: target.startsWith("/") ? target : `/${target}`,
    headers: Headers.fromInput(headers),
    remoteAddress: Option.fromUndefinedOr(remoteAddress)
  })
}

const serve = (
  engine: Engine,
  factory: Factory,
  session: WebTransportSession,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const connection = new WebTransportConnection(session, hostOf(engine))
    const arrival = new Arrival(engine, named("webtransport", factory), request, false)
    // The transport has no other revision.
    arrival.query["EIO"] ??= "4"
    const ended = Deferred.await(connection.ended)
    let onInterrupt = Effect.void
    const begun = Effect.flatMap(
      firstPacket(engine, connection),
      (packet) =>
        begin(arrival, connection, packet, (session, upgrade) => {
          const leaving = leave(engine, session, ended)
          onInterrupt = upgrade === undefined ? leaving : leaveUpgrade(upgrade, leaving)
        })
    )
    return Effect.raceFirst(begun, ended).pipe(
      Effect.flatMap((refused) =>
        refused === undefined ? ended : Effect.sync(() => connection.close(toCloseInfo(refused)))
      ),
      Effect.onInterrupt(() => onInterrupt),
      Effect.ensuring(Effect.sync(() => connection.close()))
    )
  })

/** The scope closes: what the session had accepted is delivered first, as far as that is possible in time. */
const leave = (engine: Engine, session: Session, ended: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const reason = serverShutdown()
    close(session, reason)
    return Effect.timeoutOrElse(ended, {
      duration: engine.settings.drainTimeout,
      orElse: () => Effect.sync(() => end(session, reason))
    })
  })

/** The same before the session is here: it stays where it was. */
const leaveUpgrade = (upgrade: Fiber.Fiber<boolean>, leaving: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.andThen(Effect.sync(() => upgrade.interruptUnsafe()), Fiber.await(upgrade)),
    (exit) => Exit.isSuccess(exit) && exit.value ? leaving : Effect.void
  )

/** The first packet, or `undefined` where none came in time or what came is none. */
const firstPacket = (engine: Engine, connection: WebTransportConnection): Effect.Effect<Packet | undefined> =>
  Effect.callback<Packet | undefined>((resume) => {
    const listener: FrameListener = {
      onFrame: (data) => {
        // Whoever the connection is given to goes on with the second.
        connection.pause()
        const packet = parseFrame(data, 4)
        resume(Effect.succeed(packet instanceof PacketError ? undefined : packet))
      },
      onTurn: () => {},
      onWritable: () => {},
      onClose: (reason) => {
        if (reason._tag === "TransportClose") return
        const { code, context, message } = brokenHandshake
        engine.telemetry.refused(code, message, context)
      }
    }
    connection.open(listener)
  }).pipe(
    Effect.timeoutOrElse({ duration: engine.settings.upgradeTimeout, orElse: () => Effect.succeed(undefined) })
  )

/** Told of the session that is here, or will be when its upgrade is over. */
type OnJoin = (session: Session, upgrade?: Fiber.Fiber<boolean>) => void

/** The protocol takes no more than 1024 bytes of words. */
const toCloseInfo = ({ message, status }: Refused) => ({ closeCode: status, reason: message.slice(0, 256) })

/** Joins the connection to its session; gives how it is refused, if it is. */
const begin = (
  arrival: Arrival,
  connection: WebTransportConnection,
  packet: Packet | undefined,
  onJoin: OnJoin
): Effect.Effect<Refused | undefined> =>
  join(arrival, connection, packet, onJoin).pipe(
    Effect.catchCause((cause) => refuse(arrival, cause)),
    // What else the factory needs is in the context of the fiber, as the façade's types see to.
    Effect.provideService(HttpServerRequest.HttpServerRequest, arrival.request)
  ) as Effect.Effect<Refused | undefined>

const join = Effect.fnUntraced(function*(
  arrival: Arrival,
  connection: WebTransportConnection,
  packet: Packet | undefined,
  onJoin: OnJoin
): Effect.fn.Return<void, unknown, unknown> {
  if (packet === undefined || packet.type !== "open") return yield* brokenHandshake
  const sid = packet.data === undefined ? undefined : toSid(packet.data)
  if (packet.data !== undefined && sid === undefined) return yield* brokenHandshake
  const { engine, handler, query, request } = arrival
  // Whoever has the function of a handler may pass its sessions on.
  const mayJoin = (session: Session): boolean => (session.handler as NamedHandler).factory === handler.factory
  const asked = yield* verifyWebTransport(engine, mayJoin, request.headers["origin"], query, sid)
  switch (asked._tag) {
    case "OpenWebTransport":
      return yield* handshake(arrival, webTransport(connection, onJoin))
    case "Upgrade":
      return yield* traced("EngineIO.upgrade", "webtransport", upgrade(arrival, asked.session, connection, onJoin))
  }
})

const webTransport = (connection: WebTransportConnection, onJoin: OnJoin): Kind<void> => ({
  transport: "webtransport",
  hasHeaders: false,
  open: (_, __, session, start) =>
    Effect.sync(() => {
      onJoin(session)
      start(new WebTransportTransport(connection, new SessionDoors(session)))
    })
})

const upgrade = Effect.fnUntraced(function*(
  arrival: Arrival,
  session: Session,
  connection: WebTransportConnection,
  onJoin: OnJoin
) {
  yield* allow(arrival)
  if (!isUpgradable(session)) return yield* brokenHandshake
  onJoin(session, startUpgrade(session, webTransportCandidate(connection)))
})

/** The id in the first packet of an upgrade; `undefined` where there is none. */
const toSid = (data: unknown): string | undefined => {
  try {
    const value: unknown = JSON.parse(String(data))
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, "sid")) return undefined
    const { sid } = value as { readonly sid: unknown }
    return typeof sid === "string" ? sid : undefined
  } catch {
    return undefined
  }
}

const hostOf = (engine: Engine): ConnectionHost => ({
  maxPayload: engine.settings.maxPayload,
  after: (millis, f) => {
    const fiber = engine.supervisor.fork(Effect.andThen(Effect.sleep(millis), Effect.sync(f)))
    return () => fiber.interruptUnsafe()
  }
})
