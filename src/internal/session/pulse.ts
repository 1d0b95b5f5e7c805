/**
 * What is noted of the client's heartbeat when something arrives. The fiber that keeps the heartbeat looks at it when it
 * wakes; it is woken only where it waits for a pong.
 */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import type { Session } from "./session.ts"

/** The client's half arrived: its pong in revision 4, its ping in revision 3. */
export const hear = (session: Session): void => {
  const { pulse, server } = session
  const { pingInterval, pingTimeout } = server.settings
  const now = server.now()
  pulse.heardAt = Math.ceil(now)
  pulse.deadline = Math.floor(now) + pingInterval + pingTimeout
  if (pulse.pings > 0) pulse.pings--
  const { ping } = pulse
  if (ping === undefined) return
  pulse.ping = undefined
  pulse.rtt = now - ping.sentAt
  server.metrics.roundTrip(pulse.rtt)
  Deferred.doneUnsafe(ping.pong, Exit.void)
}

/** The client is evidently there, or could not be heard: a wait for it begins anew. */
export const extend = ({ protocol, pulse, server }: Session): void => {
  const { pingInterval, pingTimeout } = server.settings
  if (protocol === 3) pulse.deadline = Math.floor(server.now()) + pingInterval + pingTimeout
  else if (pulse.ping !== undefined) pulse.deadline = Math.floor(server.now()) + pingTimeout
}
