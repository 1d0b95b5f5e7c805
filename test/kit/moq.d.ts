/**
 * `@moq/web-transport`, as far as it is used here. Its own types are sources that need those of a browser.
 */
import type { EngineIO } from "../../src/index.ts"

export interface ClientOptions {
  readonly serverCertificateHashes?: ReadonlyArray<{ readonly algorithm: "sha-256"; readonly value: Uint8Array }>
}

/** Either end of a session; made from a URL, the client's. */
export default class Session implements EngineIO.WebTransportSession {
  constructor(url: string, options?: ClientOptions)
  readonly ready: Promise<void>
  readonly closed: Promise<{ readonly closeCode: number; readonly reason: string }>
  readonly incomingBidirectionalStreams: ReadableStream<{
    readonly readable: ReadableStream<Uint8Array>
    readonly writable: WritableStream<Uint8Array>
  }>
  createBidirectionalStream(): Promise<{
    readonly readable: ReadableStream<Uint8Array>
    readonly writable: WritableStream<Uint8Array>
  }>
  close(info?: { closeCode?: number; reason?: string }): void
}

/** A client that asks for a session. */
export interface Request {
  readonly url: Promise<string>
  ok(): Promise<Session>
  reject(status: number): Promise<void>
}

export class Server {
  static bind(address: string, certificate: Buffer, key: Buffer): Server
  /** The next request; `null` when the server is closed. */
  accept(): Promise<Request | null>
  close(): void
}
