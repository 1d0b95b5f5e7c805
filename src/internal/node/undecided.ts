/**
 * Requests to upgrade whose decision takes time. Node has let go of their connections, so nobody would see a client end
 * its half and leave: its request would go on, and keep its place among the sessions.
 */
import type * as Http from "node:http"
import type * as Net from "node:net"

const key = Symbol("effect-engine.io/undecided")

/** `null` once it is decided. */
type Request = Http.IncomingMessage & { [key]?: Undecided | null }

class Undecided {
  /** What the client sent without waiting for the answer. */
  readonly early: Array<Buffer> = []
  private size = 0
  private readonly socket: Net.Socket
  constructor(socket: Net.Socket) {
    this.socket = socket
    // Whoever answers it instead of us ends only our half.
    socket.on("readable", this.look).on("end", this.leave).on("finish", this.leave)
  }

  // The end shows only when all before it is read. A client that sends more than this has to wait.
  private readonly look = (): void => {
    const { early, socket } = this
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      early.push(chunk)
      this.size += chunk.length
      if (this.size >= socket.readableHighWaterMark) return void socket.off("readable", this.look)
    }
  }

  private readonly leave = (): void => void this.socket.destroy()

  end(): void {
    this.socket.off("readable", this.look).off("end", this.leave).off("finish", this.leave)
  }
}

/** Watches the connection of a request that is not decided by the end of this turn. */
export const attend = (request: Http.IncomingMessage): void => process.nextTick(begin, request)

const begin = (request: Request): void => {
  const { socket } = request
  if (request[key] === undefined && socket.readable && socket.writable) request[key] = new Undecided(socket)
}

/** The request is decided. Returns what its client has sent meanwhile. */
export const decide = (request: Request): ReadonlyArray<Buffer> => {
  const undecided = request[key]
  request[key] = null
  undecided?.end()
  return undecided?.early ?? []
}
