/**
 * What `serve` says of sessions.
 */
import * as CloseReason from "../../CloseReason.ts"
import type { EngineEvent } from "../../EngineIO.ts"
import type { Message, Packet } from "../../Packet.ts"
import type { Socket, SocketEvent } from "../../Socket.ts"
import { bytesOf, fieldsOf, type Line, quote, seconds, short } from "./text.ts"

/** Local time of day. */
export const clock = (now: Date): string =>
  [now.getHours(), now.getMinutes(), now.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":") +
  `.${String(now.getMilliseconds()).padStart(3, "0")}`

const data = (message: Message): string => typeof message === "string" ? quote(message) : bytesOf(message)

const packet = ({ data: content, type }: Packet): string => content === undefined ? type : `${type} ${data(content)}`

const secret = new Set(["authorization", "cookie", "proxy-authorization"])

/** A session was opened, and by whom. */
export const opened = ({ handshake, id, protocol }: Socket): Line => {
  const { headers, remoteAddress, transport } = handshake
  const agent = headers["user-agent"]
  return {
    text:
      `${short(id)}  opened over ${transport}, revision ${protocol}, from ${remoteAddress ?? "an unknown address"}` +
      (agent === undefined ? "" : `, ${quote(agent)}`),
    fields: { event: "open", session: short(id), transport, revision: protocol, remoteAddress, userAgent: agent }
  }
}

/** The request that opened a session. */
export const requested = ({ handshake: { headers, url }, id }: Socket): ReadonlyArray<Line> => [
  { text: `${short(id)}    GET ${quote(url)}`, fields: { event: "request", session: short(id), url } },
  ...Object.entries(headers).map(([name, value = ""]) => {
    const shown = secret.has(name) ? `${value.length} characters, not shown` : undefined
    return {
      text: `${short(id)}    ${name}: ${shown ?? quote(value)}`,
      fields: { event: "header", session: short(id), name, value: shown ?? value }
    }
  })
]

/** What happened in a session; packets only where they are wanted. */
export const event = ({ handshake, id }: Socket, event: SocketEvent, verbose: boolean): Line | undefined => {
  const line = (text: string, name: string, fields: object): Line => ({
    text: `${short(id)}  ${text}`,
    fields: { event: name, session: short(id), ...fields }
  })
  const fields = ({ data, type }: Packet) => ({ type, ...(data === undefined ? {} : fieldsOf(data)) })
  switch (event._tag) {
    case "PacketReceived":
      return verbose ? line(`<- ${packet(event.packet)}`, "received", fields(event.packet)) : undefined
    case "PacketCreated":
      return verbose ? line(`-> ${packet(event.packet)}`, "sent", fields(event.packet)) : undefined
    case "Upgrading":
      return verbose ? line(`probes ${event.transport}`, "probe", { transport: event.transport }) : undefined
    case "Upgraded":
      return line(`upgraded to ${event.transport}`, "upgrade", { transport: event.transport })
    case "PostRefused":
      return line(`posted more than ${event.limit} bytes, which were refused`, "post refused", { limit: event.limit })
    case "Closed": {
      const millis = Date.now() - handshake.time
      return line(`closed after ${seconds(millis)}: ${why(event.reason)}`, "close", {
        millis,
        reason: event.reason._tag,
        ...details(event.reason)
      })
    }
    default:
      return undefined
  }
}

const details = (reason: CloseReason.CloseReason): object => {
  switch (reason._tag) {
    case "TransportClose":
      return { code: reason.code, closeReason: reason.reason }
    case "TransportError":
    case "ParseError":
      return { error: reason.error._tag }
    case "ServerShutdown":
      return { undelivered: reason.undelivered }
    default:
      return {}
  }
}

const why = (reason: CloseReason.CloseReason): string => {
  const text = `${CloseReason.message(reason)} (${reason._tag}`
  switch (reason._tag) {
    case "TransportClose":
      return `${text}${reason.code === undefined ? "" : `, code ${reason.code}`}${
        reason.reason === undefined || reason.reason === "" ? "" : `, ${quote(reason.reason)}`
      })`
    case "TransportError":
    case "ParseError":
      return `${text}, ${reason.error._tag})`
    case "ServerShutdown":
      return `${text}${reason.undelivered === 0 ? "" : `, ${reason.undelivered} undelivered`})`
    default:
      return `${text})`
  }
}

const detail = (name: string, value: unknown): string => {
  if (value === undefined) return `no ${name}`
  return `${name} ${name === "sid" ? `${quote(short(String(value)))}…` : quote(String(value))}`
}

/** A request was refused. */
export const refused = (
  { code, context, message }: Extract<EngineEvent, { readonly _tag: "ConnectionError" }>
): Line => {
  const details = Object.entries(typeof context === "object" && context !== null ? context : {})
  return {
    text: `refused  code ${code}, ${message}${details.map(([name, value]) => `, ${detail(name, value)}`).join("")}`,
    fields: {
      event: "refused",
      code,
      message,
      ...Object.fromEntries(
        details.map(([name, value]) => [name, name === "sid" ? short(String(value)) : String(value)])
      )
    }
  }
}
