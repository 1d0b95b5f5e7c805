/**
 * How far a payload was read, by who reads it in several goes.
 */
export class Cursor {
  position = 0
  /** Packets read so far. */
  packets = 0
  isDone = false
}
