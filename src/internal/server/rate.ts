/**
 * How many handshakes each remote address has begun lately. A window opens with an address's first handshake and closes
 * by itself; an address that is quiet costs nothing.
 */
import { Expiry, type ExpiryHost } from "./expiry.ts"

/**
 * How many addresses are counted at a time. Beyond it the oldest window closes early: who commands so many addresses is
 * not held up by a limit for each.
 */
const mostAddresses = 65_536

/** The longest text that is an address, and a little more: a proxy's header may hold anything. */
const longestAddress = 64

export class HandshakeRate {
  /** How many each address has begun in its window. */
  private readonly counts = new Map<string, number>()
  private readonly limit: number
  private readonly expiry: Expiry<string>
  constructor(options: { readonly limit: number; readonly window: number }, host: ExpiryHost) {
    this.limit = options.limit
    this.expiry = new Expiry(options.window, host, (client) => this.counts.delete(client))
  }

  /** Counts a handshake; `false` when it is one too many. */
  admit(address: string | undefined): boolean {
    const client = clientOf(address ?? "")
    const count = this.counts.get(client)
    if (count !== undefined) {
      if (count >= this.limit) return false
      this.counts.set(client, count + 1)
      return true
    }
    if (this.counts.size >= mostAddresses) this.expiry.expireFirst()
    this.counts.set(client, 1)
    this.expiry.add(client)
    return true
  }
}

/** What one client has of addresses: one of IPv4, a network of 64 bits of IPv6. */
export const clientOf = (address: string): string => {
  // Put together anew: a part of a longer text, as a header's is, would keep all of it in memory.
  const own = address.slice(0, longestAddress).toLowerCase().split("").join("")
  if (!own.includes(":")) return own
  if (own.startsWith("::ffff:") && own.includes(".")) return own.slice("::ffff:".length).split("").join("")
  const [head = "", tail] = own.split("%")[0]!.split("::")
  const groups = head === "" ? [] : head.split(":")
  if (tail !== undefined) {
    const rest = tail === "" ? [] : tail.split(":")
    while (groups.length + rest.length < 8) groups.push("0")
    groups.push(...rest)
  }
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":")
}
