/**
 * Links between members on real sockets: what each end proves, and what becomes of one whose other end hangs, or says what
 * is no message.
 */
import { Effect, Logger } from "effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { createHash, createHmac, randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, connect, createServer, type NetConnectOpts, Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Tls from "node:tls"
import { afterAll, assert, describe, it, vi } from "vitest"
import { type LinkHandler, Others, type Owner } from "../../src/internal/server/cluster.ts"
import { type Message, version } from "../../src/internal/server/clusterMessages.ts"
import { encode, MessageReader } from "../../src/internal/node/memberMessages.ts"
import { makeMembers } from "../../src/internal/node/memberSockets.ts"
import { type MemberTls, plain, secure } from "../../src/internal/node/memberWire.ts"
import { eventually, within } from "../kit/events.ts"
import { certificate } from "../kit/tls.ts"

const folder = mkdtempSync(join(tmpdir(), "links-"))
afterAll(() => rmSync(folder, { recursive: true }))

const hello: Message = { _tag: "Hello", version, from: "other", nonce: "b" }

/** What one end says: who asks and who is asked, each with its number, in this order. */
const proof = (by: "Welcome" | "Proof", ...names: ReadonlyArray<string>): string =>
  createHmac("sha256", "secret").update(JSON.stringify([by, ...names])).digest("base64")

/** Runs `body` with a member `self` that knows one other, which listens at the path. */
const withMember = (
  body: (members: Effect.Success<ReturnType<typeof makeMembers>>) => Promise<void>,
  warnings: Array<string> = []
) =>
  Effect.runPromise(
    Effect.scoped(Effect.gen(function*() {
      const members = yield* makeMembers({
        self: "self",
        others: new Others<NetConnectOpts>().set("other", { path: join(folder, "other") }),
        listen: { path: join(folder, "self") },
        secret: "secret"
      })
      yield* Effect.promise(() => body(members))
    })).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])))
  )

/** Calls back with each message on a connection. */
const read = (socket: Socket, onMessage: (message: Message) => void) => {
  const reader = new MessageReader(1000)
  socket.on("error", () => {}).on("data", (chunk: Buffer) => {
    reader.push(chunk)
    for (let message = reader.next(); message !== undefined && message !== "malformed"; message = reader.next()) {
      onMessage(message)
    }
  })
}

/** The answer to the first message of a connection. */
const welcome = (to: Message, from = "other"): Message =>
  to._tag !== "Hello"
    ? assert.fail(to._tag)
    : { _tag: "Welcome", from, nonce: "c", proof: proof("Welcome", to.from, to.nonce, from, "c") }

/** A member of which one sees what it gets, and that answers as it likes. */
const withOther = async (
  onMessage: (message: Message, socket: Socket) => void,
  body: () => Promise<void>,
  greet = async (hello: Message) => welcome(hello)
) => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    read(socket, (message) => {
      if (message._tag === "Hello") void greet(message).then((answer) => socket.write(encode(answer)))
      else onMessage(message, socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(join(folder, "other"), resolve))
  try {
    await body()
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

/** A connection to the member `self`, on which this has been said. */
const say = (...bytes: ReadonlyArray<Uint8Array>) => {
  const socket = connect(join(folder, "self"))
  for (const some of bytes) socket.write(some)
  const welcomed = new Promise<Message & { readonly _tag: "Welcome" }>((resolve) =>
    read(socket, (message) => message._tag === "Welcome" && resolve(message))
  )
  const isClosed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  return { socket, welcomed, isClosed }
}

const closed = () => {
  let close!: () => void
  const isClosed = new Promise<void>((resolve) => {
    close = resolve
  })
  const handler: LinkHandler = { onMessage: () => {}, onClose: close }
  return { handler, isClosed }
}

describe("a link", () => {
  it("closes where the other end answers no more, within ten seconds, and not where it does", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
    let hangs = false
    const seen: Array<Message["_tag"]> = []
    await withOther((message, socket) => {
      seen.push(message._tag)
      if (message._tag === "Ping" && !hangs) socket.write(encode({ _tag: "Pong" }))
    }, () =>
      withMember(async ({ connect }) => {
        const { handler, isClosed } = closed()
        let isOver = false
        void isClosed.then(() => isOver = true)
        connect("other", handler)
        await eventually("a link", () => vi.getTimerCount(), (count) => count === 1)
        const pings = () => seen.filter((it) => it === "Ping").length
        for (let i = 1; i <= 10; i++) {
          vi.advanceTimersByTime(2500)
          await eventually("a ping", pings, (count) => count === i)
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        assert.isFalse(isOver)
        hangs = true
        vi.advanceTimersByTime(10_000)
        await within(isClosed, "the end of the link")
      })).finally(() => vi.useRealTimers())
  })

  it("closes where who opened it asks no more, after twelve and a half seconds", async () => {
    const timed = vi.spyOn(Socket.prototype, "setTimeout")
    await withMember(async () => {
      const { isClosed, socket, welcomed } = say(encode(hello))
      const { nonce } = await within(welcomed, "a welcome")
      socket.write(encode({ _tag: "Proof", proof: proof("Proof", hello.from, hello.nonce, "self", nonce) }))
      const isTimed = () => timed.mock.calls.findIndex(([milliseconds]) => milliseconds === 12_500)
      const call = await eventually("the other end", isTimed, (it) => it !== -1)
      const other = timed.mock.contexts[call] as Socket
      other.emit("timeout")
      await within(isClosed, "the end of the link")
    }).finally(() => timed.mockRestore())
  })

  it("closes at once where nobody listens or can, where the member is known no more, and where what comes is no message", async () => {
    await withMember(async ({ connect }) => {
      const { handler, isClosed } = closed()
      connect("other", handler)
      await within(isClosed, "the end of a link to nobody")
    })
    await withMember(async ({ connect }) => {
      const { handler, isClosed } = closed()
      connect("forgotten", handler)
      await within(isClosed, "the end of a link to a member that is known no more")
    })
    await withMember(async ({ connect, others }) => {
      others.set("nowhere", { host: "no\0host", port: 1 })
      const { handler, isClosed } = closed()
      connect("nowhere", handler)
      await within(isClosed, "the end of a link to what is no address")
    })
    await withOther((message, socket) => {
      if (message._tag === "Get") socket.write(Buffer.alloc(50, 0xff))
    }, () =>
      withMember(async ({ connect }) => {
        const { handler, isClosed } = closed()
        connect("other", handler).send({ _tag: "Get", exchange: 1, sid: "x", handler: "h" })
        await within(isClosed, "the end of the link")
      }))
  })

  for (
    const [what, bytes] of [
      ["bytes that are no message", createHash("sha256").update("x").digest()],
      ["another version", encode({ ...hello, version: 1 } as never)],
      ["a proof before a name", encode({ _tag: "Proof", proof: proof("Proof", "other", "", "self", "") })],
      ["more than a first message may have", encode({ ...hello, nonce: "x".repeat(2000) }).subarray(0, 99)],
      ["a question before all else", encode({ _tag: "Get", exchange: 1, sid: "x", handler: "h" })]
    ] as const
  ) {
    it(`is refused to who begins with ${what}`, () =>
      withMember(async () => {
        await within(say(bytes).isClosed, "the end of the connection")
      }))
  }

  it("is refused with one warning a second, however many are, which says how many", async () => {
    const warnings: Array<string> = []
    await withMember(async () => {
      const knock = () => within(say(encode({ _tag: "Ping" })).isClosed, "the end of the connection")
      await knock()
      await eventually("a warning", () => warnings.length, (count) => count === 1)
      for (let i = 0; i < 20; i++) await knock()
      assert.lengthOf(warnings, 1)
      await eventually("another warning", () => warnings.length, (count) => count === 2)
    }, warnings)
    assert.match(warnings[0]!, /^Dropped a connection within the cluster: .* version \(/)
    assert.match(warnings[1]!, /^Dropped a connection within the cluster: .* version; 19 more were dropped \(/)
  })

  it("is there for who proves that it knows the secret, and for nobody else", () =>
    withMember(async () => {
      const ping = encode({ _tag: "Ping" })
      const { socket, welcomed } = say(encode(hello))
      const { nonce, proof: given } = await within(welcomed, "an answer")
      assert.strictEqual(given, proof("Welcome", "other", "b", "self", nonce))
      const right = proof("Proof", "other", "b", "self", nonce)
      const ponged = new Promise<void>((resolve) => read(socket, ({ _tag }) => _tag === "Pong" && resolve()))
      socket.write(Buffer.concat([encode({ _tag: "Proof", proof: right }), ping]))
      await within(ponged, "a pong")
      socket.destroy()
      // What was right there is right nowhere else.
      for (const wrong of ["guess", "é".repeat(44), right, given]) {
        const { isClosed, socket, welcomed } = say(encode(hello))
        await within(welcomed, "an answer")
        socket.write(Buffer.concat([encode({ _tag: "Proof", proof: wrong }), ping]))
        await within(isClosed, "the end of the connection")
      }
      const { isClosed, socket: other, welcomed: again } = say(encode(hello))
      // Nor is what the other end itself has said.
      other.write(encode({ _tag: "Proof", proof: (await again).proof }))
      await within(isClosed, "the end of the connection")
      const { isClosed: isEnded } = say(encode(hello), ping)
      await within(isEnded, "the end of the connection")
    }))

  for (
    const [what, greet] of [
      ["cannot prove it", async (hello: Message) => ({ ...welcome(hello), proof: "guess" } as Message)],
      ["is another member", async (hello: Message) => welcome(hello, "another")],
      // It has nothing but what others tell it.
      ["has its proof of the member itself", (hello: Message) => say(encode(hello)).welcomed],
      [
        "has its proof of the member itself, and says another name there",
        async (hello: Message) => ({
          ...await say(encode({ ...hello, from: "other" } as Message)).welcomed,
          from: "other"
        })
      ]
    ] as const
  ) {
    it(`says nothing to who listens where a member did, and ${what}`, () => {
      const seen: Array<Message> = []
      return withOther((message) => void seen.push(message), () =>
        withMember(async ({ connect }) => {
          const { handler, isClosed } = closed()
          connect("other", handler).send({ _tag: "Get", exchange: 1, sid: "x", handler: "h" })
          await within(isClosed, "the end of the link")
          assert.deepStrictEqual(seen, [])
        }), greet)
    })
  }

  it("is given up after a second where the other end says little by little who it is", () => {
    const drip = (socket: Socket, bytes: Uint8Array) => {
      let at = 0
      const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 20)
      socket.on("error", () => {}).once("close", () => clearInterval(timer))
    }
    const long = "x".repeat(800)
    const server = createServer((socket) => drip(socket.resume(), encode({ ...hello, nonce: long })))
    return withMember(async ({ connect }) => {
      await new Promise<void>((resolve) => server.listen(join(folder, "other"), resolve))
      const { handler, isClosed: isGivenUp } = closed()
      connect("other", handler)
      const [nameless, unproved] = [say(), say(encode(hello))]
      drip(nameless.socket, encode({ ...hello, nonce: long }))
      drip(unproved.socket, encode({ _tag: "Proof", proof: long }))
      await within(Promise.all([isGivenUp, nameless.isClosed, unproved.isClosed]), "the end of the connections")
    }).finally(() => server.close())
  })

  it("takes a large message in pieces without copying what has come each time", () => {
    const bytes = encode({ _tag: "Broadcast", exchange: 1, payload: randomBytes(2e6) })
    const concat = vi.spyOn(Buffer, "concat")
    try {
      const reader = new MessageReader(2 ** 30)
      let message: Message | "malformed" | undefined
      for (let at = 0; at < bytes.length; at += 10_000) {
        assert.isUndefined(message)
        reader.push(bytes.subarray(at, at + 10_000))
        message = reader.next()
      }
      assert.deepStrictEqual(encode(message as Message), bytes)
      assert.isBelow(concat.mock.calls.length, 3)
    } finally {
      concat.mockRestore()
    }
  })

  it("to a client is cut when that takes nothing of it for long, not when it is only quiet", async () => {
    const server = createHttpServer()
    let isStuck = false
    await withOther((message, socket) => {
      if (message._tag === "Upgrade") socket.write(isStuck ? Buffer.alloc(5e7) : "hello")
    }, () =>
      withMember(async ({ upgrade }) => {
        server.on("upgrade", (source) => {
          const upgraded = {
            _tag: "Upgrade",
            sid: "x",
            handler: "h",
            takesBytes: true,
            headers: {},
            answered: {}
          } as const
          Effect.runFork(upgrade("other", { source } as HttpServerRequest, { ...upgraded, early: "" }))
        })
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        const { port } = server.address() as AddressInfo
        const piped = async (ready: (here: Socket) => boolean) => {
          const upgrading = new Promise<Socket>((resolve) => server.once("upgrade", ({ socket }) => resolve(socket)))
          const client = connect(port, "127.0.0.1").pause().on("error", () => {})
          client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
          const here = await within(upgrading, "an upgrade")
          await eventually("what the owner sends", () => ready(here), (it) => it)
          assert.strictEqual(here.timeout, 60_000)
          here.emit("timeout")
          client.destroy()
          return here.destroyed
        }
        assert.isFalse(await piped((here) => here.bytesWritten === 5))
        isStuck = true
        assert.isTrue(await piped((here) => here.writableNeedDrain))
      })).finally(() => server.close())
  })
})

describe("a link in TLS", () => {
  const { cert, key } = certificate()
  const own: MemberTls = { key, cert, ca: cert }

  /** Runs `body` with a link to a member that gives back what it gets. */
  const withLink = (
    tls: MemberTls | undefined,
    body: (link: { readonly answer: Promise<Message | "closed">; readonly port: number }) => Promise<void>,
    warnings: Array<unknown> = []
  ) =>
    Effect.runPromise(
      Effect.gen(function*() {
        const shared = { secret: "secret", listen: { host: "127.0.0.1", port: 0 } }
        const echo = yield* makeMembers({ ...shared, self: "echo", others: new Others(), wire: secure(own) })
        const onLink: Owner["onLink"] = (link) => ({ onMessage: (message) => link.send(message), onClose: () => {} })
        yield* echo.serve({ onLink } as Owner)
        const { port } = echo.address as AddressInfo
        const wire = tls === undefined ? plain : secure(tls)
        const others = new Others<NetConnectOpts>().set("echo", { host: "127.0.0.1", port })
        const { connect } = yield* makeMembers({ ...shared, self: "self", others, wire })
        const answer = new Promise<Message | "closed">((resolve) => {
          connect("echo", { onMessage: resolve, onClose: () => resolve("closed") }).send({ _tag: "Ok", exchange: 1 })
        })
        yield* Effect.promise(() => body({ answer: within(answer, "an answer"), port }))
      }).pipe(
        Effect.scoped,
        Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(message))]))
      )
    )

  it("carries messages between members that have certificates of their authority", () =>
    withLink(own, async ({ answer }) => assert.deepStrictEqual(await answer, { _tag: "Ok", exchange: 1 })))

  for (
    const [what, tls, warning] of [
      ["does not trust the authority of the other", { ...own, ca: Tls.rootCertificates[0]! }, "SELF_SIGNED"],
      ["expects another host", { ...own, servername: "elsewhere" }, "ERR_TLS_CERT_ALTNAME_INVALID"],
      ["does not speak TLS", undefined, "ERR_SSL"]
    ] as const
  ) {
    it(`is closed where one end ${what}, and a warning says so`, async () => {
      const warnings: Array<string> = []
      await withLink(tls, async ({ answer }) => {
        assert.strictEqual(await answer, "closed")
        await eventually("a warning", () => warnings.join(), (all) => all.includes(warning))
      }, warnings)
    })
  }

  it("is refused to who has no certificate, or one of another authority", () =>
    withLink(own, async ({ port }) => {
      for (const other of [{}, certificate()]) {
        const socket = Tls.connect({ host: "127.0.0.1", port, ...other, ca: cert }).on("error", () => {}).resume()
        const answered = new Promise((resolve) => socket.once("data", () => resolve("answered")))
        socket.write(encode(hello))
        const closed = new Promise((resolve) => socket.once("close", () => resolve("closed")))
        assert.strictEqual(await within(Promise.race([answered, closed]), "the end of the connection"), "closed")
      }
    }))
})
