/**
 * What the command says of sessions. Ids are credentials, so only their beginnings are shown. Whatever a client has
 * sent is quoted, and every line is printed through `visible`, so that no client can steer the terminal.
 */
import * as CloseReason from "../../CloseReason.ts"
import type { EngineEvent } from "../../EngineIO.ts"
import type { Message, Packet } from "../../Packet.ts"
import type { Socket, SocketEvent } from "../../Socket.ts"

type Lines = ReadonlyArray<string>

const shown = 72

/** Local time of day. */
export const clock = (now: Date): string =>
  [now.getHours(), now.getMinutes(), now.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":") +
  `.${String(now.getMilliseconds()).padStart(3, "0")}`

const short = (id: string): string => id.slice(0, 6)

/** The text with everything escaped that a terminal acts on or does not show: controls, and marks of direction. */
export const visible = (text: string): string =>
  text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  )

const quote = (text: string): string => {
  const quoted = visible(JSON.stringify(text.slice(0, shown)))
  return text.length > shown ? `${quoted}… ${text.length} characters` : quoted
}

const data = (message: Message): string => {
  if (typeof message === "string") return quote(message)
  const bytes = Array.from(message.subarray(0, shown / 3), (byte) => byte.toString(16).padStart(2, "0")).join(" ")
  return `${message.length} bytes: ${bytes}${message.length > shown / 3 ? " …" : ""}`
}

const packet = ({ data: content, type }: Packet): string => content === undefined ? type : `${type} ${data(content)}`

const secret = new Set(["authorization", "cookie", "proxy-authorization"])

/** A session was opened, and by whom. */
export const opened = ({ handshake, id, protocol }: Socket, verbose: boolean): Lines => {
  const { headers, remoteAddress, transport, url } = handshake
  const agent = headers["user-agent"]
  return [
    `${short(id)}  opened over ${transport}, revision ${protocol}, from ${remoteAddress ?? "an unknown address"}` +
    (agent === undefined || verbose ? "" : `, ${quote(agent)}`),
    ...(verbose
      ? [
        `${short(id)}    GET ${quote(url)}`,
        ...Object.entries(headers).map(([name, value = ""]) =>
          `${short(id)}    ${name}: ${secret.has(name) ? `${value.length} characters, not shown` : quote(value)}`
        )
      ]
      : [])
  ]
}

/** What happened in a session; packets only where they are wanted. */
export const event = ({ handshake, id }: Socket, event: SocketEvent, verbose: boolean): Lines => {
  const line = (text: string): Lines => [`${short(id)}  ${text}`]
  switch (event._tag) {
    case "PacketReceived":
      return verbose ? line(`<- ${packet(event.packet)}`) : []
    case "PacketCreated":
      return verbose ? line(`-> ${packet(event.packet)}`) : []
    case "Upgrading":
      return verbose ? line(`probes ${event.transport}`) : []
    case "Upgraded":
      return line(`upgraded to ${event.transport}`)
    case "PostRefused":
      return line(`posted more than ${event.limit} bytes, which were refused`)
    case "Closed":
      return line(`closed after ${((Date.now() - handshake.time) / 1000).toFixed(1)} s: ${why(event.reason)}`)
    default:
      return []
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
export const refused = ({ code, context, message }: Extract<EngineEvent, { readonly _tag: "ConnectionError" }>) => {
  const details = Object.entries(typeof context === "object" && context !== null ? context : {})
    .map(([name, value]) => `, ${detail(name, value)}`)
  return `refused  code ${code}, ${message}${details.join("")}`
}
