/**
 * What is asked of options, whoever's they are. A page has it too, so no `Schema` is here: that is two KiB, gzipped.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** What is asked of an option. */
export interface Expectation {
  /** In words, for the error. */
  readonly expects: string
  readonly check: (value: unknown) => boolean
}

export const isText = (value: unknown): boolean => typeof value === "string"
export const isFlag = (value: unknown): boolean => typeof value === "boolean"
export const isDuration = (value: unknown): boolean => {
  try {
    return Option.exists(Duration.fromInput(value as Duration.Input), (it) => Duration.toMillis(it) > 0)
  } catch {
    return false
  }
}
