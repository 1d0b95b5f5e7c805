/**
 * The connections of a server that are ending: they wait for the peer's half, or for what is still to be written.
 */
import type * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Net from "node:net"

interface Connection {
  terminate(): void
}

export class Lingering {
  private readonly connections = new Set<Connection>()
  private readonly none = Latch.makeUnsafe(true)

  add(connection: Connection): void {
    this.connections.add(connection)
    this.none.closeUnsafe()
  }

  delete(connection: Connection): void {
    if (this.connections.delete(connection) && this.connections.size === 0) this.none.openUnsafe()
  }

  /** Adds a connection until it is closed, or the response is that it waits for. */
  watch(socket: Net.Socket, until: NodeJS.EventEmitter = socket): void {
    const connection = { terminate: () => void socket.destroy() }
    this.add(connection)
    until.once("close", () => this.delete(connection))
  }

  /** Waits until there are none. */
  get allClosed(): Effect.Effect<void> {
    return this.none.await
  }

  /** Waits no longer. */
  destroyAll(): void {
    for (const connection of this.connections) {
      connection.terminate()
      this.delete(connection)
    }
  }
}
