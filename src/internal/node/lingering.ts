/**
 * The connections of a server that are ending: they wait for the peer's half, or for what is still to be written.
 */
import type * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Net from "node:net"
import { Place, Roster } from "../protocol/roster.ts"

export interface Connection {
  terminate(): void
}

export class Lingering {
  private readonly connections = new Roster<Connection>()
  private readonly none = Latch.makeUnsafe(true)

  add(connection: Connection): Place<Connection> {
    this.none.closeUnsafe()
    return this.connections.enter(new Place(connection))
  }

  delete(place: Place<Connection>): void {
    if (this.connections.leave(place) && this.connections.size === 0) this.none.openUnsafe()
  }

  /** Adds a connection until it is closed, or until the response that it waits for is. */
  watch(socket: Net.Socket, until: NodeJS.EventEmitter = socket): void {
    const place = this.add({ terminate: () => void socket.destroy() })
    until.once("close", () => this.delete(place))
  }

  /** Waits until there are none. */
  get allClosed(): Effect.Effect<void> {
    return this.none.await
  }

  /** Waits no longer. */
  destroyAll(): void {
    for (const connection of this.connections) connection.terminate()
    this.connections.clear()
    this.none.openUnsafe()
  }
}
