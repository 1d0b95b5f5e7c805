/**
 * What a server counts. Hot paths add to plain numbers; Effect's metrics read them when somebody looks.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as CloseReason from "../../CloseReason.ts"
import { TransportType } from "../../Transport.ts"

/** The traffic of one transport. */
const noTraffic = () => ({
  sessions: 0,
  messagesReceived: 0,
  bytesReceived: 0,
  messagesSent: 0,
  bytesSent: 0
})

const reasons = new Set(Object.values(CloseReason.messages))
const codes = [0, 1, 2, 3, 4, 5]

/** The numbers of one server. */
export class MetricsRecorder {
  readonly traffic: Record<TransportType, ReturnType<typeof noTraffic>> = {
    polling: noTraffic(),
    websocket: noTraffic(),
    webtransport: noTraffic()
  }
  readonly closes: Record<string, number> = {}
  readonly refusals: Record<number, number> = {}
  upgrades = 0
  private readonly context: Context.Context<never>
  private readonly group: Group
  constructor(context: Context.Context<never>, buffered: () => number) {
    this.context = context
    this.buffered = buffered
    this.group = Group.of(context)
    this.group.add(this)
  }
  /** Bytes that wait for clients now. */
  readonly buffered: () => number

  opened(transport: TransportType): void {
    this.traffic[transport].sessions++
  }

  received(transport: TransportType, bytes: number): void {
    const traffic = this.traffic[transport]
    traffic.messagesReceived++
    traffic.bytesReceived += bytes
  }

  sent(transport: TransportType, messages: number, bytes: number): void {
    const traffic = this.traffic[transport]
    traffic.messagesSent += messages
    traffic.bytesSent += bytes
  }

  closed(transport: TransportType, reason: CloseReason.CloseReason): void {
    this.traffic[transport].sessions--
    const text = CloseReason.message(reason)
    this.closes[text] = (this.closes[text] ?? 0) + 1
  }

  refused(code: number): void {
    this.refusals[code] = (this.refusals[code] ?? 0) + 1
  }

  upgraded(from: TransportType, to: TransportType, millis: number): void {
    this.traffic[from].sessions--
    this.traffic[to].sessions++
    this.upgrades++
    upgradeTime.updateUnsafe(millis / 1000, this.context)
  }

  roundTrip(millis: number): void {
    roundTrip.updateUnsafe(millis / 1000, this.context)
  }

  /** The server is gone; what it counted stays counted as long as others are there that report to the same registry. */
  end(): void {
    this.group.remove(this)
  }
}

/** From one millisecond to 16 seconds. */
const seconds = Metric.exponentialBoundaries({ start: 0.001, factor: 2, count: 15 })
const upgradeTime = Metric.histogram("engineio_upgrade_seconds", {
  description: "Time from a client's WebSocket to its upgrade",
  boundaries: seconds
})
const roundTrip = Metric.histogram("engineio_round_trip_seconds", {
  description: "Time from a ping to its pong",
  boundaries: seconds
})

/** All servers that report to one registry: a series has one value, whoever contributes to it. */
class Group {
  private static readonly groups = new WeakMap<object, Group>()
  private readonly recorders = new Set<MetricsRecorder>()
  /** What ended servers had counted. */
  private readonly past = new Map<string, number>()
  private readonly context: Context.Context<never>
  private registrations: Array<Metric.Registration> = []
  private readonly counters: Array<readonly [series: string, read: (recorder: MetricsRecorder) => number]> = []
  private constructor(context: Context.Context<never>) {
    this.context = context
  }

  static of(context: Context.Context<never>): Group {
    const registry = Context.get(context, Metric.MetricRegistry)
    let group = Group.groups.get(registry)
    if (group === undefined) Group.groups.set(registry, group = new Group(context))
    return group
  }

  add(recorder: MetricsRecorder): void {
    this.recorders.add(recorder)
    if (this.recorders.size === 1) this.register()
  }

  remove(recorder: MetricsRecorder): void {
    this.recorders.delete(recorder)
    for (const [series, read] of this.counters) this.past.set(series, (this.past.get(series) ?? 0) + read(recorder))
    if (this.recorders.size > 0) return
    for (const registration of this.registrations) registration.remove()
    this.registrations = []
    this.counters.length = 0
    this.past.clear()
  }

  private sum(read: (recorder: MetricsRecorder) => number): number {
    let sum = 0
    for (const recorder of this.recorders) sum += read(recorder)
    return sum
  }

  private counter(
    name: string,
    description: string,
    attributes: Record<string, string>,
    read: (recorder: MetricsRecorder) => number
  ) {
    const series = name + JSON.stringify(attributes)
    this.counters.push([series, read])
    this.registrations.push(Metric.registerUnsafe(
      Metric.counter(name, { description, attributes, incremental: true }),
      this.context,
      {
        get: () => ({ count: (this.past.get(series) ?? 0) + this.sum(read), incremental: true }),
        update: ignore,
        modify: ignore
      }
    ))
  }

  private gauge(
    name: string,
    description: string,
    attributes: Record<string, string>,
    read: (recorder: MetricsRecorder) => number
  ) {
    this.registrations.push(Metric.registerUnsafe(
      Metric.gauge(name, { description, attributes }),
      this.context,
      { get: () => ({ value: this.sum(read) }), update: ignore, modify: ignore }
    ))
  }

  private register(): void {
    for (const transport of TransportType.all) {
      const at = { transport }
      this.gauge("engineio_sessions", "Open sessions", at, (it) => it.traffic[transport].sessions)
      this.counter(
        "engineio_received_messages_total",
        "Messages received",
        at,
        (it) => it.traffic[transport].messagesReceived
      )
      this.counter(
        "engineio_received_bytes_total",
        "Bytes of messages received",
        at,
        (it) => it.traffic[transport].bytesReceived
      )
      this.counter("engineio_sent_messages_total", "Messages sent", at, (it) => it.traffic[transport].messagesSent)
      this.counter("engineio_sent_bytes_total", "Bytes of messages sent", at, (it) => it.traffic[transport].bytesSent)
    }
    for (const reason of reasons) {
      this.counter("engineio_closes_total", "Sessions ended", { reason }, (it) => it.closes[reason] ?? 0)
    }
    for (const code of codes) {
      this.counter(
        "engineio_handshake_errors_total",
        "Requests refused",
        { code: `${code}` },
        (it) => it.refusals[code] ?? 0
      )
    }
    this.counter("engineio_upgrades_total", "Sessions moved to a better transport", {}, (it) => it.upgrades)
    this.gauge("engineio_buffered_bytes", "Bytes that wait for clients", {}, (it) => it.buffered())
  }
}

const ignore = (): void => {}
