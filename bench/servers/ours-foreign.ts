/** Two members of a cluster in one process: one opens all sessions, the other gets all their requests. */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
import { mkdtempSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as ClusterModule from "../../src/internal/server/cluster.ts"
import type * as MembersModule from "../../src/internal/node/memberSockets.ts"
import { announce } from "./announce.ts"

// What is measured is what was built, and its types are there before it is.
const built = (name: string) => import(new URL(`../../dist/internal/${name}.js`, import.meta.url).href)
const { Cluster, Others }: typeof ClusterModule = await built("server/cluster")
const { makeMembers }: typeof MembersModule = await built("node/memberSockets")

const folder = mkdtempSync(join(tmpdir(), "bench-"))
const pathOf = (self: string) => ({ path: join(folder, self) })

// Members know a handler by the same name.
const echo = EngineIO.handler((socket) =>
  Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
)

const member = (server: Server, self: string, other: string) =>
  HttpRouter.serve(
    HttpRouter.add("*", "/engine.io/", echo),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(EngineIOLive),
    Layer.provide(NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })),
    Layer.provide(
      Layer.effect(
        Cluster,
        makeMembers({
          self,
          others: new Others<{ path: string }>().set(other, pathOf(other)),
          listen: pathOf(self),
          secret: ""
        })
      )
    )
  )

const owner = createServer()
const forwarder = createServer()
const front = createServer((request, response) => {
  const server = request.url!.includes("sid=") ? forwarder : owner
  server.emit("request", request, response)
})

const ready = Layer.effectDiscard(Effect.gen(function*() {
  yield* Effect.callback<void>((resume) => void front.listen(0, "127.0.0.1", () => resume(Effect.void)))
  const address = front.address()
  yield* announce(typeof address === "object" && address !== null ? address.port : 0, Socket.sendAll)
}))

// Two programs: one would build what both have in common once.
NodeRuntime.runMain(Layer.launch(member(forwarder, "forwarder", "owner")))
NodeRuntime.runMain(Layer.launch(Layer.provide(ready, member(owner, "owner", "forwarder"))))
