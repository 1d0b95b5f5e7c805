/**
 * How each end of a connection between members proves that it knows their secret.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import type { Hello } from "../server/clusterMessages.ts"

/** A number that was never used before. */
export const makeNonce = (): string => randomBytes(16).toString("base64")

/** Holds for one connection and one end of it, so that it proves nothing on another one, or sent back. */
export const proofOf = (secret: string, by: "Welcome" | "Proof", hello: Hello, to: string, nonce: string): string =>
  createHmac("sha256", secret).update(JSON.stringify([by, hello.from, hello.nonce, to, nonce])).digest("base64")

export const isSame = (a: string, b: string): boolean => {
  const [one, other] = [Buffer.from(a), Buffer.from(b)]
  return one.length === other.length && timingSafeEqual(one, other)
}
