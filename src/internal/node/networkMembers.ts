/**
 * A member that listens for the others in a network, wherever it knows them from.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { isDuration } from "../protocol/expectation.ts"
import { type OptionsError, optionsError } from "../protocol/optionsError.ts"
import type { Others } from "../server/cluster.ts"
import { generateSid } from "../server/sid.ts"
import { makeMembers, type Members } from "./memberSockets.ts"
import { type MemberTls, plain, secure } from "./memberWire.ts"

/**
 * What every member in a network is told.
 *
 * @category models
 * @since 0.2.0
 */
export interface NetworkOptions {
  /** What all members know and nobody else, long and random: whoever knows it can speak for any client. */
  readonly secret: string | Redacted.Redacted
  /** Where this member listens for the others, in a network that clients cannot reach. */
  readonly listen: { readonly host: string; readonly port?: number | undefined }
  /**
   * What the ids of its sessions begin with, before a `-`: letters and digits, so that a load balancer can send requests
   * to their owner by the id; 64 at most. Default: nothing a balancer could know.
   */
  readonly name?: string | undefined
  /** Encrypts what members say to each other. Default: it is not encrypted. */
  readonly tls?: MemberTls | undefined
}

export const Port = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))
export const isPort: (value: unknown) => value is number = Schema.is(Port)

/** Without it, members would look for each other without a pause. */
export const checkDuration = (name: string, value: Duration.Input): Effect.Effect<void, OptionsError> =>
  isDuration(value) ? Effect.void : Effect.fail(optionsError(`${name}: must be a duration above zero, is ${value}`))

export interface NetworkMembers extends Members {
  readonly address: Net.AddressInfo
}

export const makeNetworkMembers = Effect.fnUntraced(function*(
  { listen, name, secret, tls }: NetworkOptions,
  others: Others<Net.NetConnectOpts>,
  onMember?: (member: string) => void
): Effect.fn.Return<NetworkMembers, OptionsError, Scope.Scope> {
  const word = Redacted.isRedacted(secret) ? Redacted.value(secret) : secret
  // What comes from the environment may not be there.
  if (typeof word !== "string" || word === "") return yield* optionsError("secret: must be text, and not empty")
  if (name !== undefined && !/^[0-9A-Za-z]{1,64}$/.test(name)) {
    return yield* optionsError(`name: must be letters and digits, 64 at most, is ${JSON.stringify(name)}`)
  }
  const port = listen.port ?? 0
  if (port !== 0 && !isPort(port)) return yield* optionsError(`listen: ${port} is no port`)
  const wire = yield* Effect.try({
    try: () => tls === undefined ? plain : secure(tls),
    catch: (error) => optionsError(`tls: ${error instanceof Error ? error.message : error}`)
  })
  const part = generateSid().slice(0, 8)
  const self = name === undefined ? part : `${name}-${part}`
  const members = yield* makeMembers({
    self,
    others,
    listen: { ...listen, port },
    secret: word,
    wire,
    onMember
  })
  return { ...members as NetworkMembers, isBalanced: true }
})
