/**
 * What goes onto responses besides what the protocol asks for: headers of CORS, of the application, of old browsers,
 * and the cookie.
 */
import type * as Cookies from "effect/http/Cookies"
import type * as Headers from "effect/http/Headers"
import { see } from "../protocol/see.ts"
import { isFraming, isHeaderName, isHeaderValue } from "./headerFields.ts"

export interface ExtraHeaders {
  /** On every answer, refusals too. */
  readonly always: Readonly<Record<string, string>>
  /** On answers with status 200 or 101; those of `always` among them. */
  readonly success: Readonly<Record<string, string>>
  readonly cookies: Cookies.Cookies | undefined
  /** Cookies of the application, as lines, on answers with status 200 or 101. */
  readonly lines: ReadonlyArray<string>
}

const everywhere = (headers: Readonly<Record<string, string>>): ExtraHeaders => ({
  always: headers,
  success: headers,
  cookies: undefined,
  lines: []
})

/** None, as on most responses. */
export const none = everywhere({})

/** Those that need no session: those of a refusal. */
export const ofRequest = (stopped: boolean, cors: Readonly<Record<string, string>> | undefined): ExtraHeaders => {
  if (cors === undefined) return stopped ? closing : none
  return everywhere(stopped ? { ...cors, ...closing.always } : cors)
}

// A server that no longer listens waits for its connections to close.
const closing = everywhere({ connection: "close" })

/** Adds headers of the application: values of one name stand in one line, but each cookie has its own. */
export const add = (extraHeaders: ExtraHeaders, added: Headers.Input): ExtraHeaders => {
  const success = { ...extraHeaders.success }
  const lines = [...extraHeaders.lines]
  for (const [name, value] of Symbol.iterator in added ? added : Object.entries(added)) {
    if (value === undefined) continue
    const values = [value].flat().map(String)
    if (!isHeaderName(name) || isFraming(name) || !values.every(isHeaderValue)) {
      throw new TypeError(
        `responseHeaders: no answer can carry the header ${JSON.stringify(name)} with such a value${
          see("failed-decision")
        }`
      )
    }
    const key = name.toLowerCase()
    if (key === "set-cookie") lines.push(...values)
    else success[key] = values.join(", ")
  }
  return { ...extraHeaders, success, lines }
}

/** The headers of a 101, several in a list. */
export const of101 = ({ lines, success }: ExtraHeaders): Readonly<Record<string, string | ReadonlyArray<string>>> =>
  lines.length === 0 ? success : { ...success, "set-cookie": lines }

/** What the client's kind asks for on a poll or a post. */
export const ofPoll = (extraHeaders: ExtraHeaders, agent: string | undefined): ExtraHeaders =>
  isExplorer(agent) ? { ...extraHeaders, success: { "x-xss-protection": "0", ...extraHeaders.success } } : extraHeaders

// Internet Explorer warns of scripts in what is none (rule R38).
const isExplorer = (agent: string | undefined): boolean =>
  agent !== undefined && (agent.includes(";MSIE") || agent.includes("Trident/"))
