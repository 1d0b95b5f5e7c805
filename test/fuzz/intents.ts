/**
 * What hostile clients want: to fill the memory, to keep the event loop busy, to stay for ever, to break their
 * neighbours. Each intent is bounded by time; how it goes about it is chance.
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { deflateRawSync } from "node:zlib"
import { eventually, pause, turn, within } from "../kit/events.ts"
import { Connection, encodeRequest, engineTarget, fetchRaw, PollingClient, reset, textHeaders } from "../kit/http.ts"
import { PlainPollingClient } from "../kit/revision3.ts"
import type { Target } from "../kit/server.ts"
import { frames } from "../kit/webTransport.ts"
import { encodeFrame, Opcode, upgradeHeaders } from "../kit/ws.ts"
import type { Random } from "./random.ts"
import type { Besieged, Field, Intent } from "./siege.ts"

const MB = 2 ** 20

// --- means -----------------------------------------------------------------------------------------------------------

type App =
  | "echo"
  | "idle"
  | "slow"
  | "generous"
  | "lavish"
  | "impatient"
  | "observer"
  | "keeper"
  | "stubborn"
  | "undecided"

/** A connection whose bytes are written by hand. */
interface Line {
  readonly socket: Socket
  /** The id of its session, if it has opened one. */
  readonly sid: string
  readonly isDeflated: boolean
  /** Some packets in as many frames. */
  readonly encode: (packets: ReadonlyArray<string | Uint8Array>) => Buffer
}

const any = (random: Random, { servers }: Field): Besieged => random.pick(servers)

const deflates = { "Sec-WebSocket-Extensions": "permessage-deflate" }

const encodeWebSocket = (packets: ReadonlyArray<string | Uint8Array>): Buffer =>
  Buffer.concat(packets.map((it) => encodeFrame(typeof it === "string" ? Opcode.text : Opcode.binary, it)))

const sidIn = (bytes: Uint8Array): string => /"sid":"([^"]+)"/.exec(Buffer.from(bytes).toString("latin1"))?.[1] ?? ""

/** A WebSocket, or `undefined` where it is refused. With a `sid`, a candidate. */
const webSocket = async (
  { target }: Besieged,
  query: Readonly<Record<string, string>>,
  headers = {}
): Promise<Line | undefined> => {
  const connection = await Connection.open(target)
  const url = engineTarget({ EIO: "4", transport: "websocket", ...query })
  connection.send("GET", url, { headers: upgradeHeaders(headers) })
  const response = await connection.outcome()
  if (response?.status !== 101) return undefined
  const opening = query["sid"] === undefined ? sidIn(await connection.upgraded.next()) : query["sid"]
  const isDeflated = response.header("sec-websocket-extensions") !== undefined
  return { socket: connection.socket, sid: opening, isDeflated, encode: encodeWebSocket }
}

/** A WebTransport session. With a `sid`, a candidate. */
const webTransport = async (
  { webTransport }: Besieged,
  query: Readonly<Record<string, string>>
): Promise<Line> => {
  const connection = await Connection.open(webTransport)
  const encode = (packets: ReadonlyArray<string | Uint8Array>) => Buffer.from(frames(...packets))
  connection.write(Buffer.from(`${new URLSearchParams({ EIO: "4", transport: "webtransport", ...query })}\n`))
  const sid = query["sid"]
  if (sid !== undefined) {
    connection.write(encode([`0${JSON.stringify({ sid })}`]))
    return { socket: connection.socket, sid, isDeflated: false, encode }
  }
  connection.write(encode(["0"]))
  const [opening] = await within(once(connection.socket, "data") as Promise<[Buffer]>, "the open packet")
  return { socket: connection.socket, sid: sidIn(opening), isDeflated: false, encode }
}

/** A session on one of the transports that have frames. */
const line = async (random: Random, server: Besieged, app: App): Promise<Line> => {
  const EIO = random.pick(["3", "4"])
  const opened = random.chance(0.3)
    ? await webTransport(server, { app })
    : await webSocket(server, { app, EIO }, random.chance(0.5) ? deflates : {})
  if (opened === undefined) throw new Error("a WebSocket was refused")
  return opened
}

/** Writes the same bytes as fast as they are read until the time is up, and reads nothing. */
const flood = async ({ until }: Field, socket: Socket, bytes: Buffer): Promise<void> => {
  socket.pause()
  while (performance.now() < until && socket.writable) {
    if (socket.writableNeedDrain) await pause(2)
    else {
      socket.write(bytes)
      await turn()
    }
  }
}

const many = <A>(random: Random, from: number, to: number, make: (random: Random) => Promise<A>): Promise<Array<A>> =>
  Promise.all(random.list(from, to, () => make(random.fork())))

/** Bytes of the shape of `piece`, at most `size` of them. */
const fill = (piece: Buffer, size: number): Buffer => Buffer.alloc(size - size % piece.length, piece)

const poll = (server: Besieged, app: App): Promise<PollingClient> =>
  PollingClient.connect(server.target, { query: { app } })

/** Waits until nobody knows the session. */
const isGone = (target: Target, sid: string, milliseconds: number): Promise<unknown> =>
  eventually(
    "the end of a session whose client has gone",
    () => fetchRaw(target, "POST", engineTarget({ EIO: "4", transport: "polling", sid }), { body: "6" }),
    ({ text }) => text.includes("Session ID unknown"),
    milliseconds
  )

/** A way to go. */
const leave = async (random: Random, { socket }: { readonly socket: Socket }): Promise<void> => {
  const way = random.below(4)
  if (way === 0) socket.end()
  else if (way === 1) reset(socket)
  else if (way === 2) socket.destroy()
  else socket.pause()
  await turn()
}

// --- intents ---------------------------------------------------------------------------------------------------------

/** One candidate or several ask whether they work, without end. */
const floodOfProbes = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  const { sid } = await poll(server, "idle")
  await many(random, 1, 5, async (random) => {
    const candidate = random.chance(0.3)
      ? await webTransport(server, { sid })
      : await webSocket(server, { sid }, random.chance(0.5) ? deflates : {})
    if (candidate === undefined) return
    await flood(field, candidate.socket, candidate.encode(Array(2_000).fill("2probe")))
  })
}

/** One session has many candidates, which are silent, or talk too early. */
const crowdOfCandidates = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  const client = await poll(server, "echo")
  const candidates = await many(random, 20, 60, (random) =>
    random.chance(0.2)
      ? webTransport(server, { sid: client.sid })
      : webSocket(server, { sid: client.sid }, random.chance(0.5) ? deflates : {}))
  const early = ["4".padEnd(5_000, "x"), "6", "2probe", "3", "5"]
  await Promise.all(candidates.map((candidate) =>
    candidate === undefined || random.chance(0.3)
      ? undefined
      : flood({ ...field, until: performance.now() + 50 }, candidate.socket, candidate.encode([random.pick(early)]))
  ))
}

/** Requests to upgrade go to servers that are not ours, and break off. They are answered as if we were not there. */
const neighbours = async (random: Random, { neighbours, servers }: Field): Promise<void> => {
  const all = Object.values(neighbours)
  await many(random, 30, 60, async (random) => {
    const connection = await Connection.open(random.pick([...all, ...servers.map((it) => it.target)]))
    const path = random.pick([
      "/",
      "/engine.io/?EIO=4&transport=websocket",
      "/others/",
      "/engine.io/?EIO=4&transport=x"
    ])
    const headers = upgradeHeaders({ Upgrade: random.pick(["websocket", "h2c", "x"]) })
    const bytes = encodeRequest("GET", path, { headers })
    connection.write(bytes.subarray(0, random.chance(0.7) ? bytes.length : random.below(bytes.length)))
    if (random.chance(0.5)) await pause(random.below(20))
    if (random.chance(0.2)) connection.write(random.bytes(50))
    await leave(random, connection)
  })
  for (const name of ["plain", "left"] as const) {
    const connection = await Connection.open(neighbours[name])
    const { text } = await connection.exchange("GET", "/", { headers: upgradeHeaders() })
    if (text !== name) throw new Error(`a server that has no WebSockets answered an upgrade with ${text}`)
  }
}

/** An upgrade stands in a pipeline behind a poll that waits: its answer must not come first. */
const pipelines = async (random: Random, field: Field): Promise<void> => {
  await many(random, 5, 15, async (random) => {
    const server = any(random, field)
    const client = await poll(server, "echo")
    const other = random.chance(0.5) ? client : await poll(server, "echo")
    const connection = await Connection.open(server.target)
    connection.send("GET", client.url())
    connection.send("GET", other.url({ transport: "websocket" }), { headers: upgradeHeaders() })
    await pause(random.below(50))
    await client.post("4wakes the poll")
    const first = await connection.outcome()
    if (first?.status === 101) throw new Error("an upgrade was answered before the request in front of it")
    await leave(random, connection)
  })
}

/** A request to repeat. */
const anyRequest = (random: Random, client: PollingClient): Buffer =>
  random.pick([
    encodeRequest("GET", client.url()),
    encodeRequest("POST", client.url(), { body: "4x", headers: textHeaders }),
    encodeRequest("GET", engineTarget({ EIO: "4", transport: "polling", sid: "x" })),
    encodeRequest("OPTIONS", client.url(), { headers: { Origin: "http://a", "Access-Control-Request-Method": "X" } }),
    encodeRequest("GET", "/nowhere")
  ])

/** Requests follow one another without end, and no answer is read. */
const floodOfRequests = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  await many(random, 1, 3, async (random) => {
    const client = await poll(server, "idle")
    const connection = await Connection.open(server.target)
    await flood(field, connection.socket, fill(anyRequest(random, client), 30_000))
  })
}

/** Requests come by the hundred, and the next hundreds when the last was answered, so that no turn has many to read. */
const wavesOfRequests = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  await many(random, 1, 3, async (random) => {
    const client = await poll(server, "idle")
    const request = fill(anyRequest(random, client), 30_000)
    while (performance.now() < field.until) {
      const { closed, socket } = await Connection.open(server.target)
      socket.write(Buffer.concat([request, encodeRequest("GET", "/nowhere", { headers: { Connection: "close" } })]))
      // A POST that finds no room is not answered.
      await Promise.race([closed, pause(field.until - performance.now())])
    }
  })
}

/** Few bytes are many messages, in one POST. */
const crumbsInPosts = async (random: Random, field: Field): Promise<void> => {
  await many(random, 2, 6, async (random) => {
    const server = any(random, field)
    const app = random.pick<App>(["idle", "echo", "slow"])
    const [EIO, crumb] = random.pick([
      ["4", "4\x1e"],
      ["4", "4a\x1e"],
      ["4", "3\x1e"],
      ["4", "b\x1e"],
      ["3", "1:4"],
      ["3", "1:2"],
      ["3", "\x01\x01\xff\x04"],
      ["3", "\x00\x01\xff4"]
    ])
    const { sid } = EIO === "4" ? await poll(server, app) : await PlainPollingClient.connect(server.target, { app })
    const isBinary = crumb.includes("\xff")
    const body = fill(Buffer.from(crumb, "latin1"), 999_990)
    const connection = await Connection.open(server.target)
    connection.send("POST", engineTarget({ EIO, transport: "polling", sid }), {
      body: EIO === "4" ? body.subarray(0, -1) : body,
      headers: isBinary ? { "Content-Type": "application/octet-stream" } : textHeaders
    })
    await pause(200)
  })
}

/** Few bytes are many messages, in frames that arrive together. */
const crumbsInFrames = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 4, async (random) => {
    const { encode, socket } = await line(random, any(random, field), random.pick<App>(["idle", "echo", "slow"]))
    await flood(field, socket, fill(encode([random.pick(["4", "4a", "", new Uint8Array(1)])]), 2 ** 18))
  })
}

/** A small message in each large chunk of what counts for nothing, and nobody takes it. */
const smallInLarge = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 3, async (random) => {
    const { encode, socket } = await line(random, any(random, field), "idle")
    const nothing = encode === encodeWebSocket ? encodeFrame(Opcode.pong, Buffer.alloc(125)) : encode(["3"])
    await flood(field, socket, Buffer.concat([fill(nothing, 65_000), encode([new Uint8Array(1)])]))
  })
}

/** An application keeps a short text of each of many long POSTs. */
const shortInLong = async (random: Random, field: Field): Promise<void> => {
  const client = await poll(any(random, field), "keeper")
  const text = `4${"kept".repeat(5)}`
  const body = random.pick([`${text}\x1e${"3\x1e".repeat(400_000)}3`, `${text}\x1e4${"x".repeat(900_000)}`])
  for (let left = 40; left > 0 && performance.now() < field.until + 2_000; left--) await client.post(body)
}

/** Messages that are small on the wire only, and an application that does not take them. */
const bombs = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 3, async (random) => {
    for (const server of field.servers) {
      const opened = await webSocket(server, { app: random.pick<App>(["idle", "echo", "slow"]) }, deflates)
      if (opened?.isDeflated !== true) continue
      const packet = deflateRawSync(Buffer.alloc(random.pick([1_000, 100_000, 900_000]), "4"), { finishFlush: 2 })
      const bomb = encodeFrame(Opcode.text, packet.subarray(0, -4), { rsv: 4 })
      await flood(field, opened.socket, fill(bomb, Math.max(bomb.length, 65_536)))
    }
  })
}

/** WebSockets are closed, and their connections kept. */
const closesWithoutEnd = async (random: Random, field: Field): Promise<void> => {
  await many(random, 10, 30, async (random) => {
    const server = any(random, field)
    const app = random.pick<App>(["idle", "echo", "generous"])
    const opened = await webSocket(server, { app }, random.chance(0.5) ? deflates : {})
    if (opened === undefined) return
    if (random.chance(0.5)) opened.socket.pause()
    opened.socket.write(Buffer.concat([
      opened.encode(app === "echo" ? ["4x", "4x"] : ["450"]),
      encodeFrame(Opcode.close, random.chance(0.5) ? "" : Buffer.from([3, 232]))
    ]))
    await isGone(server.target, opened.sid, 2_500)
  })
}

/** Lives of clients break off at any byte, in any manner. */
const leavesAnywhere = async (random: Random, field: Field): Promise<void> => {
  await many(random, 60, 120, async (random) => {
    const server = any(random, field)
    const app = random.pick<App>(["echo", "idle", "generous", "undecided"])
    const upgrade = (query: Readonly<Record<string, string>>) =>
      encodeRequest("GET", engineTarget({ EIO: "4", transport: "websocket", ...query }), {
        headers: upgradeHeaders(random.chance(0.5) ? deflates : {})
      })
    const path = random.pick(["/engine.io/", "/another/"])
    const handshake = encodeRequest("GET", engineTarget({ EIO: "4", transport: "polling", app }, path))
    let life: Buffer
    if (random.chance(0.4)) {
      life = random.pick([handshake, Buffer.concat([upgrade({ app }), encodeWebSocket(["450", "43", "1"])])])
    } else {
      const client = await poll(server, "echo")
      life = random.pick([
        Buffer.concat([
          encodeRequest("POST", client.url(), { body: "450".padEnd(2_000), headers: textHeaders }),
          encodeRequest("GET", client.url())
        ]),
        Buffer.concat([upgrade({ sid: client.sid }), encodeWebSocket(["2probe", "5", "450", "4".padEnd(2_000), "1"])]),
        encodeRequest("POST", client.url(), { body: "1", headers: textHeaders })
      ])
    }
    const connection = await Connection.open(server.target)
    const at = random.below(life.length)
    connection.write(life.subarray(0, at))
    await pause(random.below(30))
    if (random.chance(0.5) && connection.socket.writable) connection.write(life.subarray(at, at + random.below(100)))
    await leave(random, connection)
  })
}

/** All places are taken by handshakes whose clients have left: a newcomer gets one. */
const crowdAtTheDoor = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  const isWebSocket = random.chance(0.5)
  const url = () => engineTarget({ EIO: "4", transport: isWebSocket ? "websocket" : "polling", app: "undecided" })
  const crowd = await Promise.all(Array.from({ length: server.post.options.maxSessions! }, async () => {
    const connection = await Connection.open(server.target)
    connection.send("GET", url(), { headers: isWebSocket ? upgradeHeaders() : {} })
    return connection
  }))
  await pause(100)
  for (const connection of crowd) {
    if (random.chance(0.5)) connection.socket.end()
    else reset(connection.socket)
  }
  await eventually(
    "a place for a newcomer",
    () => fetchRaw(server.target, "GET", engineTarget({ EIO: "4", transport: "polling" })),
    ({ status }) => status === 200,
    5_000
  )
}

/** Frames arrive while the application decides, and are not to be read yet. */
const earlyFrames = async (random: Random, field: Field): Promise<void> => {
  await many(random, 2, 6, async (random) => {
    const server = any(random, field)
    const connection = await Connection.open(server.target)
    const url = engineTarget({ EIO: "4", transport: "websocket", app: "undecided" })
    connection.send("GET", url, { headers: upgradeHeaders(random.chance(0.5) ? deflates : {}) })
    await flood(field, connection.socket, fill(encodeWebSocket(["4".padEnd(random.pick([1, 1_000]))]), 2 ** 18))
  })
}

/** Answers are cut in the middle: what they held is lost, and the session with it. */
const cutAnswers = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 2, async (random) => {
    const server = any(random, field)
    const client = await poll(server, "lavish")
    // More than the buffers of a connection hold.
    await client.post("4320")
    const connection = await Connection.open(server.target)
    connection.send("GET", client.url())
    await once(connection.socket, "data")
    connection.socket.pause()
    await pause(random.below(30))
    if (random.chance(0.5)) reset(connection.socket)
    else connection.socket.destroy()
    await isGone(server.target, client.sid, 2_000)
  })
}

/** Answers are given up while they are compressed. */
const compressedAndCut = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  await many(random, 10, 15, async (random) => {
    do {
      const client = await poll(server, "lavish")
      const connection = await Connection.open(server.target)
      connection.send("GET", client.url(), { headers: { "Accept-Encoding": random.pick(["gzip", "deflate"]) } })
      await client.post("480")
      await pause(random.below(40))
      reset(connection.socket)
    } while (performance.now() < field.until)
  })
}

/** Much is asked for, and nothing read. */
const asksAndReadsNothing = async (random: Random, field: Field): Promise<void> => {
  await many(random, 3, 6, async (random) => {
    const server = any(random, field)
    if (random.chance(0.4)) {
      const query: Readonly<Record<string, string>> = random.chance(0.3) ? { j: "0" } : {}
      const client = await poll(server, "generous")
      await client.post("4400")
      const connection = await Connection.open(server.target)
      connection.socket.pause()
      connection.send("GET", client.url(query), { headers: random.chance(0.5) ? { "Accept-Encoding": "gzip" } : {} })
    } else {
      const { encode, socket } = await line(random, server, "generous")
      socket.pause()
      socket.write(encode(["4400"]))
    }
  })
  await pause(Math.max(0, field.until - performance.now()))
}

/** An echo of a flood is not read. */
const floodsAnEcho = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 3, async (random) => {
    const { encode, socket } = await line(random, any(random, field), "echo")
    await flood(field, socket, fill(encode([`4${"x".repeat(random.pick([0, 10, 1_000, 50_000]))}`]), 2 ** 18))
  })
}

/** What has no message in it, without end. */
const floodOfNothing = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 4, async (random) => {
    const { encode, socket } = await line(random, any(random, field), random.pick<App>(["idle", "echo"]))
    const webSocketOnly = [
      encodeFrame(Opcode.ping, Buffer.alloc(random.pick([0, 125]))),
      encodeFrame(Opcode.pong, Buffer.alloc(random.pick([0, 125]))),
      encodeFrame(Opcode.text, ""),
      encodeFrame(Opcode.binary, ""),
      Buffer.concat([
        encodeFrame(Opcode.text, "4", { fin: false }),
        fill(encodeFrame(Opcode.continuation, "", { fin: false }), 600),
        encodeFrame(Opcode.continuation, "")
      ])
    ]
    const packets = ["2", "3", "6", "3probe"].map((it) => encode([it]))
    const piece = random.pick(encode === encodeWebSocket ? [...webSocketOnly, ...packets] : packets)
    await flood(field, socket, fill(piece, 2 ** 18))
  })
}

/** Messages come in fragments of one byte, and never end. */
const fragments = async (random: Random, field: Field): Promise<void> => {
  await many(random, 1, 4, async (random) => {
    const headers = random.chance(0.5) ? deflates : {}
    const opened = await webSocket(any(random, field), { app: "idle" }, headers)
    if (opened === undefined) return
    opened.socket.write(encodeFrame(Opcode.text, "4", { fin: false }))
    await flood(field, opened.socket, fill(encodeFrame(Opcode.continuation, "x", { fin: false }), 2 ** 16))
  })
}

/** Bodies that are never whole, of sessions that do not exist, or of which one has many. */
const unfinishedBodies = async (random: Random, field: Field): Promise<void> => {
  const server = any(random, field)
  const client = await poll(server, "idle")
  await many(random, 40, 80, async (random) => {
    const connection = await Connection.open(server.target)
    const url = engineTarget({ EIO: "4", transport: "polling", sid: random.chance(0.5) ? client.sid : "x" })
    connection.send("POST", url, {
      body: Buffer.alloc(900_000, "4"),
      headers: { ...textHeaders, "Content-Length": "999999" }
    })
    if (random.chance(0.5)) connection.socket.pause()
    await pause(random.below(100))
  })
}

/** Requests of one session overlap. */
const overlaps = async (random: Random, field: Field): Promise<void> => {
  await many(random, 10, 20, async (random) => {
    const client = await poll(any(random, field), random.pick<App>(["echo", "idle", "slow"]))
    await many(random, 5, 15, async (random) => {
      const connection = await Connection.open(client.target)
      if (random.chance(0.5)) connection.send("GET", client.url())
      else connection.send("POST", client.url(), { body: "4x".padEnd(random.below(5_000)), headers: textHeaders })
      if (random.chance(0.3)) await leave(random, connection)
    })
  })
}

/** The application sends with more patience than its client has, and each of many sends runs out of it. */
const waitingSends = async (random: Random, field: Field): Promise<void> => {
  const { encode, socket } = await line(random, any(random, field), "impatient")
  socket.pause()
  socket.write(encode(["415000"]))
  await pause(1_500)
}

/** The application looks at packets more slowly than it takes messages. */
const observed = async (random: Random, field: Field): Promise<void> => {
  const { encode, socket } = await line(random, any(random, field), "observer")
  await flood({ ...field, until: field.until + 500 }, socket, encode([`4${"x".repeat(50_000)}`]))
}

/** Ids, targets and headers say what would be something else where they are printed or sent. Each gets an answer. */
const hostileText = async (random: Random, field: Field): Promise<void> => {
  const texts = [
    "\x1b[2J",
    "\r\nx-injected: 1",
    "\u2028",
    "\u20ac",
    "\0",
    "a\x7f",
    "é",
    "\ud83d\ude00",
    "x".repeat(4_000)
  ]
  await many(random, 20, 40, async (random) => {
    const server = any(random, field)
    const isWebSocket = random.chance(0.4)
    const query: Record<string, string> = {
      EIO: random.pick(["3", "4"]),
      transport: isWebSocket ? "websocket" : "polling"
    }
    for (const name of ["origin", "exposed", "mirror", "j", "t", "sid"]) {
      if (random.chance(name === "sid" ? 0.1 : 0.4)) query[name] = random.pick(texts)
    }
    const headers: Record<string, string> = isWebSocket ? { ...upgradeHeaders() } : {}
    for (const name of ["Origin", "Cookie", "Access-Control-Request-Headers", "Accept-Encoding", "X-Forwarded-For"]) {
      if (random.chance(0.3)) headers[name] = random.pick(["é", "\xff".repeat(100), "\t", "a=\x80", "x".repeat(3_000)])
    }
    const path = random.pick(["/engine.io/", "/engine.io/", "/another/"])
    const connection = await Connection.open(server.target)
    connection.send(random.pick(["GET", "GET", "GET", "OPTIONS", "POST"]), engineTarget(query, path), {
      headers,
      body: ""
    })
    const answer = await connection.outcome()
    const bad = answer?.head.split("\r\n").find((it) => /^x-injected|[^\t\x20-\x7e\x80-\xff]/i.test(it))
    if (bad !== undefined) throw new Error(`a head with ${JSON.stringify(bad)}`)
  })
}

/** Many hold on to servers that are about to end, each in another way. */
export const holdOn = async (random: Random, field: Field): Promise<void> => {
  for (const server of field.servers) {
    await many(random, 3, 6, async (random) => {
      const { encode, socket } = await line(random, server, random.pick<App>(["lavish", "stubborn"]))
      socket.pause()
      socket.write(encode(["4320"]))
      if (random.chance(0.3)) socket.end()
    })
    await many(random, 3, 6, async (random) => {
      const client = await poll(server, random.pick<App>(["lavish", "stubborn"]))
      await client.post("4320")
      const connection = await Connection.open(server.target)
      connection.socket.pause()
      connection.send("GET", client.url())
      if (random.chance(0.3)) connection.socket.end()
    })
    await many(random, 3, 6, async (random) => {
      const connection = await Connection.open(server.target)
      if (random.chance(0.5)) connection.socket.pause()
      const query = { EIO: "4", app: "undecided" }
      if (random.chance(0.3)) connection.send("GET", engineTarget({ ...query, transport: "polling" }))
      connection.send("GET", engineTarget({ ...query, transport: random.pick(["websocket", "polling"]) }), {
        headers: upgradeHeaders({ Upgrade: random.pick(["websocket", "h2c"]) })
      })
    })
    await many(random, 3, 6, async (random) => {
      const { sid } = await poll(server, random.pick<App>(["echo", "stubborn"]))
      const connection = await Connection.open(server.target)
      if (random.chance(0.5)) connection.socket.pause()
      const query: Readonly<Record<string, string>> = random.pick([{ sid }, { sid: "x" }, {}])
      connection.send("POST", engineTarget({ EIO: "4", transport: "polling", ...query }), {
        body: random.bytes(random.below(2_000)),
        headers: { ...textHeaders, "Content-Length": "5000" }
      })
    })
  }
  await pause(50)
}

/** All intents by name; first those whose sessions take the longest to be given up. */
export const intents: Readonly<Record<string, Intent>> = {
  "many small messages in a POST": { run: crumbsInPosts, bounds: { held: 64 * MB } },
  "many small messages in a chunk": { run: crumbsInFrames },
  "a small message in much that is none": { run: smallInLarge },
  "messages that are small when deflated": { run: bombs },
  "an application that is slow to look at packets": { run: observed, bounds: { held: 48 * MB, peak: 600 * MB } },
  "an application whose sends time out": { run: waitingSends, bounds: { peak: 300 * MB, turn: 1_000 } },
  "requests that overlap": { run: overlaps },
  "a short text in a long POST": { run: shortInLong },
  "a flood of probes": { run: floodOfProbes },
  "a crowd of candidates": { run: crowdOfCandidates },
  "upgrades of the neighbours": { run: neighbours },
  "an upgrade behind a poll that waits": { run: pipelines },
  // Node handles in one turn all that it has read, up to 2 MiB of a connection: a bare server takes up to 800 ms.
  "a flood of requests": { run: floodOfRequests, bounds: { turn: 1_000 } },
  "waves of requests": { run: wavesOfRequests },
  "a flood of nothing": { run: floodOfNothing },
  "an echo that nobody reads": { run: floodsAnEcho },
  "fragments without end": { run: fragments },
  "bodies without end": { run: unfinishedBodies },
  "frames before the handshake is decided": { run: earlyFrames },
  "a crowd at the door": { run: crowdAtTheDoor },
  "closed WebSockets on open connections": { run: closesWithoutEnd },
  "lives that break off anywhere": { run: leavesAnywhere },
  "much is asked for and nothing read": { run: asksAndReadsNothing, bounds: { held: 80 * MB } },
  "answers that are cut": { run: cutAnswers, bounds: { held: 100 * MB, peak: 300 * MB } },
  "answers that are cut while they are compressed": {
    run: compressedAndCut,
    bounds: { held: 200 * MB, peak: 800 * MB }
  },
  "text that means something elsewhere": { run: hostileText, logs: /header/ }
}
