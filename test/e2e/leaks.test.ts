/**
 * What is left of sessions after every kind of ending: nothing. `STRESS=1` ends ten times as many.
 */
import { assert, describe, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { Socket } from "../../src/index.ts"
import { pause, within } from "../kit/events.ts"
import { Connection, engineTarget, PollingClient } from "../kit/http.ts"
import { nothingLeft, snapshot } from "../kit/leaks.ts"
import { type Config, type Target, type TestServer, unwatched, withServer } from "../kit/server.ts"
import { Opcode, RawWebSocket, upgradeHeaders, WebSocketClient } from "../kit/ws.ts"

const sessions = process.env["STRESS"] === undefined ? 100 : 1_000

interface Ending {
  readonly name: string
  readonly reason: string
  readonly config?: Config | undefined
  readonly end: (server: TestServer, round: number) => Promise<unknown>
}

const rawSession = async (server: Target): Promise<{ readonly raw: RawWebSocket; readonly sid: string }> => {
  const raw = await RawWebSocket.open(server)
  const { sid } = JSON.parse((await raw.next()).payload.toString().slice(1)) as { readonly sid: string }
  return { raw, sid }
}

const probed = async (server: Target): Promise<{ readonly client: PollingClient; readonly raw: RawWebSocket }> => {
  const client = await PollingClient.connect(server)
  const raw = await RawWebSocket.open(server, { sid: client.sid })
  raw.write(Opcode.text, "2probe")
  await raw.next()
  return { client, raw }
}

const upgraded = async (server: Target): Promise<{ readonly client: PollingClient; readonly raw: RawWebSocket }> => {
  const both = await probed(server)
  both.raw.write(Opcode.text, "5")
  both.raw.write(Opcode.text, "4hello")
  await both.raw.next()
  return both
}

const endings: ReadonlyArray<Ending> = [
  {
    name: "the client closes, polling",
    reason: "transport close",
    end: async (server) => (await PollingClient.connect(server)).post("4hello\x1e1")
  },
  {
    name: "the client closes, WebSocket",
    reason: "transport close",
    end: async (server) => (await WebSocketClient.connect(server)).close()
  },
  {
    name: "the client closes, upgraded",
    reason: "transport close",
    end: async (server) => {
      const { raw } = await upgraded(server)
      raw.write(Opcode.close)
      await raw.closed
    }
  },
  {
    name: "the server closes",
    reason: "forced close",
    end: async (server, round) => {
      const polling = await PollingClient.connect(server)
      const poll = await polling.park()
      const webSocket = await WebSocketClient.connect(server)
      for (const { sid } of [polling, webSocket]) {
        await server.run(Socket.close(await server.socket(sid), { discard: round % 2 === 0 }))
      }
      await poll.response
      await webSocket.closed
    }
  },
  {
    name: "the heartbeat fails",
    reason: "ping timeout",
    config: { pingInterval: 400, pingTimeout: 200 },
    end: async (server) => {
      await PollingClient.connect(server)
      const webSocket = await WebSocketClient.connect(server)
      await upgraded(server)
      await webSocket.closed
    }
  },
  {
    name: "what is no packet comes",
    reason: "parse error",
    end: async (server) => {
      await (await PollingClient.connect(server)).post("x")
      const webSocket = await WebSocketClient.connect(server)
      webSocket.send("x")
      await webSocket.closed
    }
  },
  {
    name: "the connection is reset while idle",
    reason: "transport close",
    end: async (server) => {
      await (await rawSession(server)).raw.connection.reset()
      await (await upgraded(server)).raw.connection.reset()
    }
  },
  {
    name: "the connection is reset in the middle of a POST",
    reason: "transport error",
    end: async (server) => {
      const client = await PollingClient.connect(server)
      await (await client.beginPost("4he", 6)).reset()
    }
  },
  {
    name: "the connection is reset in the middle of a GET",
    reason: "transport error",
    end: async (server) => {
      const client = await PollingClient.connect(server)
      await (await client.park()).connection.reset()
    }
  },
  {
    name: "the connections are reset in the middle of an upgrade",
    reason: "ping timeout",
    config: { pingInterval: 400, pingTimeout: 100 },
    end: async (server, round) => {
      const client = await PollingClient.connect(server)
      const raw = await RawWebSocket.open(server, { sid: client.sid })
      if (round % 2 === 0) {
        raw.write(Opcode.text, "2probe")
        await raw.next()
      }
      await raw.connection.reset()
    }
  },
  {
    name: "the upgrade is never completed",
    reason: "ping timeout",
    config: { pingInterval: 400, pingTimeout: 100, upgradeTimeout: 200, closeTimeout: 100 },
    end: async (server) => (await probed(server)).raw.closed
  }
]

/** Does something many times, a few at a time. */
const repeat = async (times: number, action: (round: number) => Promise<unknown>): Promise<void> => {
  for (let round = 0; round < times; round += 20) {
    await Promise.all(Array.from({ length: Math.min(20, times - round) }, (_, i) => action(round + i)))
  }
}

describe("nothing is left behind", () => {
  for (const { config = {}, end, name, reason } of endings) {
    it(
      `of ${sessions} sessions when ${name}`,
      { timeout: 60_000 },
      withServer(config, async (server) => {
        // What is made once and kept, by the server and by the clients, is not what is looked for.
        await end(server, 0)
        await pause(20)
        for (const { id } of server.opened.all) await server.reason(id)
        for (const connection of server.connections) await connection.close()
        const before = snapshot(server)
        await repeat(sessions, (round) => end(server, round))
        await server.ended.reached(server.opened.all.length)
        for (const connection of server.connections) await connection.close()
        await nothingLeft(server, before)
        for (const { sid } of server.ended.all) assert.strictEqual(await server.reasonText(sid), reason)
      })
    )
  }

  it(
    `of ${sessions} handshakes that were refused or given up`,
    withServer({}, async (server) => {
      const give = async (round: number) => {
        const connection = await Connection.open(server)
        const url = engineTarget({ EIO: round % 2 === 0 ? "4" : "3", transport: "websocket" })
        const headers = upgradeHeaders(round % 3 === 0 ? { "Sec-WebSocket-Key": "short" } : {})
        connection.send("GET", url, { headers })
        if (round % 4 === 0) await server.requests.find((it) => it === url)
        await connection.reset()
      }
      await give(0)
      const before = snapshot(server)
      await repeat(sessions, give)
      await nothingLeft(server, before)
      await server.ended.reached(server.opened.all.length)
    })
  )
})

/** A server in a process of its own, and what it wrote. */
const startChild = async (...args: ReadonlyArray<string>) => {
  const path = fileURLToPath(new URL("./fixtures/server.ts", import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [path, ...args], { stdio: ["pipe", "pipe", "pipe"] })
  let errors = ""
  child.stderr!.on("data", (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const exit = once(child, "exit") as Promise<[code: number | null, signal: string | null]>
  const [first] = await within(once(child.stdout!, "data") as Promise<[Buffer]>, "the port of the child")
  const target = unwatched(Number(first.toString()))
  return {
    child,
    target,
    exit: async () => ({ exit: await within(exit, "the end of the child"), errors })
  }
}

/** Sessions in every state, left open. */
const occupy = async (target: Target) => {
  const parked = await PollingClient.connect(target)
  const poll = await parked.park()
  const between = await PollingClient.connect(target)
  const upgrading = await probed(target)
  const moved = await upgraded(target)
  const webSocket = await rawSession(target)
  return { poll, between, upgrading, moved, webSocket }
}

describe("R-C10: the process ends by itself", () => {
  it("when the scope of its layers is closed, with sessions on polling, upgrading and upgraded", async () => {
    const { child, exit, target } = await startChild()
    const clients = await occupy(target)
    child.stdin!.end()
    assert.strictEqual((await clients.poll.response).text, "1")
    assert.isUndefined(await clients.moved.raw.closeCode())
    assert.isUndefined(await clients.webSocket.raw.closeCode())
    for (const { raw } of [clients.moved, clients.webSocket, clients.upgrading]) raw.write(Opcode.close)
    assert.deepStrictEqual(await exit(), { exit: [0, null], errors: "" })
  })

  it("when the clients have gone before", async () => {
    const { child, exit, target } = await startChild()
    await occupy(target)
    for (const connection of target.connections) await connection.reset()
    child.stdin!.end()
    assert.deepStrictEqual(await exit(), { exit: [0, null], errors: "" })
  })

  it("when no one was ever there", async () => {
    const { child, exit } = await startChild()
    child.stdin!.end()
    assert.deepStrictEqual(await exit(), { exit: [0, null], errors: "" })
  })

  it("when it is told to by SIGTERM, every client being told too", async () => {
    const { child, exit, target } = await startChild("launch")
    const clients = await occupy(target)
    child.kill("SIGTERM")
    assert.strictEqual((await clients.poll.response).text, "1")
    assert.isUndefined(await clients.moved.raw.closeCode())
    for (const { raw } of [clients.moved, clients.webSocket, clients.upgrading]) raw.write(Opcode.close)
    const { errors, exit: [code] } = await exit()
    assert.strictEqual(errors, "")
    assert.include([0, 130, 143], code)
  })
})
