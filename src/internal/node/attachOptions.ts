/**
 * What the options of `attach` and `toNodeHandlers` may be.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { OptionsError } from "../server/options.ts"
import { checker, flag, isText, isWhole, namedElsewhere, optionOf } from "../server/optionsSchema.ts"
import type { AttachOptions } from "./attach.ts"

const middleware = optionOf(
  "a list of functions (request, response, next)",
  (value) => Array.isArray(value) && value.every((it) => typeof it === "function")
)

const attachOptions = {
  path: optionOf(
    "a path that begins with a slash, without a query",
    (value) => isText(value) && /^\/[^?#]*$/.test(value as string)
  ),
  addTrailingSlash: flag,
  destroyUpgrade: flag,
  destroyUpgradeTimeout: optionOf("a whole number of milliseconds", isWhole),
  middleware
} satisfies Record<keyof AttachOptions, unknown>

type Check = (options: unknown) => Effect.Effect<unknown, OptionsError>

export const checkAttach: Check = checker("attach", "attach", Schema.Struct(attachOptions), namedElsewhere)

export const checkNodeHandlers: Check = checker("toNodeHandlers", "toNodeHandlers", Schema.Struct({ middleware }), {
  ...namedElsewhere,
  path: "requests get here by your own routes, or give it to attach",
  addTrailingSlash: "it is one of attach",
  destroyUpgrade: "it is one of attach",
  destroyUpgradeTimeout: "it is one of attach"
})
