/**
 * What reaches a terminal. Whatever the other side has sent is printed through `visible`, so that it cannot steer the
 * terminal. Ids are credentials, so only their beginnings are shown.
 */
import * as Console from "effect/Console"
import type * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import { styleText } from "node:util"
import type { Message } from "../../Packet.ts"

/** What happened: for people, and for programs. */
export interface Line {
  readonly text: string
  readonly fields: { readonly event: string; readonly [name: string]: unknown }
}

const longest = 72

/** The text with everything escaped that a terminal acts on or does not show: controls, and marks of direction. */
export const visible = (text: string): string =>
  text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    const escaped = JSON.stringify(character).slice(1, -1)
    return escaped === character ? character.replace(/[^]/g, escapeUnit) : escaped
  })

const escapeUnit = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`

export const short = (id: string): string => id.slice(0, 6)

export const quote = (text: string): string => {
  const quoted = visible(JSON.stringify(text.slice(0, longest)))
  return text.length > longest ? `${quoted}… ${text.length} characters` : quoted
}

export const bytesOf = (message: Uint8Array): string => {
  const bytes = Array.from(message.subarray(0, longest / 3), (byte) => byte.toString(16).padStart(2, "0")).join(" ")
  return `${message.length} bytes: ${bytes}${message.length > longest / 3 ? " …" : ""}`
}

/** A message as a program reads it. */
export const fieldsOf = (message: Message) =>
  typeof message === "string" ? { text: message } : { base64: Base64.encode(message) }

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** A line of output. */
export const print = (text: string): Effect.Effect<void> => Console.log(visible(text))

/** JSON in a line. It has the escapes of `visible`, which are those of JSON. */
export const printJson = (value: object): Effect.Effect<void> => print(JSON.stringify(value))

/** A line about what happens, beside the output. */
export const remark = (text: string): Effect.Effect<void> =>
  Console.error(styleText("dim", visible(text), { stream: process.stderr }))
