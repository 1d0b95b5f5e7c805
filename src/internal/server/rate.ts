/**
 * How many handshakes each remote address has begun lately. A window opens with an address's first handshake and closes
 * by itself; an address that is quiet costs nothing.
 */
import { Deadline, type DeadlineList, type Deadlines } from "../session/deadlines.ts"

/**
 * How many addresses are counted at a time. Beyond it the oldest window closes early: who commands so many addresses is
 * not held up by a limit for each.
 */
const mostAddresses = 65_536

/** The longest text that is an address, and a little more: a proxy's header may hold anything. */
const longestAddress = 64

export class HandshakeRate {
  private readonly windows = new Map<string, Window>()
  private readonly limit: number
  private readonly expiry: DeadlineList
  constructor(options: { readonly limit: number; readonly window: number }, deadlines: Deadlines) {
    this.limit = options.limit
    this.expiry = deadlines.after(options.window)
  }

  /** How many addresses are being counted. */
  get size(): number {
    return this.windows.size
  }

  /** Counts a handshake; `false` when it is one too many. */
  admit(address: string | undefined): boolean {
    const client = clientOf(address ?? "")
    const open = this.windows.get(client)
    if (open !== undefined) return open.count < this.limit && ++open.count > 0
    if (this.windows.size >= mostAddresses) this.closeOldest()
    const window = new Window(this.windows, client)
    this.windows.set(client, window)
    this.expiry.add(window)
    return true
  }

  private closeOldest(): void {
    for (const oldest of this.windows.values()) {
      oldest.cancel()
      return oldest.expire()
    }
  }
}

class Window extends Deadline {
  count = 1
  private readonly windows: Map<string, Window>
  private readonly client: string
  constructor(windows: Map<string, Window>, client: string) {
    super()
    this.windows = windows
    this.client = client
  }

  expire(): void {
    this.windows.delete(this.client)
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
