/**
 * The client of the commands: `EngineIOClient`, where its peer dependency is there, and what it fails with, in words and
 * as exit codes.
 */
import * as CliError from "effect/cli/CliError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type { SocketError, SocketErrorReason } from "effect/socket/Socket"
import type { OptionsError } from "../../EngineIO.ts"
import { quote, visible } from "./text.ts"

/** Ends the command with an exit code, and with a message unless all has been said. */
export class Failed extends Data.TaggedError("Failed")<{ readonly exitCode: number; readonly why?: string }> {
  override readonly [Runtime.errorExitCode] = this.exitCode
  override readonly [Runtime.errorReported] = false
  override get [CliError.userMessage]() {
    return this.why === undefined ? undefined! : visible(this.why)
  }
}

/** `EngineIOClient`, loaded when a command asks for it: `engine.io-client` need not be there. */
export const load = (command: string) =>
  Effect.tryPromise({
    try: () => import("../../EngineIOClient.ts"),
    catch: (cause) =>
      new Failed({
        exitCode: 1,
        why: String(cause).includes("'engine.io-client'")
          ? `${command} needs the package engine.io-client: npm install engine.io-client, or ` +
            `npx --package effect-engine.io --package engine.io-client effect-engine.io ${command}`
          : String(cause)
      })
  })

/** What the stock client fails with: `context` is the request of polling, `description` the event of a WebSocket. */
interface StockError {
  readonly message: string
  readonly context?: { readonly status?: number; readonly responseText?: string } | undefined
  readonly description?: { readonly message?: string } | undefined
}

/** Why there is no connection, or no more, in the words of whoever knows most: the server, the network, the client. */
export const explain = (reason: SocketErrorReason): string => {
  if (reason._tag === "SocketCloseError") {
    const { closeReason = "", code } = reason
    return code === 1005 ? closeReason : `${closeReason}, code ${code}`
  }
  const { context: { responseText = "", status = 0 } = {}, description, message } = reason.cause as StockError
  if (status > 0) return `the server answered with status ${status}, ${quote(responseText)}`
  // Without an answer, the text is the stack of what went wrong.
  return responseText.split("\n")[0]!.replace(/^Error: /, "") || description?.message || message
}

/** How the end of a connection is told to whoever started the command. */
export const exitCodeOf = (reason: SocketErrorReason): number => {
  if (reason._tag === "SocketOpenError") return 2
  return reason._tag === "SocketCloseError" && reason.code !== 1006 ? 3 : 4
}

export const toFailed = (error: SocketError | OptionsError): Failed => {
  if (error._tag === "OptionsError") return new Failed({ exitCode: 1, why: error.message })
  const { reason } = error
  const what = reason._tag === "SocketOpenError" ? "no connection: " : ""
  return new Failed({ exitCode: exitCodeOf(reason), why: `${what}${explain(reason)}` })
}

/** Tells the time since it was made, in milliseconds with one decimal. */
export const stopwatch = (): () => number => {
  const start = performance.now()
  return () => Math.round((performance.now() - start) * 10) / 10
}
