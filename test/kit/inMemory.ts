/**
 * Sessions without a network: engine, registry, handshake and application are real, transports are in memory, and time is
 * the test's. A client's packets are text of revision 4, as `2` or `4hello`, whatever the transport.
 */
import { assert } from "@effect/vitest"
import { Clock, Context, Effect, type Exit, type Fiber, Layer, type Scope } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { CloseReason, EngineIO, Packet, Socket, type Transport } from "../../src/index.ts"
import { utf8Length } from "../../src/internal/protocol/bytes.ts"
import * as revision4 from "../../src/internal/protocol/revision4.ts"
import { Arrival } from "../../src/internal/server/arrival.ts"
import { leave } from "../../src/internal/server/drain.ts"
import type { Engine } from "../../src/internal/server/engine.ts"
import { handshake, type Kind } from "../../src/internal/server/handshake.ts"
import { makeHandler } from "../../src/internal/server/namedHandler.ts"
import { SessionDoors } from "../../src/internal/session/doors.ts"
import { isUpgradable, type Session } from "../../src/internal/session/session.ts"
import { startUpgrade } from "../../src/internal/session/upgrade.ts"
import type * as contract from "../../src/internal/transport/contract.ts"
import { type Account, type Entry, take } from "../../src/internal/transport/entry.ts"
import { turn } from "./events.ts"

/** Lets everything run that does not wait for time or for a client. */
export const settled: Effect.Effect<void> = Effect.promise(async () => {
  for (let i = 0; i < 3; i++) await turn()
})

/** Does something, and lets what follows from it run. */
const act = (f: () => void): Effect.Effect<void> => Effect.andThen(Effect.sync(f), settled)

/** Who reads what a client says. */
interface Reader {
  onPacket(packet: Packet.Packet | Packet.PacketError): void
  onTurn(): void
  onClose(reason: CloseReason.CloseReason): void
}

const nobody: Reader = { onPacket: () => {}, onTurn: () => {}, onClose: () => {} }

/** One end of a connection: what its client does, and what it sees. */
export class Client {
  readonly name: Transport.TransportType
  /** What it got, and `take` has not given out. */
  got: Array<string> = []
  /** Whether the server has closed the connection. */
  isClosed = false
  /** Whether the server has stopped reading. */
  isPaused = false
  /** Whether a GET waits for its answer. */
  isPolling: boolean
  /** What was written and the network has not taken. */
  held: Array<string> = []
  isStuck = false
  isBroken = false
  /** What the client said and the server has not read. */
  readonly unread: Array<string | Uint8Array> = []
  reader: Reader = nobody
  socket!: Socket.Socket
  private readonly waiting: Array<(written: boolean) => void> = []
  onWritable: () => void = () => {}

  /** All clients of its server. */
  private readonly all: Array<Client>

  constructor(name: Transport.TransportType, all: Array<Client>) {
    this.name = name
    this.all = all
    all.push(this)
    this.isPolling = name === "polling"
  }

  /** What it got since the last time. */
  take(): Array<string> {
    return this.got.splice(0)
  }

  /** Sends packets that arrive together; bytes are a binary message. */
  says(...packets: ReadonlyArray<string | Uint8Array>): Effect.Effect<void> {
    return act(() => {
      this.unread.push(...packets)
      this.read()
    })
  }

  get pong(): Effect.Effect<void> {
    return this.says("3")
  }

  /** Sends a GET. */
  get polls(): Effect.Effect<void> {
    return act(() => {
      this.isPolling = true
      this.onWritable()
    })
  }

  /** From now on the network takes nothing. */
  get sticks(): Effect.Effect<void> {
    return act(() => {
      this.isStuck = true
    })
  }

  /** The network takes what the connection holds, and no more. */
  get drips(): Effect.Effect<void> {
    return act(() => {
      this.got.push(...this.held.splice(0))
      for (const done of this.waiting.splice(0)) done(true)
      this.onWritable()
    })
  }

  /** The network takes everything again. */
  get flows(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isStuck = false
      return this.drips
    })
  }

  /** From now on a write throws. */
  get breaks(): Effect.Effect<void> {
    return act(() => {
      this.isBroken = true
    })
  }

  /** Closes the connection. */
  get leaves(): Effect.Effect<void> {
    return this.loses({ _tag: "TransportClose" })
  }

  /** Loses the connection, for that reason. */
  loses(reason: CloseReason.CloseReason): Effect.Effect<void> {
    return act(() => {
      this.reader.onClose(reason)
      for (const done of this.waiting.splice(0)) done(false)
    })
  }

  /** Opens another connection to move the session to; the server closes it where that is not possible. */
  tries(name: Transport.TransportType): Effect.Effect<Client> {
    const client = new Client(name, this.all)
    const session = this.socket as Session
    client.socket = session
    return Effect.as(
      act(() => {
        if (isUpgradable(session)) startUpgrade(session, new InMemoryCandidate(client))
        else client.isClosed = true
      }),
      client
    )
  }

  /** Why its session ended; `undefined` while it has not. */
  get reason(): Effect.Effect<CloseReason.CloseReason | undefined> {
    return Effect.raceFirst(Socket.closed(this.socket), Effect.as(settled, undefined))
  }

  // For the server's end.

  read(): void {
    while (this.unread.length > 0 && !this.isPaused && !this.isClosed) {
      const packet = Packet.parse(this.unread.shift()!)
      this.reader.onPacket(packet._tag === "Success" ? packet.success : packet.failure)
    }
    this.reader.onTurn()
  }

  write(packet: string): void {
    if (this.isStuck) this.held.push(packet)
    else this.got.push(packet)
  }

  whenWritten(done: (written: boolean) => void): void {
    if (this.held.length > 0) this.waiting.push(done)
    else done(true)
  }

  close(): void {
    this.isClosed = true
    this.reader = nobody
  }
}

class InMemoryTransport implements contract.Transport, Reader {
  readonly name: Transport.TransportType
  readonly requests = undefined
  private readonly client: Client
  private readonly doors: contract.Doors
  private onFinished: (() => void) | undefined
  constructor(client: Client, doors: contract.Doors) {
    this.name = client.name
    this.client = client
    this.doors = doors
    client.reader = this
    client.onWritable = () => {
      doors.onWritable()
      if (this.writable) this.onFinished?.()
    }
  }

  get writable(): boolean {
    const { client } = this
    return !client.isClosed && client.held.length === 0 && (this.name !== "polling" || client.isPolling)
  }

  get unsent(): number {
    return this.client.held.reduce((sum, packet) => sum + packet.length, 0)
  }

  get isReachable(): boolean {
    return this.name !== "polling" || this.client.isPolling
  }

  get isUpgradable(): boolean {
    return this.name === "polling"
  }

  get splitsText(): boolean {
    return this.name === "polling"
  }

  write(out: Parameters<contract.Transport["write"]>[0], account: Account): void {
    if (this.client.isBroken) throw new Error("a broken connection")
    for (let entry = take(out, account); entry !== undefined; entry = take(out, account)) {
      this.client.write(encode(entry))
    }
    this.client.isPolling = false
  }

  whenWritten(done: (written: boolean) => void): void {
    this.client.whenWritten(done)
  }

  pause(): void {
    this.client.isPaused = true
  }

  resume(): void {
    this.client.isPaused = false
    setImmediate(() => this.client.read())
  }

  noop(): void {
    this.answer("6")
  }

  /** Answers the GET that waits, if one does. */
  private answer(packet: string): void {
    if (!this.client.isPolling) return
    this.client.isPolling = false
    this.client.write(packet)
  }

  get finish(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.onFinished = () => {
        this.answer("1")
        this.client.close()
        resume(Effect.void)
      }
      if (this.client.isClosed || this.writable) this.onFinished()
    })
  }

  close(peer: boolean): void {
    this.answer(peer ? "6" : "1")
    this.client.close()
    this.onFinished?.()
  }

  onPacket(packet: Packet.Packet | Packet.PacketError): void {
    const { doors } = this
    if (packet instanceof Packet.PacketError) return doors.onClose(CloseReason.parseError(packet))
    const { data } = packet
    if (packet.type === "message" && data !== undefined && !doors.observed) {
      return doors.onMessage(data, typeof data === "string" ? utf8Length(data) : data.length)
    }
    doors.onPacket(packet)
    if (packet.type === "close") doors.onClose({ _tag: "TransportClose" })
  }

  onTurn(): void {
    this.doors.onTurn()
  }

  onClose(reason: CloseReason.CloseReason): void {
    this.doors.onClose(reason)
  }
}

class InMemoryCandidate implements contract.Candidate {
  readonly name: Transport.TransportType
  private readonly client: Client
  constructor(client: Client) {
    this.name = client.name
    this.client = client
  }

  start(host: contract.CandidateHost): void {
    this.client.reader = {
      onPacket: (packet) => host.onPacket(packet),
      onTurn: () => {},
      onClose: () => host.onClose()
    }
  }

  send({ data, type }: Packet.Packet): void {
    this.client.write(revision4.encodeText(type, data))
  }

  close(): void {
    this.client.close()
  }

  adopt(doors: contract.Doors): contract.Transport {
    return new InMemoryTransport(this.client, doors)
  }
}

const encode = ({ data, type }: Entry): string => revision4.encodeText(type, data)

const inMemory = (client: Client): Kind<void> => ({
  transport: client.name,
  hasHeaders: false,
  open: (_, __, session, start) =>
    Effect.sync(() => {
      client.socket = session
      start(new InMemoryTransport(client, new SessionDoors(session)))
    })
})

/** What runs for a client's session; without an application, nothing does. */
export interface App {
  readonly app?: ((socket: Socket.Socket) => Effect.Effect<unknown, unknown, Scope.Scope>) | undefined
  readonly onDisconnect?: ((reason: CloseReason.CloseReason) => Effect.Effect<void>) | undefined
}

/** A server for sessions without a network. */
export class Server {
  readonly clients: Array<Client> = []
  /** The fibers of sessions that were begun. */
  private readonly fibers: Array<Fiber.Fiber<unknown>> = []
  private sleeping = 0
  readonly clock: Clock.Clock
  engine!: Engine
  constructor(clock: Clock.Clock) {
    this.clock = { ...clock, sleep: (duration) => this.count(clock.sleep(duration)) }
  }

  private count(sleep: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.sleeping++),
      () => sleep,
      () => Effect.sync(() => this.sleeping--)
    )
  }

  begin(engine: Engine): void {
    const { supervisor } = engine
    const { run } = supervisor
    supervisor.run = <A>(effect: Effect.Effect<A>, onExit?: (exit: Exit.Exit<A>) => void) => {
      const fiber = run.call(supervisor, effect, onExit as (exit: Exit.Exit<unknown>) => void) as Fiber.Fiber<A>
      this.fibers.push(fiber)
      return fiber
    }
    this.engine = engine
  }

  /** Opens a session, in revision 4 if not said otherwise. */
  connect(
    name: Transport.TransportType,
    { app = () => Effect.never, onDisconnect }: App = {},
    revision: Packet.Revision = 4
  ): Effect.Effect<Client> {
    const client = new Client(name, this.clients)
    const handler = makeHandler((socket) =>
      Effect.succeed({ app: app(socket) as Effect.Effect<unknown>, onDisconnect })
    )
    const request = HttpServerRequest.fromWeb(
      new Request(`https://localhost/?EIO=${revision}&transport=${client.name}`)
    )
    const arrival = new Arrival(this.engine, handler, request, client.name === "websocket")
    const opened = handshake(arrival, inMemory(client)) as Effect.Effect<unknown>
    return Effect.gen({ self: this }, function*() {
      yield* Effect.provideService(opened, Clock.Clock, this.clock)
      yield* settled
      assert.strictEqual(client.got.shift()?.[0], "0")
      return client
    })
  }

  /** Ends the handler that opened the session of a client. */
  leave({ socket }: Client): void {
    leave(this.engine, (socket as Session).handler.name)
  }

  /** What is there for sessions: in the registry, running, asleep, on the move. */
  get left(): typeof nothing {
    const upgrading = [this.engine.candidates, this.engine.noops.first, this.engine.noops.later]
    return {
      sessions: this.engine.registry.count,
      fibers: this.engine.supervisor.alive.size +
        this.fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length,
      // Those that watch the time of all upgrades are the server's.
      sleeps: this.sleeping - upgrading.filter((all) => all["isRunning"]).length,
      upgrades: upgrading.reduce((sum, all) => sum + all["all"].size, 0)
    }
  }
}

/** What a server without sessions has. */
export const nothing = { sessions: 0, fibers: 0, sleeps: 0, upgrades: 0 }

type Body = Effect.Effect<unknown, unknown, EngineIO.EngineIO | Scope.Scope>

/** Runs `body` with a server on the test's clock. When its clients have left, nothing may be left of their sessions. */
export const serving = (
  options: EngineIO.Options,
  body: (server: Server) => Generator<Body, void, never>
): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const server = new Server(yield* Clock.Clock)
    const context = yield* Effect.provideService(Layer.build(EngineIO.layer(options)), Clock.Clock, server.clock)
    server.begin(Context.get(context, EngineIO.EngineIO).engine)
    const exit = yield* Effect.exit(Effect.provideContext(Effect.gen(() => body(server)), context))
    for (const client of server.clients) yield* client.leaves
    // An application that is owed its messages has its time.
    if (server.engine.supervisor.alive.size > 0) yield* TestClock.adjust("1 hour")
    yield* settled
    yield* exit
    assert.deepStrictEqual(server.left, nothing)
  })
