/**
 * What can happen to a session, with what must come of it.
 */
import { assert } from "@effect/vitest"
import type * as fc from "fast-check"
import { Socket } from "../../src/index.ts"
import { initial, type Model, type Real } from "./session.ts"

type Command = fc.AsyncCommand<Model, Real>

/** A command from its three parts. */
const command = (
  name: string,
  check: (model: Readonly<Model>) => boolean,
  run: (model: Model, real: Real) => Promise<void>
): Command => ({
  check,
  run,
  toString: () => name
})

const isOpen = (model: Readonly<Model>): boolean => model.state === "open"
const isPolling = (model: Readonly<Model>): boolean => isOpen(model) && model.transport === "polling"
const isUpgraded = (model: Readonly<Model>): boolean => isOpen(model) && model.transport === "websocket"

/** The session is over: what the server had not delivered is gone. */
const end = async (model: Model, real: Real, reason: string): Promise<void> => {
  await real.received(model.toServer)
  await real.ended(reason)
  Object.assign(model, initial(), { state: "ended", next: model.next })
}

/** What the parked GET was answered with is what the model says waited for the client. */
const deliver = async (model: Model, real: Real): Promise<void> => {
  model.isPolling = false
  assert.deepStrictEqual(await real.polled(), model.toClient.map((it) => `4${it}`))
  model.toClient = []
}

export const connect = command("connect", ({ state }) => state !== "open", async (model, real) => {
  await real.connect()
  Object.assign(model, initial(), { state: "open", next: model.next })
})

/** The application sends; a parked GET brings it at once, a WebSocket too. */
export const send = (count: number): Command =>
  command(`send ${count}`, isOpen, async (model, real) => {
    for (let n = 0; n < count; n++) {
      const message = `to client ${model.next++}`
      model.toClient.push(message)
      // Together they go out in one payload: `send` alone may be flushed before the next.
    }
    const fresh = model.toClient.slice(-count)
    await real.server.run(Socket.sendAll(real.socket!, fresh))
    if (model.transport === "websocket") {
      assert.deepStrictEqual(await real.framed(count), fresh.map((it) => `4${it}`))
      model.toClient = []
    } else if (model.isPolling) {
      await deliver(model, real)
    }
  })

/** The client polls; what waits for it comes at once, or else the GET is parked. */
export const poll = command("poll", (model) => isPolling(model) && !model.isPolling, async (model, real) => {
  await real.park()
  model.isPolling = true
  // During an upgrade a GET is answered with a noop where nothing else waits (rule R77).
  if (model.toClient.length > 0 || model.candidate === "probed") await deliver(model, real)
})

/** The client posts some messages. */
export const post = (count: number): Command =>
  command(`post ${count}`, isPolling, async (model, real) => {
    const messages = Array.from({ length: count }, () => `to server ${model.next++}`)
    assert.strictEqual((await real.post(messages.map((it) => `4${it}`).join("\x1e"))).text, "ok")
    model.toServer.push(...messages)
    await real.received(model.toServer)
  })

/** The client sends a message by WebSocket. */
export const frame = command("frame", isUpgraded, async (model, real) => {
  const message = `to server ${model.next++}`
  real.frame(`4${message}`)
  model.toServer.push(message)
  await real.received(model.toServer)
})

export const openCandidate = command(
  "open candidate",
  (model) => isPolling(model) && model.candidate === "none",
  async (model, real) => {
    await real.openCandidate()
    model.candidate = "open"
  }
)

export const probe = command(
  "probe",
  (model) => isPolling(model) && model.candidate === "open",
  async (model, real) => {
    await real.probe()
    model.candidate = "probed"
    // The noop that lets the client stop polling.
    if (model.isPolling) await deliver(model, real)
  }
)

/** The client's WebSocket takes over, and brings what no poll took. */
export const swap = command(
  "swap",
  (model) => isPolling(model) && model.candidate === "probed" && !model.isPolling,
  async (model, real) => {
    await real.swap()
    Object.assign(model, { candidate: "none", transport: "websocket" })
    assert.deepStrictEqual(await real.framed(model.toClient.length), model.toClient.map((it) => `4${it}`))
    model.toClient = []
  }
)

/** The client gives its upgrade up; the session stays where it is. */
export const abandon = command(
  "abandon candidate",
  (model) => isPolling(model) && model.candidate !== "none",
  async (model, real) => {
    await real.candidate!.connection.reset()
    await real.server.barrier()
    real.candidate = undefined
    model.candidate = "none"
  }
)

/** Something other than a probe on the candidate ends it, and only it. */
export const spoil = command(
  "spoil candidate",
  (model) => isPolling(model) && model.candidate !== "none",
  async (model, real) => {
    real.candidate!.write(1, "4not yet")
    await real.candidate!.closeCode()
    await real.candidate!.connection.reset()
    real.candidate = undefined
    model.candidate = "none"
  }
)

// --- ends ------------------------------------------------------------------------------------------------------------

export const closeByClient = command("client closes", isOpen, async (model, real) => {
  if (model.transport === "websocket") {
    real.frame("1")
  } else {
    const parked = model.isPolling
    assert.strictEqual((await real.post("1")).text, "ok")
    if (parked) assert.deepStrictEqual(await real.polled(), [])
  }
  await end(model, real, "TransportClose")
})

/** The application closes: what waits is delivered first (rules R-C3, R-C4, R39). */
export const closeByServer = command("server closes", isOpen, async (model, real) => {
  await real.server.run(Socket.close(real.socket!))
  if (model.transport === "websocket") {
    assert.isUndefined(await real.webSocket!.closeCode())
    await real.webSocket!.connection.close()
  } else {
    if (!model.isPolling) await real.park()
    assert.deepStrictEqual(await real.polled(), [...model.toClient.map((it) => `4${it}`), "1"])
  }
  await end(model, real, "ForcedClose")
})

/** The application closes and drops what waits (rule R-C5). */
export const discard = command("server discards", isOpen, async (model, real) => {
  await real.server.run(Socket.close(real.socket!, { discard: true }))
  if (model.transport === "websocket") await real.webSocket!.connection.close()
  else if (model.isPolling) assert.deepStrictEqual(await real.polled(), ["1"])
  await end(model, real, "ForcedClose")
})

export const abortPoll = command(
  "abort poll",
  (model) => isPolling(model) && model.isPolling,
  async (model, real) => {
    await real.poll!.connection.reset()
    await end(model, real, "Aborted")
  }
)

export const abortPost = command("abort post", isPolling, async (model, real) => {
  await real.abortPost()
  await end(model, real, "Aborted")
})

export const overlap = command(
  "overlap",
  (model) => isPolling(model) && model.isPolling,
  async (model, real) => {
    assert.strictEqual(await real.overlap(), 400)
    assert.deepStrictEqual(await real.polled(), ["1"])
    await end(model, real, "Overlap")
  }
)

export const garbage = command("garbage", isOpen, async (model, real) => {
  if (model.transport === "websocket") real.frame("garbage")
  else assert.strictEqual((await real.post("garbage")).status, 400)
  await end(model, real, "ParseError")
})

export const heartbeat = command("wrong heartbeat", isOpen, async (model, real) => {
  if (model.transport === "websocket") real.frame("2")
  else assert.strictEqual((await real.post("2")).status, 400)
  await end(model, real, "InvalidHeartbeat")
})

export const reset = command("reset", isUpgraded, async (model, real) => {
  await real.webSocket!.connection.reset()
  await end(model, real, "TransportClose")
})

/** The client falls silent. */
export const timeout = command("timeout", isOpen, async (model, real) => end(model, real, "PingTimeout"))

/** A request to a session that is over, by a client that does not know. */
export const late = command("late post", ({ state }) => state === "ended", async (_, real) => {
  assert.strictEqual((await real.post("4late")).text, "{\"code\":1,\"message\":\"Session ID unknown\"}")
})
