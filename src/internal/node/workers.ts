/**
 * All cores of a machine: a primary process that serves nobody, and workers that are members of one cluster.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import NodeCluster, { type Worker } from "node:cluster"
import { mkdtempSync, rmSync } from "node:fs"
import type * as Net from "node:net"
import { availableParallelism, constants, tmpdir } from "node:os"
import { join } from "node:path"
import { Others } from "../server/cluster.ts"
import type { Upgrade } from "../server/clusterMessages.ts"
import { isText } from "../protocol/expectation.ts"
import type { OptionsError } from "../protocol/optionsError.ts"
import { see } from "../protocol/see.ts"
import { checker, isCount, structOf } from "../server/optionsSchema.ts"
import { generateSid } from "../server/sid.ts"
import { stopReading } from "./handle.ts"
import { closeUntaken } from "./handedOut.ts"
import { duration } from "./networkMembers.ts"
import { makeMembers, type Members } from "./memberSockets.ts"

const folderVariable = "EFFECT_ENGINE_IO_WORKERS"

/** What primary and workers say to each other. Others may use the same channel. */
type Note =
  | { readonly _tag: "Joined"; readonly self: string }
  | { readonly _tag: "Members"; readonly all: ReadonlyArray<string> }
  | { readonly _tag: "HandOver"; readonly to: string; readonly upgrade: Upgrade }

const key = "effect-engine.io"

const noteOf = (message: unknown): Note | undefined =>
  typeof message === "object" && message !== null && key in message ? message[key] as Note : undefined

const pathOf = (folder: string, member: string): string => join(folder, member)

// ---------------------------------------------------------------------------------------------------------------------
// worker
// ---------------------------------------------------------------------------------------------------------------------

export const isPrimary: boolean = NodeCluster.isPrimary

const foreign = "EngineIOCluster.layerNodeCluster runs in a worker that another program has started"

// An error only says that the other end is gone, which its "exit" or "disconnect" tells.
const tell = (to: Worker | NodeJS.Process, note: Note): void => void to.send?.({ [key]: note }, undefined, {}, () => {})

/** This worker as a member of the cluster. */
export const worker: Effect.Effect<Members, never, Scope.Scope> = Effect.gen(function*() {
  const folder = process.env[folderVariable]
  if (folder === undefined) return yield* Effect.die(new Error(`${foreign}${see("worker-of-another-program")}`))
  const self = generateSid().slice(0, 8)
  const others = new Others<Net.NetConnectOpts>()
  const members = yield* makeMembers({
    self,
    others,
    listen: { path: pathOf(folder, self) },
    // The folder is ours alone.
    secret: "",
    handOver: (to, upgrade, socket) => {
      const early = stopReading(socket)
      if (early === undefined || !process.connected) return false
      const whole = {
        ...upgrade,
        early: Buffer.concat([Buffer.from(upgrade.early, "base64"), early]).toString("base64")
      }
      const server = socket as { server?: unknown }
      // Node would have this server wait, when it closes, for a connection that is somebody else's by then.
      server.server = undefined
      process.send!(
        { [key]: { _tag: "HandOver", to, upgrade: whole } satisfies Note },
        socket,
        {},
        () => socket.destroy()
      )
      return true
    }
  }).pipe(Effect.orDie)
  const known = yield* Deferred.make<void>()
  const onMessage = (message: unknown, handle: unknown): void => {
    const note = noteOf(message)
    if (note?._tag === "HandOver" && handle !== undefined) members.take(note.upgrade, handle as Net.Socket)
    if (note?._tag !== "Members") return
    const all = new Set(note.all)
    for (const member of others.keys()) if (!all.has(member)) others.delete(member)
    for (const member of all) if (member !== self) others.set(member, { path: pathOf(folder, member) })
    Deferred.doneUnsafe(known, Effect.void)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("message", onMessage)),
    () => Effect.sync(() => process.off("message", onMessage))
  )
  tell(process, { _tag: "Joined", self })
  // Clients come only when this member knows the others.
  yield* Deferred.await(known)
  return members
})

// ---------------------------------------------------------------------------------------------------------------------
// primary
// ---------------------------------------------------------------------------------------------------------------------

/** How long a worker has for its end; then it is killed. It is longer than a server waits for its connections. */
const stopTimeout = Duration.seconds(30)

/** How long a successor has to live once it listens: one that dies at once has started nothing. */
const leastLife = Duration.seconds(1)

/** How long the successor of a worker waits, in milliseconds: longer each time, until one has lived for the longest. */
const firstPause = 100
const longestPause = 10_000

/**
 * Options of `layerNodeCluster`.
 *
 * @category models
 * @since 0.2.0
 */
export interface NodeClusterOptions {
  /** How many processes serve. Default: one for each core. */
  readonly workers?: number | undefined
  /** The signal at which the first process replaces the others one by one, each drained. Default: `"SIGUSR2"`. */
  readonly restartSignal?: NodeJS.Signals | undefined
  /** How long a new process has until it listens. One that takes longer replaces no other. Default: one minute. */
  readonly startTimeout?: Duration.Input | undefined
}

const check = checker(
  "layerNodeCluster",
  "layerNodeCluster",
  structOf({
    workers: { expects: "a whole number above zero", check: isCount },
    restartSignal: {
      expects: "a signal that a process can handle",
      check: (value) =>
        isText(value) && Object.hasOwn(constants.signals, value as string) && !/^SIG(KILL|STOP)$/.test(value as string)
    },
    startTimeout: duration
  }),
  {}
)

/** Why a worker serves nobody. */
class WorkerFailed extends Data.TaggedError("WorkerFailed")<{
  readonly worker?: Worker
  readonly why: string
}> {}

/** Runs workers until it is interrupted, each replaced when it dies. */
export const primary = Effect.fnUntraced(function*(
  options: NodeClusterOptions
): Effect.fn.Return<never, OptionsError, Scope.Scope> {
  yield* check(options)
  const { restartSignal = "SIGUSR2", startTimeout = "1 minute", workers = availableParallelism() } = options
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "engine.io-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const limit = Duration.fromInputUnsafe(startTimeout)
  const restarts = yield* Queue.sliding<void>(1)
  const running = new Map<Worker, string | undefined>()
  const tellAll = (): void => {
    const all = [...running.values()].filter((self) => self !== undefined)
    for (const worker of running.keys()) if (worker.isConnected()) tell(worker, { _tag: "Members", all })
  }

  const onMessage = (worker: Worker, message: unknown, handle?: unknown): void => {
    const note = noteOf(message)
    if (note?._tag === "Joined") {
      running.set(worker, note.self)
      tellAll()
    } else if (note?._tag === "HandOver" && handle !== undefined) {
      const socket = handle as Net.Socket
      const owner = [...running].find(([, self]) => self === note.to)?.[0]
      const early = stopReading(socket)
      if (owner === undefined || early === undefined || !owner.isConnected()) return void socket.destroy()
      owner.send({ [key]: note }, socket, {}, () => socket.destroy())
    }
  }
  const onExit = (worker: Worker): void => {
    const self = running.get(worker)
    // One that was killed has left its socket.
    if (self !== undefined) rmSync(pathOf(folder, self), { force: true })
    running.delete(worker)
    tellAll()
  }
  const onRestart = (): void => void Queue.offerUnsafe(restarts, undefined)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      NodeCluster.on("message", onMessage).on("exit", onExit)
      process.on(restartSignal, onRestart)
    }),
    () =>
      Effect.sync(() => {
        NodeCluster.off("message", onMessage).off("exit", onExit)
        process.off(restartSignal, onRestart)
      })
  )

  const start = Effect.callback<Worker, WorkerFailed>((resume) => {
    try {
      const worker = NodeCluster.fork({ [folderVariable]: folder })
      running.set(worker, undefined)
      closeUntaken(worker)
      worker.process.once("spawn", () => resume(Effect.succeed(worker)))
      worker.on("error", ({ message }) => {
        // Of one that was never there Node tells no end.
        if (worker.process.pid === undefined) running.delete(worker)
        resume(Effect.fail(new WorkerFailed({ why: `cannot be started (${message})` })))
      })
    } catch (error) {
      resume(Effect.fail(new WorkerFailed({ why: `cannot be started (${error})` })))
    }
  })
  // The workers end before what they use of the primary does.
  yield* Effect.addFinalizer(() => Effect.forEach(running.keys(), stop, { concurrency: "unbounded", discard: true }))

  /** Those that have others in their places. */
  const retired = new Set<Worker>()
  /** Replaces a worker each time that it dies, until another is in its place. */
  const keep = Effect.fnUntraced(function*(first: Effect.Effect<Worker, WorkerFailed>) {
    let pause = firstPause
    for (let next = first;; next = start) {
      const began = yield* Clock.currentTimeMillis
      const { why, worker } = yield* Effect.flip(Effect.flatMap(next, gone))
      if (worker !== undefined && retired.delete(worker)) return
      yield* Effect.logError(`A worker ${why}, and is replaced${see("worker-that-died")}`)
      if ((yield* Clock.currentTimeMillis) - began >= longestPause) pause = firstPause
      yield* Effect.sleep(pause)
      pause = Math.min(pause * 2, longestPause)
    }
  })
  const startSuccessor = Effect.flatMap(start, (worker) =>
    Effect.raceFirst(listens(worker), gone(worker)).pipe(
      Effect.timeoutOrElse({
        duration: limit,
        orElse: () => Effect.fail(new WorkerFailed({ why: `does not listen after ${Duration.format(limit)}` }))
      }),
      Effect.andThen(Effect.raceFirst(Effect.sleep(leastLife), gone(worker))),
      Effect.tapError(() => Effect.forkScoped(stop(worker))),
      Effect.as(worker)
    ))
  const restart = Effect.gen(function*() {
    for (const worker of Array.from(running.keys())) {
      if (!running.has(worker)) continue
      retired.add(worker)
      const successor = yield* Effect.result(startSuccessor)
      // If it has died meanwhile, it has its successor already.
      if (Result.isFailure(successor) && retired.delete(worker)) {
        const { why } = successor.failure
        return yield* Effect.logError(`A new worker ${why}, so the others stay as they are${see("restart-that-ended")}`)
      }
      yield* Effect.forkScoped(keep(Effect.fromResult(successor)))
      yield* stop(worker)
    }
  })
  for (let i = 0; i < workers; i++) yield* Effect.forkScoped(keep(start))
  return yield* Effect.forever(Effect.andThen(Queue.take(restarts), restart))
})

const listens = (worker: Worker): Effect.Effect<void> =>
  Effect.callback((resume) => void worker.once("listening", () => resume(Effect.void)))

const gone = (worker: Worker): Effect.Effect<never, WorkerFailed> =>
  Effect.callback((resume) => {
    const die = (): void => {
      const { exitCode, signalCode } = worker.process
      resume(Effect.fail(new WorkerFailed({ worker, why: `has died (${signalCode ?? exitCode})` })))
    }
    if (worker.isDead()) die()
    else worker.once("exit", die)
  })

const stop = (worker: Worker): Effect.Effect<void> =>
  Effect.suspend(() => {
    worker.process.kill("SIGTERM")
    return Effect.timeoutOrElse(Effect.ignore(gone(worker)), {
      duration: stopTimeout,
      orElse: () => Effect.sync(() => void worker.process.kill("SIGKILL"))
    })
  })
