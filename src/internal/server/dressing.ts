/**
 * What goes onto responses besides what the protocol asks for: headers of CORS, of the application, of old browsers,
 * and the cookie.
 */
import * as Effect from "effect/Effect"
import type * as Cookies from "effect/http/Cookies"
import * as Headers from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { TransportType } from "../../Transport.ts"
import type { SocketId } from "../session/model.ts"
import type { Engine } from "./engine.ts"

export interface Dressing {
  /** On every answer, refusals too. */
  readonly always: Readonly<Record<string, string>>
  /** On answers with status 200 or 101; those of `always` among them. */
  readonly success: Readonly<Record<string, string>>
  readonly cookies: Cookies.Cookies | undefined
}

const noHeaders: Readonly<Record<string, string>> = {}

/** Nothing: what most responses wear, compared by identity. */
export const plain: Dressing = { always: noHeaders, success: noHeaders, cookies: undefined }

/** The part that needs no session: what a refusal wears. */
export const ofRequest = (engine: Engine, cors: Readonly<Record<string, string>> | undefined): Dressing => {
  if (cors === undefined) return engine.stopped ? closing : plain
  const always = engine.stopped ? { ...cors, ...closing.always } : cors
  return { always, success: always, cookies: undefined }
}

// A server that no longer listens waits for its connections to close.
const closing: Dressing = { always: { connection: "close" }, success: { connection: "close" }, cookies: undefined }

/** What the application adds must not break the head of an answer, which on a 101 nobody else would notice. */
const checked = (headers: Headers.Headers): Headers.Headers => {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new TypeError(`responseHeaders: the header ${JSON.stringify(name)} has a value that headers cannot carry`)
    }
  }
  return headers
}

/** The whole of it, for a session's request. */
export const ofSession = (
  engine: Engine,
  dressing: Dressing,
  request: HttpServerRequest,
  id: SocketId,
  transport: TransportType,
  initial: boolean
): Dressing | Effect.Effect<Dressing> => {
  const { cookie, responseHeaders } = engine.settings
  if (transport === "polling") dressing = ofPoll(dressing, engine.platform.header(request, "user-agent"))
  if (initial && cookie !== undefined && transport === "polling") dressing = { ...dressing, cookies: cookie(id) }
  if (responseHeaders === undefined) return dressing
  return Effect.map(responseHeaders({ request, id, initial, transport }), (added) => ({
    ...dressing,
    success: { ...dressing.success, ...checked(Headers.fromInput(added)) }
  }))
}

/** What the client's kind asks for on a poll or a post. */
export const ofPoll = (dressing: Dressing, agent: string | undefined): Dressing =>
  isExplorer(agent) ? { ...dressing, success: { ...dressing.success, "x-xss-protection": "0" } } : dressing

// Internet Explorer warns of scripts in what is none (rule R38).
const isExplorer = (agent: string | undefined): boolean =>
  agent !== undefined && (agent.includes(";MSIE") || agent.includes("Trident/"))
