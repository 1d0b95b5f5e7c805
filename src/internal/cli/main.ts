#!/usr/bin/env node
/**
 * `npx effect-engine.io`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Runtime from "effect/Runtime"
import { readFileSync } from "node:fs"
import { bench } from "./bench.ts"
import { connect } from "./connect.ts"
import { serve } from "./serve.ts"
import { visible } from "./text.ts"

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}

const main = Command.make("effect-engine.io").pipe(
  Command.withDescription("Engine.IO in a terminal: a server that echoes, a client, and a short load"),
  Command.withSubcommands([serve, connect, bench]),
  Command.withExamples([
    { command: "effect-engine.io serve --verbose", description: "A server that echoes, and shows every packet" },
    { command: "effect-engine.io connect localhost:3000", description: "A client of it" },
    { command: "effect-engine.io bench localhost:3000", description: "How fast it answers" },
    { command: "effect-engine.io --completions bash", description: "What completes this command in a shell" }
  ])
)

/** Ends when nobody reads any more what is printed, as with `| head`. */
const unread = Effect.callback<void>((resume) => {
  const onError = (error: NodeJS.ErrnoException) => resume(error.code === "EPIPE" ? Effect.void : Effect.die(error))
  for (const output of [process.stdout, process.stderr]) output.on("error", onError)
})

/** Colours only where a terminal shows them, and nothing on stdout when a command is called in a wrong way. */
const output = Layer.unwrap(Effect.gen(function*() {
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const formatter = CliOutput.defaultFormatter({ colors: canColor && process.stderr.isTTY })
  return Layer.merge(
    CliOutput.layer(formatter),
    CliOutput.layerPresenter({
      present: (event) =>
        event._tag === "InvalidInvocation"
          ? Console.error(`${formatter.formatErrors(event.errors)}\n\nSee ${event.commandPath.join(" ")} --help`)
          : CliOutput.defaultPresenter.present(event)
    })
  )
}))

/** How long what was sent may take to leave, in milliseconds. */
const grace = 5000

/** Ctrl-C and SIGTERM are how it is meant to end; then as after success, what was sent still leaves. */
const teardown: Runtime.Teardown = (exit, done) => {
  if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) return Runtime.defaultTeardown(exit, done)
  process.stdin.destroy()
  setTimeout(() => process.exit(), grace).unref()
}

Command.run(main, { version }).pipe(
  Effect.raceFirst(unread),
  Effect.provide(
    Layer.mergeAll(
      NodeServices.layer,
      output,
      Logger.layer([Logger.withConsoleError(Logger.map(Logger.formatLogFmt, visible))]),
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel] })
    )
  ),
  NodeRuntime.runMain({ teardown })
)
