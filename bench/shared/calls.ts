/** The calls that servers and load generator answer. */
import type { Usage } from "./usage.ts"

export interface Memory {
  /** Of V8, where there is one. */
  readonly heap?: number
  readonly external?: number
  readonly rss: number
}

export interface ServerReady {
  readonly port: number
  /** Takes the bytes of `trigger`. */
  readonly control: number
}

export type ServerCalls = {
  readonly usage: () => Usage
  /** After a full garbage collection, in bytes. Starts a new peak. */
  readonly memory: () => Promise<Memory>
  /** The most resident memory since `memory` was asked, in bytes. */
  readonly peak: () => number
  readonly sessions: () => number | Promise<number>
}

export type Traffic =
  | {
    readonly kind: "echo"
    readonly clients: number
    readonly window: number
    readonly size: number
    readonly binary: boolean
  }
  | { readonly kind: "broadcast"; readonly clients: number; readonly inFlight: number }
  | { readonly kind: "burst" }
  | {
    readonly kind: "poll"
    readonly clients: number
    readonly packets: number
    readonly parked: boolean
    readonly size: number
    readonly binary: boolean
  }
  | { readonly kind: "connect"; readonly concurrency: number; readonly upgrade: boolean }
  /** Clients that connect, upgrade and go, so many a second. */
  | { readonly kind: "arrivals"; readonly rate: number }
  | { readonly kind: "paced"; readonly clients: number; readonly rate: number }
  | { readonly kind: "idle"; readonly transport: "websocket" | "polling" }
  | { readonly kind: "rpc"; readonly clients: number; readonly window: number }
  | { readonly kind: "stalled" }
  | { readonly kind: "webtransport"; readonly clients: number; readonly size: number; readonly binary: boolean }

/** A bare WebSocket server greets nobody. */
export type Dialect = "bare" | "engine.io" | "socket.io"

export interface Target {
  readonly server: string
  readonly port: number
  readonly control: number
  /** What is spoken over its WebSockets. */
  readonly dialect: Dialect
}

/** New work is begun until either is reached; what was begun is always finished. */
export interface Limit {
  readonly millis: number
  readonly units?: number | undefined
}

export interface Tally {
  readonly units: number
  readonly millis: number
  /** What the load generator spent. */
  readonly load: Usage
  /** In microseconds, from the moment a message was due. */
  readonly latency?: Readonly<Record<"p50" | "p99" | "p99.9", number>> | undefined
}

export type LoadCalls = {
  readonly open: (argument: { readonly target: Target; readonly traffic: Traffic }) => Promise<void>
  readonly run: (argument: { readonly server: string; readonly limit: Limit }) => Promise<Tally>
  readonly close: (argument: { readonly server: string }) => Promise<void>
}

export type CodecCalls = {
  /** Nanoseconds of CPU per call, for every case. */
  readonly round: (argument: { readonly millis: number }) => ReadonlyArray<{
    readonly title: string
    readonly ours: number
    readonly theirs: number
  }>
}
