/** The same as `router-alone` on a plain Node server, which is where `engine.io` and `ours-attach` stand. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { control } from "./control.ts"

const payloads = new Map<string, string>()
const parked = new Map<string, (payload: string) => void>()
let ids = 0

const http = createServer((request, response) => {
  const answer = (payload: string): void => {
    response.writeHead(200, {
      "content-type": "text/plain; charset=UTF-8",
      "content-length": Buffer.byteLength(payload)
    })
    response.end(payload)
  }
  const sid = /sid=(\w+)/.exec(request.url!)?.[1]
  if (sid === undefined) {
    const opened = { sid: `s${ids++}`, upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1e6 }
    return answer(`0${JSON.stringify(opened)}`)
  }
  if (request.method === "POST") {
    let body = ""
    request.setEncoding("utf8")
    request.on("data", (piece: string) => body += piece)
    request.on("end", () => {
      const waiting = parked.get(sid)
      if (body !== "1") {
        if (waiting === undefined) payloads.set(sid, body)
        else waiting(body)
      }
      answer("ok")
    })
    return
  }
  const payload = payloads.get(sid)
  if (payload !== undefined) {
    payloads.delete(sid)
    return answer(payload)
  }
  parked.set(sid, (payload) => {
    parked.delete(sid)
    answer(payload)
  })
})

const nothing = (): void => {}

http.listen(0, "127.0.0.1", () => {
  const { port } = http.address() as AddressInfo
  control({ port, sessions: () => 0, broadcast: nothing, burst: nothing, flood: nothing })
})
