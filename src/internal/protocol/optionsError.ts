/**
 * What options fail with.
 */
import * as Data from "effect/Data"
import { see } from "./see.ts"

/**
 * An option has a value it cannot have. `message` names the option and what it may be.
 *
 * @category errors
 * @since 0.1.0
 */
export class OptionsError extends Data.TaggedError("OptionsError")<{ readonly message: string }> {}

/** The error with where to read on. */
export const optionsError = (message: string): OptionsError =>
  new OptionsError({ message: `${message}${see("options")}` })
