/**
 * How connections between members are opened and taken: as they are, or in TLS.
 */
import * as Net from "node:net"
import * as Tls from "node:tls"

/** How long a member has to answer a new connection, in milliseconds. */
export const openTimeout = 1000

/**
 * TLS between members, as Node's `tls` takes it. Both ends of a connection show a certificate.
 *
 * @category models
 * @since 0.2.0
 */
export interface MemberTls extends Tls.SecureContextOptions {
  /** The key of this member. */
  readonly key: NonNullable<Tls.SecureContextOptions["key"]>
  /** The certificate of this member. */
  readonly cert: NonNullable<Tls.SecureContextOptions["cert"]>
  /** Who signs the certificates of members, and of nobody else. */
  readonly ca: NonNullable<Tls.SecureContextOptions["ca"]>
  /** The name that the certificates of all members have. Default: each has the host under which it is reached. */
  readonly servername?: string | undefined
}

export interface Wire {
  readonly connect: (to: Net.NetConnectOpts) => Net.Socket
  readonly createServer: (onConnection: (socket: Net.Socket) => void) => Net.Server
}

export const plain: Wire = {
  connect: (to) => Net.connect({ ...to, allowHalfOpen: true } as Net.NetConnectOpts),
  createServer: (onConnection) => Net.createServer({ allowHalfOpen: true }, onConnection)
}

/** Throws where the keys are none. */
export const secure = ({ servername, ...keys }: MemberTls): Wire => {
  const both = { secureContext: Tls.createSecureContext(keys), allowHalfOpen: true, rejectUnauthorized: true }
  return {
    connect: (to) =>
      Tls.connect({ ...to, ...both, ...(servername === undefined ? {} : { servername }) } as Tls.ConnectionOptions),
    createServer: (onConnection) =>
      Tls.createServer({ ...keys, ...both, requestCert: true, handshakeTimeout: openTimeout }, onConnection)
  }
}
