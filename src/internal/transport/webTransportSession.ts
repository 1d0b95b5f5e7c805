/**
 * A WebTransport session as the W3C describes it, as far as it is used here.
 */

/**
 * A readable stream of the Streams standard, as far as it is used here.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebTransportReadable<A> {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: A | undefined }>
    cancel(reason?: unknown): Promise<unknown>
    readonly closed: Promise<unknown>
  }
}

/**
 * A writable stream of the Streams standard, as far as it is used here.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebTransportWritable {
  getWriter(): {
    write(chunk: Uint8Array): Promise<unknown>
    close(): Promise<unknown>
    abort(reason?: unknown): Promise<unknown>
    readonly desiredSize: number | null
    readonly ready: Promise<unknown>
    readonly closed: Promise<unknown>
  }
}

/**
 * A bidirectional stream of a WebTransport session.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebTransportStream {
  readonly readable: WebTransportReadable<Uint8Array>
  readonly writable: WebTransportWritable
}

/**
 * The server's end of a WebTransport session, in the interface of the W3C, which any HTTP/3 library can provide.
 *
 * @category models
 * @since 0.1.0
 */
export interface WebTransportSession {
  readonly incomingBidirectionalStreams: WebTransportReadable<WebTransportStream>
  readonly closed: Promise<unknown>
  close(info?: { closeCode?: number; reason?: string }): unknown
}
