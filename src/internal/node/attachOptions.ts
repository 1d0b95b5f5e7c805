/**
 * What the options of `attach` and `toNodeHandlers` may be.
 */
import type * as Effect from "effect/Effect"
import { type Expectation, isFlag, isText } from "../protocol/expectation.ts"
import { namedElsewhere } from "../server/config.ts"
import type { OptionsError } from "../server/options.ts"
import { checker, isWhole, structOf } from "../server/optionsSchema.ts"
import type { Middleware } from "./middleware.ts"

/**
 * Where on a server Engine.IO is mounted, and what becomes of upgrades that are nobody's.
 *
 * @category options
 * @since 0.1.0
 */
export interface AttachOptions {
  /** The path, below which every request is taken. Default: `/engine.io`. */
  readonly path?: string | undefined
  /** Whether the path has to be followed by a slash. Default: true. */
  readonly addTrailingSlash?: boolean | undefined
  /** Whether upgrades that no listener answers are closed. Default: true. */
  readonly destroyUpgrade?: boolean | undefined
  /** How long a listener has to answer, in milliseconds. Default: 1000. */
  readonly destroyUpgradeTimeout?: number | undefined
  /** Run on every request and upgrade below the path, in order. Default: none. */
  readonly middleware?: ReadonlyArray<Middleware> | undefined
}

const middleware: Expectation = {
  expects: "a list of functions (request, response, next)",
  check: (value) => Array.isArray(value) && value.every((it) => typeof it === "function")
}

const flag: Expectation = { expects: "true or false", check: isFlag }

const attachOptions: Record<keyof AttachOptions, Expectation> = {
  path: {
    expects: "a path that begins with a slash, without a query",
    check: (value) => isText(value) && /^\/[^?#]*$/.test(value as string)
  },
  addTrailingSlash: flag,
  destroyUpgrade: flag,
  destroyUpgradeTimeout: { expects: "a whole number of milliseconds", check: isWhole },
  middleware
}

type Check = (options: unknown) => Effect.Effect<unknown, OptionsError>

export const checkAttach: Check = checker("attach", "attach", structOf(attachOptions), namedElsewhere)

export const checkNodeHandlers: Check = checker("toNodeHandlers", "toNodeHandlers", structOf({ middleware }), {
  ...namedElsewhere,
  path: "requests get here by your own routes, or give it to attach",
  addTrailingSlash: "it is one of attach",
  destroyUpgrade: "it is one of attach",
  destroyUpgradeTimeout: "it is one of attach"
})
