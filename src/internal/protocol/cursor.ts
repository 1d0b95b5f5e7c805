/**
 * How far a payload was read, for a reader that takes several goes.
 */
export class Cursor {
  position = 0
  /** Packets read so far. */
  packets = 0
  isDone = false
}
