/** What the sessions of one server have in common, in plain numbers: milliseconds and bytes. */
export interface Settings {
  readonly pingInterval: number
  readonly pingTimeout: number
  readonly upgradeTimeout: number
  readonly closeTimeout: number
  readonly bodyTimeout: number
  readonly drainTimeout: number
  readonly maxPayload: number
  readonly sendBuffer: { readonly messages: number; readonly bytes: number }
  readonly receiveBuffer: { readonly messages: number; readonly bytes: number }
  readonly anyPacketIsAlive: boolean
}
