import { assert, describe, it, vi } from "@effect/vitest"
import { parseQuery, readField } from "../../src/internal/protocol/query.ts"
import { listOf, pick, wellFormed } from "./arbitraries.ts"

const entriesOf = (url: string) => Object.entries(parseQuery(url))

/** What the platform reads; `URLSearchParams` alone gets text beyond ASCII wrong beside bytes that are not UTF-8. */
const reference = (query: string): object => {
  const url = new URL("http://localhost/")
  url.search = `?${query}`
  return Object.fromEntries(url.searchParams)
}

describe("the query", () => {
  it("R4: parameters are read from what follows the first question mark", () => {
    assert.deepStrictEqual(entriesOf("/engine.io/?EIO=4&transport=polling&sid=lv_VI97HAXpY6yYWAAAC&t=a?b"), [
      ["EIO", "4"],
      ["transport", "polling"],
      ["sid", "lv_VI97HAXpY6yYWAAAC"],
      ["t", "a?b"]
    ])
    assert.deepStrictEqual(entriesOf("/engine.io/"), [])
    assert.deepStrictEqual(entriesOf("/engine.io/?"), [])
    assert.deepStrictEqual(entriesOf(""), [])
  })

  it("a thousand fields are read, whatever they are, and the rest is not there", () => {
    for (const field of ["a", "%41=1", "%", "+=+", "%e2%82%ac"]) {
      const read = `/?${`${field}&`.repeat(999)}`
      for (const name of ["sid=1", "s%69d=%31"]) {
        assert.strictEqual(readField(`${read}${name}`, "sid"), "1", field)
        assert.strictEqual(readField(`${read}&&${name}`, "sid"), "1", field)
        assert.strictEqual(readField(`${read}b&${name}`, "sid"), undefined, field)
        assert.strictEqual(parseQuery(`${read}${name}`)["sid"], "1", field)
        assert.notProperty(parseQuery(`${read}b&${name}`), "sid", field)
      }
    }
  })

  it("names that cannot be the one that is asked for are not decoded", () => {
    const decode = vi.spyOn(TextDecoder.prototype, "decode")
    const fields = "%e2%82%ac%e2%82%ac%e2%82%ac=%e2%82%ac&%41&%=%&+&".repeat(200)
    assert.strictEqual(readField(`/?${fields}s%69d=%31`, "sid"), "1")
    const { length } = decode.mock.calls
    decode.mockRestore()
    assert.strictEqual(length, 2)
  })

  it("R3: of several values the last is taken", () => {
    assert.deepStrictEqual(entriesOf("/?transport=polling&transport=websocket"), [["transport", "websocket"]])
    assert.deepStrictEqual(entriesOf("/?%74=1&t=2&%74=3"), [["t", "3"]])
  })

  it("R3: + is a space, and what is not UTF-8 becomes U+FFFD", () => {
    assert.deepStrictEqual(entriesOf("/?a=1+2&b=%E2%82%AC&c=%FF&d=%E2%82&e=%zz%4&f+g=%2B"), [
      ["a", "1 2"],
      ["b", "€"],
      ["c", "\ufffd"],
      ["d", "\ufffd"],
      ["e", "%zz%4"],
      ["f g", "+"]
    ])
  })

  it("R3: URLs that no URL parser takes are read all the same", () => {
    for (const url of ["//?a=1", "//host:99999/?a=1", "http://[?a=1", "?a=1", "\0?a=1", "/%?a=1"]) {
      assert.deepStrictEqual(entriesOf(url), [["a", "1"]])
    }
  })

  it("R3: a fragment is no part of the query", () => {
    assert.deepStrictEqual(entriesOf("/?a=1#&b=2"), [["a", "1"]])
    assert.deepStrictEqual(entriesOf("/#?a=1"), [])
    assert.deepStrictEqual(entriesOf("/?a#b=c"), [["a", ""]])
    assert.deepStrictEqual(entriesOf("/?#"), [])
  })

  it("R6, R8: names of Object.prototype are names like any other, and absent unless given", () => {
    const query = parseQuery("/?__proto__=a&constructor=b")
    assert.deepStrictEqual(Object.entries(query), [["__proto__", "a"], ["constructor", "b"]])
    for (const name of Object.getOwnPropertyNames(Object.prototype)) {
      assert.isUndefined(parseQuery("/?a=1")[name], name)
    }
  })

  it.prop(
    "R3: any query is read as URL reads it",
    [listOf(pick("a", "b", "=", "&", "+", "%", "%4", "%41", "%e2%82%ac", "%FF", "é", "€", "😀", " ", "?"))],
    ([parts]) => {
      const query = parts.join("")
      assert.deepStrictEqual({ ...parseQuery(`/?${query}`) }, reference(query))
    },
    { arbitrary: { runs: 500 } }
  )

  it.prop("R3: any text is read", [wellFormed], ([text]) => {
    parseQuery(text)
    const query = text.replaceAll("#", "").replaceAll("\t", "").replaceAll("\n", "").replaceAll("\r", "")
    assert.deepStrictEqual({ ...parseQuery(`?${query}`) }, reference(query))
  })

  it.prop(
    "R3: one field is read as it is among all",
    [listOf(pick("sid", "s", "id", "=", "=", "&", "&", "#", "?", "x", "+", "%73"))],
    ([parts]) => {
      const url = `/?${parts.join("")}`
      assert.strictEqual(readField(url, "sid"), parseQuery(url)["sid"])
      assert.strictEqual(readField(`/${url}`, "s"), parseQuery(`/${url}`)["s"])
    },
    { arbitrary: { runs: 2000 } }
  )

  it("CVE-2020-36048: hostile queries are read once", () => {
    assert.deepStrictEqual(entriesOf(`?${"&".repeat(1_000_000)}`), [])
    assert.deepStrictEqual(entriesOf(`?${"a&".repeat(500_000)}`), [["a", ""]])
    assert.deepStrictEqual(entriesOf(`?${"=&".repeat(500_000)}`), [["", ""]])
    assert.deepStrictEqual(entriesOf(`?a=${"%".repeat(1_000_000)}`), [["a", "%".repeat(1_000_000)]])
  })
})
