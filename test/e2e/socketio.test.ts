import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { io, type ManagerOptions, type SocketOptions } from "socket.io-client"
import { Socket } from "../../src/index.ts"
import { within } from "../kit/events.ts"
import { type AppFactory, withServer } from "../kit/server.ts"

/** As much of Socket.IO's protocol as its client needs: connect, and events that are sent back, attachments too. */
const socketIO: AppFactory = (socket) =>
  Effect.succeed({
    app: Socket.forEach(socket, (message) => {
      if (typeof message !== "string") return Socket.send(socket, message)
      if (message.startsWith("0")) return Socket.send(socket, `0{"sid":"${socket.id.slice(0, 5)}"}`)
      return message.startsWith("2") || message.startsWith("5") ? Socket.send(socket, message) : Effect.void
    })
  })

const transports: Record<string, Partial<ManagerOptions & SocketOptions>> = {
  "polling": { transports: ["polling"] },
  "websocket": { transports: ["websocket"] },
  "an upgrade": { transports: ["polling", "websocket"] }
}

describe("the real socket.io-client", () => {
  for (const [name, options] of Object.entries(transports)) {
    it(
      `connects over ${name}, and its events come back in order, with their bytes`,
      withServer({ application: socketIO }, async (server) => {
        const client = io(`http://127.0.0.1:${server.port}`, { path: "/engine.io/", reconnection: false, ...options })
        const received: Array<unknown> = []
        try {
          await within(
            new Promise<void>((resolve, reject) => {
              client.on("connect_error", reject)
              client.on("echo", (value: unknown) => {
                received.push(value instanceof Uint8Array ? [...value] : value)
                if (received.length === 30) resolve()
              })
              client.on("connect", () => {
                for (let i = 0; i < 30; i++) client.emit("echo", i % 3 === 0 ? Buffer.from([i]) : `${i} 👋`)
              })
            }),
            "thirty events"
          )
        } finally {
          client.disconnect()
        }
        assert.deepStrictEqual(received, Array.from({ length: 30 }, (_, i) => i % 3 === 0 ? [i] : `${i} 👋`))
      })
    )
  }
})
