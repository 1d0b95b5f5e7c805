/**
 * Several processes that serve together, its members. A session belongs to one of them, its owner, which its id names.
 * What another member gets for it goes there, and nobody else is asked.
 *
 * It is a service: `node/memberSockets.ts` has members that are processes.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type * as Scope from "effect/Scope"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { SocketId } from "../session/model.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import type { Message, Upgrade } from "./clusterMessages.ts"
import type { Platform, UpgradeFailed } from "./platform.ts"

/** A way to another member. Messages arrive in order, or the link closes. */
export interface Link {
  send(message: Message): void
  /** Whether what was sent has not left yet: what is large can wait for `onRoom`, and what is not overtakes it. */
  readonly isFull?: boolean
  /** Whether more waits than is worth to be kept: what may be lost is not sent any more. */
  readonly isStuck?: boolean
}

/** Who listens to a link. */
export interface LinkHandler {
  onMessage(message: Message): void
  /** The link is full no longer. */
  onRoom?(): void
  /** Nothing comes any more, and what was sent may not have arrived. */
  onClose(): void
}

/** What a member does for the others. */
export interface Owner {
  readonly platform: Platform
  /** Serves the member at the other end of a link. */
  onLink(link: Link): LinkHandler
  /** What becomes of a connection that another member had a request on, once it is a WebSocket. */
  onUpgrade(upgrade: Upgrade): HandshakeError | ((connection: WebSocketConnection) => void)
}

/** A WebSocket that goes through this member to the owner of its session. */
export interface Pipe {
  readonly member: string
  readonly sid: SocketId
}

/** The other members. Whoever watches is told of each that comes. */
export class Others<Address = unknown> extends Map<string, Address> {
  readonly watchers = new Set<(member: string) => void>()

  override set(member: string, address: Address): this {
    const isNew = !this.has(member)
    super.set(member, address)
    if (isNew) { for (const watcher of this.watchers) watcher(member) }
    return this
  }
}

export interface Cluster {
  /** The name of this member, fresh at each start. */
  readonly self: string
  /** The other members. A name that a client sends is only looked up here. */
  readonly others: Others
  readonly pipes: Iterable<Pipe>
  /** Whether clients come by a balancer, which may ask another member again what one that died has not answered. */
  readonly isBalanced?: boolean
  /** Opens a link to another member. */
  connect(member: string, handler: LinkHandler): Link
  /** Hands the connection of a request to another member. */
  upgrade(
    member: string,
    request: HttpServerRequest,
    upgrade: Upgrade
  ): Effect.Effect<void, HandshakeError | UpgradeFailed>
  /** Lets the owner serve the other members until the scope closes. */
  readonly serve: (owner: Owner) => Effect.Effect<void, never, Scope.Scope>
}

export const Cluster: Context.Service<Cluster, Cluster> = Context.Service("effect-engine.io/Cluster")

/** The id of a session of this process, from the part that makes it one. */
export const idOf = (cluster: Cluster | undefined, part: string): SocketId =>
  cluster === undefined ? part : `${cluster.self}.${part}`

/** The other member that a session belongs to, where there is one. */
export const memberOf = ({ others, self }: Cluster, id: SocketId): string | undefined => {
  const member = id.slice(0, Math.max(0, id.indexOf(".")))
  return member !== self && others.has(member) ? member : undefined
}
