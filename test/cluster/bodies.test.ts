/**
 * Bodies on their way to a member that reads nothing for a while, over a real link: what is kept of them, and what waits
 * behind them.
 */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer, type NetConnectOpts, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "vitest"
import { makeMembers } from "../../src/internal/node/memberSockets.ts"
import { Others, type Owner } from "../../src/internal/server/cluster.ts"
import type { Message } from "../../src/internal/server/clusterMessages.ts"
import { Forwarding } from "../../src/internal/server/forwarding.ts"
import type { Exchange } from "../../src/internal/transport/requests.ts"
import { eventually } from "../kit/events.ts"

const size = 1_000_000
const large = "x".repeat(size)

/** A request whose body is there. */
const exchange = (body: string): Exchange => ({
  holder: undefined,
  contentType: undefined,
  readBody: (_limit, _binary, done) => done({ body }),
  respond: () => {},
  ok: () => {},
  reject: () => {},
  refuse: () => {},
  destroy: () => {}
})

/** Runs `body` with what forwards to a member, what that hears, and the connection between them, which stops at a POST. */
const withOwner = (
  body: (forwarding: Forwarding, heard: Array<Message>, connection: () => Socket | undefined) => Promise<void>
) =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "bodies-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    )
    const [path, between] = [join(folder, "owner"), join(folder, "between")]
    const heard: Array<Message> = []
    let connection: Socket | undefined
    const server = createServer((socket) => {
      const owner = connect(path).on("error", () => {})
      owner.pipe(socket.on("error", () => {})).once("close", () => owner.destroy())
      socket.on("data", (chunk: Buffer) => {
        owner.write(chunk)
        if (connection === undefined && chunk.includes("\"Post\"")) connection = socket.pause()
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(between, () => resume(Effect.void))),
      () => Effect.sync(() => void server.close())
    )
    const memberOf = (self: string) =>
      makeMembers({
        self,
        others: new Others<NetConnectOpts>().set("owner", { path: between }),
        listen: { path: join(folder, self) },
        secret: ""
      })
    const owner = yield* memberOf("owner")
    const onLink = () => ({ onMessage: (message: Message) => void heard.push(message), onClose: () => {} })
    yield* owner.serve({ onLink } as Partial<Owner> as Owner)
    const host = { settings: { maxPayload: size }, telemetry: { refused: () => {} }, stopped: false }
    const forwarding = new Forwarding(yield* memberOf("self"), host)
    yield* Effect.promise(() => body(forwarding, heard, () => connection))
  }).pipe(Effect.scoped, Effect.runPromise)

const bodies = (heard: ReadonlyArray<Message>) => heard.flatMap((it) => it._tag === "Body" ? [it.payload] : [])

it("waits with bodies while their owner reads nothing, keeps none of a client that gives up, and lets all else overtake", () =>
  withOwner(async (forwarding, heard, connection) => {
    const to = forwarding.to("owner")
    const posts = Array.from({ length: 40 }, () => exchange(large))
    for (const post of posts) to.post("owner.x", "h", post)
    await eventually("the first POST", connection, (it) => it !== undefined)
    for (const post of posts.slice(10)) post.holder!.onAborted(post)
    to.post("owner.x", "h", exchange("small"))
    to.get("owner.x", "h", exchange(""))
    connection()!.resume()
    await eventually("all bodies", () => bodies(heard).length, (it) => it === 11)
    const [before, after] = [heard.slice(0, heard.findIndex(({ _tag }) => _tag === "Get")), bodies(heard)]
    assert.isAtMost(bodies(before).length, 2)
    assert.isBelow(after.indexOf("small"), 3)
    // Behind all that would have come.
    to.get("owner.x", "h", exchange(""))
    await eventually("the last poll", () => heard.filter(({ _tag }) => _tag === "Get").length, (it) => it === 2)
    assert.strictEqual(bodies(heard).length, 11)
  }))
