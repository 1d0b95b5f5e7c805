/**
 * The engine that a Socket.IO server is bound to (rule R93): what `engine.io`'s server is to it, on a handler of ours.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Headers from "effect/http/Headers"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import { EventEmitter } from "node:events"
import type { ServerOptions } from "socket.io"
import type { HandshakeError } from "../../HandshakeError.ts"
import type { Middleware, OnRefused } from "../node/middleware.ts"
import { type Hooks, HooksId } from "../server/namedHandler.ts"
import type { ResponseInfo } from "../server/options.ts"
import type { Socket } from "../session/model.ts"
import type { Session } from "../session/session.ts"
import { Connection, type ConnectionHost, type EngineRequest, withQuery } from "./connection.ts"

/**
 * A server of `socket.io`, whatever the types of its events.
 *
 * @category models
 * @since 0.2.0
 */
export interface AnyServer {
  readonly engine: unknown
  bind(engine: unknown): unknown
  path(): string
  path(path: string): unknown
  serveClient(): boolean
  close(): Promise<void>
  /** What it was made with. */
  readonly _opts: Partial<ServerOptions>
}

/** The engine of a Socket.IO server: at the first call it is made, and the server bound to it. */
export const engineOf = (io: AnyServer): BoundEngine => {
  if (io.engine instanceof BoundEngine) return io.engine
  const engine = new BoundEngine(io._opts, io.engine !== undefined)
  io.bind(engine)
  return engine
}

export class BoundEngine extends EventEmitter implements ConnectionHost {
  readonly connections: Map<string, Connection> = new Map()
  /** What the Socket.IO server was made with. */
  readonly opts: object
  /** Whether the Socket.IO server had another engine before. */
  readonly isSecond: boolean
  /** Run before every request. */
  readonly middleware: Array<Middleware> = []
  /** Makes the ids of sessions, where the application has set it. */
  generateId: ((request: EngineRequest) => string | PromiseLike<string>) | undefined = undefined
  /** The function of its handlers. */
  readonly factory: ((socket: Socket) => ReturnType<typeof accept>) & { readonly [HooksId]: Hooks }
  constructor(opts: object, isSecond: boolean) {
    super()
    this.opts = opts
    this.isSecond = isSecond
    // The engine has no other sockets than the sessions of this process.
    this.factory = Object.assign((socket: Socket) => accept(this, socket as Session), {
      [HooksId]: new EngineHooks(this)
    })
  }

  get clientsCount(): number {
    return this.connections.size
  }

  get clients(): Readonly<Record<string, Connection>> {
    return Object.fromEntries(this.connections)
  }

  use(middleware: Middleware): void {
    this.middleware.push((request, response, next) => middleware(withQuery(request), response, next))
  }

  readonly onRefused: OnRefused = ({ code, context, message }, request) => this.refused(request, code, message, context)

  refused(source: object, code: HandshakeError["code"], message: string, context: unknown): void {
    this.emit("connection_error", { req: withQuery(source as EngineRequest), code, message, context })
  }

  close(): this {
    for (const connection of this.connections.values()) connection.close(true)
    return this
  }
}

/**
 * The application of one session: it is over when the session is. The request is that of the fiber that asks, so that there
 * is nothing to wait for.
 */
const accept = (
  engine: BoundEngine,
  session: Session
): Effect.Effect<{ readonly app: Effect.Effect<void> }, never, HttpServerRequest> => {
  const { context } = Fiber.getCurrent()!
  const { source } = Context.getUnsafe(context as Context.Context<HttpServerRequest>, HttpServerRequest)
  const connection = new Connection(engine, session, requestOf(source, session))
  return Effect.succeed({ app: Effect.callback<void>((resume) => connection.open(() => resume(Effect.void))) })
}

/** What the application has set on the engine, or listens to, by the time it is needed. */
class EngineHooks implements Hooks {
  private readonly engine: BoundEngine
  constructor(engine: BoundEngine) {
    this.engine = engine
  }

  get generateId(): Hooks["generateId"] {
    const { generateId } = this.engine
    if (generateId === undefined) return undefined
    return ({ source }) =>
      Effect.tryPromise({
        try: async () => generateId.call(this.engine, withQuery(source as EngineRequest)),
        catch: (error) => error
      })
  }

  get responseHeaders(): Hooks["responseHeaders"] {
    const { engine } = this
    if (engine.listenerCount("headers") + engine.listenerCount("initial_headers") === 0) return undefined
    return ({ initial, request: { source } }: ResponseInfo) => {
      const headers: Record<string, string> = {}
      if (initial) engine.emit("initial_headers", headers, withQuery(source as EngineRequest))
      engine.emit("headers", headers, withQuery(source as EngineRequest))
      return headers as Headers.Input
    }
  }

  onRefused(source: object, code: HandshakeError["code"], message: string, context: unknown): void {
    this.engine.refused(source, code, message, context)
  }
}

/** The request that Socket.IO keeps: Node's own or, where there is none behind it, what is known of it. */
const requestOf = (source: object, { handshake: { headers, query, url } }: Session): EngineRequest => {
  // What is not Node's is one of the web.
  const connection = { encrypted: (source as Request).url.startsWith("https:") }
  const request = ("socket" in source ? source : { headers, url, method: "GET", connection }) as EngineRequest
  request._query ??= query
  return request
}
