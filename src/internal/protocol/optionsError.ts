import * as Data from "effect/Data"

/**
 * An option has a value it cannot have. `message` names the option and what it may be.
 *
 * @category errors
 * @since 0.1.0
 */
export class OptionsError extends Data.TaggedError("OptionsError")<{ readonly message: string }> {}
