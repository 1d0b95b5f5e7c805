/**
 * The reasons a session can end with.
 */
import { Cause } from "effect"
import { assert, describe, it } from "vitest"
import { CloseReason, Packet } from "../../src/index.ts"

const cases = {
  TransportClose: [CloseReason.transportClose({ code: 1001 }), "transport close", false],
  TransportError: [
    CloseReason.transportError(new CloseReason.PayloadTooLarge({ limit: 1 })),
    "transport error",
    false
  ],
  PingTimeout: [CloseReason.pingTimeout, "ping timeout", false],
  ParseError: [CloseReason.parseError(new Packet.PacketError({ reason: "Empty" })), "parse error", false],
  ForcedClose: [CloseReason.forcedClose, "forced close", true],
  AppFailed: [CloseReason.appFailed(Cause.die("a defect")), "forced close", true],
  ServerShutdown: [CloseReason.serverShutdown(2), "forced close", true]
} satisfies Record<CloseReason.CloseReason["_tag"], readonly [CloseReason.CloseReason, text: string, forced: boolean]>

describe("CloseReason", () => {
  for (const [tag, [reason, text, isForced]] of Object.entries(cases)) {
    it(`R-C1: ${tag} is "${text}", and ${isForced ? "the server's doing" : "the client's or the network's"}`, () => {
      assert.strictEqual(reason._tag, tag)
      assert.strictEqual(CloseReason.message(reason), text)
      assert.strictEqual(CloseReason.isForced(reason), isForced)
    })
  }

  it("a close without code and reason has neither", () => {
    assert.deepStrictEqual(CloseReason.transportClose({ code: undefined, reason: undefined }), {
      _tag: "TransportClose"
    })
  })
})
