/**
 * Limits that are the same wherever they hold.
 */

/** After so many frames of one chunk, or packets of one POST, it is somebody else's turn. */
export const mostPerTurn = 1024

/** So many fields of a query or a form are read, as by Node's own parser; the rest is as if it were not there. */
export const mostFields = 1000

/** What is said of a message beyond `maxPayload`. */
export const tooLarge = "Max payload size exceeded"

/** How long a timer can run, in milliseconds. */
export const longestTimer = 2 ** 31 - 1
