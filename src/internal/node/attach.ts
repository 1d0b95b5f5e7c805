/**
 * Engine.IO on a Node server that somebody else made: next to Express, Fastify or any other listener.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Http from "node:http"
import type * as Http2 from "node:http2"
import type * as Net from "node:net"
import { onStop } from "../server/drain.ts"
import type { Factory } from "../server/namedHandler.ts"
import { EngineIO } from "../server/service.ts"
import { type AttachOptions, checkAttach } from "./attachOptions.ts"
import { type NodeHandlers, toNodeHandlers } from "./nodeHandlers.ts"
import { nodePlatformOf } from "./nodePlatform.ts"
import { afterAnswers } from "./pipeline.ts"
import { replace } from "./serverMethod.ts"

/**
 * A Node server that can carry Engine.IO: HTTP, HTTPS, or HTTP/2 with `allowHTTP1`.
 *
 * @category models
 * @since 0.1.0
 */
export type NodeServer = Http.Server | Http2.Http2SecureServer | Http2.Http2Server

const ignoreError = (): void => {}
const ignoreRequest = (): void => {}

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
export const mount = (server: Http.Server, one: Mount): () => void => {
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

/** Serves the factory's sessions on a server, until the scope closes. */
export const attach = Effect.fnUntraced(function*(
  nodeServer: NodeServer,
  factory: Factory,
  options: AttachOptions
): Effect.fn.Return<void, never, EngineIO | Scope.Scope> {
  yield* Effect.orDie(checkAttach(options))
  const { engine } = yield* EngineIO
  const platform = nodePlatformOf(engine)
  // The members used here are the same on all kinds.
  const server = nodeServer as Http.Server
  const handlers = yield* toNodeHandlers(factory, { middleware: options.middleware })
  yield* listen(server, handlers, options, engine.settings.transports.has("websocket"))
  yield* Effect.acquireRelease(
    Effect.sync(() => platform.mount(server, (isStopped) => onStop(engine, isStopped))),
    () => Effect.sync(() => platform.unmount(server))
  )
})

/** Puts the listeners on a server, until the scope closes. */
const listen = (
  server: Http.Server,
  handlers: NodeHandlers,
  options: AttachOptions,
  acceptsUpgrades: boolean
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
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
