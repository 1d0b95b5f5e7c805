/**
 * Engine.IO on a Node server that somebody else made: next to Express, Fastify or any other listener.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Http2 from "node:http2"
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import type { BadRequest } from "../../HandshakeError.ts"
import { keepHead } from "./heads.ts"
import { type Middleware, run } from "./middleware.ts"
import { afterAnswers } from "./pipeline.ts"
import { replace } from "./serverMethod.ts"
import { addHeaders } from "./upgrades.ts"

/**
 * The listeners of a Node server.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeHandlers {
  readonly handleRequest: (request: Http.IncomingMessage, response: Http.ServerResponse) => void
  readonly handleUpgrade: (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => void
}

/**
 * A Node server that can carry Engine.IO: HTTP, HTTPS, or HTTP/2 with `allowHTTP1`.
 *
 * @category models
 * @since 0.1.0
 */
export type NodeServer = Http.Server | Http2.Http2SecureServer | Http2.Http2Server

/**
 * Middlewares that wrap `writeHead` (those that use `on-headers`) lose the headers where the reason before them is
 * `undefined`, as Effect gives it.
 */
const keepReasons = (response: Http.ServerResponse): void => {
  const writeHead = response.writeHead as (...args: Array<unknown>) => Http.ServerResponse
  response.writeHead = (...args: Array<unknown>) => writeHead.apply(response, args.filter((it) => it !== undefined))
}

/** Makes the listeners for a handler; their requests live as long as the scope. */
export const makeHandlers = <E, R>(
  handler: Effect.Effect<HttpServerResponse, E, R>,
  direct: (source: Http.IncomingMessage, response: Http.ServerResponse) => boolean,
  middleware: ReadonlyArray<Middleware>,
  onRefused: (error: BadRequest) => void
): Effect.Effect<NodeHandlers, never, Scope.Scope | Exclude<R, HttpServerRequest | Scope.Scope>> =>
  Effect.gen(function*() {
    // Its requests end when it does, and not before all that was added to the scope between.
    const scope = yield* Scope.fork(yield* Effect.scope, "parallel")
    // Requests run uninterruptibly unless said otherwise; a client that goes away must end its poll (rule R37).
    const interruptible = Effect.interruptible(handler)
    const fiber: NodeHandlers["handleRequest"] = yield* NodeHttpServer.makeHandler(interruptible, { scope })
    // Most requests are polls and posts of open sessions, for which a fiber would do nothing.
    const request: NodeHandlers["handleRequest"] = (source, response) => {
      if (Object.hasOwn(response, "writeHead")) keepReasons(response)
      if (!direct(source, response)) fiber(source, response)
    }
    const upgrade = yield* NodeHttpServer.makeUpgradeHandler(
      Effect.die("the upgrade is ours: Effect's own WebSocket server is never asked"),
      interruptible,
      { scope }
    )
    const accept = (source: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      keepHead(source, head)
      upgrade(source, socket, head)
    }
    if (middleware.length === 0) return { handleRequest: request, handleUpgrade: accept }
    return {
      handleRequest: (source, response) =>
        run(middleware, onRefused, source, response, () => request(source, response)),
      handleUpgrade: (source, socket, head) => {
        socket.on("error", ignoreError)
        const response = new Http.ServerResponse(source)
        // Whatever a middleware answers to an upgrade, the client only sees its connection close.
        response.end = function() {
          socket.destroy()
          return this
        }
        run(middleware, onRefused, source, response, () => {
          // Middlewares that add headers at the last moment wait for this call.
          response.writeHead(200)
          addHeaders(source, response.getHeaders())
          socket.off("error", ignoreError)
          accept(source, socket, head)
        })
      }
    }
  })

const ignoreError = (): void => {}
const ignoreRequest = (): void => {}

/**
 * Where on a server Engine.IO is mounted, and what becomes of upgrades that are nobody's.
 *
 * @category options
 * @since 0.1.0
 */
export interface AttachOptions {
  /** The path, below which every request is taken. Default: `/engine.io`. */
  readonly path?: string | undefined
  /** Whether the path has to be followed by a slash. Default: true. */
  readonly addTrailingSlash?: boolean | undefined
  /** Whether upgrades that no listener answers are closed. Default: true. */
  readonly destroyUpgrade?: boolean | undefined
  /** How long a listener has to answer, in milliseconds. Default: 1000. */
  readonly destroyUpgradeTimeout?: number | undefined
  /** Run on every request and upgrade below the path, in order. Default: none. */
  readonly middleware?: ReadonlyArray<Middleware> | undefined
}

/** Whether a request target is at the path or below it, on a segment boundary (rule R1). */
const matcher = ({ addTrailingSlash = true, path = "/engine.io" }: AttachOptions) => {
  const base = path.replace(/\/+$/, "")
  return (url: string | undefined): boolean => {
    if (url === undefined || !url.startsWith(base)) return false
    const next = url[base.length]
    return next === "/" || (!addTrailingSlash && (next === undefined || next === "?" || next === "#"))
  }
}

/** One engine on a server. */
interface Mount extends NodeHandlers {
  readonly matches: (url: string | undefined) => boolean
  readonly acceptsUpgrades: boolean
  /** Told of upgrades that are for none of the engines, before others are. */
  readonly onOther: (socket: Net.Socket) => void
}

interface Mounts {
  /** The last one first. */
  readonly all: Array<Mount>
  readonly restore: () => void
}

const servers = new WeakMap<Http.Server, Mounts>()

/** Puts an engine before all other listeners of a server, whenever they were added (rule R2); returns its removal. */
const mount = (server: Http.Server, one: Mount): () => void => {
  let mounts = servers.get(server)
  if (mounts === undefined) servers.set(server, mounts = intercept(server))
  const { all, restore } = mounts
  all.unshift(one)
  return () => {
    all.splice(all.indexOf(one), 1)
    if (all.length === 0) restore()
  }
}

const intercept = (server: Http.Server): Mounts => {
  const all: Array<Mount> = []
  const { emit } = server
  const restore = replace(server, "emit", function(this: Http.Server, event: string, ...args: Array<unknown>): boolean {
    const isUpgrade = event === "upgrade"
    if (isUpgrade || event === "request" || event === "checkContinue") {
      const [request, other, head] = args as [Http.IncomingMessage, unknown, Buffer]
      const one = all.find((it) => it.matches(request.url) && (it.acceptsUpgrades || !isUpgrade))
      if (one !== undefined) {
        if (event === "checkContinue") (other as Http.ServerResponse).writeContinue()
        if (isUpgrade) one.handleUpgrade(request, other as Net.Socket, head)
        else one.handleRequest(request, other as Http.ServerResponse)
        return true
      }
      if (isUpgrade) { for (const it of all) it.onOther(other as Net.Socket) }
    }
    return Reflect.apply(emit, this, [event, ...args])
  })
  return {
    all,
    // Where others have wrapped it since, ours stays below theirs.
    restore: () => {
      if (restore()) servers.delete(server)
    }
  }
}

/** Puts the listeners on a server, until the scope closes. */
export const attach = (
  nodeServer: NodeServer,
  handlers: NodeHandlers,
  options: AttachOptions,
  acceptsUpgrades: boolean
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      // The members used here are the same on all kinds.
      const server = nodeServer as Http.Server
      const onOther = (socket: Net.Socket): void => {
        if (!acceptsUpgrades) return
        socket.on("error", ignoreError)
        if (options.destroyUpgrade !== false) destroyUnanswered(socket, options.destroyUpgradeTimeout ?? 1000)
      }
      const unmount = mount(server, { ...handlers, matches: matcher(options), acceptsUpgrades, onOther })
      // Node makes requests of HTTP/2 streams, and asks for upgrades, only where somebody listens for them.
      server.on("request", ignoreRequest)
      if (acceptsUpgrades) server.on("upgrade", ignoreRequest)
      return () => {
        unmount()
        server.off("request", ignoreRequest)
        server.off("upgrade", ignoreRequest)
      }
    }),
    (restore) => Effect.sync(restore)
  ).pipe(Effect.asVoid)

/** Closes a connection that asked for an upgrade which nobody answers (rule R25). */
const destroyUnanswered = (socket: Net.Socket, timeout: number): void =>
  // Answers to requests before it say nothing about the upgrade.
  afterAnswers(socket, () => {
    const written = socket.bytesWritten
    const timer = setTimeout(() => {
      if (socket.writable && socket.bytesWritten === written) socket.destroySoon()
    }, timeout)
    socket.once("close", () => clearTimeout(timer))
  })
