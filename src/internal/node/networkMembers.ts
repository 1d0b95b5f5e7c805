/**
 * A member that listens for the others in a network, wherever it knows them from.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { type Expectation, isDuration, isText } from "../protocol/expectation.ts"
import { type OptionsError, optionsError } from "../protocol/optionsError.ts"
import type { Others } from "../server/cluster.ts"
import { hasOnly, isObject } from "../server/optionsSchema.ts"
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

const isWord = (value: unknown): boolean => isText(value) && value !== ""

/** Whether a value has a host by this name, and no more than a port beside it. */
export const hasHost = (name: string, isPort: (value: unknown) => boolean) => (value: unknown): boolean =>
  hasOnly({ [name]: isWord, port: isPort })(value) && (value as Readonly<Record<string, unknown>>)[name] !== undefined

export const duration: Expectation = { expects: "a duration above zero", check: isDuration }

/** What all members may be told, and then what they have to be told. */
export const networkOptions = {
  name: {
    expects: "letters and digits, 64 at most",
    check: (value: unknown) => isText(value) && /^[0-9A-Za-z]{1,64}$/.test(value as string)
  },
  tls: {
    expects: "{ key, cert, ca, servername? }",
    check: (value: unknown) => isObject(value) && ["key", "cert", "ca"].every((name) => value[name] !== undefined)
  }
}

// What comes from the environment may not be there.
export const neededOptions = {
  secret: {
    expects: "text that is not empty, or a Redacted of it",
    check: (value: unknown) => isWord(Redacted.isRedacted(value) ? Redacted.value(value) : value)
  },
  listen: { expects: "{ host: text, port?: number }", check: hasHost("host", (port) => port === 0 || isPort(port)) }
}

export interface NetworkMembers extends Members {
  readonly address: Net.AddressInfo
}

export const makeNetworkMembers = Effect.fnUntraced(function*(
  { listen, name, secret, tls }: NetworkOptions,
  others: Others<Net.NetConnectOpts>,
  onMember?: (member: string) => void
): Effect.fn.Return<NetworkMembers, OptionsError, Scope.Scope> {
  const { host, port = 0 } = listen
  const wire = yield* Effect.try({
    try: () => tls === undefined ? plain : secure(tls),
    catch: (error) => optionsError(`tls: ${error instanceof Error ? error.message : error}`)
  })
  const part = generateSid().slice(0, 8)
  const self = name === undefined ? part : `${name}-${part}`
  const members = yield* makeMembers({
    self,
    others,
    listen: { host, port },
    secret: Redacted.isRedacted(secret) ? Redacted.value(secret) : secret,
    wire,
    onMember
  }).pipe(
    Effect.mapError(({ code }) => optionsError(`listen: ${host}, port ${port}, cannot be listened on (${code})`))
  )
  return { ...members as NetworkMembers, isBalanced: true }
})
