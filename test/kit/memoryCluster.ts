/**
 * The members of a cluster in one program, and a network between them on the clock of a test, which may be slow, cut, or
 * lose a member.
 */
import { Clock, Duration, Effect, Latch, Queue, type Scope } from "effect"
import { UnknownSid } from "../../src/HandshakeError.ts"
import { type Cluster, type LinkHandler, Others, type Owner } from "../../src/internal/server/cluster.ts"
import type { Message } from "../../src/internal/server/clusterMessages.ts"

interface Member {
  owner: Owner | undefined
  readonly others: Others
  /** What ends its links. */
  readonly ends: Set<() => void>
}

export class MemoryNetwork {
  /** How long a message takes. */
  delay: Duration.Duration = Duration.zero
  private readonly members = new Map<string, Member>()
  /** Closed while no message arrives. */
  private readonly whole = Latch.makeUnsafe(true)

  /** Keeps what is sent from arriving, until `heal`. */
  cut(): void {
    this.whole.closeUnsafe()
  }

  heal(): void {
    this.whole.openUnsafe()
  }

  /** All links close, as if nothing had come on them for too long; what was on its way is lost. */
  unlink(): void {
    for (const { ends } of this.members.values()) for (const end of ends) end()
  }

  /** The member dies: its links close, and the others know that it is gone. */
  kill(self: string): void {
    const member = this.members.get(self)
    for (const end of member?.ends ?? []) end()
    member?.others.clear()
    this.members.delete(self)
    for (const { others } of this.members.values()) others.delete(self)
  }

  /** Adds a member, as long as the scope lives. */
  readonly join = Effect.fnUntraced(function*(
    this: MemoryNetwork,
    self: string
  ): Effect.fn.Return<Cluster, never, Scope.Scope> {
    const context = yield* Effect.context<Scope.Scope>()
    const fork = Effect.runForkWith(context)
    const runSync = Effect.runSyncWith(context)
    const member: Member = { owner: undefined, others: new Others(), ends: new Set() }
    for (const [name, { others }] of this.members) {
      others.set(self, self)
      member.others.set(name, name)
    }
    this.members.set(self, member)
    yield* Effect.addFinalizer(() => Effect.sync(() => this.kill(self)))

    /** One direction of a link. */
    const wire = (deliver: (message: Message) => void): (message: Message) => void => {
      const sent = runSync(Queue.unbounded<{ readonly message: Message; readonly due: number }>())
      fork(Effect.forkScoped(Effect.forever(Effect.gen({ self: this }, function*() {
        const { due, message } = yield* Queue.take(sent)
        const now = yield* Clock.currentTimeMillis
        if (due > now) yield* Effect.sleep(due - now)
        yield* this.whole.await
        deliver(message)
      }))))
      return (message) => {
        const now = runSync(Clock.currentTimeMillis)
        Queue.offerUnsafe(sent, { message, due: now + Duration.toMillis(this.delay) })
      }
    }

    return {
      self,
      others: member.others,
      pipes: [],
      connect: (name, asker) => {
        const other = this.members.get(name)
        let isOpen = other?.owner !== undefined
        if (other?.owner === undefined) {
          fork(Effect.andThen(Effect.yieldNow, Effect.sync(() => asker.onClose())))
          return { send: () => {} }
        }
        const answer = wire((message) => isOpen && asker.onMessage(message))
        const owner: LinkHandler = other.owner.onLink({ send: answer })
        const ask = wire((message) => isOpen && owner.onMessage(message))
        const end = (): void => {
          if (!isOpen) return
          isOpen = false
          for (const ends of [member.ends, other.ends]) ends.delete(end)
          owner.onClose()
          asker.onClose()
        }
        for (const ends of [member.ends, other.ends]) ends.add(end)
        return { send: ask }
      },
      upgrade: (name, request, upgrade) =>
        Effect.gen({ self: this }, function*() {
          yield* Effect.sleep(this.delay)
          const owner = this.members.get(name)?.owner
          if (owner === undefined) return yield* new UnknownSid({ context: { sid: upgrade.sid } })
          const decision = owner.onUpgrade(upgrade)
          if (typeof decision !== "function") return yield* decision
          yield* owner.platform.upgrade(request, upgrade.answered, decision)
        }),
      serve: (owner) =>
        Effect.acquireRelease(
          Effect.sync(() => void (member.owner = owner)),
          () => Effect.sync(() => member.owner = undefined)
        )
    }
  }).bind(this)
}
