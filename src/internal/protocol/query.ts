/**
 * The query of a request: what the protocol and the application read from the URL, without ever parsing the URL itself,
 * which may be malformed (rule R3).
 */

import { mostFields } from "./limits.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const percent = 0x25

/** The value of a hexadecimal digit, or -1. */
const hex = (code: number): number =>
  code >= 0x30 && code <= 0x39
    ? code - 0x30
    : code >= 0x41 && code <= 0x46
    ? code - 0x37
    : code >= 0x61 && code <= 0x66
    ? code - 0x57
    : -1

/**
 * Reads one name or value of a URL-encoded text: `+` is a space, `%xx` a byte of UTF-8, what is not UTF-8 becomes
 * U+FFFD, and a `%` without two digits stands for itself.
 */
export const decodeComponent = (text: string): string => {
  const spaced = text.includes("+") ? text.replaceAll("+", " ") : text
  return /%[\dA-Fa-f]{2}/.test(spaced) ? decodeEscapes(spaced) : spaced
}

const decodeEscapes = (text: string): string => {
  const bytes = encoder.encode(text)
  let length = 0
  for (let index = 0; index < bytes.length; index++) {
    const code = bytes[index]!
    if (code === percent && index + 2 < bytes.length) {
      const high = hex(bytes[index + 1]!)
      const low = hex(bytes[index + 2]!)
      if (high >= 0 && low >= 0) {
        bytes[length++] = high * 16 + low
        index += 2
        continue
      }
    }
    bytes[length++] = code
  }
  return decoder.decode(bytes.subarray(0, length))
}

/** Whether a name is this one, once it is decoded. Most cannot be, by their length. */
export const isNamed = (encoded: string, name: string): boolean =>
  encoded === name ||
  (encoded.length > name.length && encoded.length <= name.length * 3 && decodeComponent(encoded) === name)

/** The place of a character from `start` on, or else `end`. */
const find = (text: string, character: string, start: number, end: number): number => {
  const at = text.indexOf(character, start)
  return at < 0 || at > end ? end : at
}

/**
 * Hands over the fields of the URL-encoded text that stands from `start` up to `end`, neither name nor value decoded.
 */
export const eachField = (
  text: string,
  start: number,
  end: number,
  onField: (name: string, value: string) => void
): void => {
  let equals = -1
  for (let count = 0; start < end && count < mostFields;) {
    const stop = find(text, "&", start, end)
    // Looked for once, not once a field: where there is none, that would be quadratic.
    if (equals < start) equals = find(text, "=", start, end)
    if (stop > start) {
      count++
      if (equals < stop) onField(text.slice(start, equals), text.slice(equals + 1, stop))
      else onField(text.slice(start, stop), "")
    }
    start = stop + 1
  }
}

/** An object that has no other names than those of a query; made by a constructor, it takes a quarter of the memory. */
const Query = function() {} as unknown as new() => Record<string, string>
Query.prototype = Object.create(null)

/** Hands over the fields of what follows the first `?` of a URL, up to `#`. */
const eachFieldOf = (url: string, onField: (name: string, value: string) => void): void => {
  const end = find(url, "#", 0, url.length)
  eachField(url, find(url, "?", 0, end) + 1, end, onField)
}

/** The query of a URL. Of several values for one name the last is taken. */
export const parseQuery = (url: string): Record<string, string> => {
  const query: Record<string, string> = new Query()
  eachFieldOf(url, (name, value) => {
    query[decodeComponent(name)] = decodeComponent(value)
  })
  return query
}

/** One field of the query of a URL; what most requests need is found without reading the rest. */
export const readField = (url: string, name: string): string | undefined => {
  if (url.includes("%") || url.includes("+")) return readEncodedField(url, name)
  const end = find(url, "#", 0, url.length)
  let start = find(url, "?", 0, end) + 1
  let value: string | undefined
  for (let count = 0; start < end && count < mostFields;) {
    const stop = find(url, "&", start, end)
    const equals = start + name.length
    if (stop > start) count++
    if (equals <= stop && url.startsWith(name, start)) {
      if (equals === stop) value = ""
      else if (url[equals] === "=") value = url.slice(equals + 1, stop)
    }
    start = stop + 1
  }
  return value
}

const readEncodedField = (url: string, name: string): string | undefined => {
  let found: string | undefined
  eachFieldOf(url, (encoded, value) => {
    if (isNamed(encoded, name)) found = value
  })
  return found === undefined ? undefined : decodeComponent(found)
}

/** Whether the client takes bytes as bytes (rules R60, R64, R67). */
export const takesBytes = (query: Record<string, string>): boolean => (query["b64"] ?? "") === ""
