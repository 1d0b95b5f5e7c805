/**
 * Nothing but `HttpRouter`: it reads the body of a POST, and answers a GET with what came. There are no sessions, checks,
 * heartbeats or limits, so what it costs is what a poll costs in Effect and Node.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { createServer } from "node:http"
import { control } from "./control.ts"

const payloads = new Map<string, string>()
const parked = new Map<string, (payload: string) => void>()
let ids = 0

const answer = (payload: string) => HttpServerResponse.text(payload)

const poll = Effect.gen(function*() {
  const request = yield* HttpServerRequest
  const sid = /sid=(\w+)/.exec(request.url)?.[1]
  if (sid === undefined) {
    const opened = { sid: `s${ids++}`, upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1e6 }
    return answer(`0${JSON.stringify(opened)}`)
  }
  if (request.method === "POST") {
    const body = yield* request.text
    const waiting = parked.get(sid)
    if (body !== "1") {
      if (waiting === undefined) payloads.set(sid, body)
      else waiting(body)
    }
    return answer("ok")
  }
  const payload = payloads.get(sid)
  if (payload === undefined) {
    return yield* Effect.callback<HttpServerResponse.HttpServerResponse>((resume) => {
      parked.set(sid, (payload) => {
        parked.delete(sid)
        resume(Effect.succeed(answer(payload)))
      })
    })
  }
  payloads.delete(sid)
  return answer(payload)
})

const nothing = (): void => {}

Layer.effectDiscard(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const port = "port" in address ? address.port : 0
  control({ port, sessions: () => 0, broadcast: nothing, burst: nothing, flood: nothing })
})).pipe(
  Layer.provide(
    HttpRouter.serve(HttpRouter.add("*", "/engine.io/", poll), { disableLogger: true, disableListenLog: true })
  ),
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
  Layer.launch,
  NodeRuntime.runMain
)
