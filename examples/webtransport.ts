/**
 * An echo over polling and WebTransport, and a page at `/` that says what it is on. Needs `openssl`, and a browser with
 * WebTransport; the page may come over HTTP because it comes from localhost.
 *
 * HTTP/3 is `@moq/web-transport` here, which npm installs whole (its binary for Linux wants glibc 2.38). Most servers
 * use `@fails-components/webtransport`, which downloads its binary when it is installed:
 *
 * ```
 * const http3 = new Http3Server({ port, host: "0.0.0.0", secret: "…", cert, privKey })
 * http3.startServer()
 * const sessions = await http3.sessionStream("/engine.io/") // a ReadableStream of what acceptWebTransport takes
 * ```
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { EngineIO, Socket } from "effect-engine.io"
import { execFileSync } from "node:child_process"
import { createHash, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import { fileURLToPath } from "node:url"

// The package is TypeScript, which Node does not run below node_modules.
registerHooks({
  load: (url, context, next) => {
    if (!url.includes("/@moq/web-transport/src/")) return next(url, context)
    const source = stripTypeScriptTypes(readFileSync(fileURLToPath(url), "utf8"))
    return { format: "module", shortCircuit: true, source }
  }
})
const { Server } = await import("@moq/web-transport")

// Browsers take a certificate that signs itself by its hash, if it is an elliptic one good for less than two weeks.
const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "10"]
const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
const pem = execFileSync("openssl", ["req", "-x509", ...kind, ...names, "-keyout", "-"], {
  stdio: ["ignore", "pipe", "ignore"]
})
const hash = createHash("sha256").update(new X509Certificate(pem).raw).digest()

// One function for both, so that a session may begin with polling and move to WebTransport.
const echo = (socket: Socket.Socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })

const page = `<!doctype html><meta charset="utf-8"><title>WebTransport</title><pre id="log"></pre><script type="module">
import { Socket } from "/client.js"
const say = (line) => log.append(line + "\\n")
const serverCertificateHashes = [{ algorithm: "sha-256", value: new Uint8Array([${hash.join()}]) }]
const transports = (new URLSearchParams(location.search).get("transports") ?? "polling,webtransport").split(",")
const socket = new Socket({ transports, transportOptions: { webtransport: { serverCertificateHashes } } })
socket.on("open", () => say("open on " + socket.transport.name))
socket.on("upgrade", ({ name }) => say("upgraded to " + name))
socket.on("message", (message) => say("echo of " + message))
socket.on("close", (reason) => say("closed: " + reason))
setInterval(() => socket.send(new Date().toLocaleTimeString() + " over " + socket.transport.name), 1000)
</script>`

const routes = Layer.mergeAll(
  EngineIO.route("/engine.io/", echo),
  HttpRouter.add("GET", "/", Effect.succeed(HttpServerResponse.html(page))),
  HttpRouter.add(
    "GET",
    "/client.js",
    HttpServerResponse.file(fileURLToPath(import.meta.resolve("engine.io-client/dist/engine.io.esm.min.js")))
  )
)

// HTTP/3 is UDP: it has the port with the same number.
const sessions = Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  if (!("port" in address)) return
  const quic = Server.bind(`[::]:${address.port}`, pem, pem)
  const accept = Effect.gen(function*() {
    const request = yield* Effect.promise(() => quic.accept())
    if (request === null) return yield* Effect.interrupt
    const url = yield* Effect.promise(() => request.url)
    const session = yield* Effect.promise(() => request.ok())
    yield* EngineIO.acceptWebTransport(session, echo, { url })
  })
  // A client that goes away between two steps is no reason to stop.
  yield* Effect.forkScoped(Effect.forever(Effect.catchDefect(accept, Effect.logDebug)))
}))

const server = Layer.unwrap(
  Effect.map(
    Config.Int("PORT").pipe(Config.withDefault(3000)),
    (port) => NodeHttpServer.layer(createServer, { port })
  )
)

Layer.merge(HttpRouter.serve(routes, { disableLogger: true }), sessions).pipe(
  Layer.provide(EngineIO.layer({ transports: ["polling", "websocket", "webtransport"] })),
  Layer.provide(server),
  Layer.launch,
  NodeRuntime.runMain
)
