/**
 * Next to Express: one Node server, on which Engine.IO takes what is below `/engine.io/`, and Express the rest. A route
 * of Express speaks to everybody who is connected.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect } from "effect"
import { EngineIO, EngineIOLive, Socket } from "effect-engine.io"
import express from "express"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const program = Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(3000))
  // Callbacks of Express run Effects with what this program has.
  const run = Effect.runPromiseWith(yield* Effect.context<EngineIO.EngineIO>())

  const app = express()
  app.get("/", async (_request, response) => {
    response.send(`${await run(EngineIO.count)} connected`)
  })
  app.post("/news", express.text(), async (request, response) => {
    response.json({ sent: await run(EngineIO.broadcast(String(request.body))) })
  })

  const server = createServer(app)
  yield* EngineIO.attach(
    server,
    (socket) => Effect.succeed({ app: Socket.forEach(socket, (message) => Socket.send(socket, message)) })
  )
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(port, () => resume(Effect.void))),
    () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  yield* Console.log(`Listening on http://localhost:${(server.address() as AddressInfo).port}`)
  return yield* Effect.never
})

program.pipe(Effect.scoped, Effect.provide(EngineIOLive), NodeRuntime.runMain)
