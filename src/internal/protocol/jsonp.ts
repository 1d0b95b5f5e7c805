/**
 * JSONP, the form of polling where a page may only load scripts: the answer to a GET is a script, the body of a
 * POST is a form (rules R55, R56).
 */
import { decodeComponent, eachField, isNamed } from "./query.ts"

/** The number of the client's callback: the digits of its `j` and nothing else, so that no script can be put there. */
export const callbackIndex = (j: string): string => {
  let index = ""
  for (let position = 0; position < j.length; position++) {
    const code = j.charCodeAt(position)
    if (code >= 0x30 && code <= 0x39) index += j[position]
  }
  return index
}

/** The script that hands the payload to the callback `index`, which is one that `callbackIndex` gave. */
export const wrap = (index: string, payload: string): string =>
  "___eio[" + index + "]("
  + JSON.stringify(payload).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029") + ");"

/** The payload of a form: its field `d`, unescaped; undefined when that is missing or comes twice. */
export const unwrapForm = (body: string): string | undefined => {
  let field = ""
  let count = 0
  eachField(body, 0, body.length, (name, value) => {
    if (!isNamed(name, "d")) return
    field = value
    count++
  })
  return count === 1 ? unescapeNewlines(decodeComponent(field)) : undefined
}

/**
 * Undoes the client's escaping: `\n` was a line feed, which forms do not carry faithfully, and `\\n` was `\n`.
 */
const unescapeNewlines = (text: string): string => {
  let unescaped = ""
  let rest = 0
  for (let at = text.indexOf("\\n"); at >= 0; at = text.indexOf("\\n", rest)) {
    const escaped = text[at - 1] === "\\"
    unescaped += escaped ? text.slice(rest, at - 1) + "\\n" : text.slice(rest, at) + "\n"
    rest = at + 2
  }
  return rest === 0 ? text : unescaped + text.slice(rest)
}
