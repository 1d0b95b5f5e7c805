/**
 * A Socket.IO server of a test, once on `engine.io` and once on ours, with the clients that connect to it.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { HttpRouter } from "effect/http"
import type { EventEmitter } from "node:events"
import { createServer, type IncomingMessage, type Server as HttpServer } from "node:http"
import { createRequire } from "node:module"
import { Server, type ServerOptions, type Socket } from "socket.io"
import { io as connect, type ManagerOptions, type Socket as Client, type SocketOptions } from "socket.io-client"
import * as SocketIO from "../../src/SocketIO.ts"
import { within } from "./events.ts"
import { portOf } from "./server.ts"

/** What a Socket.IO server runs on. */
export type Kind = "engine.io" | "ours" | "ours, attached"

export type ClientOptions = Partial<ManagerOptions & SocketOptions>

/** Whatever has events: on either side, with types for them or without. */
interface Emitter {
  once(event: never, listener: never): unknown
}

/** What listeners of `connection_error` get. */
export interface ConnectionError {
  readonly req: IncomingMessage & { readonly _query: Readonly<Record<string, string>> }
  readonly code: number
  readonly message: string
  readonly context: Readonly<Record<string, unknown>>
}

/** The arguments of the next event of this name. */
export const next = <A extends ReadonlyArray<unknown>>(emitter: Emitter, event: string): Promise<A> =>
  within(
    new Promise<A>((resolve) => {
      ;(emitter as EventEmitter).once(event, (...args) => resolve(args as unknown as A))
    }),
    `the event ${event}`
  )

/** The first argument of the next event of this name. */
export const value = async <A>(emitter: Emitter, event: string): Promise<A> => (await next<[A]>(emitter, event))[0]

const connect2 = createRequire(import.meta.url)("socket.io-client-2") as (url: string, options: object) => Client

/** A running server. */
export class Site {
  readonly kind: Kind
  readonly io: Server
  readonly http: HttpServer
  readonly #clients = new Set<Client>()
  readonly #stop: () => Promise<void>
  private constructor(kind: Kind, io: Server, http: HttpServer, stop: () => Promise<void>) {
    this.kind = kind
    this.io = io
    this.http = http
    this.#stop = stop
  }

  static async start(kind: Kind, options: Partial<ServerOptions> = {}, prepare?: (io: Server) => void): Promise<Site> {
    const http = createServer((_, response) => void response.writeHead(404).end())
    const listen = () =>
      new Promise<void>((resolve) => http.listen({ port: 0, host: "127.0.0.1", exclusive: true }, resolve))
    if (kind === "engine.io") {
      const io = new Server(http, options)
      prepare?.(io)
      await listen()
      return new Site(kind, io, http, () => io.close())
    }
    const io = new Server(options)
    const scope = Scope.makeUnsafe()
    const build = <A>(layer: Layer.Layer<A, unknown>) =>
      Effect.runPromise(Layer.buildWithScope(Layer.provide(layer, Logger.layer([])), scope))
    if (kind === "ours") {
      const served = HttpRouter.serve(SocketIO.route(io), { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(SocketIO.layer(io)),
        Layer.provide(NodeHttpServer.layer(() => http, { port: 0, host: "127.0.0.1", exclusive: true }))
      )
      http.removeAllListeners("request")
      prepare?.(io)
      await build(served)
    } else {
      await build(Layer.provideMerge(Layer.effectDiscard(SocketIO.attach(http, io)), SocketIO.layer(io)))
      prepare?.(io)
      await listen()
    }
    return new Site(kind, io, http, async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      if (http.listening) await new Promise((resolve) => http.close(resolve))
    })
  }

  get port(): number {
    return portOf(this.http)
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** A client of its own connection; by default over a WebSocket, and not connected again when it is lost. */
  client(namespace = "/", options: ClientOptions = {}): Client {
    return this.#kept(connect(this.url + namespace, {
      forceNew: true,
      reconnection: false,
      transports: ["websocket"],
      ...options
    }))
  }

  /** A client of Socket.IO 2, which speaks revision 3 of Engine.IO. */
  client2(namespace = "/", options: object = {}): Client {
    return this.#kept(connect2(this.url + namespace, {
      forceNew: true,
      reconnection: false,
      transports: ["websocket"],
      ...options
    }))
  }

  #kept(client: Client): Client {
    this.#clients.add(client)
    return client
  }

  /** Both ends of a new connection. */
  async pair(namespace = "/", options: ClientOptions = {}): Promise<[socket: Socket, client: Client]> {
    const client = this.client(namespace, options)
    const failed = new Promise<never>((_, reject) => client.once("connect_error", reject))
    failed.catch(() => {})
    const connected = value<Socket>(this.io.of(namespace.replace(/\?.*/, "")), "connection")
    const [socket] = await Promise.race([Promise.all([connected, next(client, "connect")]), failed])
    return [socket, client]
  }

  request(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url + path, init)
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    this.http.closeAllConnections()
    await within(this.#stop(), "the end of the server")
  }
}
