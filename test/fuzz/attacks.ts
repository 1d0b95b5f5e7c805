/**
 * Clients that do everything a client can do, in any order: each attack is bounded, and leaves nothing open.
 */
import { pause } from "../kit/events.ts"
import { Connection, encodeRequest, PollingClient, reset } from "../kit/http.ts"
import type { Target } from "../kit/server.ts"
import { encodeFrame, Opcode, upgradeHeaders } from "../kit/ws.ts"
import { frame, packet, payload, request, split, target } from "./inputs.ts"
import type { Random } from "./random.ts"

/** What attacks share: where to go, and the sessions that others opened. */
export interface Battlefield {
  readonly target: Target
  readonly sids: Array<string>
  /** How many requests, frames and packets were sent. */
  inputs: number
}

type Attack = (random: Random, field: Battlefield) => Promise<void>

const anySid = (random: Random, { sids }: Battlefield): string | undefined =>
  random.chance(0.2) ? undefined : random.chance(0.1) || sids.length === 0 ? "x".repeat(20) : random.pick(sids)

/** Opens a session and leaves it to whoever finds it. */
const open = async (random: Random, field: Battlefield): Promise<string | undefined> => {
  const revision = random.chance(0.8) ? "4" : "3"
  const connection = await Connection.open(field.target)
  const response = await connection.exchange("GET", `/engine.io/?EIO=${revision}&transport=polling`)
  await connection.close()
  const sid = /"sid":"([^"]+)"/.exec(response.text)?.[1]
  if (sid !== undefined) field.sids.push(sid)
  else if (revision === "4") throw new Error(`no session but ${response.status} ${response.text}`)
  return sid
}

/** The end of a connection: orderly, by a reset, or none until the answer had its time. */
const end = async (random: Random, connection: Connection): Promise<void> => {
  if (random.chance(0.6)) {
    await Promise.race([connection.outcome().catch(() => undefined), pause(random.between(1, 40))])
  }
  if (connection.socket.destroyed) return
  switch (random.below(3)) {
    case 0:
      connection.socket.end()
      await pause(random.between(0, 5))
      break
    case 1:
      reset(connection.socket)
      break
  }
  connection.socket.destroy()
}

const write = async (random: Random, connection: Connection, bytes: Buffer): Promise<void> => {
  for (const piece of split(random, bytes)) {
    if (connection.socket.destroyed) return
    connection.write(piece)
    if (random.chance(0.1)) await pause(random.below(4))
  }
}

const malformedHttp: Attack = async (random, field) => {
  const connection = await Connection.open(field.target)
  for (let count = random.between(1, 3); count > 0; count--) {
    field.inputs++
    await write(random, connection, request(random, anySid(random, field)))
  }
  await end(random, connection)
}

const malformedFrames: Attack = async (random, field) => {
  const connection = await Connection.open(field.target)
  const url = target(random, random.chance(0.5) ? anySid(random, field) : undefined, "websocket")
  const headers = upgradeHeaders(
    random.chance(0.3)
      ? { "Sec-WebSocket-Extensions": random.pick(["permessage-deflate", "x", "permessage-deflate; a"]) }
      : {}
  )
  await write(random, connection, encodeRequest("GET", url, { headers }))
  if (random.chance(0.7)) await Promise.race([connection.outcome().catch(() => undefined), pause(50)])
  for (let count = random.between(0, 12); count > 0; count--) {
    field.inputs++
    await write(random, connection, frame(random))
  }
  await end(random, connection)
}

/** One of several clients that speak for one session, each as it likes. */
const speak = async (random: Random, field: Battlefield, sid: string): Promise<void> => {
  for (let count = random.between(1, 6); count > 0; count--) {
    field.inputs++
    const connection = await Connection.open(field.target)
    switch (random.below(4)) {
      case 0:
        connection.send("GET", target(random, sid, "polling"))
        break
      case 1:
        connection.send("POST", target(random, sid, "polling"), { body: payload(random) })
        break
      case 2: {
        const bytes = encodeRequest("POST", target(random, sid, "polling"), { body: payload(random) })
        connection.write(bytes.subarray(0, random.below(bytes.length)))
        break
      }
      default: {
        connection.send("GET", target(random, sid, "websocket"), { headers: upgradeHeaders() })
        for (const text of ["2probe", "5", packet(random), packet(random)]) {
          if (random.chance(0.7)) connection.write(encodeFrame(Opcode.text, text.toWellFormed()))
          if (random.chance(0.3)) await pause(random.below(10))
        }
      }
    }
    await end(random, connection)
  }
}

const strangers: Attack = async (random, field) => {
  const sid = await open(random, field)
  if (sid === undefined) return
  const clients = random.list(2, 5, () => random.fork())
  await Promise.all(clients.map((random) => speak(random, field, sid)))
}

/** A client that keeps to the protocol, until it does not. */
const interleaved: Attack = async (random, field) => {
  const client = await PollingClient.connect(field.target)
  field.sids.push(client.sid)
  const under: Array<Connection> = []
  for (let count = random.between(1, 10); count > 0; count--) {
    field.inputs++
    const connection = await Connection.open(field.target)
    under.push(connection)
    switch (random.below(6)) {
      case 0:
      case 1:
        connection.send("GET", client.url())
        break
      case 2:
        connection.send("POST", client.url(), { body: `4${count}` })
        break
      case 3:
        connection.send("POST", client.url(), { body: random.pick(["1", "3", "4x\x1e1\x1e4y"]) })
        break
      case 4:
        connection.send("GET", target(random, client.sid, "websocket"), { headers: upgradeHeaders() })
        connection.write(encodeFrame(Opcode.text, "2probe"))
        if (random.chance(0.5)) connection.write(encodeFrame(Opcode.text, "5"))
        break
      default: {
        const other = random.pick(under)
        if (random.chance(0.5) && !other.socket.destroyed) reset(other.socket)
        else other.socket.destroy()
      }
    }
    if (random.chance(0.6)) await pause(random.below(12))
  }
  for (const connection of under) connection.socket.destroy()
}

const attacks: ReadonlyArray<Attack> = [
  malformedHttp,
  malformedHttp,
  malformedFrames,
  malformedFrames,
  strangers,
  interleaved
]

/** Some attacks, several at a time. */
export const attack = async (random: Random, field: Battlefield, count: number, together: number): Promise<void> => {
  await Promise.all(Array.from({ length: 3 }, () => open(random, field)))
  const lanes = Array.from({ length: together }, () => random.fork())
  await Promise.all(lanes.map(async (random) => {
    for (let left = Math.ceil(count / together); left > 0; left--) await random.pick(attacks)(random.fork(), field)
  }))
}
