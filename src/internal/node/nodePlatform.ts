/**
 * The server's platform on Node, for requests that come through Effect's HTTP server.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Http from "node:http"
import type * as Net from "node:net"
import type { HandshakeError } from "../../HandshakeError.ts"
import { see } from "../protocol/see.ts"
import { type Answer, upgradeRefusal } from "../server/answer.ts"
import { copyOf, type MachineBase64, useBase64 } from "../protocol/bytes.ts"
import type { Config } from "../server/config.ts"
import { Platform, type RoutedExchange, UpgradeFailed } from "../server/platform.ts"
import type { ExtraHeaders } from "../server/extraHeaders.ts"
import type { WebSocketConnection } from "../transport/webSocket.ts"
import { setUpgraded } from "./effectServer.ts"
import { RouterExchange } from "./exchange.ts"
import { keepHeads } from "./heads.ts"
import { isNode, isUpgraded, toNode } from "./nodeRequest.ts"
import { addCookies, writeWhole } from "./nodeResponse.ts"
import { afterAnswers, isFirst, tellOfClose, whenFirst } from "./pipeline.ts"
import type { Lingering } from "./lingering.ts"
import { onServerClose } from "./serverClose.ts"
import { attend } from "./undecided.ts"
import { closeSilent, closeUnfinished, lookForRest } from "./unfinished.ts"
import { type Lines, Upgrades } from "./upgrades.ts"

/** A server whose end is ours. */
interface Watch {
  /** How often we are attached to it; zero where it is known by its requests. */
  mounts: number
  readonly end: () => void
}

export class NodePlatform implements Platform {
  private readonly upgrades: Upgrades
  private readonly watched = new Map<Http.Server, Watch>()
  /** How many of the servers that carry us listen. */
  private listening = 0
  readonly config: Config
  constructor(config: Config) {
    this.config = config
    this.upgrades = new Upgrades(config)
  }

  defer(f: () => void): void {
    process.nextTick(f)
  }

  header(request: HttpServerRequest, name: string): string | undefined {
    const source = toNode(request)
    return isNode(source) ? source.headers[name] as string | undefined : request.headers[name]
  }

  isUpgrade(request: HttpServerRequest): boolean {
    const source = toNode(request)
    return isUpgraded(source) && source.headers.upgrade?.toLowerCase() === "websocket"
  }

  receive(
    request: HttpServerRequest,
    onStop: (isStopped: boolean) => void
  ): Effect.Effect<void, UpgradeFailed> | undefined {
    const source = toNode(request)
    if (!isNode(source)) return undefined
    const socket = source.socket as Net.Socket & { readonly server?: Http.Server } | undefined
    if (socket?.server !== undefined) this.watchServer(socket.server, onStop)
    if (isUpgraded(source)) {
      return Effect.andThen(turn(source), Effect.sync(() => this.prepareUpgrade(request, source)))
    }
    const response = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
    tellOfClose(source, response)
    lookForRest(source, response)
    return undefined
  }

  // Node stops reading a connection that asks for an upgrade. One that stays HTTP after all (rule R26) would never be
  // seen to close, and Effect ends only our half of it after the answer.
  private prepareUpgrade(request: HttpServerRequest, source: Http.IncomingMessage): void {
    if (this.isUpgrade(request)) return attend(source)
    const { socket } = source
    socket.once("end", () => socket.destroy())
    this.lingering.watch(socket)
    const response = NodeHttpServerRequest.toServerResponse(request)
    response.setHeader("Connection", "close")
    response.once("finish", () => socket.destroySoon())
    if (request.method === "GET") socket.resume()
  }

  private watchServer(server: Http.Server, onStop: (isStopped: boolean) => void): void {
    if (this.watched.has(server)) return
    let isListening = false
    const change = (listening: boolean) => {
      if (listening === isListening) return
      isListening = listening
      this.listening += listening ? 1 : -1
      if (listening ? this.listening === 1 : this.listening === 0) onStop(!listening)
    }
    const unwatch = onServerClose(server, () => {
      change(false)
      closeUnfinished(server)
      closeSilent(server)
    })
    const dropHeads = keepHeads(server, () => this.unwatch(server))
    const onListening = () => change(true)
    server.on("listening", onListening)
    change(server.listening)
    this.watched.set(server, {
      mounts: 0,
      end: () => {
        unwatch()
        dropHeads()
        server.off("listening", onListening)
        if (isListening) this.listening--
        closeUnfinished(server)
      }
    })
  }

  /** Watches a server as long as we are mounted on it: one that carries us no more is none of those that have to stop. */
  mount(server: Http.Server, onStop: (isStopped: boolean) => void): void {
    this.watchServer(server, onStop)
    this.watched.get(server)!.mounts++
  }

  unmount(server: Http.Server): void {
    const watch = this.watched.get(server)
    if (watch !== undefined && --watch.mounts === 0) this.unwatch(server)
  }

  private unwatch(server: Http.Server): void {
    this.watched.get(server)?.end()
    this.watched.delete(server)
  }

  exchange(request: HttpServerRequest, extraHeaders: ExtraHeaders, context: Context.Context<never>): RoutedExchange {
    const source = toNode(request)
    const { lines } = extraHeaders
    if (lines.length > 0) HttpEffect.appendPreResponseHandlerUnsafe(context, addCookies(lines))
    if (isNode(source) && !isUpgraded(source)) HttpEffect.appendPreResponseHandlerUnsafe(context, writeWhole)
    return new RouterExchange(request, extraHeaders, this)
  }

  upgrade(
    request: HttpServerRequest,
    headers: Lines,
    use: (connection: WebSocketConnection) => void
  ): Effect.Effect<HttpServerResponse.HttpServerResponse, UpgradeFailed> {
    return Effect.callback((resume) => {
      this.upgrades.accept(toNode(request), headers, (connection) => {
        if (connection === undefined) return resume(Effect.fail(new UpgradeFailed()))
        use(connection)
        resume(Effect.succeed(this.release(request)))
      })
    })
  }

  /** Makes a WebSocket of a connection that another member of the cluster had, or refuses it there. */
  adopt(
    socket: Net.Socket,
    headers: Readonly<Record<string, string>>,
    early: Buffer,
    lines: Lines,
    decision: HandshakeError | ((connection: WebSocketConnection) => void)
  ): void {
    if (typeof decision !== "function") return this.upgrades.refuse(socket, upgradeRefusal(decision), () => {})
    if (early.length > 0) socket.unshift(early)
    const request = { method: "GET", headers, socket } as unknown as Http.IncomingMessage
    this.upgrades.accept(request, lines, (connection) => connection && decision(connection))
  }

  release(request: HttpServerRequest): HttpServerResponse.HttpServerResponse {
    if (setUpgraded(request, released)) return released
    // Where Effect keeps it elsewhere, a response that never reaches the connection does the same, at more cost.
    const response = NodeHttpServerRequest.toServerResponse(request) as Http.ServerResponse
    if (response.socket !== null) response.detachSocket(response.socket)
    response.end()
    return released
  }

  refuse(
    request: HttpServerRequest,
    answer: Answer
  ): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.callback((resume) =>
      this.upgrades.refuse(toNode(request).socket, answer, () => resume(Effect.succeed(released)))
    )
  }

  get lingering(): Lingering {
    return this.upgrades.lingering
  }

  get lingeringClosed(): Effect.Effect<void> {
    return this.lingering.allClosed
  }

  destroyLingering(): void {
    this.lingering.destroyAll()
  }

  /** Leaves the servers it watched as they were. */
  unwatchAll(): void {
    for (const server of this.watched.keys()) this.unwatch(server)
  }
}

const base64: MachineBase64 = {
  encode: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64"),
  decode: (text) => {
    const bytes = Buffer.from(text, "base64")
    // Of the pool, which others share, it has a piece; a large one is alone.
    return bytes.byteLength === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer) : copyOf(bytes, 0)
  }
}

/** Node's platform, for one server. */
export const layer = (config: Config): Layer.Layer<Platform> =>
  Layer.effect(
    Platform,
    Effect.acquireRelease(
      Effect.sync(() => {
        useBase64(base64)
        return new NodePlatform(config)
      }),
      (platform) => Effect.sync(() => platform.unwatchAll())
    )
  )

/** The platform of a server that is on Node: another one has nothing to do with Node's servers. */
export const nodePlatformOf = ({ platform }: { readonly platform: Platform }): NodePlatform => {
  if (platform instanceof NodePlatform) return platform
  throw new TypeError(`A Node server needs an engine on Node's platform${see("engine-of-another-platform")}`)
}

const released = HttpServerResponse.empty({ status: 101 })

/** Waits for the answers to earlier requests on the connection of an upgrade. */
const turn = (source: Http.IncomingMessage): Effect.Effect<void, UpgradeFailed> =>
  Effect.callback((resume) => {
    const { socket } = source
    if (isFirst(socket)) return resume(Effect.void)
    whenFirst(socket, (isThere) => resume(isThere ? Effect.void : Effect.fail(new UpgradeFailed())))
    // Interrupted, it leaves nobody else to end the connection.
    return Effect.sync(() => afterAnswers(socket, () => socket.destroySoon()))
  })
