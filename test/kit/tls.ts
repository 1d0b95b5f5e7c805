/**
 * A certificate for the servers of tests, signed by itself.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Certificate {
  readonly key: string
  readonly cert: string
}

const generate = (): Certificate => {
  const folder = mkdtempSync(join(tmpdir(), "certificate-"))
  try {
    const key = join(folder, "key.pem")
    const cert = join(folder, "cert.pem")
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    execFileSync("openssl", ["req", "-x509", ...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" })
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Made on the spot where there is `openssl`; else one that is kept beside the tests, good for a hundred years. */
export const certificate = (): Certificate => {
  try {
    return generate()
  } catch {
    const read = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), "utf8")
    return { key: read("key.pem"), cert: read("cert.pem") }
  }
}
