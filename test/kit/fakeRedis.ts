/**
 * As much of Redis as `@socket.io/redis-adapter` uses, by the API of `ioredis`: channels that publish and subscribe.
 */
import { EventEmitter } from "node:events"

export class FakeRedis {
  readonly subscribers = new Set<FakeRedisClient>()
  client(): FakeRedisClient {
    return new FakeRedisClient(this)
  }
}

export class FakeRedisClient extends EventEmitter {
  readonly channels = new Set<string>()
  readonly prefixes = new Set<string>()
  readonly #redis: FakeRedis
  constructor(redis: FakeRedis) {
    super()
    this.#redis = redis
    redis.subscribers.add(this)
  }

  subscribe(channels: Iterable<string>): void {
    for (const channel of channels) this.channels.add(channel)
  }

  unsubscribe(channels: Iterable<string>): void {
    for (const channel of channels) this.channels.delete(channel)
  }

  psubscribe(pattern: string): void {
    this.prefixes.add(pattern.replace(/\*$/, ""))
  }

  punsubscribe(pattern: string): void {
    this.prefixes.delete(pattern.replace(/\*$/, ""))
  }

  publish(channel: string, message: string | Uint8Array): void {
    const [name, bytes] = [Buffer.from(channel), Buffer.from(message as string)]
    setImmediate(() => {
      for (const subscriber of this.#redis.subscribers) {
        if (subscriber.channels.has(channel)) subscriber.emit("messageBuffer", name, bytes)
        for (const prefix of subscriber.prefixes) {
          if (channel.startsWith(prefix)) subscriber.emit("pmessageBuffer", Buffer.from(`${prefix}*`), name, bytes)
        }
      }
    })
  }

  /** `PUBSUB NUMSUB channel`. */
  send_command(_: string, [, channel]: [string, string], answer?: (error: null, found: [string, number]) => void) {
    const count = [...this.#redis.subscribers].filter(({ channels }) => channels.has(channel)).length
    answer?.(null, [channel, count])
    return Promise.resolve([channel, count])
  }
}
