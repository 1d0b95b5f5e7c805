#!/usr/bin/env node
/**
 * `npx effect-engine.io`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { readFileSync } from "node:fs"
import { serve } from "./command.ts"

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

/** Ends when nobody reads any more what is printed, as with `| head`. */
const unread = Effect.callback<void>((resume) => {
  const onError = (error: NodeJS.ErrnoException) => resume(error.code === "EPIPE" ? Effect.void : Effect.die(error))
  for (const output of [process.stdout, process.stderr]) output.on("error", onError)
})

Command.run(serve, { version }).pipe(
  Effect.raceFirst(unread),
  Effect.provide(
    Layer.merge(
      NodeServices.layer,
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel] })
    )
  ),
  NodeRuntime.runMain({
    // Ctrl-C and SIGTERM are how it is meant to end.
    teardown: (exit, done) =>
      Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? done(0) : Runtime.defaultTeardown(exit, done)
  })
)
