import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import { createContext, runInContext } from "node:vm"
import * as jsonp from "../../src/internal/protocol/jsonp.ts"
import { A13 } from "../fixtures/goldens.ts"
import { anyText, wellFormed } from "./arbitraries.ts"

/** What the 3.5 client puts into the field of its form. */
const escape = (payload: string): string => payload.replaceAll("\\n", "\\\n").replaceAll("\n", "\\n")

const form = (payload: string): string => new URLSearchParams({ d: escape(payload) }).toString()

/** What a page gets from the script. */
const evaluate = (script: string, index: string): unknown => {
  const received: Array<unknown> = []
  const callbacks = Object.fromEntries([[index, (payload: unknown) => received.push(payload)]])
  runInContext(script, createContext({ ___eio: callbacks }))
  assert.lengthOf(received, 1)
  return received[0]
}

describe("JSONP", () => {
  it("R55: the answer is the golden script (A13)", () => {
    assert.strictEqual(jsonp.wrap(jsonp.callbackIndex(A13.j), A13.payload), A13.script)
  })

  it("R56: the field is found under any form of its name, among a thousand", () => {
    for (const name of ["d", "%64"]) {
      assert.strictEqual(jsonp.unwrapForm(`${"%&+&%64d&".repeat(333)}${name}=4hello`), "4hello")
      assert.strictEqual(jsonp.unwrapForm(`${"%&+&%64d&".repeat(334)}${name}=4hello`), undefined)
    }
  })

  it("R55: of j only the digits are taken", () => {
    assert.strictEqual(jsonp.callbackIndex("42"), "42")
    assert.strictEqual(jsonp.callbackIndex(""), "")
    assert.strictEqual(jsonp.callbackIndex("0];alert(1)//"), "01")
    assert.strictEqual(jsonp.callbackIndex("\r\nSet-Cookie: a=7\u0661"), "7")
  })

  it("R55: the line separators of Unicode are escaped", () => {
    assert.strictEqual(jsonp.wrap("4", "4\u2028\u2029\u2028"), String.raw`___eio[4]("4\u2028\u2029\u2028");`)
  })

  it.prop("R55: the script hands over the payload, whatever it is", [anyText], ([payload]) => {
    assert.strictEqual(evaluate(jsonp.wrap("4", payload), "4"), payload)
  })

  it("R56: line feeds and escaped line feeds arrive as they were", () => {
    for (const payload of ["4a\r\nb\n\n\n\nc", `4{"a":"x\\ny\\\\n"}`, "\\n", "\\\\n", "\n", "4\\n\n\\n\\\\n\n\n"]) {
      assert.strictEqual(jsonp.unwrapForm(form(payload)), payload, JSON.stringify(payload))
    }
  })

  it("R56: other escapes are left alone", () => {
    assert.strictEqual(jsonp.unwrapForm("d=%5Cr%5Ct%5C%5C%5Cu2028%5C"), String.raw`\r\t\\\u2028` + "\\")
  })

  it("R56: the field is URL-encoded and + is a space", () => {
    assert.strictEqual(jsonp.unwrapForm("d=6%3A4hello+w%C3%B6rld"), "6:4hello wörld")
    assert.strictEqual(jsonp.unwrapForm("a=1&%64=4a%26b%3D&c"), "4a&b=")
    assert.strictEqual(jsonp.unwrapForm("d=4a=b"), "4a=b")
    assert.strictEqual(jsonp.unwrapForm("d=%zz%FF%"), "%zz\ufffd%")
    assert.strictEqual(jsonp.unwrapForm("d"), "")
    assert.strictEqual(jsonp.unwrapForm("d="), "")
  })

  it("R56: a missing or repeated field is no payload", () => {
    for (const body of ["", "&", "=", "e=4a", "dd=4a", "d=4a&d=4b", "d=4a&%64=4b", "D=4a"]) {
      assert.isUndefined(jsonp.unwrapForm(body), body)
    }
  })

  // The client cannot tell a backslash before a line feed from an escaped line feed.
  it.prop(
    "R56: what the client escapes arrives as it was",
    [Arbitrary.filter(wellFormed, (payload) => !payload.includes("\\\n"))],
    ([payload]) => assert.strictEqual(jsonp.unwrapForm(form(payload)), payload)
  )

  it.prop("R56: any body gives a payload or none", [anyText], ([text]) => {
    jsonp.unwrapForm(text)
    jsonp.unwrapForm(`d=${text}`)
  })

  it("CVE-2020-36048: hostile forms are read once", () => {
    assert.isUndefined(jsonp.unwrapForm("&".repeat(1_000_000)))
    assert.isUndefined(jsonp.unwrapForm("a&".repeat(500_000)))
    assert.strictEqual(jsonp.unwrapForm(`d=${"%5Cn".repeat(250_000)}`)?.length, 250_000)
    assert.strictEqual(jsonp.unwrapForm(`d=${"%5C".repeat(300_000)}n`)?.length, 300_000)
  })
})
