/**
 * The handle of a connection, as it goes from one process to another. Node has no public way to stop reading at once: what
 * it reads between here and the other process would be lost.
 */
import * as Net from "node:net"

interface Handle {
  readStop(): number
}

/** Stops reading, and returns what was read already; `undefined` for a connection that cannot be handed over, as with TLS. */
export const stopReading = (socket: Net.Socket): Buffer | undefined => {
  const { _handle: handle } = socket as { readonly _handle?: Partial<Handle> | null }
  if (!(socket instanceof Net.Socket) || "encrypted" in socket || typeof handle?.readStop !== "function") {
    return undefined
  }
  handle.readStop()
  const chunks: Array<Buffer> = []
  for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
    chunks.push(chunk)
  }
  // Reading what is there has Node read on.
  handle.readStop()
  return Buffer.concat(chunks)
}
