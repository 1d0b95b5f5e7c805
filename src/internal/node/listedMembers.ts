/**
 * The members of a cluster whose addresses are known, from a list or from DNS: who listens there says its name.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Dns from "node:dns/promises"
import type * as Net from "node:net"
import { isText } from "../protocol/expectation.ts"
import { type OptionsError, optionsError } from "../protocol/optionsError.ts"
import { see } from "../protocol/see.ts"
import { Others } from "../server/cluster.ts"
import { checker, structOf } from "../server/optionsSchema.ts"
import type { Members } from "./memberSockets.ts"
import {
  duration,
  hasHost,
  isPort,
  makeNetworkMembers,
  neededOptions,
  type NetworkOptions,
  networkOptions
} from "./networkMembers.ts"

/**
 * Options of `layerMembers`.
 *
 * @category models
 * @since 0.2.0
 */
export interface MembersOptions extends NetworkOptions {
  /**
   * Where all members listen: a list of addresses like `"10.0.0.1:7000"`, or the name in DNS that has all of them, and the
   * port. This member may be among them.
   */
  readonly members: ReadonlyArray<string> | { readonly dns: string; readonly port: number }
  /**
   * How often it looks for members where it has found none, and asks DNS. Default: 1 second for a list, 5 seconds with DNS.
   */
  readonly interval?: Duration.Input | undefined
}

interface Address {
  readonly host: string
  readonly port: number
}

const parse = (text: string): Address | undefined => {
  const [, v6, host = v6!, port] = /^(?:\[([\da-f:.]+)\]|([^\s:[\]]+)):(\d+)$/i.exec(text) ?? []
  return isPort(Number(port)) ? { host, port: Number(port) } : undefined
}

/** The members at addresses that may change. */
export const membersAt = Effect.fnUntraced(function*(
  options: NetworkOptions,
  addresses: Effect.Effect<ReadonlyArray<Address>>,
  interval: Duration.Input
): Effect.fn.Return<Members, OptionsError, Scope.Scope> {
  const others = new Others<Net.NetConnectOpts>()
  /** Where a member is, or is looked for. */
  const taken = new Set<string>()
  const joined = yield* Queue.sliding<void>(1)
  const members = yield* makeNetworkMembers(options, others, (member) => {
    if (!others.has(member)) Queue.offerUnsafe(joined, undefined)
  })

  const find = (address: Address): Effect.Effect<void> =>
    Effect.suspend(() => {
      const key = `${address.host} ${address.port}`
      if (taken.has(key)) return Effect.void
      taken.add(key)
      let found: string | undefined
      return members.meet(
        address,
        (member) => {
          found = member
          if (member !== members.self) others.set(member, address)
        },
        () => {
          taken.delete(key)
          if (found !== undefined && others.get(found) === address) others.delete(found)
        }
      )
    })
  // One that is listed no more is there until it goes: it may have sessions to end.
  const look = Effect.gen(function*() {
    const all = yield* addresses
    return yield* Effect.forkScoped(Effect.forEach(all, find, { concurrency: "unbounded", discard: true }))
  })
  // Clients come only when this member knows the others, unless there are none.
  yield* Fiber.join(yield* look)
  // Who is new, and has found us, is to be found at once.
  const next = Effect.timeoutOption(Queue.take(joined), interval)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(next, look)))
  return members
})

const check = checker(
  "layerMembers",
  "layerMembers",
  structOf({ ...networkOptions, interval: duration }, {
    ...neededOptions,
    members: {
      expects: "a list of addresses like \"10.0.0.1:7000\", or { dns: text, port: number }",
      check: (value) => Array.isArray(value) ? value.every(isText) : hasHost("dns", isPort)(value)
    }
  }),
  {}
)

export const listedMembers = Effect.fnUntraced(function*(
  options: MembersOptions
): Effect.fn.Return<Members, OptionsError, Scope.Scope> {
  yield* check(options)
  const { listen, members, tls } = options
  if ("dns" in members) {
    const { dns, port } = members
    if (!isPort(port)) return yield* optionsError(`members: ${port} is no port`)
    const found = Effect.tryPromise(() => Dns.lookup(dns, { all: true })).pipe(
      Effect.map((all) => all.map(({ address }) => ({ host: address, port }))),
      Effect.catch(({ cause }) =>
        Effect.as(
          Effect.logWarning(`The addresses of the members cannot be found${see("addresses-of-a-cluster")}`, cause),
          []
        )
      )
    )
    const whole = {
      ...options,
      listen: { ...listen, port: listen.port ?? port },
      tls: tls && { ...tls, servername: tls.servername ?? dns }
    }
    return yield* membersAt(whole, found, options.interval ?? "5 seconds")
  }
  const addresses: Array<Address> = []
  for (const text of members) {
    const address = parse(text)
    if (address === undefined) {
      return yield* optionsError(`members: must be like "10.0.0.1:7000", is ${JSON.stringify(text)}`)
    }
    addresses.push(address)
  }
  if (listen.port === undefined) return yield* optionsError("listen: must have the port of the list")
  return yield* membersAt(options, Effect.succeed(addresses), options.interval ?? "1 second")
})
