/** What is measured, in the order of the table. */
import type { Traffic } from "../shared/calls.ts"

/** The ratio to the baseline that a row must not exceed, and the one it should reach. */
export interface Goal {
  readonly must: number
  readonly aim: number
  /** Whether a spread that includes 1 will do: no difference can be seen. */
  readonly orSpread?: boolean
}

interface Common {
  readonly name: string
  readonly title: string
  readonly servers: ReadonlyArray<string>
  /** What its ratios and goals refer to, where that is not `engine.io`. */
  readonly baseline?: string
  /** Takes minutes, and runs only when it is asked for. */
  readonly long?: boolean
  /** Measures one server after the other, since a process may have so many connections at once. */
  readonly apart?: boolean
  /** Whether each round has processes of its own: what V8 decides in their first seconds makes one of eight dearer. */
  readonly fresh?: boolean
  /** The slices of a round where they are not the usual ones: rare pauses are seen in long ones. */
  readonly slices?: { readonly count: number; readonly millis: number }
}

export interface CpuWorkload extends Common {
  readonly kind: "cpu"
  /** What one unit is; CPU is given per unit. */
  readonly unit: string
  readonly traffic: Traffic
  readonly goal: Goal
  /** At most so many units in a slice, where each of them uses up a port for a while. */
  readonly mostUnits?: number
  /** Whether the row is the time that passes for each unit, and not CPU: how much a server gets done with all cores. */
  readonly isTime?: boolean
}

export interface LatencyWorkload extends Common {
  readonly kind: "latency"
  readonly traffic: Traffic
  readonly goal50: Goal
  readonly goal99: Goal
}

export interface IdleWorkload extends Common {
  readonly kind: "idle"
  /** How many times the usual number of sessions. */
  readonly times?: number
  /** How many, where that is not of choice. */
  readonly sessions?: number
  readonly traffic: Traffic
  readonly goal: Goal
}

/** The most memory while messages are under way, or wait for a client that does not read. */
export interface PeakWorkload extends Common {
  readonly kind: "peak"
  readonly traffic: Traffic
  /** Bytes under way, which the growth is divided by; without them it is in MiB. */
  readonly inFlight?: number
  readonly goal?: Goal
  readonly most?: number
}

/** Not a server's work: `engine.io` stands for its parser, ours for `Packet` and `Payload`. */
export interface CodecWorkload extends Common {
  readonly kind: "codec"
}

export type Workload = CpuWorkload | LatencyWorkload | IdleWorkload | PeakWorkload | CodecWorkload

const goal = (must: number, aim: number): Goal => ({ must, aim })
const webSocket = ["engine.io", "ours", "ours-loop", "ws"]
const polling = ["engine.io", "ours", "ours-behind", "ours-attach", "router-alone", "node-alone"]
const connecting = ["engine.io", "ours", "ours-attach"]

const echo = (name: string, title: string, size: number, binary: boolean, window = 1): CpuWorkload => ({
  kind: "cpu",
  name,
  title,
  unit: "message",
  servers: webSocket,
  goal: window === 1 ? goal(1, 0.85) : goal(0.4, 0.2),
  traffic: { kind: "echo", clients: 50, window, size, binary }
})

const poll = (name: string, title: string, packets: number, parked: boolean, goal: Goal): CpuWorkload => ({
  kind: "cpu",
  name,
  title,
  unit: "message",
  servers: polling,
  goal,
  traffic: { kind: "poll", clients: 50, packets, parked, size: 32, binary: false }
})

const rpc = (name: string, title: string, window: number): CpuWorkload => ({
  kind: "cpu",
  name,
  title,
  unit: "call",
  servers: ["rpc-websocket", "rpc-ours", "rpc-alone"],
  baseline: "rpc-websocket",
  goal: goal(0.8, 0.7),
  traffic: { kind: "rpc", clients: 50, window }
})

/** The server of `socket.io` on `engine.io` and on ours. */
const socketIO = (
  rows: ReadonlyArray<Omit<CpuWorkload, "servers"> | Omit<IdleWorkload, "servers">>
): ReadonlyArray<Workload> =>
  rows.map((row) => ({ ...row, servers: ["socket.io", "ours-socket.io"], baseline: "socket.io" }))

/** Rare pauses show in long slices alone: five rounds are five runs of 20 s for each server. */
const tail = (name: string, rate: number, servers: ReadonlyArray<string>): Workload => ({
  kind: "latency",
  name,
  title: `open loop, 50 ws clients, ${rate / 1000} 000 msg/s`,
  servers,
  goal50: goal(0.95, 0.9),
  goal99: goal(1.1, 0.9),
  slices: { count: 4, millis: 5000 },
  traffic: { kind: "paced", clients: 50, rate }
})

const compared: ReadonlyArray<Workload> = [
  echo("ws-echo-32", "ws echo, 32 B text, one in flight", 32, false),
  echo("ws-echo-1k", "ws echo, 1 KiB binary, one in flight", 1024, true),
  {
    ...echo("ws-echo-64k", "ws echo, 64 KiB binary, one in flight", 65_536, true),
    servers: [...webSocket, "engine.io-effect"]
  },
  echo("ws-echo-16", "ws echo, 32 B text, 16 in flight", 32, false, 16),
  {
    kind: "cpu",
    name: "broadcast",
    title: "broadcast of 32 B to 500 clients, 4 in flight",
    unit: "delivery",
    servers: ["engine.io", "ours", "ws"],
    goal: goal(0.5, 0.3),
    traffic: { kind: "broadcast", clients: 500, inFlight: 4 }
  },
  {
    kind: "cpu",
    name: "burst",
    title: "burst of 10 000 x 32 B to one client",
    unit: "message",
    servers: webSocket,
    goal: goal(0.1, 0.03),
    traffic: { kind: "burst" }
  },
  { ...poll("poll-echo", "polling, POST one, then GET its echo", 1, false, goal(1.05, 0.75)), fresh: true },
  { ...poll("poll-parked", "polling, a GET always pending, POST one", 1, true, goal(1.2, 0.9)), fresh: true },
  { ...poll("poll-16", "polling, POST 16, then GET their echoes", 16, false, goal(1, 0.6)), fresh: true },
  {
    kind: "cpu",
    name: "connect-ws",
    title: "ws-only handshake, open, close",
    unit: "session",
    servers: [...connecting, "ws"],
    goal: goal(1, 0.8),
    traffic: { kind: "connect", concurrency: 32, upgrade: false },
    fresh: true,
    mostUnits: 250
  },
  {
    kind: "cpu",
    name: "connect-upgrade",
    title: "polling handshake, upgrade, one echo, close",
    unit: "session",
    servers: connecting,
    goal: goal(1, 0.7),
    traffic: { kind: "connect", concurrency: 400, upgrade: true },
    fresh: true,
    mostUnits: 400
  },
  {
    kind: "cpu",
    name: "arrivals-upgrade",
    title: "polling handshake, upgrade, one echo, close: 1 000 clients a second",
    unit: "session",
    servers: connecting,
    goal: goal(1, 0.7),
    traffic: { kind: "arrivals", rate: 1000 },
    fresh: true,
    slices: { count: 8, millis: 300 },
    mostUnits: 400
  },
  {
    kind: "idle",
    name: "idle-ws",
    title: "idle ws session",
    servers: ["engine.io", "ours", "ours-attach", "ws"],
    goal: goal(0.9, 0.6),
    traffic: { kind: "idle", transport: "websocket" }
  },
  {
    kind: "idle",
    name: "idle-polling",
    title: "idle polling session, GET pending",
    servers: [...connecting, "ours-behind"],
    goal: goal(0.9, 0.6),
    traffic: { kind: "idle", transport: "polling" }
  },
  tail("latency", 5000, ["engine.io", "ours", "ws"]),
  {
    kind: "cpu",
    name: "clients-4000",
    title: "4 000 ws clients, 10 000 msg/s together",
    unit: "message",
    servers: ["engine.io", "ours", "ws"],
    goal: goal(0.95, 0.8),
    traffic: { kind: "paced", clients: 4000, rate: 10_000 }
  },
  rpc("rpc-1", "effect/rpc over ws, one call in flight", 1),
  rpc("rpc-16", "effect/rpc over ws, 16 calls in flight", 16),
  {
    kind: "peak",
    name: "stalled",
    title: "50 000 x 1 KiB to a client that stopped reading",
    servers: ["engine.io", "ours", "ws"],
    most: 32,
    traffic: { kind: "stalled" }
  },
  ...socketIO([
    {
      kind: "cpu",
      name: "socketio-echo",
      title: "Socket.IO: an event of 32 B and its echo, one in flight",
      unit: "event",
      goal: goal(1, 0.95),
      traffic: { kind: "echo", clients: 50, window: 1, size: 32, binary: false }
    },
    {
      kind: "cpu",
      name: "socketio-broadcast",
      title: "Socket.IO: an event of 32 B to a room of 500, 4 in flight",
      unit: "delivery",
      goal: goal(0.8, 0.6),
      traffic: { kind: "broadcast", clients: 500, inFlight: 4 }
    },
    {
      kind: "cpu",
      name: "socketio-connect",
      title: "Socket.IO: ws-only handshake, connect, close",
      unit: "session",
      goal: goal(1, 0.9),
      traffic: { kind: "connect", concurrency: 32, upgrade: false },
      mostUnits: 250
    },
    {
      kind: "idle",
      name: "socketio-idle",
      title: "Socket.IO: idle ws session",
      times: 2,
      goal: goal(1, 0.9),
      traffic: { kind: "idle", transport: "websocket" }
    }
  ]),
  {
    kind: "codec",
    name: "codec",
    title: "the codecs beside engine.io-parser",
    servers: ["engine.io", "ours"]
  }
]

/** The ways of a large message there and back: who takes part, and what the clients do. */
const ways = {
  ws: { title: "ws echo", servers: ["engine.io", "ours"], kind: "echo", window: 1 },
  poll: { title: "polling, POST, then GET", servers: connecting, kind: "poll", packets: 1, parked: false },
  wt: {
    title: "WebTransport echo",
    servers: ["engine.io-webtransport", "ours-webtransport"],
    kind: "webtransport"
  }
} as const

const largeInFlight = 20 * 1_048_576

/** What a large message costs, and how much memory it takes while it is under way. */
const large = Object.entries(ways).flatMap(([way, { servers, title, ...traffic }]) =>
  ([["64k", "64 KiB", 65_536], ["1m", "1 MiB", 1_048_576]] as const).flatMap(([short, long, size]) =>
    [false, true].flatMap((binary): ReadonlyArray<Workload> => {
      const clients = largeInFlight / size
      const common = {
        servers,
        ...(way === "wt" ? { baseline: servers[0] } : {}),
        title: `${title}, ${long} ${binary ? "binary" : "text"}`,
        long: true,
        goal: goal(1, 0.6),
        traffic: { ...traffic, clients, size, binary }
      }
      const name = `${way}-${binary ? "binary" : "text"}-${short}`
      return [
        { ...common, kind: "cpu", name: `large-${name}`, unit: "message" },
        { ...common, kind: "peak", name: `peak-${name}`, inFlight: largeInFlight }
      ]
    })
  )
)

/** What a message and a session cost the more of them there are. */
const growth = [100, 1000, 5000, 10_000].flatMap((sessions): ReadonlyArray<Workload> => {
  const common = { servers: ["engine.io", "ours"], long: true, apart: true, goal: goal(1, 0.9) }
  return [{
    ...common,
    kind: "cpu",
    name: `growth-busy-${sessions}`,
    title: `${sessions} ws clients, 5 000 msg/s together`,
    unit: "message",
    traffic: { kind: "paced", clients: sessions, rate: 5000 }
  }, {
    ...common,
    kind: "idle",
    name: `growth-idle-${sessions}`,
    title: `one of ${sessions} idle ws sessions`,
    sessions,
    traffic: { kind: "idle", transport: "websocket" }
  }]
})

/** The same with and without metrics, and with everything an operator may switch on. */
const observed = compared.flatMap((workload): ReadonlyArray<Workload> =>
  workload.kind === "cpu" &&
    ["ws-echo-32", "ws-echo-16", "broadcast", "poll-parked", "connect-ws"].includes(workload.name)
    ? [{
      ...workload,
      name: `observed-${workload.name}`,
      servers: ["ours-uncounted", "ours", "ours-observed"],
      baseline: "ours-uncounted",
      goal: { must: 1.03, aim: 1, orSpread: true }
    }]
    : []
)

/** Several processes, beside one. */
const together: ReadonlyArray<Workload> = [
  {
    ...poll("cluster-poll", "polling through another member", 1, false, goal(3, 2)),
    servers: ["ours", "ours-foreign"],
    baseline: "ours"
  },
  {
    ...poll("cluster-local", "polling at the right worker", 1, false, { must: 1.03, aim: 1, orSpread: true }),
    servers: ["ours", "ours-workers"],
    baseline: "ours"
  },
  {
    ...poll("cluster-workers", "polling, half of the requests at another worker", 1, true, goal(2.1, 1.5)),
    servers: ["ours", "ours-workers"],
    baseline: "ours"
  },
  {
    ...echo("cluster-throughput", "ws echo behind 0.1 ms of work: time with two workers", 32, false),
    servers: ["ours-busy", "ours-busy-workers"],
    baseline: "ours-busy",
    goal: goal(1 / 1.7, 1 / 1.9),
    isTime: true
  }
]

export const workloads: ReadonlyArray<Workload> = [
  ...compared,
  { ...tail("tail-20000", 20_000, ["engine.io", "ours"]), long: true },
  ...growth,
  ...large,
  ...observed,
  ...together
]
