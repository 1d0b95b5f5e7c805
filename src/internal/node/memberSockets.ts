/**
 * The connections between the members of a cluster: links, which carry messages, and pipes, which carry a WebSocket.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Scope from "effect/Scope"
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import * as Net from "node:net"
import { type HandshakeError, UnknownSid } from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import type { Cluster, Link, LinkHandler, Owner } from "../server/cluster.ts"
import { type Message, type Upgrade, version } from "../server/clusterMessages.ts"
import { UpgradeFailed } from "../server/platform.ts"
import { toNode } from "./exchange.ts"
import { encode, MessageReader } from "./memberMessages.ts"
import { nodePlatformOf } from "./nodePlatform.ts"
import { leaveTo } from "./upgrades.ts"

/** How long a member has to answer a new connection, in milliseconds. */
const openTimeout = 1000

/** How often a link is tried, in milliseconds, and how many answers in a row may be missing: then the member is gone. */
const pingInterval = 2500
const mostMissing = 3

/** The most that is read of somebody who may be no member, in bytes. */
const firstSize = 1024

/** Larger messages are none: an answer holds little more than `maxPayload`, but any single message of an application. */
const largest = 2 ** 30

export interface MemberOptions {
  readonly self: string
  /** Where the others listen, by name. */
  readonly others: ReadonlyMap<string, Net.NetConnectOpts>
  readonly listen: Net.ListenOptions
  /** What all members know, and nobody else; "" where others cannot connect. */
  readonly secret: string
  /** Hands a connection over as it is, where that can be done. */
  readonly handOver?: ((member: string, upgrade: Upgrade, socket: Net.Socket) => boolean) | undefined
}

export interface Members extends Cluster {
  /** Where this member listens. */
  readonly address: string | Net.AddressInfo
  /** Takes a connection that was handed over as it is. */
  readonly take: (upgrade: Upgrade, socket: Net.Socket) => void
}

const proofOf = (secret: string, nonce: string, from: string, to: string): string =>
  createHmac("sha256", secret).update(JSON.stringify([nonce, from, to])).digest("base64")

const isSame = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b)

/** This member, which listens until the scope closes. */
export const makeMembers = Effect.fnUntraced(function*(
  options: MemberOptions
): Effect.fn.Return<Members, never, Scope.Scope> {
  const { others, secret, self } = options
  const context = yield* Effect.context<Scope.Scope>()
  const warn = (words: string): void =>
    void Effect.runForkWith(Context.omit(Scope.Scope)(context))(Effect.logWarning(words))
  const sockets = new Set<Net.Socket>()
  let owner: Owner | undefined

  /** Reads messages from a connection until `onMessage` takes it over, by returning true, or it ends. */
  const read = (socket: Net.Socket, onMessage: (message: Message, reader: MessageReader) => boolean): void => {
    const reader = new MessageReader(firstSize)
    sockets.add(socket)
    const onData = (chunk: Buffer): void => {
      reader.push(chunk)
      for (let message = reader.next(); message !== undefined; message = reader.next()) {
        if (message === "malformed") {
          warn(
            `Dropped a connection within the cluster: what came on it was no message${
              see("connections-within-a-cluster")
            }`
          )
          return void socket.destroy()
        }
        if (onMessage(message, reader)) return void socket.off("data", onData).off("end", onEnd)
        if (socket.destroyed) return
      }
    }
    // A pipe has two halves, a link has not.
    const onEnd = (): void => void socket.destroy()
    socket.on("data", onData).on("end", onEnd).on("error", () => {}).once("close", () => sockets.delete(socket))
  }

  const refuse = (socket: Net.Socket): void => {
    warn(
      `Dropped a connection of somebody who is no member of the cluster, or speaks another version${
        see("connections-within-a-cluster")
      }`
    )
    socket.destroy()
  }

  // A member says who it is in answer to a number that was never used before.
  const onConnection = (socket: Net.Socket): void => {
    const nonce = randomBytes(16).toString("base64")
    let handler: LinkHandler | undefined
    let isKnown = false
    socket.setNoDelay(true).setTimeout(openTimeout, () => socket.destroy())
    socket.write(encode({ _tag: "Hello", version, from: self, proof: nonce }))
    socket.once("close", () => handler?.onClose())
    read(socket, (message, reader) => {
      if (!isKnown) {
        isKnown = message._tag === "Hello" &&
          isSame(Buffer.from(message.proof), Buffer.from(proofOf(secret, nonce, message.from, self)))
        if (!isKnown) refuse(socket)
        reader.most = largest
        // It asks again before that, if it is there.
        socket.setTimeout(pingInterval * (mostMissing + 2))
      } else if (message._tag === "Upgrade") {
        const rest = reader.takeRest()
        take(message, socket, rest)
        return true
      } else if (message._tag === "Ping") send(socket, { _tag: "Pong" })
      else if (owner === undefined) socket.destroy()
      else (handler ??= owner.onLink({ send: (answer) => send(socket, answer) })).onMessage(message)
      return false
    })
  }

  /** Opens a connection to a member; calls back once it may be written to, with what takes the messages that come. */
  const open = (member: string, onOpen: (socket: Net.Socket) => (message: Message) => boolean): Net.Socket => {
    const address = others.get(member)
    // It may have left since somebody looked it up.
    const socket = address === undefined
      ? new Net.Socket().destroy()
      : Net.connect({ ...address, allowHalfOpen: true } as Net.NetConnectOpts)
    let onMessage: ((message: Message) => boolean) | undefined
    socket.setNoDelay(true).setTimeout(openTimeout, () => socket.destroy())
    read(socket, (message, reader) => {
      if (onMessage !== undefined) return onMessage(message)
      reader.most = largest
      if (message._tag !== "Hello" || message.from !== member) refuse(socket)
      else {
        socket.setTimeout(0)
        socket.write(
          encode({ _tag: "Hello", version, from: self, proof: proofOf(secret, message.proof, self, member) })
        )
        onMessage = onOpen(socket)
      }
      return onMessage === piped
    })
    return socket
  }

  const connect = (member: string, handler: LinkHandler): Link => {
    let early: Array<Message> | undefined = []
    let missing = 0
    const socket = open(member, (socket) => {
      for (const message of early!) send(socket, message)
      early = undefined
      // Counted, not timed: it may be us who hung.
      const timer = setInterval(() => {
        if (missing++ === mostMissing) socket.destroy()
        else send(socket, { _tag: "Ping" })
      }, pingInterval)
      socket.once("close", () => clearInterval(timer))
      return (message) => {
        missing = 0
        handler.onMessage(message)
        return false
      }
    })
    socket.once("close", () => handler.onClose())
    return { send: (message) => early === undefined ? send(socket, message) : void early.push(message) }
  }

  const upgrade = (
    member: string,
    request: HttpServerRequest,
    upgrade: Upgrade
  ): Effect.Effect<void, HandshakeError | UpgradeFailed> =>
    Effect.callback((resume) => {
      const source = toNode(request)
      const { socket } = source
      const early = leaveTo(source)
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
      const peer = open(member, (peer) => {
        send(peer, whole)
        peer.off("close", fail)
        socket.off("close", leave)
        // Nothing tells its client of the end of this member.
        if (owner !== undefined) nodePlatformOf(owner).lingering.watch(socket)
        join(socket, peer)
        resume(Effect.void)
        return piped
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
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer({ allowHalfOpen: true }, onConnection)
      server.once("error", (error) => resume(Effect.die(error)))
      server.listen(options.listen, () => resume(Effect.succeed(server)))
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
    address: server.address()!,
    connect,
    upgrade,
    take,
    serve: (it) =>
      Effect.acquireRelease(Effect.sync(() => void (owner = it)), () => Effect.sync(() => owner = undefined))
  }
})

/** Several messages of one turn leave together. */
const send = (socket: Net.Socket, message: Message): void => {
  if (!socket.writable) return
  if (socket.writableCorked === 0) {
    socket.cork()
    process.nextTick(uncork, socket)
  }
  socket.write(encode(message))
}

const uncork = (socket: Net.Socket): void => socket.uncork()

/** Nothing more is a message. */
const piped = (): boolean => true

/** How long a client may take nothing of what its owner sends, in milliseconds: meanwhile nobody sees the owner end it. */
const stuckTimeout = 60_000

/** Makes two connections one, which ends as a whole. */
const join = (one: Net.Socket, other: Net.Socket): void => {
  one.setNoDelay(true).setTimeout(stuckTimeout).on("timeout", () => {
    if (one.writableNeedDrain || other.destroyed) one.destroy()
  })
  one.on("error", () => {}).once("close", () => other.destroySoon())
  other.once("close", () => one.destroySoon())
  one.pipe(other)
  other.pipe(one)
}
