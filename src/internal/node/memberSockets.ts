/**
 * The connections between the members of a cluster: links, which carry messages, and pipes, which carry a WebSocket.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { type HandshakeError, UnknownSid } from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import type { Cluster, Link, LinkHandler, Others, Owner, Pipe } from "../server/cluster.ts"
import type { Message, Upgrade } from "../server/clusterMessages.ts"
import { UpgradeFailed } from "../server/platform.ts"
import { join } from "./join.ts"
import { Greeter, send, type Step } from "./memberGreeting.ts"
import { plain, type Wire } from "./memberWire.ts"
import { nodePlatformOf } from "./nodePlatform.ts"
import { toNode } from "./nodeRequest.ts"
import { takeOver } from "./upgrades.ts"

/** How often a link is tried, in milliseconds, and how many answers in a row may be missing: then the member is gone. */
const pingInterval = 2500
const mostMissing = 3

/** How much waits for a member that does not read, in bytes, before it loses what is published. */
const mostUnread = 64 * 1024 * 1024

export interface MemberOptions {
  readonly self: string
  /** Where the others listen, by name. */
  readonly others: Others<Net.NetConnectOpts>
  readonly listen: Net.ListenOptions
  /** What all members know, and nobody else; "" where others cannot connect. */
  readonly secret: string
  /** How connections are opened and taken. Default: as they are. */
  readonly wire?: Wire | undefined
  /** Is told of each member that opens a connection. */
  readonly onMember?: ((member: string) => void) | undefined
  /** Hands a connection over as it is, where that can be done. */
  readonly handOver?: ((member: string, upgrade: Upgrade, socket: Net.Socket) => boolean) | undefined
}

export interface Members extends Cluster {
  /** Where this member listens. */
  readonly address: string | Net.AddressInfo
  /**
   * Opens a link to whoever listens at an address, this member too. Returns when it has said who it is, or is not there;
   * calls back with its name, and when it is gone.
   */
  readonly meet: (
    to: Net.NetConnectOpts,
    onMet: (member: string) => void,
    onGone: () => void
  ) => Effect.Effect<void>
  /** Takes a connection that was handed over as it is. */
  readonly take: (upgrade: Upgrade, socket: Net.Socket) => void
}

/** Nobody can listen where this member was to. */
export class ListenFailed extends Data.TaggedError("ListenFailed")<{ readonly code: string | undefined }> {}

/** This member, which listens until the scope closes. */
export const makeMembers = Effect.fnUntraced(function*(
  options: MemberOptions
): Effect.fn.Return<Members, ListenFailed, Scope.Scope> {
  const { others, secret, self, wire = plain } = options
  const dropped = yield* Queue.unbounded<string>()
  const greeter = new Greeter(self, secret, (why) => void Queue.offerUnsafe(dropped, why))
  // Whoever reaches this member can connect as often as he likes, and is not to fill the log.
  const warn = Effect.gen(function*() {
    const [why, ...rest] = yield* Queue.takeAll(dropped)
    const more = rest.length === 0 ? "" : `; ${rest.length} more were dropped`
    yield* Effect.logWarning(
      `Dropped a connection within the cluster: ${why}${more}${see("connections-within-a-cluster")}`
    )
    yield* Effect.sleep("1 second")
  })
  yield* Effect.forkScoped(Effect.forever(warn))
  const sockets = new Set<Net.Socket>()
  const pipes = new Set<Pipe>()
  let owner: Owner | undefined

  /** Every connection, those in the handshake of TLS too. */
  const track = (socket: Net.Socket): void => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  }

  const onConnection = (socket: Net.Socket): void => {
    let handler: LinkHandler | undefined
    socket.once("close", () => handler?.onClose())
    const link: Link = {
      send: (answer) => send(socket, answer),
      get isStuck() {
        return socket.writableLength > mostUnread
      }
    }
    const serve: Step = (message, reader) => {
      if (message._tag === "Upgrade") return void take(message, socket, reader.takeRest())
      if (message._tag === "Ping") send(socket, { _tag: "Pong" })
      else if (owner === undefined) socket.destroy()
      else (handler ??= owner.onLink(link)).onMessage(message)
      return serve
    }
    greeter.welcome(socket, (member) => {
      options.onMember?.(member)
      // It asks again before that, if it is there.
      socket.setTimeout(pingInterval * (mostMissing + 2), () => socket.destroy())
      return serve
    })
  }

  /**
   * Opens a connection to a member, or to whoever listens there; calls back once it may be written to, for what takes the
   * messages that come.
   */
  const open = (
    to: Net.NetConnectOpts | undefined,
    member: string | undefined,
    onOpen: (socket: Net.Socket, from: string) => Step | undefined
  ): Net.Socket => {
    const socket = connectBy(wire, to)
    track(socket)
    greeter.greet(socket, member, (from) => onOpen(socket, from))
    return socket
  }

  /** Takes messages, and asks again and again whether the other end is there. */
  const keep = (socket: Net.Socket, onMessage: (message: Message) => void): Step => {
    let missing = 0
    // Counted, not timed: it may be us who hung.
    const timer = setInterval(() => {
      if (missing++ === mostMissing) socket.destroy()
      else send(socket, { _tag: "Ping" })
    }, pingInterval)
    socket.once("close", () => clearInterval(timer))
    const take: Step = (message) => {
      missing = 0
      onMessage(message)
      return take
    }
    return take
  }

  const connect = (member: string, handler: LinkHandler): Link => {
    let early: Array<Message> | undefined = []
    const socket = open(others.get(member), member, (socket) => {
      for (const message of early!) send(socket, message)
      early = undefined
      socket.on("drain", () => handler.onRoom?.())
      handler.onRoom?.()
      return keep(socket, (message) => handler.onMessage(message))
    })
    socket.once("close", () => handler.onClose())
    return {
      send: (message) => early === undefined ? send(socket, message) : void early.push(message),
      get isFull() {
        return early !== undefined || socket.writableNeedDrain
      }
    }
  }

  const meet: Members["meet"] = (to, onMet, onGone) =>
    Effect.callback((resume) => {
      const done = (): void => resume(Effect.void)
      const socket = open(to, undefined, (socket, from) => {
        onMet(from)
        done()
        return keep(socket, () => {})
      })
      socket.once("close", onGone).once("close", done)
    })

  const upgrade = (
    member: string,
    request: HttpServerRequest,
    upgrade: Upgrade
  ): Effect.Effect<void, HandshakeError | UpgradeFailed> =>
    Effect.callback((resume) => {
      const source = toNode(request)
      const { socket } = source
      const early = takeOver(source)
      if (socket.destroyed) return resume(Effect.fail(new UpgradeFailed()))
      const whole = { ...upgrade, early: early.toString("base64") }
      if (options.handOver?.(member, whole, socket) === true) return resume(Effect.void)
      const leave = (): void => {
        peer.destroy()
        resume(Effect.fail(new UpgradeFailed()))
      }
      const fail = (): void => {
        socket.off("close", leave)
        resume(Effect.fail(new UnknownSid({ context: { sid: upgrade.sid } })))
      }
      const peer = open(others.get(member), member, (peer) => {
        send(peer, whole)
        peer.off("close", fail)
        socket.off("close", leave)
        const pipe = { member, sid: upgrade.sid }
        pipes.add(pipe)
        socket.once("close", () => pipes.delete(pipe))
        if (owner !== undefined) nodePlatformOf(owner).lingering.watch(socket)
        join(socket, peer)
        resume(Effect.void)
        return undefined
      })
      peer.once("close", fail)
      socket.once("close", leave)
    })

  const take = (upgrade: Upgrade, socket: Net.Socket, rest: Buffer = Buffer.alloc(0)): void => {
    if (owner === undefined) return void socket.destroy()
    const early = Buffer.concat([Buffer.from(upgrade.early, "base64"), rest])
    nodePlatformOf(owner).adopt(socket, upgrade.headers, early, upgrade.answered, owner.onUpgrade(upgrade))
  }

  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server, ListenFailed>((resume) => {
      const server = wire.createServer(onConnection)
      server.on("connection", track).on("tlsClientError", greeter.dropInsecure)
      // Later ones are of connections that cannot be taken: there are too many.
      server.on("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.fail(new ListenFailed({ code }))))
      // The primary of Node's cluster would give what comes to any worker, and take a member for one that serves.
      server.listen({ ...options.listen, exclusive: true }, () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  return {
    self,
    others,
    pipes,
    address: server.address()!,
    connect,
    meet,
    upgrade,
    take,
    serve: (it) =>
      Effect.acquireRelease(Effect.sync(() => void (owner = it)), () => Effect.sync(() => owner = undefined))
  }
})

const connectBy = (wire: Wire, to: Net.NetConnectOpts | undefined): Net.Socket => {
  // It may have left since somebody looked it up.
  if (to === undefined) return new Net.Socket().destroy()
  try {
    return wire.connect(to)
  } catch (error) {
    // What stands for a host may be none at all.
    return new Net.Socket().destroy(error as Error)
  }
}
